"""The operations ledger in PostgreSQL: record, mark as sent, finish, wait.

An operation and its delivery job are written in one transaction. Calls that arrive while one is under
way share the next: that is what makes recording before answering affordable.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import asyncpg

from adapter.errors import Code
from adapter.loyalty.model import (
    DONE_TWICE,
    FINAL,
    FOR_A_PERSON,
    NewOperation,
    Operation,
    OperationKind,
    OperationState,
    former_key,
)
from adapter.loyalty.ports import StoreUnavailable
from adapter.store.batching import Together
from adapter.store.pool import Gateway
from adapter.store.queue import enqueue
from crm_backends.model import Balance

_COLUMNS = (
    "id, kind, identity, card_number, fingerprint, request, state, attempt, recorded_at, sent_at, "
    "finished_at, code, points, crm_reference, message, before, requeued_at, doubted, reference, looked_at, "
    "answering_since"
)

_INSERT = """
    INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request, reference)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[])
    ON CONFLICT (kind, identity) WHERE live DO NOTHING
    RETURNING kind, identity, id, recorded_at
"""

_LIVING = f"""
    SELECT {_COLUMNS}, now() AS read_at FROM koshelek.operations
     WHERE live AND (kind, identity) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""  # noqa: S608

_BY_IDS = f"SELECT {_COLUMNS}, now() AS read_at FROM koshelek.operations WHERE id = ANY($1)"  # noqa: S608

_QUALIFIED = ", ".join(f"operation.{column}" for column in _COLUMNS.split(", "))

_BEGIN = f"""
    UPDATE koshelek.operations AS operation
       SET state = 'sent', attempt = attempt + 1, begun = attempt + 1, sent_at = now(),
           before = begun.balance, looked_at = NULL, answering_since = NULL
      FROM unnest($1::bigint[], $2::jsonb[], $3::text[]) AS begun (operation_id, balance, resendable)
     WHERE operation.id = begun.operation_id
       AND (state = 'recorded'
            OR (state = 'unknown' AND kind = ANY(string_to_array(begun.resendable, ','))))
       -- What is to be compared needs its account for itself, also if we slept since the lease was taken.
       AND (begun.balance IS NULL OR EXISTS (
               SELECT FROM koshelek.account_leases AS lease
                WHERE lease.operation_id = operation.id AND lease.until > now()
           ))
    RETURNING {_QUALIFIED}, now() AS read_at
"""  # noqa: S608

_END = f"""
    UPDATE koshelek.operations AS operation
       SET state = ended.state, code = ended.code, points = ended.points,
           crm_reference = ended.crm_reference, message = ended.message, reason = ended.reason,
           detail = CASE WHEN ended.state <> 'done' THEN coalesce(ended.detail, operation.detail) END,
           finished_at = CASE WHEN ended.state IN ('done', 'refused') THEN now() END,
           -- A registration needs no personal data once it is over.
           request = CASE WHEN kind = 'registration' AND ended.state IN ('done', 'refused')
                          THEN '{{}}' ELSE request END,
           -- A promo code or a person may come again; a receipt is refused for good, unless the CRM does not
           -- know its customer yet, and then only if no attempt of it can have got there.
           live = ended.state <> 'refused'
               OR (kind = 'receipt' AND (operation.doubted OR NOT ended.nobody))
      FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[],
                  $8::text[], $9::boolean[], $10::text[])
           AS ended (operation_id, attempt, state, code, points, crm_reference, message, reason, nobody,
                     detail)
     WHERE operation.id = ended.operation_id AND operation.attempt = ended.attempt
       -- What nobody has begun since may be held without being sent.
       AND (operation.state IN ('sent', 'unknown')
            OR (operation.state = 'recorded' AND ended.state = 'held'))
    RETURNING {_QUALIFIED}, now() AS read_at
"""  # noqa: S608

_LOOKED = f"""
    UPDATE koshelek.operations AS operation
       SET looked_at = now(), detail = coalesce($5, detail),
           answering_since = CASE WHEN $3 AND $4 THEN coalesce(answering_since, now()) WHEN $3 THEN now() END
     WHERE id = $1 AND attempt = $2 AND state = 'unknown'
    RETURNING {_QUALIFIED}, now() AS read_at
"""  # noqa: S608

