"""What is no mistake for certain, and most likely one: told by ``connector check``, refused by nothing.

A ``$`` that was forgotten, a setting that nothing uses, a balance that is not looked at for whose it is.

It may not know what an expression means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from crm_backends.connector.language import Operation
from crm_backends.connector.problems import Path, Problem
from crm_backends.connector.reading import Loaded

_FORGOTTEN = re.compile(
    r"(?:(?<!\$)\{|\$\()(\s*(?:(?:input|settings|secrets|steps|with)\.[a-z_]"
    r"|(?:idempotency_key|token|page)\b)[^{}()]*)[})]"
)
"""What would be an expression, were it written ``${…}``."""
_BALANCE = "points.balance"
_COMPARES = re.compile(r"\binput\.(account|customer)\b")
_TOLD = frozenset({"title", "help", "unsupported", "not_written", "partial", "examples"})
"""Keys whose texts people read."""


def notes(loaded: Loaded) -> list[Problem]:
    """What most likely is a mistake, by the file and its examples alone."""
    found = [
        Problem(
            loaded.place(path, text),
            f"{text} is sent as it is written",
            f"write ${{{expression}}} for its value",
        )
        for path, text, expression in _forgotten(loaded.sources[0].values, ())
    ]
    texts = "\n".join(one.text for one in loaded.sources)
    for name, setting in loaded.model.settings.items():
        kind = "secrets" if setting.secret else "settings"
        if not re.search(rf"\b{kind}(\.{name}\b|\[)", texts):
            place = loaded.place(("settings", name), key=True)
            found.append(Problem(place, f"nothing uses {kind}.{name}", "leave it out, or use it"))
    return [*found, *_anybodys(loaded)]


def _anybodys(loaded: Loaded) -> Iterator[Problem]:
    """A balance whose answers tell the account, in an example, where nothing compares it with that asked for:
    of another's answer, as a cache may give it, the balance would be shown, or compared."""
    operation = loaded.model.operations.get(_BALANCE)
    if operation is None or _COMPARES.search(_conditions(loaded, operation)):
        return
    for example in operation.examples:
        account = example.input.get("account")
        told = {
            name
            for exchange in example.exchanges
            for name, value in _members(exchange.answer.json_, "body")
            if account is not None and value == str(account)
        }
        if told:
            name = min(told)
            yield Problem(
                loaded.place(("operations", _BALANCE), key=True),
                f"{_BALANCE}: {name} tells whose balance it is, and nothing compares it",
                f"write has: text({name}) == input.account at the call",
            )
            return


def _conditions(loaded: Loaded, operation: Operation) -> str:
    """What looks at the answers of an operation, as text."""
    parts: list[Any] = [operation.outcomes, operation.rows, operation.where, operation.result]
    for step in operation.steps:
        request = loaded.model.requests.get(step.use or "")
        parts += [step.has, step.ok, step.outcomes, step.when, None if request is None else request.has]
    return str(parts)


def _members(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Single values of JSON as text, with the expressions that reach them."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _members(one, f"{name}.{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _members(one, f"{name}[{index}]")
    elif isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        yield name, str(value)


def _forgotten(value: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    if isinstance(value, str):
        for match in _FORGOTTEN.finditer(value):
            if value.rfind("${", 0, match.start()) <= value.rfind("}", 0, match.start()):
                yield path, match[0], match[1]  # and no mapping within an expression
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _forgotten(one, (*path, index))
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _TOLD:
                yield from _forgotten(one, (*path, name))
