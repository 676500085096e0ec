"""Cards and operations, the two things the adapter itself keeps. Plain frozen data.

It may not know how they are kept, nor how a CRM is told of them.
"""

from __future__ import annotations

import enum
from dataclasses import field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from adapter.errors import Code
from crm_backends.frozen import dataclass
from crm_backends.model import Balance, CrmCardState

if TYPE_CHECKING:
    from adapter.loyalty.payloads import Payload


class CardState(enum.StrEnum):
    FREE = "free"
    """In the pool, without an owner."""
    RESERVED = "reserved"
    """Promised to a caller until ``reserved_until``."""
    OWNERLESS = "ownerless"
    """A plastic card that was handed out without an owner."""
    ACTIVE = "active"
    INACTIVE = "inactive"
    BLOCKED = "blocked"


OWNED = frozenset({CardState.ACTIVE, CardState.INACTIVE, CardState.BLOCKED})
NOT_IN_HAND = frozenset({CardState.FREE, CardState.RESERVED})
"""Not handed out: in the pool, or reserved."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card of the registry."""

    number: str
    barcode_number: str
    barcode_type: str
    state: CardState
    reserved_until: datetime | None = None
    users_reference: str | None = None
    """The owner: the users CRM's id."""
    points_reference: str | None = None
    coupons_reference: str | None = None
    by_crm: bool = False
    """It is blocked or inactive because the users CRM says so."""
    replaced_by: str | None = None
    """The number that replaced this card, which has been inactive and without an owner since."""
    replaces: str | None = None
    """The number that this card replaced."""


def why_not_blocked(card: Card) -> str:
    """Why a person cannot block the card, as it stands."""
    if card.replaced_by is not None:
        return f"the card was replaced by {card.replaced_by}; block that one"
    return f"the card is {card.state}, only one in somebody's hands can be blocked"


@dataclass(frozen=True, slots=True)
class Entry:
    """A card to be entered in the registry, as the users CRM tells it or a person decides."""

    number: str
    barcode_number: str
    barcode_type: str
    owner: str | None = None
    """The users CRM's id of the owner; ``None``: plastic without an owner."""
    state: CrmCardState = "active"
    replaced_by: str | None = None
    barcode_told: bool = False
    """True: the CRM tells the barcode. False: it is made from the number by a rule."""
    barcode_fits: bool = True
    """False: only ``cards.barcode_fallback`` can carry the barcode."""


class OperationKind(enum.StrEnum):
    """What a CRM must be told exactly once. It is recorded before the CRM is told."""

    RECEIPT = "receipt"
    PROMO_CODE = "promo_code"
    REGISTRATION = "registration"
    COUPONS = "coupons"
    """Coupons that an occasion gives."""
    CARD = "card"
    """A card that was issued; the users CRM is told of it."""


class OperationState(enum.StrEnum):
    """Where an operation stands.

    recorded → sent → done | refused | unknown; what is delivered at once begins as sent. Sent and unknown go
    back to recorded if the operation certainly was not done. Unknown → sent if our key makes sending again
    harmless. Unknown → done | refused once the doubt is reconciled. Recorded, sent and unknown → held if that
    takes too long, or if only a person can tell; held → recorded | unknown | done | refused as the person
    decides. Unknown and done → doubled if the CRM shows the operation more than once; doubled → done |
    refused as the person decides.
    """

    RECORDED = "recorded"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    REFUSED = "refused"
    HELD = "held"
    DOUBLED = "doubled"
    """The CRM has done it more than once."""


FINAL = frozenset({OperationState.DONE, OperationState.REFUSED})
FOR_A_PERSON = frozenset({OperationState.HELD, OperationState.DOUBLED})
"""States in which nothing happens by itself."""
OPEN = (
    OperationState.RECORDED,
    OperationState.SENT,
    OperationState.UNKNOWN,
    OperationState.HELD,
    OperationState.DOUBLED,
)
"""All states but the final ones."""

# The reasons that the ledger keeps. Programs of other versions compare these texts, so none ever changes.
# What each means for the person who decides: adapter/OPERATING.md.
CERTAINLY_NOT_SENT = "never got through"
"""Held, and sending again cannot double anything. True of this reason alone."""
IN_DOUBT = "outcome unknown"
"""Held: the CRM cannot be asked, did not answer for too long, or cannot tell."""
IN_DOUBT_ONCE = "did not get through; an earlier attempt may have"
"""Held: the last attempt was certainly not done, an earlier attempt may have been."""
NOT_FOUND_UNPROVED = "not found in the CRM, which has not shown that it finds our writes"
"""Held."""
NOT_FOUND_REFUTED = "not found in the CRM, which does not find all of our writes"
"""Held."""
CONFLICT = "the CRM knows our reference with other contents"
"""Held: another person, account or amount under our idempotency key, which is the "reference" here."""
DONE_TWICE = "found in the CRM more than once"
"""Doubled."""
ABANDONED = "the process that sent it has gone"
"""Unknown: the process ended during the call."""


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation to be recorded, unless an operation with its kind and identity is recorded already."""

    identity: str
    """A repeated call has the same identity: fn:i:fp of a receipt, code and card, a phone."""
    card_number: str | None
    fingerprint: str
    """A repeated call has the same fingerprint too; otherwise it is refused."""
    payload: Payload
    idempotency_key: str
    """What the CRM is given to recognise it by; see ``adapter.loyalty.idempotency_keys``."""
    card: Card | None = field(default=None, compare=False)
    """The card with this number, as it was just read: what is delivered at once need not read it again."""

    @property
    def kind(self) -> OperationKind:
        return self.payload.kind


@dataclass(frozen=True, slots=True)
class Operation:
    id: int
    kind: OperationKind
    identity: str
    card_number: str | None
    fingerprint: str
    payload: Payload | None
    """``None``: the operation has ended and its payload was removed; or the payload cannot be read."""
    state: OperationState
    attempt: int
    recorded_at: datetime
    idempotency_key: str
    """What the CRM is given to recognise it by; the same for every attempt."""
    sent_at: datetime | None = None
    finished_at: datetime | None = None
    code: Code | None = None
    """Why it was refused."""
    points: Decimal | None = None
    crm_reference: str | None = None
    message: str | None = None
    before: Balance | None = None
    """The balance just before it was sent, where an unknown outcome is reconciled by comparing."""
    requeued_at: datetime | None = None
    """When a person last had the operation sent again."""
    doubted: bool = False
    """Whether any attempt ended as unknown: that attempt may have reached the CRM."""
    looked_at: datetime | None = None
    """When a doubt was last looked for in the CRM and not found, or the CRM did not answer."""
    answering_since: datetime | None = None
    """Since when the CRM has answered every look-up of this doubt; ``None``: the last one failed."""
    read_at: datetime | None = None
    """When this was read, by the database's clock, which all processes share."""
    card: Card | None = field(default=None, compare=False)
    """Its card, where that was read in the same moment."""

    @property
    def age(self) -> timedelta:
        """Time from recording, or from when a person last had it sent again, until this was read."""
        return (self.read_at or self.recorded_at) - (self.requeued_at or self.recorded_at)

    @property
    def since_finished(self) -> timedelta:
        """Time from its end until this was read; zero if it has not ended."""
        read_at = self.read_at or self.recorded_at
        return read_at - (self.finished_at or read_at)


def former_key(kind: OperationKind, operation_id: int) -> str:
    """The key of an operation that an earlier version recorded."""
    return f"koshelek-{kind}-{operation_id}"
