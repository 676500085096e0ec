"""Whether a connector can send what operations are asked in everyday use, told by ``connector check``.

Of somebody of whom all is known, and of somebody of whom there is a phone alone: else it is found when the
first profile without a birth date comes. What a first call sends depends on no answer, so nothing is sent.
It may not know a file's language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crm_backends.connector.examples import WrongExample, play
from crm_backends.connector.language import Example
from crm_backends.connector.problems import Problem
from crm_backends.connector.reading import Loaded
from crm_backends.connector.running import WITHOUT_ASKING
from crm_backends.connector.vocabulary import SHAPES
from crm_backends.ports import BackendMisconfigured
from crm_backends.registry import BackendSpec

_PHONE = {"phone": "+79161234567"}
_EMAIL = {"email": "anna@example.ru"}
_ALL = {
    **_PHONE,
    **_EMAIL,
    "first_name": "Anna",
    "patronymic": "Ivanovna",
    "surname": "Petrova",
    "birth_date": "1990-05-17",
    "sex": "f",
    "country_code": "RU",
    "locality": "Tver",
}
_NEEDED: Mapping[str, Any] = {
    "customer": "7",
    "account": "7",
    "number": "2900000000017",
    "code": "CODE",
    "occasion": "visit",
    "since": "2026-01-01",
    "until": "2026-01-02",
    "points": 5,
}
_REMEDY = "where it may be missing, write `… if input.x else none`"
_PEOPLE: Mapping[str, Mapping[str, str]] = {
    " of somebody of whom all is known": _ALL,
    " of somebody of whom only the phone is known": _PHONE,
}


async def cannot_be_asked(loaded: Loaded, spec: BackendSpec[Any]) -> list[Problem]:
    """A note for each operation whose first call cannot be made of what it is asked."""
    found = []
    for name, operation in loaded.model.operations.items():
        if not operation.steps:
            continue
        settings = next((one.settings for one in operation.examples), {})
        for whom, asked in _everyday(name):
            example = Example(title=whom, input=dict(asked), settings=settings)
            try:
                played = await play(loaded, spec, name, example)
            except WrongExample:
                continue
            decided = WITHOUT_ASKING in str(played.result)
            if isinstance(played.result, BackendMisconfigured) and not played.sent and not decided:
                cause = f"{name} cannot be asked{whom}: {played.result}"
                place = loaded.place(("operations", name), key=True)
                found.append(Problem(place, cause, _REMEDY))
                break
    return found


def _everyday(operation: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Whom an operation is about, in words, and its inputs."""
    asked = SHAPES[operation].asked
    needed = {name: value for name, value in _NEEDED.items() if name in asked}
    if "surname" in asked:
        yield from ((whom, {**needed, **person}) for whom, person in _PEOPLE.items())
    elif operation == "users.find":
        yield from ((" by the phone alone", _PHONE), (" by the e-mail alone", _EMAIL))
    else:
        yield "", needed
