"""What a value in an expression may be, and how one is told from another.

Nothing, true or false, a whole number, a ``Decimal``, text, a day, a moment, a list or a mapping. An error
says what kind of value did not fit, never the value: it may be somebody's phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from crm_backends.inputs import amount_of


class Unfit(Exception):
    """A value does not fit; the message says what kind of value was wanted."""


class Missing(Unfit):
    """A value is needed that the answer does not have."""


class _Lacking:
    """The kind of ``LACKING``. It counts as false."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


LACKING = _Lacking()
"""Stands for what was read of an answer that does not have it: not the same as a ``null`` that is there."""


def is_no_day(text: str) -> bool:
    """Whether a day or a moment is written in zeros alone, as MySQL writes that there is none."""
    return "0" in text and not text.strip("0-./: TZ")


def kind(value: object) -> str:
    """What a value is, in the words of the documentation."""
    if value is None or value is LACKING:
        return "nothing"
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return "something else"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, Decimal), "a number"),
    (str, "text"),
    (datetime, "a moment"),
    (date, "a day"),
    (list, "a list"),
    (dict, "a mapping"),
)


_SMALL = 10**9
"""Below this a whole number is an amount without a further look."""


def number(value: object) -> int | Decimal:
    """The number a value is. Raises ``Unfit`` for text too: ``int`` and ``decimal`` make numbers of it."""
    if type(value) is int and -_SMALL < value < _SMALL:
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or amount_of(value) is None:
        raise Unfit(f"a number is wanted, this is {kind(value)}")
    return value


def text_of(value: object) -> str:
    """A value as text: decimals without an exponent, days and moments as ISO 8601."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(number(value))
        case Decimal():
            exact = Decimal(number(value))
            plain = f"{exact:f}"
            return plain.rstrip("0").rstrip(".") if "." in plain else plain
        case datetime() | date():
            return value.isoformat()
        case _:
            raise Unfit(f"{kind(value)} cannot be written as text")


def text_only(value: object) -> str:
    """The text a value is. Raises ``Unfit``."""
    if not isinstance(value, str):
        raise Unfit(f"text is wanted, this is {kind(value)}")
    return value


def rows_of(value: object) -> list[Any]:
    """The list a value is; of nothing an empty one. Raises ``Unfit``."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unfit(f"a list is wanted, this is {kind(value)}")
    return value


def field_of(value: object, name: object) -> Any:
    """A member of a mapping or an item of a list; nothing where there is none."""
    if isinstance(value, dict):
        return value.get(name) if isinstance(name, str | int) else None
    if isinstance(value, list) and isinstance(name, int) and not isinstance(name, bool):
        return value[name] if -len(value) <= name < len(value) else None
    return None


def member_of(value: object, name: object) -> Any:
    """The same of an answer: ``LACKING`` where it does not have it.

    A list that is there, and is shorter, shows that there is nothing; so does nothing that is there.
    """
    if isinstance(value, dict):
        return value.get(name, LACKING)
    if isinstance(value, list) and isinstance(name, int):
        return field_of(value, name)
    return None if value is None else LACKING


def plain(value: object) -> Any:
    """A value, and nothing for ``LACKING``."""
    return None if value is LACKING else value


def same(left: object, right: object) -> bool:
    """Whether two values are equal; true is not 1, and a number is not its text."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def sendable(value: object) -> Any:
    """A value as JSON has it. A number with more digits than JSON's readers keep does not fit."""
    match value:
        case str() | int() | None:
            return value
        case Decimal():
            if value == value.to_integral_value():
                return int(number(value))
            if Decimal(repr(float(number(value)))) != value:
                raise Unfit("the number has more digits than JSON keeps; send it as text")
            return float(value)
        case datetime() | date():
            return value.isoformat()
        case Mapping():
            return {str(key): sendable(member) for key, member in value.items()}
        case Sequence():
            return [sendable(member) for member in value]
        case _:
            return value
