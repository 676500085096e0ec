"""The people that every stand-in server knows from the start: the same ones, so that CRMs can be mixed.

Nobody real: names and numbers are made up. It may not know any CRM.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class Person:
    """One made-up customer."""

    phone: str
    """E.164 with the plus sign."""
    email: str
    first_name: str
    last_name: str
    birth_date: date
    points: Decimal
    """Balance at the start, in a CRM that keeps points."""

    @property
    def local_phone(self) -> str:
        """The last ten digits, as a CRM without country codes writes it."""
        return self.phone[-10:]


ANNA = Person(
    "+79990000001", "anna@example.org", "Anna", "Petrova", date(1990, 5, 17), Decimal(1250)
)  # fmt: skip
BORIS = Person("+79990000002", "boris@example.org", "Boris", "Ivanov", date(1984, 11, 2), Decimal(80))
VERA = Person("+79990000003", "vera@example.org", "Vera", "Smirnova", date(2001, 1, 30), Decimal(0))
PEOPLE = (ANNA, BORIS, VERA)
PHONES = ", ".join(person.phone for person in PEOPLE)
"""All of them, to be shown."""
