"""How a CRM writes what is known of a customer: one table for what it tells and for what it is told.

A table goes from the CRM's name of a field to ours, or to a ``Field`` where the CRM has a way of its own to
write the value. It may not know any CRM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

Row = dict[str, Any]
"""An object as a CRM tells it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of ours, and how a CRM writes it; ``None`` stays ``None`` both ways."""

    ours: str
    """Of ``Member``, or of what it has ``more``."""
    told: Callable[[Any], Any]
    taken: Callable[[Any], Any]


Fields = Mapping[str, str | Field]


def all_fields(fields: Fields) -> Iterator[tuple[str, Field]]:
    """A table with a ``Field`` everywhere."""
    for name, field in fields.items():
        yield name, field if isinstance(field, Field) else Field(field, _as_it_is, _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value


BIRTH_DATE = Field("birth_date", date.isoformat, lambda text: date.fromisoformat(text[:10]))
"""As ISO text; a time behind it is passed over."""
DIGITS = Field("phone", lambda phone: phone.lstrip("+"), lambda given: "+" + str(given).lstrip("+"))
"""A phone without its plus."""


def sex(male: object, female: object) -> Field:
    """The sex by the CRM's words."""
    words = {"m": male, "f": female}
    return Field("sex", words.get, {word: ours for ours, word in words.items()}.__getitem__)


def alone_in_object(name: str, ours: str) -> Field:
    """The value as the only member of an object, such as a town in an address."""
    return Field(ours, lambda value: {name: value}, lambda given: given.get(name))


def present(row: Mapping[str, Any]) -> Row:
    """What is not ``None``."""
    return {name: value for name, value in row.items() if value is not None}
