"""What a driver can do of each operation, said as data: a degree, and a note where it is not all.

It may not know a driver.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal


class Support(enum.StrEnum):
    FULL = "full"
    PARTIAL = "partial"
    NOT_IMPLEMENTED = "not implemented here"
    IMPOSSIBLE = "impossible in that CRM"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Capability:
    """What a driver can do of one operation, with a note where it is not all."""

    support: Support
    note: str = ""


FULL = Capability(Support.FULL)

OPERATIONS: tuple[str, ...] = (
    "users.find",
    "users.get",
    "users.register",
    "users.update",
    "users.set_consents",
    "users.list_phones",
    "users.find_by_card",
    "users.set_card",
    "points.balance",
    "points.entries",
    "points.purchases",
    "points.credit",
    "coupons.offers",
    "coupons.issue",
    "coupons.redeem",
)
"""Every operation a driver states its capability for."""


def partial(note: str) -> Capability:
    """It works for some, or not wholly; the note says for whom, or what is missing."""
    return Capability(Support.PARTIAL, note)


def not_written(note: str) -> Capability:
    """The CRM could do it; this driver, or these settings, do not."""
    return Capability(Support.NOT_IMPLEMENTED, note)


def impossible(note: str) -> Capability:
    """The CRM has nothing that could express it."""
    return Capability(Support.IMPOSSIBLE, note)


def nothing_of(port: Literal["users", "points", "coupons"], why: str) -> dict[str, Capability]:
    """All operations of a port as impossible, for one reason."""
    return {name: impossible(why) for name in OPERATIONS if name.startswith(f"{port}.")}
