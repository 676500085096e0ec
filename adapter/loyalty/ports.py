"""What the use cases ask of the adapter's own database. ``adapter.store`` implements it."""

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
        """Make a card the customer's, or return the one they have.

        With a number: that reserved or ownerless card. Without: the next free number. Raises ``Refused``
        with NOT_RESERVED, RESERVATION_EXPIRED, NUMBER_USED, HAS_ANOTHER_CARD, CARD_BLOCKED or NO_NUMBERS.
        """

    async def release(self, number: str) -> None:
        """Put a reserved number back among the free ones."""

    async def adopt(self, entry: Entry) -> Card | None:
        """Enter a card that the CRM keeps; ``None`` when the number is somebody's here.

        A customer who has a card keeps it: that one is returned.
        """

    async def set_aside(self, number: str) -> None:
        """Take a free or reserved number, which is somebody's in the CRM, out of circulation."""

    async def follow(self, number: str, state: CrmCardState) -> Card | None:
        """Block a card, make it inactive, or undo either, as the CRM says.

        What a person blocked here stays blocked. Returns the card as it is then.
        """

    async def replace(self, number: str, entry: Entry, *, by: str | None, note: str | None) -> Card | None:
        """Put another number in the place of a card: its owner, accounts and consents go along.

        ``by``: the person who decides; ``None``: the CRM says so, and then a block by a person stays on.
        Returns the new card; ``None`` when the old one is in nobody's hands or the new one in somebody's.
        """

    async def owners(self, *, after: str, limit: int) -> Sequence[str]:
        """References of customers who own a card, in the order of the references, those after ``after``."""

    async def remember_account(self, number: str, port: Port, reference: str) -> None:
        """Note under which reference another CRM keeps the owner of this card."""


class Finder(Protocol):
    """People with their cards. A CRM and the registry in one database can be asked in one go."""

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[tuple[Customer, Card | None]]:
        """Customers whose phone (E.164) or e-mail matches, each with the card of the registry."""


class EmailBook(Protocol):
    """For a users CRM that cannot be asked for an e-mail: those of the holders. E-mails are in lower case."""

    async def owner(self, email: str) -> str | None:
        """The customer (reference of the users CRM) with this e-mail."""

    async def note(self, users_reference: str, email: str) -> None:
        """This is the customer's e-mail from now on, unless it is another's."""


class ConsentBook(Protocol):
    async def record(self, number: str, consents: ChannelConsents) -> None:
        """Set the channels named; leave the others as they were."""


class BalanceBook(Protocol):
    def note(self, number: str, balance: Balance) -> None:
        """Keep what the CRM just told of a card; never fails and does not wait."""

    async def last_known(self, number: str, seconds: float) -> Balance | None:
        """What was told last of a card, if that is at most ``seconds`` ago."""


class OperationReader(Protocol):
    async def get(self, operation_id: int) -> Operation | None: ...


class OperationLedger(Protocol):
    async def record(self, new: NewOperation) -> tuple[Operation, bool]:
        """Record the operation and its delivery durably, or find the living one with its identity.

        Returns it and whether it is new. Nothing has been answered before this returns.
        """

    async def retire(self, operation: Operation) -> bool:
        """Free the identity of an operation that has ended, so that it may be recorded anew."""

    async def wait(self, operation: Operation, seconds: float) -> Operation:
        """The operation as it stands once it is final or held, at the latest after ``seconds``."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of a kind are in a state, of the 10,000 oldest in it."""

    kind: OperationKind
    state: OperationState
    count: int
    oldest_seconds: float
    """Seconds since the oldest of them was recorded."""


class Proof(enum.StrEnum):
    """Whether a CRM has shown that it finds what it was given, so that "not found" means something."""

    NOT_PROVED = "not_proved"
    """It has not yet: a doubt that is not found waits."""
    PROVED = "proved"
    """It has: a doubt that is not found, for long enough, may be sent again."""
    REFUTED = "refuted"
    """Something that was certainly done was not found: a doubt that is not found waits for a person."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """How soon a CRM shows what it has done, as far as it was tried out (the positive control)."""

    proof: Proof = Proof.NOT_PROVED
    worst_seconds: float = 0.0
    """The longest it took; 0: it was there at the first look."""
    found: int = 0
    """How often something done was looked for and found."""
    proved_at: datetime | None = None
    """When that was last."""
    looked_at: datetime | None = None
    changed_at: datetime | None = None
    """Since when the proof stands as it does."""


class VisibilityBook(Protocol):
    """What all processes know together of how soon the CRMs show what they have done."""

    async def known(self) -> Mapping[OperationKind, Visibility]:
        """Of each kind whose CRM has shown anything."""

    async def found(self, kind: OperationKind, seconds: float) -> Visibility:
        """Something that was done was found ``seconds`` later; 0: at the first look."""

    async def missing(self, kind: OperationKind, seconds: float) -> Visibility:
        """Something that was done was not there ``seconds`` later: it takes at least as long."""

    async def not_found(self, kind: OperationKind) -> Visibility:
        """Something that was done was not found, however long it was looked for."""
