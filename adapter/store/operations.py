"""The operations ledger in PostgreSQL: record, mark as sent, finish, wait.

An operation and its delivery job are written by one statement. Calls that arrive while one is under
way share the next: that is what makes recording before answering affordable.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Protocol, TypeAlias

import asyncpg

from adapter.errors import Code
from adapter.loyalty.model import (
    DONE_TWICE,
    NewOperation,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.ports import StoreUnavailable
from adapter.store.identities import PERSONAL, Identities
from adapter.store.ledger_sql import (
    AGAIN,
    BEGIN,
    BY_IDS,
    CONTROL_OPERATION,
    DROP_LEASE,
    END,
    ENDED_BY_IDS,
    EXPLAIN,
    FOUND_TWICE,
    KEEP_LEASE,
    LEASE,
    LIVE_BY_IDENTITY,
    LOOKED,
    RECORD,
    RETIRE,
    WRITTEN_SINCE,
)
from adapter.store.operation_rows import balance_json, json_text, new_json, operation_of, recorded
from adapter.store.pool import Gateway
from adapter.store.waiting import Waiters
from crm_backends.batching import Batched
from crm_backends.model import Balance

_FOR_EVER = 10 * 365 * 86_400.0  # seconds
_MAX_TOGETHER = 100

_Identity: TypeAlias = tuple[OperationKind, str]


def _identity(new: NewOperation) -> _Identity:
    return new.kind, new.identity


@dataclass(frozen=True, slots=True)
class _Sending:
    """An operation that is about to be sent."""

    operation_id: int
    resendable: tuple[OperationKind, ...]
    before: Balance | None


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an attempt ended."""

    operation: Operation
    state: OperationState
    code: Code | None
    points: Decimal | None
    crm_reference: str | None
    message: str | None
    reason: str | None
    nobody: bool
    known_by_key: bool
    detail: str | None

    def to_json(self) -> dict[str, object]:
        """As the statement takes it."""
        return {
            "operation_id": self.operation.id,
            "attempt": self.operation.attempt,
            "state": self.state,
            "code": self.code,
            "points": self.points,
            "crm_reference": self.crm_reference,
            "message": self.message,
            "reason": self.reason,
            "nobody": self.nobody,
            "known_by_key": self.known_by_key,
            "detail": self.detail,
        }

    def ended(self, row: asyncpg.Record) -> Operation:
        """The operation as it stands now."""
        return replace(
            self.operation,
            state=self.state,
            code=self.code,
            points=self.points,
            crm_reference=self.crm_reference,
            message=self.message,
            finished_at=row["finished_at"],
            doubted=row["doubted"],
            read_at=row["read_at"],
        )


class DeliveryPlace(Protocol):
    """Room for one delivery in this process, kept from before its operation is recorded."""

    def deliver(self, operation: Operation, job_id: int) -> None:
        """The operation is recorded as sent, and its job as picked: send it."""

    def give_back(self) -> None:
        """Nothing is to be delivered."""


FindPlace = Callable[[OperationKind], Awaitable[DeliveryPlace | None]]
"""Room for a new operation of this kind, if it is to be delivered by this process and at once."""


async def _no_place(_: OperationKind) -> None:
    return None


