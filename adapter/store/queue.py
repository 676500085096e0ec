"""The job queue (PgQueuer) in the adapter's schema: which jobs there are and how they are enqueued.

A job carries nothing but the id of an operation; what is to be done stands in the operations table,
which is the truth. The queue's history tables are therefore unlogged.

The one module that names pgqueuer's tables, which are not its documented interface: a test compares them.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.ports.driver import Driver, NotifyCallback

from adapter.loyalty.model import OperationKind

if TYPE_CHECKING:
    import asyncpg

    from adapter.store.pool import Connection, Gateway

DELIVER = "deliver"
"""Entry point of the jobs that carry an operation to the CRM."""
FIRST, AGAIN = 0, -1
"""Priorities of a job: its operation is new, or it comes once more and lets new ones pass."""


@functools.cache
def _builders() -> tuple[qb.QueryBuilderEnvironment, qb.QueryQueueBuilder, qb.QuerySchedulerBuilder]:
    # Part of what the tables look like: whoever changes it brings along a migration, which has them compared.
    settings = DBSettings(db_schema="koshelek", channel="koshelek_queue", durability=Durability.balanced)
    return (
        qb.QueryBuilderEnvironment(settings),
        qb.QueryQueueBuilder(settings),
        qb.QuerySchedulerBuilder(settings),
    )


def queries(driver: Driver) -> Queries:
    """The queue's operations over one connection or pool."""
    environment, queue, scheduler = _builders()
    return Queries(driver, qbe=environment, qbq=queue, qbs=scheduler)


def jobs_for(operations: str) -> str:
    """SQL of two further members of a WITH list: a job for each row of its member ``operations``, by the id.

    They write what ``enqueue`` writes, without a round trip of their own and without pgqueuer's making of
    them job by job, which cost more than all the rest of recording. A test compares the two. The job of an
    operation that is ``sent`` is picked from the start: no worker looks at it while its heartbeat is kept.
    """
    return f"""
        job AS (
            INSERT INTO koshelek.pgqueuer (priority, entrypoint, payload, execute_after, headers, status)
            SELECT {FIRST}, '{DELIVER}', convert_to(id::text, 'UTF8'), now(), 'null',
                   CASE state WHEN 'sent' THEN 'picked' ELSE 'queued' END::koshelek.pgqueuer_status
              FROM {operations}
            RETURNING id, entrypoint, priority, status, payload
        ),
        job_log AS (
            INSERT INTO koshelek.pgqueuer_log (job_id, status, entrypoint, priority)
            SELECT id, status, entrypoint, priority FROM job WHERE status = 'queued'
        )
    """  # noqa: S608


# What pgqueuer does with a job of its own, without its log and for many at once.
# Never a job that a queue has taken over: its operation may be under way there, and not over.
_STILL_OURS = "status = 'picked' AND queue_manager_id IS NULL"
_FINISHED = f"DELETE FROM koshelek.pgqueuer WHERE id = ANY($1) AND {_STILL_OURS}"  # noqa: S608
_KEPT = f"UPDATE koshelek.pgqueuer SET heartbeat = now() WHERE id = ANY($1) AND {_STILL_OURS}"  # noqa: S608
_PUT_OFF = f"""
    UPDATE koshelek.pgqueuer
       SET status = 'queued', execute_after = now() + $2::interval, attempts = attempts + 1, updated = now()
     WHERE id = $1 AND {_STILL_OURS}
"""  # noqa: S608


class PostgresPickedJobs:
    """Implements ``adapter.delivery.ports.PickedJobs``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def finish(self, job_ids: Sequence[int]) -> None:
        await self._execute(_FINISHED, list(job_ids))

    async def keep(self, job_ids: Sequence[int]) -> None:
        await self._execute(_KEPT, list(job_ids))

    async def put_off(self, job_id: int, delay: timedelta) -> None:
        await self._execute(_PUT_OFF, job_id, delay)

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self.gateway.connection() as connection:
            await connection.execute(statement, *arguments)


class CalmDriver(AsyncpgPoolDriver):
    """Tells the queue that its table has changed at most once in ``_CALM`` seconds, and once more at the end.

    Every commit that records or ends something notifies; the queue would look for work as often, with three
    statements each time, and mostly find none.
    """

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        told_at = float("-inf")
        waiting: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()

        def tell(payload: str | bytes | bytearray) -> None:
            nonlocal told_at, waiting
            told_at, waiting = loop.time(), None
            callback(payload)

        def told(payload: str | bytes | bytearray) -> None:
            nonlocal waiting
            if _TABLE_CHANGED not in str(payload):
                callback(payload)
            elif waiting is None:
                # What comes until then says the same.
                waiting = loop.call_at(max(loop.time(), told_at + _CALM), tell, payload)

        await super().add_listener(channel, told)


_CALM = 0.05  # seconds
_TABLE_CHANGED = '"table_changed_event"'


async def enqueue(
    connection: Connection | asyncpg.Connection[asyncpg.Record],
    operation_ids: Sequence[int],
    priority: int = FIRST,
) -> None:
    """A job for each of these operations, in the transaction of ``connection``."""
    await queries(AsyncpgDriver(connection)).enqueue(  # type: ignore[arg-type]
        [DELIVER] * len(operation_ids),
        [str(operation_id).encode() for operation_id in operation_ids],
        [priority] * len(operation_ids),
    )


_HURRY = """
    UPDATE koshelek.pgqueuer AS job SET execute_after = now()
      FROM koshelek.operations AS operation
     WHERE job.entrypoint = $1 AND job.status = 'queued' AND job.execute_after > now()
       AND operation.id = convert_from(job.payload, 'UTF8')::bigint
       AND ($2::text IS NULL OR operation.kind = $2)