_DROP_LEASE = """
    DELETE FROM koshelek.account_leases AS lease
     WHERE operation_id = $1 AND NOT EXISTS (
               SELECT FROM koshelek.operations AS operation
                WHERE operation.id = lease.operation_id AND operation.state IN ('sent', 'unknown')
           )
"""
_KEEP_LEASE = """
    UPDATE koshelek.account_leases AS lease SET until = now() + $2::interval
     WHERE operation_id = $1 AND NOT EXISTS (
               SELECT FROM koshelek.operations AS operation
                WHERE operation.id = lease.operation_id AND operation.state IN ('sent', 'unknown')
           )
"""

# The last few hundred operations tell enough, and are found by their ids.
_LATEST = f"(SELECT {_COLUMNS} FROM koshelek.operations ORDER BY id DESC LIMIT 500) AS latest"  # noqa: S608
_WITNESS = f"""
    SELECT {_COLUMNS}, now() AS read_at FROM {_LATEST}
     WHERE kind = $1 AND state = 'done' AND NOT doubted AND request <> '{{}}'
       AND finished_at < now() - $2::interval
     ORDER BY finished_at DESC LIMIT 1
"""  # noqa: S608
_WRITTEN_SINCE = f"""
    SELECT EXISTS (SELECT FROM {_LATEST}
                    WHERE kind = $1 AND state IN ('done', 'refused') AND NOT doubted AND sent_at > $2)
"""  # noqa: S608

_FOR_EVER = 10 * 365 * 86_400.0  # seconds
_MAX_TOGETHER = 100
_POLL = 0.05


def _recorded(new: NewOperation, row: asyncpg.Record) -> Operation:
    return Operation(
        id=row["id"],
        kind=new.kind,
        identity=new.identity,
        card_number=new.card_number,
        fingerprint=new.fingerprint,
        request=new.request,
        state=OperationState.RECORDED,
        attempt=0,
        recorded_at=row["recorded_at"],
        idempotency_key=new.idempotency_key,
        read_at=row["recorded_at"],
    )


def _operation(row: asyncpg.Record) -> Operation:
    kind = OperationKind(row["kind"])
    return Operation(
        id=row["id"],
        kind=kind,
        identity=row["identity"],
        card_number=row["card_number"],
        fingerprint=row["fingerprint"],
        request=json.loads(row["request"]),
        state=OperationState(row["state"]),
        attempt=row["attempt"],
        recorded_at=row["recorded_at"],
        idempotency_key=row["reference"] or former_key(kind, row["id"]),
        sent_at=row["sent_at"],
        finished_at=row["finished_at"],
        code=Code(row["code"]) if row["code"] else None,
        points=row["points"],
        crm_reference=row["crm_reference"],
        message=row["message"],
        before=_balance(row["before"]),
        requeued_at=row["requeued_at"],
        doubted=row["doubted"],
        looked_at=row["looked_at"],
        answering_since=row["answering_since"],
        read_at=row["read_at"],
    )


@dataclass(frozen=True, slots=True)
class _Begin:
    operation_id: int
    resendable: tuple[OperationKind, ...]
    before: Balance | None


@dataclass(frozen=True, slots=True)
class _End:
    operation: Operation
    state: OperationState
    code: Code | None
    points: Decimal | None
    crm_reference: str | None
    message: str | None
    reason: str | None
    nobody: bool
    detail: str | None


