"""Rewards of Perx, and the vouchers that customers have of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts.sandbox.fields import Row
from contracts.sandbox.server import stamp

COFFEE, DISCOUNT, GIFT = 101, 102, 103
"""Numbers of the rewards. A customer may have one GIFT at most, any number of the others."""


@dataclass(frozen=True)
class Reward:
    """Something a customer may be given."""

    id: int
    name: str
    description: str
    per_customer: int | None = None

    def as_json(self) -> Row:
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

    def as_json(self) -> Row:
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


REWARDS: Mapping[int, Reward] = {
    reward.id: reward
    for reward in (
        Reward(COFFEE, "A cup of coffee", "Any size, at any till"),
        Reward(DISCOUNT, "Ten per cent off", "One receipt of up to 5000 roubles"),
        Reward(GIFT, "A gift for joining", "Once for each customer", per_customer=1),
    )
}
