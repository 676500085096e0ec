"""One operation of a connector against the real CRM, with every request and answer shown.

It may not know the command line. What is shown has people's data in it, as it is meant to; secrets are
masked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from crm_backends.connector.examples import CALLS, RECONCILE, Call, plain
from crm_backends.connector.recorded import Shown
from crm_backends.connector.vocabulary import SHAPES
from crm_backends.http import HttpSettings
from crm_backends.http.wire import Exchanger, Wire
from crm_backends.ports import BackendError, Deadline, Written
from crm_backends.registry import BackendContext, BackendSpec

_PATIENCE = 60.0


class WrongCall(ValueError):
    """What is to be tried cannot be; the message says why."""


async def try_operation(
    spec: BackendSpec[Any],
    settings: HttpSettings,
    context: BackendContext,
    operation: str,
    asked: Mapping[str, Any],
    key: str,
    say: Callable[[str], None],
    *,
    dry: bool,
    sent: datetime | None = None,
) -> bool:
    """Call it, say what happens, and whether it went well.

    ``sent``: look instead for what became of such a write, which was sent then.

    Raises:
        WrongCall: the operation or an input is not known.
    """
    if operation not in CALLS:
        raise WrongCall(f'there is no operation "{operation}"; known: {", ".join(sorted(CALLS))}')
    if sent is not None and operation not in RECONCILE:
        raise WrongCall(f"{operation} is never looked for; only {', '.join(RECONCILE)} are")
    shape = SHAPES[operation]
    unknown = sorted(set(asked) - set(shape.asked))
    for name, value in asked.items():
        if isinstance(value, Mapping) and not unknown:
            unknown = sorted(f"{name}.{one}" for one in set(value) - set(shape.members.get(name, ())))
    if unknown:
        members = [f"{name}.{one}" for name, inner in shape.members.items() for one in inner]
        names = ", ".join(sorted([*(set(shape.asked) - set(shape.members)), *members])) or "nothing"
        raise WrongCall(f'{operation} is not asked by "{unknown[0]}", but by: {names}')
    secrets = [
        value.get_secret_value()
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), SecretStr)
    ]

    def shown(of: HttpSettings) -> Exchanger:
        return Shown(Wire(of), say, secrets, backend.logins, dry=dry)

    backend: Any = spec.build(settings, context)
    backend.replace_wire(shown)
    await backend.open()
    try:
        if sent is None:
            result = await CALLS[operation](backend, Call(asked, key, Deadline.after(_PATIENCE)))
        else:
            result = await RECONCILE[operation](backend, Call(asked, key, Deadline.after(_PATIENCE), sent))
    except BackendError as error:
        say(f"= {type(error).__name__}: {error}")
        return False
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongCall(f"the input does not fit ({error})") from None
    finally:
        await backend.close()
    for line in f"= {json.dumps(plain(result), ensure_ascii=False, indent=2)}".splitlines():
        say(line)
    if isinstance(result, Written) and result.reason:
        say(f"  because: {result.reason}")
    return True
