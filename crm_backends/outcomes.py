"""How a write ended, and how a doubt about it is reconciled: the words every driver reports in.

It may not know a port, a driver, or what was written.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal


class Outcome(enum.StrEnum):
    """How a write ended. When in doubt UNKNOWN; NOT_SENT only in the cases that ``HTTP.md`` lists."""

    DONE = "done"
    """The CRM confirmed it."""
    REFUSED = "refused"
    """The CRM understood and said no; final."""
    NOT_SENT = "not_sent"
    """It cannot have been done: it never left, or the CRM turned it away (429). It may be sent again."""
    UNKNOWN = "unknown"
    """It may have been done. It has to be reconciled and is never sent again blindly."""


class Refusal(enum.StrEnum):
    """Why a CRM said no, as far as the caller is told."""

    OTHER = "other"
    CONFLICT = "conflict"
    """Phone, e-mail or card number belongs to another customer, or the customer has another card."""
    NO_SUCH_CUSTOMER = "no_such_customer"
    KEY_TAKEN = "key_taken"
    """The CRM knows our key with other contents (phone, account, amount) than were asked for. Nothing
    was written; a person has to look, since it may be somebody else's."""
    CODE_UNKNOWN = "code_unknown"
    CODE_NOT_YET_VALID = "code_not_yet_valid"
    CODE_EXPIRED = "code_expired"
    CODE_USED = "code_used"
    CODE_EXHAUSTED = "code_exhausted"


@dataclass(frozen=True, slots=True)
class Written:
    """The end of a write."""

    outcome: Outcome
    crm_reference: str | None = None
    """What the CRM calls the result: a customer, a transaction, a voucher."""
    points: Decimal | None = None
    """Points this write put on the account, where the CRM says so."""
    refusal: Refusal | None = None
    """Set when, and only when, the outcome is REFUSED."""
    message: str | None = None
    """Text for the holder, when the programme (not an error body) provides one."""
    entries: tuple[str, ...] = ()
    """What the CRM calls each of several entries that it keeps under our key: the write took effect
    more than once. Set, with the outcome DONE, only where the driver has seen more than one."""
    reason: str | None = field(default=None, compare=False)
    """Why it ended so, for the operator: one sentence of ours, nothing of a CRM's body and nothing
    personal."""

    @classmethod
    def done(
        cls, crm_reference: str | None = None, points: Decimal | None = None, message: str | None = None
    ) -> Written:
        return cls(Outcome.DONE, crm_reference=crm_reference, points=points, message=message)

    @classmethod
    def refused(cls, refusal: Refusal = Refusal.OTHER, reason: str | None = None) -> Written:
        return cls(Outcome.REFUSED, refusal=refusal, reason=reason)

    @classmethod
    def not_sent(cls, reason: str | None = None) -> Written:
        return cls(Outcome.NOT_SENT, reason=reason)

    @classmethod
    def unknown(cls, reason: str | None = None) -> Written:
        return cls(Outcome.UNKNOWN, reason=reason)


class Reconciliation(enum.StrEnum):
    """How a driver finds out what became of a write whose outcome is UNKNOWN, best first."""

    KEY = "key"
    """The CRM honours our key: the same write sent again has no second effect."""
    PROBE = "probe"
    """Our key can be looked up."""
    COMPARE = "compare"
    """The balance before and after, compared under a lock."""
    MANUAL = "manual"
    """Only a person can tell."""
