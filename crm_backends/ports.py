"""The three ports a driver may implement, and the words in which it reports how a call ended.

A driver implements ``Users``, ``Points``, ``Coupons`` or any of them on one class. Reads return data or
raise a ``BackendError``; writes always return a ``Written`` with one of four outcomes. This module may
not know any concrete driver.

All that an author may implement is in one module, to be read in one place.

::

    BackendError
    ├── BackendUnavailable      does not answer now; the same call may work later
    ├── BackendCredentials      refuses our credentials; a person has to act
    ├── BackendMisconfigured    answers, but not with what the settings promise; a person has to act
    │   └── HolderUnnamed       is not told what it knows people by: a phone, an e-mail
    └── NotSupported            this driver cannot do it, as its capabilities say
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from crm_backends.capabilities import (
    FULL,
    OPERATIONS,
    Capability,
    Support,
)
from crm_backends.frozen import dataclass
from crm_backends.model import (
    Balance,
    ChannelConsents,
    Credit,
    CrmCard,
    Customer,
    Holder,
    ListedPhone,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
)
from crm_backends.outcomes import (
    Outcome,
    Reconciliation,
    Refusal,
    Written,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "FULL",
    "OPERATIONS",
    "Capability",
    "Outcome",
    "Reconciliation",
    "Refusal",
    "Support",
    "Written",
]
"""Of other modules: what a port is told in, so that a driver finds it all here."""


class BackendError(Exception):
    """Base of what a read may raise. The message is for the operator and carries no personal data."""


class BackendUnavailable(BackendError):
    """The CRM does not answer now; the same call may work later."""


class BackendCredentials(BackendError):
    """The CRM refuses our credentials."""


class BackendMisconfigured(BackendError):
    """The CRM answers, but not in the shape the settings promise."""


class HolderUnnamed(BackendMisconfigured):
    """The holder's profile lacks what this CRM knows people by, so it was not asked who that is."""


class AccountUnknown(BackendError):
    """The CRM knows no such account. That is no balance of zero: it may have lost the account.

    ``has_nothing``: in this CRM somebody without an account has nothing, since the first credit opens it, or
    since it is called by what we know of people and the CRM need not know them.
    """

    def __init__(self, message: str, *, has_nothing: bool = False) -> None:
        super().__init__(message)
        self.has_nothing = has_nothing


class NotSupported(BackendError):
    """The driver cannot do this; see its capabilities."""


KEY_LENGTH = 26
"""Characters of an idempotency key, at most: capital letters and digits, so that a CRM that changes case or
truncates leaves it intact. A driver whose CRM takes fewer declares that (``LimitsKeys``)."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time that every call made for one request shares."""

    at: float
    """``time.monotonic()`` seconds."""
    optional: bool = False
    """The caller does without an answer as well, and waits for less time than the CRM may take: that none
    came until then tells nothing about the CRM."""

    @classmethod
    def after(cls, seconds: float, *, optional: bool = False) -> Deadline:
        return cls(time.monotonic() + seconds, optional)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``check``: what was looked at, whether it is well, and what to do if it is not."""

    subject: str
    ok: bool
    detail: str
    remedy: str = ""
    warning: bool = False
    """It works, but somebody should look; only where it is ``ok``."""


class Backend(Protocol):
    """What every driver has, whatever ports it implements."""

    name: str
    capabilities: Mapping[str, Capability]
    reconciliation: Reconciliation

    async def open(self) -> None:
        """Prepare connections. Must not fail because the CRM is down."""

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        """Reach the CRM and prove the credentials, changing nothing."""


@runtime_checkable
class ChecksPartnerFiles(Protocol):
    """A driver that runs files written by the partner; a file may have an error that no retry cures."""

    async def misfits(self) -> Sequence[Finding]:
        """What in these files can never work; the adapter does not start with that.

        Where the CRM does not answer now, only what can be told without it.
        """


@runtime_checkable
class MayComputePoints(Protocol):
    """A driver that runs a partner's file for each credit. The file may compute points of its own."""

    @property
    def computes_in(self) -> str | None:
        """The file, if it does not use the points that were asked for; ``None``: it uses them."""


