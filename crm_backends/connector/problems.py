"""What is wrong with a connector's file, and where: file, line, column, cause, remedy.

It may not know what a connector is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""The keys and positions that lead from the top of a document to a value."""


@dataclass(frozen=True, slots=True, order=True)
class FilePlace:
    """Where something is written. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    place: FilePlace
    cause: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.cause}" + (f"; {self.remedy}" if self.remedy else "")


class ConnectorError(ValueError):
    """A connector's file cannot be used; the message has a line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


_LOOKS_LIKE = str.maketrans(
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425",
    "aceopxyiABCEHKMOPTX",
)
"""Cyrillic letters -> Latin ones that look the same."""
_MEANT = {
    "last_name": "surname",
    "lastname": "surname",
    "family_name": "surname",
    "name": "first_name",
    "firstname": "first_name",
    "given_name": "first_name",
    "middle_name": "patronymic",
    "second_name": "patronymic",
    "birthday": "birth_date",
    "birthdate": "birth_date",
    "date_of_birth": "birth_date",
    "gender": "sex",
    "city": "locality",
    "town": "locality",
    "country": "country_code",
    "mobile": "phone",
    "msisdn": "phone",
    "mail": "email",
    "card": "card_number",
    "balance": "total",
    "key": "idempotency_key",
    "reference": "idempotency_key",
    "fn": "fiscal_drive",
    "fp": "sign",
}
"""What other systems call it -> what it is called here."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for a wrong name: the nearest right one, or all of them."""
    names = sorted(known)
    latin = name.translate(_LOOKS_LIKE)
    if latin != name and latin in names:
        odd = next(letter for letter in name if letter not in latin)
        return f'write "{latin}" in Latin letters, {odd} is a Cyrillic one'
    if hidden := next((sign for sign in name if not sign.isprintable()), ""):
        return f"there is a sign in it that cannot be seen (U+{ord(hidden):04X}); write the name anew"
    for meant in (name.lower(), _MEANT.get(name.lower())):
        if meant in names:
            return f'did you mean "{meant}"?'
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known here: {', '.join(names)}" if names else "there are none here"
