"""What the database needs done from time to time: statements of the housekeeping, each a small portion.

Every step may be repeated, broken off, or run by two at once without harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg

from adapter.loyalty.model import ABANDONED
from adapter.store.pool import Gateway, count
from adapter.store.queue import AGAIN, BACK_IN_TIME, DELIVER, FAILED_JOBS, JOBLESS, TRIM, enqueue

if TYPE_CHECKING:
    from adapter.store.pool import Connection

_LOCK = 7_306_002  # any number, but ours alone
_PORTION = 1000
_PATIENCE = 60.0  # seconds for a statement that reads the whole queue
_SLACK = timedelta(days=1)
"""So much later than its birth an operation's turn to be purged comes, so that hardly any is still open."""

_CLAIM = """
    UPDATE koshelek.housekeeping SET begun_at = now()
     WHERE task = 'pass'
       -- A pass in the future was before the database's clock was put back.
       AND (begun_at <= now() - $1::interval OR begun_at > now())
"""

# For as long again as it lasted a reservation stays known as expired, so that a late caller is told so
# and does not get what was meanwhile reserved by another.
_FREE_RESERVATIONS = """
    UPDATE koshelek.cards SET state = 'free', reserved_until = NULL, updated_at = now()
     WHERE number IN (
               SELECT number FROM koshelek.cards
                WHERE state = 'reserved' AND reserved_until <= now() - $1::interval
                ORDER BY reserved_until LIMIT $2 FOR UPDATE SKIP LOCKED
           )
"""

_DOUBT = """
    UPDATE koshelek.operations AS operation SET state = 'unknown', detail = $3
      FROM unnest($1::bigint[], $2::int[]) AS stale (id, attempt)
     WHERE operation.id = stale.id AND operation.attempt = stale.attempt AND operation.state = 'sent'
"""
# Not while its holder may have reached the CRM: the balance is needed to find out.
_DROP_LEASES = """
    DELETE FROM koshelek.account_leases AS lease
     WHERE until < now()
       AND NOT EXISTS (
               SELECT FROM koshelek.operations AS holder
                WHERE holder.id = lease.operation_id AND holder.state IN ('sent', 'unknown')
           )
"""

_OLD = """
    WITH portion AS (
        SELECT id, recorded_at, state, finished_at FROM koshelek.operations
         WHERE id > $1 ORDER BY id LIMIT $3
    )
    SELECT id, coalesce(state IN ('done', 'refused') AND finished_at < now() - $2::interval, false) AS over
      FROM portion
     WHERE id <= (SELECT max(id) FROM portion WHERE recorded_at < now() - $2::interval - $4::interval)
     ORDER BY id
"""
# What stays is what a repeated call is recognised and answered by. A registration, known by a phone, is
# needed for a moment only.
_PURGE = """
    UPDATE koshelek.operations
       SET request = '{}', message = NULL, before = NULL, reason = NULL, detail = NULL,
           crm_reference = NULL, live = live AND kind <> 'registration',
           identity = CASE WHEN kind = 'registration' THEN id::text ELSE identity END
     WHERE id = ANY($1)
"""
_PUT_OFF = "INSERT INTO koshelek.purge_later SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING"
_DUE_AT_LAST = """
    SELECT operation_id AS id FROM koshelek.purge_later
      JOIN koshelek.operations AS operation ON operation.id = operation_id
     WHERE operation.state IN ('done', 'refused') AND operation.finished_at < now() - $1::interval
       AND operation_id > $2
     ORDER BY operation_id LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Restored:
    """Operations that had lost their job and got a new one; ``doubts``: how many of them had been sent."""

    jobs: int = 0
    doubts: int = 0


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of the purge."""

    looked_at: int
    purged: int