@runtime_checkable
class ForeseesCredits(Protocol):
    """A driver that may know, without asking its CRM, that a credit like this is never taken."""

    def foreseen(self, credit: Credit) -> str | None:
        """Why it is never taken; ``None``: nothing speaks against it before the CRM is asked."""


@runtime_checkable
class ForgetsPeople(Protocol):
    """A driver whose tables we keep ourselves, so that it can show and remove a person."""

    @property
    def keeps_people(self) -> bool:
        """Whether that is so with these settings; a partner's own tables are the partner's to clean."""

    async def kept_of(
        self, customer_id: str, *, deadline: Deadline
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Every row of this customer, per table. Raises ``BackendError``."""

    async def forget(self, customer_id: str, *, deadline: Deadline) -> None:
        """Remove who the customer is; what balances are made of stays. Raises ``BackendError``."""


@runtime_checkable
class KeepsTables(Protocol):
    """A driver that makes the CRM's tables itself."""

    async def prepare(self) -> Sequence[str]:
        """Make the tables, or bring them up to date.

        Returns the schemas in the adapter's own database in which they are: the role that serves has to read
        and write there. Raises ``BackendError``.
        """


@runtime_checkable
class TellsStanding(Protocol):
    """A driver that can tell cheaply whether its CRM can be used just now; ``check`` looks at more."""

    async def standing(self) -> Sequence[Finding]:
        """As ``check``, but it may be asked every minute."""


@runtime_checkable
class TakesNewSecrets(Protocol):
    """A driver whose secrets may change while it is at work."""

    def renew(self, settings: BaseModel) -> bool:
        """Use the secrets of these settings of its own from now on.

        False, and nothing is changed, where they differ in more than secrets, which needs a restart.
        """


@runtime_checkable
class NoticesAbsence(Protocol):
    """A driver that stops calling a CRM for some seconds after it did not answer."""

    @property
    def paused(self) -> bool:
        """Whether no calls are made just now (the breaker is open)."""


@runtime_checkable
class TellsLoad(Protocol):
    """A driver that bounds the calls at once, and knows how many there are."""

    @property
    def under_way(self) -> int:
        """Calls the CRM has not answered yet."""

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""


@runtime_checkable
class LimitsKeys(Protocol):
    """A driver whose CRM takes shorter keys than ``KEY_LENGTH``."""

    @property
    def key_length(self) -> int:
        """Characters, at least 16."""


@runtime_checkable
class RepeatsHarmlessly(Protocol):
    """A driver with writes that have no second effect where a look-up finds nothing and they are sent again.

    Something in the CRM is unique there (an identifier, a coupon that is used once), so that for these
    operations nobody needs proof that the CRM finds what it was given.
    """

    @property
    def harmless_again(self) -> frozenset[str]:
        """Operations, as in ``OPERATIONS``."""


@runtime_checkable
class Users(Protocol):
    finds_by_email: bool
    """False where the CRM cannot be asked for an e-mail: the adapter then remembers those of its holders."""

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[Customer]:
        """Customers whose phone OR e-mail matches.

        ``birth_date`` is passed for CRMs that insist on it; it never identifies alone. E-mails compare
        case-insensitively.
        """

    async def get(self, customer_id: str, *, deadline: Deadline) -> Customer | None: ...

    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Create a customer; ``crm_reference`` of the result is its identifier.

        Registering a phone that already has a customer is DONE with that customer where the CRM can
        tell, else REFUSED with CONFLICT.
        """

    async def update(self, customer: str, profile: Profile, *, deadline: Deadline) -> Written:
        """Set the given fields of a customer; the write is idempotent."""

    async def set_consents(
        self, customer: str, consents: ChannelConsents, *, deadline: Deadline
    ) -> Written: ...

    def list_phones(self) -> AsyncIterator[Sequence[str]]:
        """All customers' phones (E.164), in batches, without holding them in memory."""

    def list_users(self) -> AsyncIterator[Sequence[ListedPhone]]:
        """The same with whatever else the partner selects about each."""


@runtime_checkable
class FindsByCard(Protocol):
    """A Users driver whose CRM can be asked for a card number (``users.find_by_card``)."""

    @property
    def find_tells_card_state(self) -> bool:
        """Whether ``find`` and ``get`` tell the state of the card they tell (``Customer.card_state``)."""

    async def find_by_card(self, number: str, *, deadline: Deadline) -> CrmCard | None:
        """What the CRM knows of this number; ``None``: nothing."""


@runtime_checkable
class KeepsCards(Protocol):
    """A Users driver whose CRM is told which card a customer has got here (``users.set_card``)."""

    async def set_card(
        self,
        customer: str,
        number: str,
        barcode: str,
        barcode_type: str,
        *,
        replaces: str | None,
        idempotency_key: str,
        deadline: Deadline,
    ) -> Written:
        """Note number and barcode of a customer's card, so that a till finds the customer by scanning it.

        The same card again changes nothing, so a doubt is reconciled by sending it again. REFUSED with
        CONFLICT, and nothing is changed, where the number is another customer's, or the customer has another
        card than ``replaces``: what the CRM itself has decided meanwhile is not overwritten by a call that
        comes late.
        """


@runtime_checkable
class Points(Protocol):
    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The id under which this CRM keeps the holder's points; ``None`` when it knows none.

        Raises ``HolderUnnamed`` where the profile lacks what it would have to be asked by.
        """

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """The points on an account. Raises ``AccountUnknown`` where the CRM knows no such account."""

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """Movements, newest first."""

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Purchase lines of whole days, both ends included, newest first."""

    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Put points on an account. ``idempotency_key`` is ours, stable across attempts, and never repeats.

        REFUSED with KEY_TAKEN where the CRM knows the key with another account or amount: what
        comes back under a key is compared with what was asked. So everywhere an ``idempotency_key`` is given.
        """


@runtime_checkable
class NamesAccounts(Protocol):
    """A driver whose account ids are phones or e-mails, which may pass to another person."""

    def account_name(self, holder: Holder) -> str | None:
        """The id of this holder's account by today's profile; the CRM is not asked.

        Raises ``HolderUnnamed`` as ``points_account`` does.
        """


@runtime_checkable
class Coupons(Protocol):
    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The id under which this CRM keeps the holder's coupons, as ``points_account``."""

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]: ...

    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Give the holder the coupons of an occasion: a visit, a receipt, a campaign."""

    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Use a promo code for the holder. ``idempotency_key`` is ours and stable across attempts."""


# What a driver rated PROBE or COMPARE has besides, one for each kind of write that may end as UNKNOWN. The
# answer is DONE (it happened), NOT_SENT (it certainly did not, and may be sent again), REFUSED with
# KEY_TAKEN (something else happened under the key) or UNKNOWN (nobody can tell, so a person
# has to).


@runtime_checkable
class ReconcilesRegistration(Protocol):
    async def reconcile_register(
        self, profile: Profile, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """What became of a registration; ``crm_reference`` of a DONE is the customer."""


@runtime_checkable
class ReconcilesCredit(Protocol):
    async def reconcile_credit(
        self,
        account: str,
        credit: Credit,
        *,
        idempotency_key: str,
        since: datetime,
        before: Balance | None,
        deadline: Deadline,
    ) -> Written:
        """What became of a credit that was sent at ``since`` (aware).

        ``before`` is the balance just before it was sent, read under a lock on the account, where the
        driver is rated COMPARE; else ``None``.
        """


@runtime_checkable
class ReconcilesRedeem(Protocol):
    async def reconcile_redeem(
        self, account: str, code: str, *, idempotency_key: str, since: datetime, deadline: Deadline
    ) -> Written:
        """What became of the use of a code that was sent at ``since`` (aware)."""
