"""Operations as people look at them: what may be shown of one, what happened to it, how a decision ended; and
what is kept of those people.

It may not know the database, nor who looks.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from adapter.errors import Code
from adapter.loyalty.model import OperationKind, OperationState
from adapter.loyalty.payloads import Payload


class CannotDecide(Exception):
    """The decision does not fit the operation as it stands; the message is one sentence.

    ``needs``: what the person has to add so that it fits: that an earlier decision is to be corrected, or the
    CRM's id of the customer who was registered.
    """

    def __init__(self, told: str, needs: Literal["correction", "customer"] | None = None) -> None:
        super().__init__(told)
        self.needs = needs


@dataclass(frozen=True, slots=True)
class Item:
    """An operation as a person may see it, private fields apart."""

    id: int
    kind: OperationKind
    state: OperationState
    idempotency_key: str
    """Ours, to be looked for in the CRM."""
    card_number: str | None
    attempt: int
    recorded_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    held_at: datetime | None
    """Since when it waits for a person; ``None`` where that was not kept."""
    reason: str | None
    """Why it waits for a person, one of a few."""
    detail: str | None
    """Why it was last put off, refused or held, as the CRM's driver says it."""
    code: Code | None
    points: Decimal | None
    """Points credited, or that are to be; ``None``: the CRM computes them, or it is no receipt."""
    crm_reference: str | None
    payload: Payload | None
    """Private; ``None`` of a registration, and where it was removed."""
    may_double: bool
    """Whether it may have been done, so that sending again may do it twice."""
    next_at: datetime | None = None
    """When it is looked at next, of one operation that is shown; ``None``: it waits for nothing, or that was
    not asked."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of state beside the normal course; ``who`` is ``None`` for the service itself."""

    at: datetime
    who: str | None
    from_state: OperationState
    to_state: OperationState
    attempt: int
    sent_at: datetime | None
    """When that attempt was sent; ``None`` where that was not kept."""
    note: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """How a decision to settle ended; ``before`` tells that it had been settled so already, and by whom."""

    state: OperationState
    before: str | None = None


class AuditAction(enum.StrEnum):
    """What is kept of people in the audit list."""

    LOGGED_IN = "logged_in"
    LOGIN_FAILED = "login_failed"
    LOGGED_OUT = "logged_out"
    SEARCHED = "searched"
    SHOWN_CARD = "shown_card"
    SHOWN_OPERATION = "shown_operation"
    RECHECKED = "rechecked"
    REQUEUED = "requeued"
    SETTLED = "settled"
    IMPORTED = "imported"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    REPLACED = "replaced"
    EXPORTED = "exported_person"
    ERASED = "erased_person"
    PERSON_ADDED = "person_added"
    PERSON_REMOVED = "person_removed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that somebody did in the console."""

    id: int
    at: datetime
    who: str
    action: str
    operation_id: int | None
    card_number: str | None
    note: str | None