class PostgresLedger:
    """Implements ``adapter.loyalty.ports.OperationLedger`` and ``adapter.delivery.ports.DeliveryLedger``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.find_place: FindPlace = _no_place
        # A batch is one transaction: where one item fails it, nothing of it has happened.
        self._recording = Batched(
            self._record_batch, most=_MAX_TOGETHER, lanes=1, errors_for_whole_batch=(StoreUnavailable,)
        )
        self._beginning = Batched(
            self._mark_sent, most=_MAX_TOGETHER, lanes=1, errors_for_whole_batch=(StoreUnavailable,)
        )
        self._ending = Batched(
            self._write_endings, most=_MAX_TOGETHER, lanes=1, errors_for_whole_batch=(StoreUnavailable,)
        )
        self._waiters = Waiters(functools.partial(self._read, ENDED_BY_IDS))
        self._identities = Identities(gateway)

    async def record(self, new: NewOperation) -> tuple[Operation, bool]:
        if new.kind in PERSONAL:
            new = replace(new, identity=await self._identities.kept(new.identity))
        return await self._recording(new)

    async def _record_batch(self, news: Sequence[NewOperation]) -> list[tuple[Operation, bool]]:
        # In one order everywhere, or two batches that share receipts would wait for each other.
        by_identity = {(new.kind, new.identity): new for new in sorted(news, key=_identity)}
        places: dict[_Identity, DeliveryPlace] = {}
        try:
            for key, new in by_identity.items():
                if (place := await self.find_place(new.kind)) is not None:
                    places[key] = place
            async with self.gateway.connection() as connection:
                rows = await connection.fetch(
                    RECORD, json_text([new_json(new, sent=key in places) for key, new in by_identity.items()])
                )
                inserted = {}
                for row in rows:
                    key = OperationKind(row["kind"]), row["identity"]
                    kept = places.pop(key, None)
                    inserted[key] = recorded(by_identity[key], row, sent=kept is not None)
                    if kept is not None:
                        kept.deliver(inserted[key], row["job_id"])
                missing = by_identity.keys() - inserted.keys()
                known: dict[_Identity, Operation] = {}
                if missing:
                    rows = await connection.fetch(LIVE_BY_IDENTITY, *map(list, zip(*missing, strict=True)))
                    known = {(row["kind"], row["identity"]): operation_of(row) for row in rows}
        finally:
            for place in places.values():
                place.give_back()
        results = []
        for new in news:
            key = _identity(new)
            if (operation := inserted.pop(key, None)) is not None:
                known[key] = operation
                results.append((operation, True))
            elif key in known:
                results.append((known[key], False))
            else:  # it lost its identity between the two statements; now it is free
                results.extend(await self._record_batch([new]))
        return results

    async def retire(self, operation: Operation) -> bool:
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                RETIRE,
                operation.id,
            )
        return bool(tag == "UPDATE 1")

    async def get(self, operation_id: int) -> Operation | None:
        return next(iter(await self._read(BY_IDS, [operation_id])), None)

    async def _read(self, statement: str, operation_ids: Sequence[int]) -> list[Operation]:
        async with self.gateway.connection() as connection:
            rows = await connection.fetch(statement, list(operation_ids))
        return [operation_of(row) for row in rows]

    async def begin(
        self,
        operation_id: int,
        *,
        resendable: Sequence[OperationKind] = (),
        before: Balance | None = None,
    ) -> Operation | None:
        """Mark an operation as sent, before the call. ``None``: it is not to be sent.

        ``before`` is kept for a reconciliation by comparing. ``resendable``: kinds whose CRM honours our key,
        so that an unknown outcome is reconciled by sending the same write again.
        """
        return await self._beginning(_Sending(operation_id, tuple(resendable), before))

    async def _mark_sent(self, sendings: Sequence[_Sending]) -> list[Operation | None]:
        async with self.gateway.connection() as connection:
            rows = await connection.fetch(
                BEGIN,
                [sending.operation_id for sending in sendings],
                [balance_json(sending.before) if sending.before else None for sending in sendings],
                [",".join(sending.resendable) for sending in sendings],
            )
        # Taken out one by one: of two that begin the same operation only one may send it.
        begun = {row["id"]: operation_of(row) for row in rows}
        return [begun.pop(sending.operation_id, None) for sending in sendings]

    async def lease(
        self, operation: Operation, account: str, seconds: float, longest: float = float("inf")
    ) -> bool:
        """Take the account for this operation alone; ``False``: another one has it.

        ``longest``: seconds for which any is ever kept; one that lasts longer was taken before the database's
        clock was put back.

        The lease ends with ``release``, or after ``seconds`` should its holder be gone; but never while the
        operation may have been done, for nothing else may touch the balance before that is reconciled.
        """
        async with self.gateway.connection() as connection:
            row = await connection.fetchrow(
                LEASE,
                account,
                operation.id,
                timedelta(seconds=seconds),
                timedelta(seconds=min(longest, _FOR_EVER)),
            )
        return row is not None

    async def release(self, operation: Operation, keep: float = 0.0) -> bool:
        """Give up the lease the operation may have, unless another attempt of it is under way.

        ``keep``: seconds for which nobody else may have the account yet. Returns whether it had the lease:
        nobody else has had the account since.
        """
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                KEEP_LEASE if keep else DROP_LEASE,
                operation.id,
                *([timedelta(seconds=keep)] if keep else []),
            )
        return tag in ("UPDATE 1", "DELETE 1")

    async def again(self, operation: Operation, detail: str | None = None) -> bool:
        """Put an operation that certainly was not done back to recorded.

        ``detail``: why it was not, in words of ours that quote nothing.
        """
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                AGAIN,
                operation.id,
                operation.attempt,
                detail,
            )
        return bool(tag == "UPDATE 1")

    async def explain(self, operation: Operation, detail: str) -> None:
        """Note why an operation is not sent yet, in words of ours that quote nothing."""
        async with self.gateway.connection() as connection:
            await connection.execute(
                EXPLAIN,
                operation.id,
                detail,
            )

    async def control_operation(self, kind: OperationKind, older: float) -> Operation | None:
        """One of the last operations of this kind that the CRM confirmed, at least ``older`` seconds ago."""
        async with self.gateway.connection() as connection:
            row = await connection.fetchrow(CONTROL_OPERATION, kind, timedelta(seconds=older))
        return operation_of(row) if row else None

    async def written_since(self, operation: Operation) -> bool:
        """Whether the CRM has answered a write of this kind that was sent after this operation was."""
        async with self.gateway.connection() as connection:
            found = await connection.fetchval(WRITTEN_SINCE, operation.kind, operation.sent_at)
        return bool(found)

    async def looked(
        self, operation: Operation, *, answered: bool, unbroken: bool, detail: str | None = None
    ) -> Operation | None:
        """Note that a doubt was looked for; ``None``: it is none any more, or a later attempt's.

        ``answered``: the CRM did, and it was not there. ``unbroken``: the CRM has answered ever since it was
        looked for before.
        """
        async with self.gateway.connection() as connection:
            row = await connection.fetchrow(
                LOOKED, operation.id, operation.attempt, answered, unbroken, detail
            )
        return operation_of(row) if row else None

    async def found_twice(self, operation: Operation, entries: Sequence[str]) -> bool:
        """An operation that is done was found in the CRM more than once: it waits for a person now."""
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                FOUND_TWICE,
                operation.id,
                DONE_TWICE,
                ", ".join(entries),
            )
        return bool(tag == "UPDATE 1")

    async def end(
        self,
        operation: Operation,
        state: OperationState,
        *,
        code: Code | None = None,
        points: Decimal | None = None,
        crm_reference: str | None = None,
        message: str | None = None,
        reason: str | None = None,
        nobody: bool = False,
        known_by_key: bool = False,
        detail: str | None = None,
    ) -> Operation | None:
        """Write how this attempt ended; ``None`` when a later attempt has taken over.

        ``reason``: why it waits for a person, one of a few. ``detail``: what the driver said; both in words
        of ours that quote nothing. ``nobody``: it is refused because the CRM knows no such customer.
        ``known_by_key``: should it come again, and have been done, the CRM would know it by its key.
        """
        ended = await self._ending(
            _Ending(
                operation,
                state,
                code,
                points,
                crm_reference,
                message,
                reason,
                nobody,
                known_by_key,
                detail,
            )
        )
        if ended is not None:
            self._waiters.tell(ended)
        return ended

    async def _write_endings(self, endings: Sequence[_Ending]) -> list[Operation | None]:
        async with self.gateway.connection() as connection:
            rows = await connection.fetch(
                END,
                json_text([ending.to_json() for ending in endings]),
                [ending.operation.id for ending in endings],
            )
        # Taken out one by one, as they were begun.
        ended = {(row["id"], row["attempt"]): row for row in rows}
        return [
            None
            if (row := ended.pop((ending.operation.id, ending.operation.attempt), None)) is None
            else ending.ended(row)
            for ending in endings
        ]

    async def wait(self, operation: Operation, seconds: float) -> Operation:
        return await self._waiters.wait(operation, seconds)
