"""Cards and operations, the two things the adapter itself keeps. Plain frozen data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from adapter.catalogue import Code
from crm_backends.model import Balance


class CardState(enum.StrEnum):
    FREE = "free"
    """In the pool, nobody's."""
    RESERVED = "reserved"
    """Promised to a caller until ``reserved_until``."""
    OWNERLESS = "ownerless"
    """A plastic card that was handed out without an owner."""
    ACTIVE = "active"
    INACTIVE = "inactive"
    BLOCKED = "blocked"


OWNED = frozenset({CardState.ACTIVE, CardState.INACTIVE, CardState.BLOCKED})


@dataclass(frozen=True, slots=True)
class Card:
    """One card of the registry."""

    number: str
    barcode_number: str
    barcode_type: str
    state: CardState
    reserved_until: datetime | None = None
    users_reference: str | None = None
    """The owner, as the users CRM calls them."""
    points_reference: str | None = None
    coupons_reference: str | None = None


class OperationKind(enum.StrEnum):
    """What moves value and is therefore recorded before it is done."""

    RECEIPT = "receipt"
    PROMO_CODE = "promo_code"
    REGISTRATION = "registration"


class OperationState(enum.StrEnum):
    """Where an operation stands.

    recorded → sent → done | refused | unknown; unknown → done | refused | held; recorded → held when the
    CRM could not be reached for too long.
    """

    RECORDED = "recorded"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    REFUSED = "refused"
    HELD = "held"


FINAL = frozenset({OperationState.DONE, OperationState.REFUSED})


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation to be recorded, unless one with its kind and identity lives already."""

    kind: OperationKind
    identity: str
    """What makes a repeat the same operation: fn:i:fp of a receipt, code and card, a phone."""
    card_number: str | None
    fingerprint: str
    """What a true repeat has in common besides the identity."""
    request: Mapping[str, Any]
    """JSON the performer needs; may hold personal data, never leaves the database."""


@dataclass(frozen=True, slots=True)
class Operation:
    id: int
    kind: OperationKind
    identity: str
    card_number: str | None
    fingerprint: str
    request: Mapping[str, Any]
    state: OperationState
    attempt: int
    recorded_at: datetime
    sent_at: datetime | None = None
    finished_at: datetime | None = None
    code: Code | None = None
    """Why it was refused."""
    points: Decimal | None = None
    crm_reference: str | None = None
    message: str | None = None
    before: Balance | None = None
    """The balance just before it was sent, where an unknown outcome is settled by comparing."""
    read_at: datetime | None = None
    """When this was read, by the database's clock, which all processes share."""

    @property
    def age(self) -> timedelta:
        """How long it had been recorded when this was read."""
        return (self.read_at or self.recorded_at) - self.recorded_at

    @property
    def since_sent(self) -> timedelta:
        """How long ago it was last sent when this was read; since it was recorded, if never."""
        return (self.read_at or self.recorded_at) - (self.sent_at or self.recorded_at)

    @property
    def reference(self) -> str:
        """What the CRM is given to recognise this operation by; the same for every attempt."""
        return reference_of(self.kind, self.id)


def reference_of(kind: OperationKind, operation_id: int) -> str:
    """``Operation.reference`` of the operation with this id."""
    return f"koshelek-{kind}-{operation_id}"