class PostgresOperations:
    """Implements ``adapter.loyalty.ports.OperationLedger``, and what delivery needs besides."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        # A batch is one transaction: where one item fails it, nothing of it has happened.
        self._recording = Together(
            self._record_together, most=_MAX_TOGETHER, lanes=1, everybodys=(StoreUnavailable,)
        )
        self._beginning = Together(
            self._begin_together, most=_MAX_TOGETHER, lanes=1, everybodys=(StoreUnavailable,)
        )
        self._ending = Together(
            self._end_together, most=_MAX_TOGETHER, lanes=1, everybodys=(StoreUnavailable,)
        )
        self._waiters: dict[int, set[asyncio.Future[Operation]]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def record(self, new: NewOperation) -> tuple[Operation, bool]:
        return await self._recording(new)

    async def _record_together(self, news: Sequence[NewOperation]) -> list[tuple[Operation, bool]]:
        # In one order everywhere, or two batches that share receipts would wait for each other.
        ordered = sorted(news, key=lambda new: (new.kind, new.identity))
        async with self.gateway.connection() as connection:
            async with connection.transaction():
                rows = await connection.fetch(
                    _INSERT,
                    [new.kind for new in ordered],
                    [new.identity for new in ordered],
                    [new.card_number for new in ordered],
                    [new.fingerprint for new in ordered],
                    [json.dumps(new.request) for new in ordered],
                    [new.idempotency_key for new in ordered],
                )
                inserted = {(row["kind"], row["identity"]): row for row in rows}
                if inserted:
                    await enqueue(connection, [row["id"] for row in rows])
            missing = [new for new in news if (new.kind, new.identity) not in inserted]
            known: dict[tuple[str, str], Operation] = {}
            if missing:
                rows = await connection.fetch(
                    _LIVING, [new.kind for new in missing], [new.identity for new in missing]
                )
                known = {(row["kind"], row["identity"]): _operation(row) for row in rows}
        results = []
        for new in news:
            key = (new.kind, new.identity)
            if (row := inserted.pop(key, None)) is not None:
                known[key] = _recorded(new, row)
                results.append((known[key], True))
            elif key in known:
                results.append((known[key], False))
            else:  # it lost its identity between the two statements; now it is free
                results.extend(await self._record_together([new]))
        return results

    async def retire(self, operation: Operation) -> bool:
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                "UPDATE koshelek.operations SET live = false WHERE id = $1 AND live AND state = 'done'",
                operation.id,
            )
        return bool(tag == "UPDATE 1")

    async def get(self, operation_id: int) -> Operation | None:
        async with self.gateway.connection() as connection:
            row = await connection.fetchrow(_BY_IDS, [operation_id])
        return _operation(row) if row else None

    async def begin(
        self,
        operation_id: int,
        *,
        resendable: Sequence[OperationKind] = (),
        before: Balance | None = None,
    ) -> Operation | None:
        """Mark an operation as sent, before the call. ``None``: it is not to be sent.

        ``before`` is kept for a reconciliation by comparing. ``resendable``: kinds whose CRM honours our
        reference, so that an unknown outcome is settled by sending the same write again.
        """
        return await self._beginning(_Begin(operation_id, tuple(resendable), before))

    async def _begin_together(self, begins: Sequence[_Begin]) -> list[Operation | None]:
        async with self.gateway.connection() as connection:
            rows = await connection.fetch(
                _BEGIN,
                [begin.operation_id for begin in begins],
                [_balance_json(begin.before) if begin.before else None for begin in begins],
                [",".join(begin.resendable) for begin in begins],
            )
        # Taken out one by one: of two that begin the same operation only one may send it.
        begun = {row["id"]: _operation(row) for row in rows}
        return [begun.pop(begin.operation_id, None) for begin in begins]

    async def lease(
        self, operation: Operation, account: str, seconds: float, longest: float = float("inf")
    ) -> bool:
        """Take the account for this operation alone; ``False``: another one has it.

        ``longest``: seconds for which any is ever kept; one that lasts longer was taken before the database's
        clock was put back.

        The lease ends with ``release``, or after ``seconds`` should its holder be gone; but never while the
        operation may have reached the CRM, for nothing else may touch the balance before that is settled.
        """
        async with self.gateway.connection() as connection:
            row = await connection.fetchrow(
                """
                INSERT INTO koshelek.account_leases AS lease (account, operation_id, until)
                VALUES ($1, $2, now() + $3::interval)
                ON CONFLICT (account) DO UPDATE
                   SET operation_id = EXCLUDED.operation_id, until = EXCLUDED.until
                 WHERE lease.operation_id = EXCLUDED.operation_id
                    OR ((lease.until < now() OR lease.until > now() + $4::interval) AND NOT EXISTS (
                           SELECT FROM koshelek.operations AS holder
                            WHERE holder.id = lease.operation_id AND holder.state IN ('sent', 'unknown')
                        ))
                RETURNING operation_id
                """,
                account,
                operation.id,
                timedelta(seconds=seconds),
                timedelta(seconds=min(longest, _FOR_EVER)),
            )
        return row is not None

    async def release(self, operation: Operation, keep: float = 0.0) -> None:
        """Give up the lease the operation may have, unless another attempt of it is under way.

        ``keep``: seconds for which nobody else may have the account yet.
        """
        async with self.gateway.connection() as connection:
            await connection.execute(
                _KEEP_LEASE if keep else _DROP_LEASE,
                operation.id,
                *([timedelta(seconds=keep)] if keep else []),
            )

    async def again(self, operation: Operation, detail: str | None = None) -> bool:
        """Put an operation that certainly has not reached the CRM back to recorded.

        ``detail``: why it did not, in words of ours that quote nothing.
        """
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                """
                UPDATE koshelek.operations
                   SET state = 'recorded', begun = NULL, detail = coalesce($3, detail)
                 WHERE id = $1 AND attempt = $2 AND state IN ('sent', 'unknown')
                """,
                operation.id,
                operation.attempt,
                detail,
            )
        return bool(tag == "UPDATE 1")

    async def explain(self, operation: Operation, detail: str) -> None:
        """Note why an operation is not sent yet, in words of ours that quote nothing."""
        async with self.gateway.connection() as connection:
            await connection.execute(
                "UPDATE koshelek.operations SET detail = $2 WHERE id = $1 AND state = 'recorded'",
                operation.id,
                detail,
            )

    async def witness(self, kind: OperationKind, older: float) -> Operation | None:
        """One of the last operations of this kind that the CRM confirmed, at least ``older`` seconds ago."""
        async with self.gateway.connection() as connection:
            row = await connection.fetchrow(_WITNESS, kind, timedelta(seconds=older))
        return _operation(row) if row else None

    async def written_since(self, operation: Operation) -> bool:
        """Whether the CRM has answered a write of this kind that was sent after this operation was."""
        async with self.gateway.connection() as connection:
            found = await connection.fetchval(_WRITTEN_SINCE, operation.kind, operation.sent_at)
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
                _LOOKED, operation.id, operation.attempt, answered, unbroken, detail
            )
        return _operation(row) if row else None

    async def found_twice(self, operation: Operation, entries: Sequence[str]) -> bool:
        """An operation that is done was found in the CRM more than once: it waits for a person now."""
        async with self.gateway.connection() as connection:
            tag = await connection.execute(
                """
                UPDATE koshelek.operations
                   SET state = 'doubled', reason = $2, crm_reference = $3, finished_at = NULL
                 WHERE id = $1 AND state = 'done'
                """,
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
        detail: str | None = None,
    ) -> Operation | None:
        """Write how this attempt ended; ``None`` when a later attempt has taken over.

        ``reason``: why it waits for a person, one of a few. ``detail``: what the driver said; both in words
        of ours that quote nothing. ``nobody``: it is refused because the CRM knows no such customer.
        """
        ended = await self._ending(
            _End(operation, state, code, points, crm_reference, message, reason, nobody, detail)
        )
        if ended is not None:
            self._tell(ended)
        return ended

    async def _end_together(self, ends: Sequence[_End]) -> list[Operation | None]:
        async with self.gateway.connection() as connection:
            rows = await connection.fetch(
                _END,
                [end.operation.id for end in ends],
                [end.operation.attempt for end in ends],
                [end.state for end in ends],
                [end.code for end in ends],
                [end.points for end in ends],
                [end.crm_reference for end in ends],
                [end.message for end in ends],
                [end.reason for end in ends],
                [end.nobody for end in ends],
                [end.detail for end in ends],
            )
        ended = {(row["id"], row["attempt"]): _operation(row) for row in rows}
        return [ended.pop((end.operation.id, end.operation.attempt), None) for end in ends]

    async def wait(self, operation: Operation, seconds: float) -> Operation:
        if seconds <= 0 or operation.state in FINAL | FOR_A_PERSON:
            return operation
        ended: asyncio.Future[Operation] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(operation.id, set()).add(ended)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(seconds):
                return await ended
        except TimeoutError:
            return operation
        finally:
            waiting = self._waiters.get(operation.id, set())
            waiting.discard(ended)
            if not waiting:
                self._waiters.pop(operation.id, None)

    def _tell(self, operation: Operation) -> None:
        if operation.state in FINAL | FOR_A_PERSON:
            for waiter in self._waiters.get(operation.id, ()):
                if not waiter.done():
                    waiter.set_result(operation)

    async def _poll(self) -> None:
        """Ask for operations that another process may have ended, while anybody waits for one.

        Polling works through any pooler and costs one statement however many are waiting; notifications
        would make every commit queue up behind one lock.
        """
        try:
            while self._waiters:
                await asyncio.sleep(_POLL)
                if not self._waiters:
                    break
                try:
                    async with self.gateway.connection() as connection:
                        rows = await connection.fetch(_BY_IDS, list(self._waiters))
                except Exception:  # noqa: S112 - the waiters have their own time limit
                    continue
                for row in rows:
                    self._tell(_operation(row))
        finally:
            self._poller = None


def _balance(text: str | None) -> Balance | None:
    if text is None:
        return None
    value = json.loads(text)
    return Balance(total=Decimal(value["total"]), available=Decimal(value["available"]))


def _balance_json(balance: Balance) -> str:
    return json.dumps({"total": str(balance.total), "available": str(balance.available)})
