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

from crm_backends.connector.calls import CALLS, RECONCILE, Call, UnfitInput, fit, plain
from crm_backends.connector.examples import with_hint
from crm_backends.connector.problems import nearest
from crm_backends.connector.reading import Loaded
from crm_backends.connector.recorded import ShowsCalls
from crm_backends.connector.vocabulary import ACCOUNTS
from crm_backends.http import HttpSettings
from crm_backends.http.wire import Exchanger, Wire
from crm_backends.ports import (
    OPERATIONS,
    BackendCredentials,
    BackendError,
    Deadline,
    Outcome,
    Support,
    Written,
)
from crm_backends.registry import BackendContext, BackendSpec

_PATIENCE = 60.0
_BAD: Mapping[Outcome, str] = {
    Outcome.REFUSED: "the write was refused",
    Outcome.NOT_SENT: "nothing was done",
    Outcome.UNKNOWN: "nobody knows whether it was done",
}
"""How a write may have ended that was tried, and what is said of it."""


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
    """Call it, say what happens, and whether it went well: what was asked is told, or was done.

    A write that a dry run has stopped went well, and so has a look that finds nothing.

    ``sent``: look instead for what became of such a write, which was sent then.

    Raises:
        WrongCall: the operation or an input is not known.
    """
    if operation not in CALLS:
        raise WrongCall(f'there is no operation "{operation}"; {nearest(operation, CALLS)}')
    if sent is not None and operation not in RECONCILE:
        raise WrongCall(f"{operation} is never looked for; only {', '.join(RECONCILE)} are")
    if (why := _why_not(spec, operation)) is not None:
        raise WrongCall(f"{operation} cannot be done here: {why}")
    try:
        fit(operation, asked)
    except UnfitInput as error:
        raise WrongCall(f"{error}; --input NAME=VALUE gives one") from None
    secrets = [
        value.get_secret_value()
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), SecretStr)
    ]

    wires: list[ShowsCalls] = []

    def shown(of: HttpSettings) -> Exchanger:
        wires.append(ShowsCalls(Wire(of), say, secrets, backend.logins, dry=dry))
        return wires[-1]

    backend: Any = spec.build(settings, context)
    if sent is not None and _is_sent_again(backend.loaded, operation):
        raise WrongCall(
            f"{operation} is not looked for: the CRM takes our key (doubts: key), and what is in doubt is "
            "sent again; try it twice with the same --key, without --reconcile, and see that it counts once"
        )
    backend.replace_wire(shown)
    await backend.open()
    try:
        if sent is None:
            result = await CALLS[operation](backend, Call(asked, key, Deadline.after(_PATIENCE)))
        else:
            result = await RECONCILE[operation](backend, Call(asked, key, Deadline.after(_PATIENCE), sent))
    except BackendError as error:
        say(with_hint(f"= {type(error).__name__}: {error}"))
        if isinstance(error, BackendCredentials):
            say("  correct the secrets and the login in the settings, or how the connector sends them (auth)")
        return False
    except UnfitInput as error:
        raise WrongCall(str(error)) from None
    finally:
        await backend.close()
    for line in f"= {json.dumps(plain(result), ensure_ascii=False, indent=2)}".splitlines():
        say(line)
    if not isinstance(result, Written):
        return True
    if result.reason:
        say(with_hint(f"  because: {result.reason}"))
    if any(wire.stopped for wire in wires) or (sent is not None and result.outcome is Outcome.NOT_SENT):
        return True
    if result.outcome in _BAD:
        say(f"  {_BAD[result.outcome]}: exit status 1")
    return result.outcome not in _BAD


def _is_sent_again(loaded: Loaded, operation: str) -> bool:
    """Whether a doubt of this write is ended by sending the same again, and by nothing else."""
    return loaded.model.doubts == "key" and loaded.model.operations[operation].reconcile is None


def _why_not(spec: BackendSpec[Any], operation: str) -> str | None:
    """Why this CRM cannot do an operation, in the words of its connector."""
    port = operation.partition(".")[0]
    asked = (
        operation
        if operation in spec.capabilities
        else next(one for one in OPERATIONS if one.startswith(port))
    )
    capability = spec.capabilities[asked]
    if operation in ACCOUNTS and port in spec.ports:
        return None
    return capability.note if capability.support in (Support.IMPOSSIBLE, Support.NOT_IMPLEMENTED) else None
