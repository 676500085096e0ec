"""What the use cases ask of the adapter's own database. ``adapter.store`` implements it.

It may not know SQL.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

from adapter.loyalty.model import Card, Entry, NewOperation, Operation, OperationKind, OperationState
from crm_backends.model import Balance, ChannelConsents, CrmCardState, Customer
from crm_backends.ports import Deadline

Port = Literal["points", "coupons"]


class StoreUnavailable(Exception):
    """The adapter's database does not answer."""


class StoreBusy(StoreUnavailable):
    """No connection to the adapter's database was free in time."""


class CardRegistry(Protocol):
    """Every card number the adapter knows. All methods raise ``StoreUnavailable``."""

    async def get(self, number: str) -> Card | None: ...

    async def of_customers(self, users_references: Sequence[str]) -> Sequence[Card]:
        """Cards owned by any of these customers."""

    async def reserve(self) -> Card:
        """Take the next free number for ``cards.reservation`` seconds. Raises ``Refused(NO_NUMBERS)``."""

    async def issue(self, users_reference: str, number: str | None) -> Card:
        """Make a card the customer's, or return the card they have.

        With a number: that reserved or ownerless card. Without: the next free number. Raises ``Refused``
        with NOT_RESERVED, RESERVATION_EXPIRED, NUMBER_USED, HAS_ANOTHER_CARD, CARD_BLOCKED or NO_NUMBERS.
        """

    async def release(self, number: str) -> None:
        """Put a reserved number back among the free ones."""

    async def adopt(self, entry: Entry) -> Card | None:
        """Enter a card that the CRM keeps; ``None`` when the number is somebody's here.

        A customer who has a card keeps it, and that card is returned.
        """

    async def set_aside(self, number: str) -> None:
        """Never hand out this free or reserved number: it has an owner in the CRM."""

    async def follow(self, number: str, state: CrmCardState) -> Card | None:
        """Give a card the state that the CRM tells: blocked, inactive or active.

        A card that a person blocked here stays blocked. Returns the card as it is then.
        """

    async def replace(self, number: str, entry: Entry, *, by: str | None, note: str | None) -> Card | None:
        """Put another number in the place of a card: its owner, accounts and consents go along.

        ``by``: the person who decided. ``None``: the CRM did, and then a block by a person stays on. Returns
        the new card; ``None`` if the old card has no owner, or if the new number has one.
        """

    async def owners(self, *, after: str, limit: int) -> Sequence[str]:
        """Customers (ids of the users CRM) who own a card, sorted; only ids that sort after ``after``."""

    async def remember_account(self, number: str, port: Port, account: str) -> None:
        """Note the account that another CRM keeps for the owner of this card."""


class Finder(Protocol):
    """Finds people with their cards. A CRM and a registry in one database can be asked in one statement."""

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[tuple[Customer, Card | None]]:
        """Customers whose phone (E.164) or e-mail matches, each with the card of the registry."""


class EmailBook(Protocol):
    """E-mails of card holders, in lower case, for a users CRM that cannot be asked for an e-mail."""

    async def owner(self, email: str) -> str | None:
        """The customer (id of the users CRM) with this e-mail."""

    async def note(self, users_reference: str, email: str) -> None:
        """Note the customer's e-mail, unless another customer has it."""


class ContactClaims(Protocol):
    """Phones (E.164) and e-mails that customers are just being given, for a short while.

    Not every CRM refuses what another customer has, and a search may show late who has it: of several who
    ask for one at once, one gets it.
    """

    async def claim(self, contacts: Sequence[str], customer_id: str) -> bool:
        """Have all of them for this customer (id of the users CRM); ``False``: another is just getting one.

        What this customer claimed before is given up.
        """

    async def release(self, customer_id: str) -> None:
        """Give up what the customer has claimed: it was certainly not given."""

    async def are_claimed(self, contacts: Sequence[str]) -> bool:
        """Whether somebody is just getting one of them."""


class ConsentBook(Protocol):
    async def record(self, number: str, consents: ChannelConsents) -> None:
        """Set the channels named; leave the others as they were."""


class BalanceBook(Protocol):
    def note(self, number: str, balance: Balance) -> None:
        """Keep the balance that the CRM just told; never fails and does not wait."""

    async def last_known(self, number: str, seconds: float) -> Balance | None:
        """The last balance the CRM told for a card, if that was at most ``seconds`` ago."""

    async def ever_told(self, number: str) -> Balance | None:
        """The last balance the CRM told for a card, however long ago. Raises ``StoreUnavailable``."""


class OperationReader(Protocol):
    async def get(self, operation_id: int) -> Operation | None: ...


class OperationLedger(Protocol):
    async def record(self, new: NewOperation) -> tuple[Operation, bool]:
        """Record the operation and its job durably, or find the recorded operation with the same identity.

        Returns the operation and whether it is new. The caller of the API is answered only after this.
        """

    async def retire(self, operation: Operation) -> bool:
        """Free the identity of an operation that has ended, so that it may be recorded anew."""

    async def wait(self, operation: Operation, seconds: float) -> Operation:
        """The operation once it is final or waits for a person, at the latest after ``seconds``."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many operations of a kind are in a state, counted among the 10,000 oldest of that state."""

    kind: OperationKind
    state: OperationState
    count: int
    oldest_seconds: float
    """Seconds since the oldest of them was recorded."""


class Proof(enum.StrEnum):
    """Whether a CRM has shown that it finds what it was given, so that "not found" means something."""

    NOT_PROVED = "not_proved"
    """Not yet: a doubt that is not found waits."""
    PROVED = "proved"
    """The CRM has found what it was given: a doubt that stays missing long enough may be sent again."""
    REFUTED = "refuted"
    """The CRM did not find a write it had confirmed: a doubt that is not found waits for a person."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """How soon a CRM's history shows its writes, as far as that was tried."""

    proof: Proof = Proof.NOT_PROVED
    worst_seconds: float = 0.0
    """The longest it took until a write was shown; 0: always at the first look."""
    found: int = 0
    """How often a confirmed write was looked for and found."""
    proved_at: datetime | None = None
    """When a confirmed write was last found."""
    changed_at: datetime | None = None
    """When ``proof`` last changed."""


class VisibilityBook(Protocol):
    """What all processes together know of how soon the CRMs show their writes."""

    async def known(self) -> Mapping[OperationKind, Visibility]:
        """What is known, for each kind of operation that was ever looked for."""

    async def found(self, kind: OperationKind, seconds: float) -> Visibility:
        """A confirmed write was found ``seconds`` after it was confirmed; 0: at the first look."""

    async def missing(self, kind: OperationKind, seconds: float) -> Visibility:
        """A confirmed write was not shown yet, ``seconds`` after it was confirmed."""

    async def not_found(self, kind: OperationKind) -> Visibility:
        """A confirmed write was not found within ``delivery.proof_patience``."""
