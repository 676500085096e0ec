"""What the stand-in for Perx keeps of a customer and of points, and what there is from the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import stamp

CLIENT_ID = "perx-sandbox-client"
CLIENT_SECRET = "perx-sandbox-secret"  # noqa: S105 - made up, opens nothing but this server
MERCHANT_IDENTIFIER = "perx-sandbox-merchant"
TENANT = "sandbox"
LOYALTY_PROGRAM_ID = 1
WELCOME_TRIGGER = "welcome"
"""Fired, it gives 50 points."""
BIRTHDAY_TRIGGER = "birthday"
"""Fired, it gives a voucher for DISCOUNT."""
IDENTIFIERS: Mapping[str, str] = {person.phone: f"perx-{n:04d}" for n, person in enumerate(PEOPLE, 1)}
"""Identifier of each of the people that are there at the start, by phone."""

WELCOME_POINTS = Decimal(50)
DAY = timedelta(days=1)


@dataclass
class Account:
    """A customer and the points."""

    id: int
    identifier: str
    joined_at: datetime
    state: str = "active"
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    email: str | None = None
    personal_properties: dict[str, Any] = field(default_factory=dict)
    membership_state: str = "active"
    searched_from: datetime | None = None
    """When the searches begin to show it; ``None``: they do."""
    points: Decimal = Decimal(0)
    in_progress: Decimal = Decimal(0)
    aging: list[tuple[date, Decimal]] = field(default_factory=list)
    """Days on which some of the points expire, soonest first."""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "identifier": self.identifier,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "phone": self.phone,
            "email": self.email,
            "state": self.state,
            "joined_at": stamp(self.joined_at),
            "personal_properties": self.personal_properties,
        }

    def take(self, points: Decimal) -> list[tuple[date, Decimal]]:
        """Take points from the balance; those that expire soonest go first and are returned."""
        self.points -= points
        left, kept, taken = points, [], []
        for day, expiring in self.aging:
            gone = min(left, expiring)
            left -= gone
            if gone:
                taken.append((day, gone))
            if expiring > gone:
                kept.append((day, expiring - gone))
        self.aging = kept
        return taken

    def give_back(self, points: Decimal, aging: list[tuple[date, Decimal]]) -> None:
        """Undo ``take``."""
        self.points += points
        days: dict[date, Decimal] = {}
        for day, expiring in (*self.aging, *aging):
            days[day] = days.get(day, Decimal(0)) + expiring
        self.aging = sorted(days.items())


@dataclass(frozen=True)
class Movement:
    """A row of the history."""

    id: int
    account: int
    amount: Decimal
    name: str
    at: datetime
    reference: str | None
    money: Decimal | None = None
    """Currency units of the purchase."""
    details: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    shown_at: datetime | None = None
    """When the history begins to show it; ``None``: it does."""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "amount": self.amount,
            "name": self.name,
            "transacted_at": stamp(self.at),
            "transacted_amount": None if self.money is None else str(float(self.money)),
            "transacted_cents": None if self.money is None else int(self.money * 100),
            "transaction_details": self.details,
            "properties": self.properties,
        }


@dataclass
class Reservation:
    """Points that are set aside."""

    id: int
    account: int
    points: Decimal
    aging: list[tuple[date, Decimal]]
    """When they would have expired."""