"""


async def hurry(
    connection: Connection | asyncpg.Connection[asyncpg.Record], kind: OperationKind | None = None
) -> int:
    """Have what was put off looked at now; returns how many (of this ``kind``).

    Whether anything is sent is decided then, as ever: a doubt that has not waited for long enough waits on.
    """
    tag = await connection.execute(_HURRY, DELIVER, kind)
    return int(tag.split()[-1])


# A job that was picked by a process that has died since is due again.
_DUE = """
    SELECT count(*) AS count,
           coalesce(greatest(0, extract(epoch FROM now() - min(since))), 0)::float8 AS oldest_seconds,
           EXISTS (SELECT FROM koshelek.pgqueuer
                    WHERE entrypoint = $1 AND status = 'picked' AND heartbeat > now() - $2::interval)
           OR EXISTS (SELECT FROM (SELECT status, created FROM koshelek.pgqueuer_log
                                    ORDER BY id DESC LIMIT 1000) AS latest
                       WHERE status <> 'queued' AND created > now() - $2::interval) AS taken
      FROM (SELECT execute_after AS since FROM koshelek.pgqueuer
             WHERE entrypoint = $1 AND status = 'queued' AND execute_after <= now()
             UNION ALL
            SELECT heartbeat FROM koshelek.pgqueuer
             WHERE entrypoint = $1 AND status = 'picked' AND heartbeat <= now() - $2::interval
             LIMIT 10000) AS due
"""
_LATELY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Due:
    """What could be delivered now."""

    count: int
    """Operations, counted up to 10,000."""
    oldest_seconds: float
    """Since when the oldest could be."""
    taken: bool
    """Whether any process has taken up a job within the last minute."""

    @property
    def nobody_delivers(self) -> bool:
        """Whether no process takes up what has been due for a while."""
        return bool(self.count) and not self.taken and self.oldest_seconds > _TAKEN_UP_WITHIN


_TAKEN_UP_WITHIN = 15.0  # seconds; a worker looks every second


async def due(connection: Connection) -> Due:
    """What could be delivered now, and whether anybody does."""
    row = await connection.fetchrow(_DUE, DELIVER, _LATELY)
    assert row is not None  # noqa: S101 - an aggregate has a row
    return Due(row["count"], row["oldest_seconds"], row["taken"])


_NEXT = """
    SELECT min(execute_after) FROM koshelek.pgqueuer
     WHERE entrypoint = $1 AND status = 'queued' AND payload = convert_to($2::text, 'UTF8')
"""


async def next_try(connection: Connection, operation_id: int) -> datetime | None:
    """When an operation that was put off is looked at next; ``None``: it waits for nothing."""
    found: datetime | None = await connection.fetchval(_NEXT, DELIVER, str(operation_id))
    return found


# -- the housekeeping's statements, which read and change pgqueuer's own tables ----------------------------

# A job is never far from its operation: they are written together, and it goes when the operation has
# ended or is held. An operation that has been waiting for long without one has lost it.
JOBLESS = """
    SELECT operation.id, operation.state, operation.attempt
      FROM koshelek.operations AS operation
     WHERE operation.state IN ('recorded', 'sent', 'unknown')
       -- What is in the future was written before the database's clock was put back.
       AND greatest(operation.recorded_at, operation.sent_at)
           NOT BETWEEN now() - $1::interval AND now() + $1::interval
       AND NOT EXISTS (
               SELECT FROM koshelek.pgqueuer AS job
                WHERE job.entrypoint = $2 AND job.status IN ('queued', 'picked')
                  AND job.payload = convert_to(operation.id::text, 'UTF8')
           )
     LIMIT $3
"""
FAILED_JOBS = """
    DELETE FROM koshelek.pgqueuer WHERE entrypoint = $1 AND status = 'failed' AND payload = ANY($2::bytea[])
"""

# The queue goes by the database's clock. When that was put back, jobs put off a little would wait for an
# hour, and those of a process that has died would not be taken over before.
BACK_IN_TIME = """
    UPDATE koshelek.pgqueuer
       SET execute_after = CASE WHEN execute_after > now() + $2::interval THEN now() ELSE execute_after END,
           heartbeat = least(heartbeat, now())
     WHERE entrypoint = $1 AND status IN ('queued', 'picked')
       AND (execute_after > now() + $2::interval OR heartbeat > now() + '1 minute'::interval)
"""

# Ids grow with time, so a portion from the lower end needs no index on the time.
TRIM = {
    table: f"""
    DELETE FROM {table} WHERE id IN (
        SELECT id FROM (SELECT id, created FROM {table} ORDER BY id LIMIT $2) AS oldest
         WHERE created < now() - $1::interval
    )
"""  # noqa: S608
    for table in ("koshelek.pgqueuer_log", "koshelek.pgqueuer_statistics")
}
"""By the queue's tables that say what happened."""
