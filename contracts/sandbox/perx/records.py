"""What the stand-in for Perx keeps: customers, movements, rewards, vouchers; and its switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import (
    Switches,
    stamp,
)

CLIENT_ID = "perx-sandbox-client"
CLIENT_SECRET = "perx-sandbox-secret"  # noqa: S105 - made up, opens nothing but this server
MERCHANT_IDENTIFIER = "perx-sandbox-merchant"
TENANT = "sandbox"
LOYALTY_PROGRAM_ID = 1
COFFEE, DISCOUNT, GIFT = 101, 102, 103
"""Numbers of the rewards. A customer may have one GIFT at most, any number of the others."""
WELCOME_TRIGGER = "welcome"
"""Fired, it gives 50 points."""
BIRTHDAY_TRIGGER = "birthday"
"""Fired, it gives a voucher for DISCOUNT."""
IDENTIFIERS: Mapping[str, str] = {person.phone: f"perx-{n:04d}" for n, person in enumerate(PEOPLE, 1)}
"""Identifier of each of the people that are there at the start, by phone."""

WELCOME_POINTS = Decimal(50)
DAY = timedelta(days=1)


class PerxSwitches(Switches):
    """How this stand-in behaves where the CRM depends on its configuration, or is not known."""

    points_per_100: Decimal = Field(default=Decimal(1), ge=0)
    """The rule for purchases: points for every 100 currency units, rounded down."""
    token_seconds: int = Field(default=7200, ge=1)
    reference_case: Literal["as given", "upper", "lower"] = "as given"
    """Letters in which a transaction_reference is kept; the history's filter compares with just these."""
    key_length: int | None = Field(default=None, ge=1)
    """Characters of a transaction_reference that are kept; the rest is cut off."""
    history_seconds: float = Field(default=0, ge=0)
    """After which the history shows a movement that is done; the balance shows it at once."""
    history_gap: int = Field(default=0, ge=0)
    """One movement in so many is never shown by the history; 0: all are."""
    absent_status: Literal[200, 404] = 404
    """Status with which a search says that there is no such customer (code 1 or 40)."""
    search_seconds: float = Field(default=0, ge=0)
    """After which the two searches show a customer that was created; all else knows it at once."""
    reserved_state: Literal["reserved", "redemption_in_progress"] = "reserved"
    """State of a voucher after redeem with confirm=false."""
    released_state: Literal["issued", "released"] = "issued"
    """State of a voucher after a release; ``released`` cannot be redeemed any more."""
    reservation_seconds: int = Field(default=900, ge=1)
    """After which a voucher that was set aside is free again."""


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


@dataclass(frozen=True)
class Reward:
    """Something a customer may be given."""

    id: int
    name: str
    description: str
    per_customer: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "valid_from": None,
            "valid_to": None,
        }


@dataclass
class Voucher:
    """A reward that was given."""

    id: int
    account: int
    reward: Reward
    code: str | None
    valid_from: datetime
    valid_to: datetime
    state: str = "issued"
    redeemed_at: datetime | None = None
    reserved_until: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.reward.name,
            "state": self.state,
            "voucher_code": self.code,
            "voucher_type": "code",
            "valid_from": stamp(self.valid_from),
            "valid_to": stamp(self.valid_to),
            "issued_date": stamp(self.valid_from),
            "redemption_date": None if self.redeemed_at is None else stamp(self.redeemed_at),
            "reservation_expires_at": None if self.reserved_until is None else stamp(self.reserved_until),
            "reward": self.reward.as_json(),
        }


@dataclass
class Reservation:
    """Points that are set aside."""

    id: int
    account: int
    points: Decimal
    aging: list[tuple[date, Decimal]]
    """When they would have expired."""


REWARDS: Mapping[int, Reward] = {
    reward.id: reward
    for reward in (
        Reward(COFFEE, "A cup of coffee", "Any size, at any till"),
        Reward(DISCOUNT, "Ten per cent off", "One receipt of up to 5000 roubles"),
        Reward(GIFT, "A gift for joining", "Once for each customer", per_customer=1),
    )
}


class NewCustomer(BaseModel):
    """What ``add_customer`` takes."""

    model_config = ConfigDict(extra="forbid")

    identifier: str = Field(min_length=1)
    phone: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    personal_properties: dict[str, Any] = Field(default_factory=dict)
    membership_state: Literal["active", "pending", "inactive", "expire"] = "active"
    points: Decimal = Decimal(0)
    rewards: list[int] = Field(default_factory=list)
    """Rewards to hold a voucher of, by number."""