class PostgresUpkeep:
    """Raises ``StoreUnavailable`` from everything."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @asynccontextmanager
    async def turn(self, interval: timedelta) -> AsyncIterator[bool]:
        """Whether it is our turn: nobody else is at it, and the last pass began ``interval`` ago.

        The lock belongs to a transaction, so a pooler in transaction mode may stand between. A server that
        ends idle transactions takes it away early, which does no harm.
        """
        async with self._gateway.connection() as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
                yield False
                return
            async with self._gateway.connection() as other:  # no row stays locked during the pass
                claimed = await other.execute(_CLAIM, interval)
            yield bool(claimed == "UPDATE 1")

    async def free_reservations(self, kept: timedelta) -> int:
        """Give numbers whose reservation ran out more than ``kept`` ago back to the pool."""
        freed = 0
        while True:
            async with self._gateway.connection() as connection:
                changed = count(await connection.execute(_FREE_RESERVATIONS, kept, _PORTION))
            freed += changed
            if changed < _PORTION:
                return freed

    async def restore_jobs(self, older: timedelta) -> Restored:
        """Give every open operation whose job is lost a new one, if nothing happened to it for ``older``.

        What was being sent when it was lost becomes unknown. One portion; call again while it is full.
        """
        async with self._gateway.connection() as connection, connection.transaction():
            # With statistics from before a burst the planner would compare everything with everything.
            await connection.execute("SET LOCAL enable_nestloop = off")
            rows = await connection.fetch(JOBLESS, older, DELIVER, _PORTION, timeout=_PATIENCE)
            if not rows:
                return Restored()
            sent = [row for row in rows if row["state"] == "sent"]
            tag = await connection.execute(
                _DOUBT, [row["id"] for row in sent], [row["attempt"] for row in sent], ABANDONED
            )
            payloads = [str(row["id"]).encode() for row in rows]
            await connection.execute(FAILED_JOBS, DELIVER, payloads, timeout=_PATIENCE)
            await enqueue(connection, [row["id"] for row in rows], AGAIN)
        return Restored(jobs=len(rows), doubts=count(tag))

    async def bring_back_in_time(self, longest: timedelta) -> int:
        """Bring jobs forward that are put off by more than ``longest``: the clock was put back."""
        async with self._gateway.connection() as connection:
            return count(await connection.execute(BACK_IN_TIME, DELIVER, longest, timeout=_PATIENCE))

    async def drop_leases(self) -> int:
        """Remove leases of accounts that nobody came back for."""
        async with self._gateway.connection() as connection:
            return count(await connection.execute(_DROP_LEASES))

    async def trim_queue_history(self, older: timedelta) -> int:
        """Remove what the job queue wrote down about jobs before ``older``; one portion of each table."""
        trimmed = 0
        async with self._gateway.connection() as connection:
            for table, trim in TRIM.items():
                if await connection.fetchval("SELECT to_regclass($1)", table) is not None:
                    trimmed += count(await connection.execute(trim, older, _PORTION * 10))
        return trimmed

    async def purge(self, older: timedelta, *, dry_run: bool = False) -> AsyncIterator[Portion]:
        """Remove the details of operations that ended before ``older``, portion by portion.

        Held and open ones are left alone and looked at again once they are over.
        """
        async with self._gateway.connection() as connection:
            position: int = await connection.fetchval(
                "SELECT position FROM koshelek.housekeeping WHERE task = 'purge'"
            )
        while True:
            async with self._gateway.connection() as connection, connection.transaction():
                rows = await connection.fetch(_OLD, position, older, _PORTION, _SLACK)
                if rows:
                    position = rows[-1]["id"]
                    if not dry_run:
                        await _purge_portion(connection, rows, position)
            if not rows:
                break
            yield Portion(len(rows), sum(row["over"] for row in rows))
        async for portion in self._purge_put_off(older, dry_run=dry_run):
            yield portion

    async def _purge_put_off(self, older: timedelta, *, dry_run: bool) -> AsyncIterator[Portion]:
        position = 0
        while True:
            async with self._gateway.connection() as connection, connection.transaction():
                rows = await connection.fetch(_DUE_AT_LAST, older, position, _PORTION)
                ids = [row["id"] for row in rows]
                if ids and not dry_run:
                    await connection.execute(_PURGE, ids)
                    await connection.execute(
                        "DELETE FROM koshelek.purge_later WHERE operation_id = ANY($1)", ids
                    )
            if not ids:
                return
            position = ids[-1]
            yield Portion(len(ids), len(ids))


async def _purge_portion(connection: Connection, rows: list[asyncpg.Record], position: int) -> None:
    await connection.execute(_PURGE, [row["id"] for row in rows if row["over"]])
    await connection.execute(_PUT_OFF, [row["id"] for row in rows if not row["over"]])
    await connection.execute(
        "UPDATE koshelek.housekeeping SET position = $1 WHERE task = 'purge' AND position < $1", position
    )
