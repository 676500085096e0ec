"""What the console asks of the rest of the adapter. ``adapter.store`` implements most of it.

Every method raises ``StoreUnavailable`` when the database does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TextIO

from adapter.delivery.ports import Review
from adapter.loyalty.model import Card, OperationKind, OperationState
from adapter.loyalty.observed import Observed
from adapter.loyalty.personal_data import PersonalData
from adapter.loyalty.ports import OperationReader, Visibility, VisibilityBook, Waiting
from adapter.loyalty.programme import Programme
from adapter.loyalty.review import AuditAction, AuditEntry, Event, Item
from adapter.loyalty.stock import Brought, Stock
from adapter.ops.crm_watch import Standing
from adapter.ops.metrics import Counted
from adapter.settings import Person, Settings
from crm_backends.ports import Finding


class AuditBook(Protocol):
    """Who did what in the console; nothing is ever taken out by it."""

    async def note(
        self,
        who: str,
        action: AuditAction,
        *,
        operation_id: int | None = None,
        card_number: str | None = None,
        note: str | None = None,
    ) -> None: ...

    async def latest(self, limit: int, *, before: int | None = None) -> Sequence[AuditEntry]:
        """Newest first; ``before``: only those with a lower number."""


class PeopleBook(Protocol):
    """Who may log in beside the people of the settings."""

    async def people(self) -> Sequence[Person]: ...


class ReviewBoard(Review, Protocol):
    """Operations as people look at them, and what they decide."""

    async def held(self, kind: OperationKind | None, limit: int, *, after: int = 0) -> list[Item]: ...

    async def newest(
        self,
        *,
        state: OperationState | None,
        kind: OperationKind | None,
        card: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[Item]: ...

    async def show(self, operation_id: int) -> tuple[Item, list[Event]] | None: ...

    def some(self, operation_ids: Sequence[int]) -> AsyncIterator[list[Item]]: ...

    async def of_receipt(self, fiscal_drive: str, document: str, sign: str) -> list[Item]:
        """Operations of this receipt, newest first."""

    async def decisions(self, limit: int) -> list[tuple[int, Event]]:
        """What people decided last, newest first, each with the operation's number."""


class CardEventLike(Protocol):
    """Something that happened to a card; ``who`` is ``None`` where the users CRM said so."""

    @property
    def at(self) -> datetime: ...
    @property
    def who(self) -> str | None: ...
    @property
    def event(self) -> str: ...
    @property
    def note(self) -> str | None: ...


class CardDecisions(Protocol):
    """Cards as people look at them."""

    async def get(self, number: str) -> Card | None: ...

    async def block(self, number: str, *, by: str, note: str | None) -> Card | None:
        """Block a card that is in somebody's hands; ``None`` when there is no such card."""

    async def unblock(self, number: str, *, by: str, note: str | None) -> Card | None:
        """Give a blocked card back the state it had; ``None`` when there is no such card."""

    async def of_customers(self, users_references: Sequence[str]) -> Sequence[Card]: ...

    async def events(self, number: str) -> Sequence[CardEventLike]: ...

    async def since(self, number: str) -> tuple[datetime, datetime | None] | None:
        """When a card was entered, and when it was issued."""


class Looks(Protocol):
    """How everything is looked at. Nothing is changed by it."""

    async def findings(self) -> Sequence[Finding]:
        """Settings, database, every CRM, and what the CRMs have proved."""

    async def contract(self) -> Finding:
        """Whether our own answers keep the contract, by the suite's read profile."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the pages show and change."""

    programme: Programme
    crm_of: Callable[[OperationKind], str]
    """Driver of the CRM that is told of operations of this kind; empty: none is."""
    review: ReviewBoard
    cards: CardDecisions
    operations: OperationReader
    visibility: VisibilityBook
    audit: AuditBook
    people: PeopleBook
    personal_data: PersonalData
    count: Callable[[], Counted]
    waiting: Callable[[], Awaitable[Sequence[Waiting]]]
    standings: Callable[[], Mapping[str, Standing]]
    shown: Callable[[], Awaitable[Mapping[OperationKind, Visibility]]]
    stock: Callable[[], Awaitable[Stock]]
    """Numbers that are left for new cards."""
    bring: Callable[[TextIO, Brought], Awaitable[None]]
    """Imports the lines of a file, and tells how far it is."""
    observed: Callable[[], Awaitable[Sequence[Observed]]]
    """What Koshelek sends that no setting names."""
    looks: Looks | None
    """``None``: this process cannot look."""
    database_problem: Callable[[], Awaitable[str | None]]

    @property
    def settings(self) -> Settings:
        return self.programme.settings
