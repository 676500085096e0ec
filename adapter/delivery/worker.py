"""Runs the job queue: takes delivery jobs and hands each to the deliverer.

Any number of workers may run on one database. A worker outlives the database: it starts over when the
connection is lost.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job

from adapter.delivery.deliverer import Deliverer
from adapter.delivery.later import Later
from adapter.loyalty.ports import StoreUnavailable
from adapter.store.queue import AGAIN, DELIVER, queries

if TYPE_CHECKING:
    import asyncpg

log = structlog.get_logger("delivery")


class _Manager(QueueManager):
    """pgqueuer's own, which does not ask for its tables by name before it begins.

    ``store.migrate`` has them made and brought along. To ask for them takes the database longer than many
    deliveries, at every start and after every loss of the database; and if one is missing all the same,
    the first look at the queue fails as well, and is tried again.
    """

    async def verify_structure(self) -> None:
        return


_HEARTBEAT = timedelta(seconds=15)
_LOOK_AGAIN = timedelta(seconds=1)  # a job put off wakes nobody
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds
_DATABASE_AWAY = timedelta(seconds=1)
_DEFECT = timedelta(seconds=30)
_AHEAD = 4
"""Jobs taken from the queue for each that may be under way: the queue looks for more ten times a second at
most while its hands are full, and a CRM call may be over sooner."""


@dataclass(slots=True)
class Worker:
    deliverer: Deliverer
    pool: asyncpg.Pool[asyncpg.Record]
    """A pool of the worker's own: one connection listens, the others work on the queue."""
    concurrency: int
    listens: bool = True
    """Whether notifications reach us; through a pooler in transaction mode they do not, and the queue is
    looked at every second."""
    _manager: QueueManager | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.concurrency)

    async def run(self) -> None:
        """Work until ``stop`` is called; deliveries under way are finished first."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            self._manager = self._build()
            started = time.monotonic()
            try:
                await self._manager.run(
                    dequeue_timeout=_LOOK_AGAIN,
                    batch_size=self.concurrency,
                    max_concurrent_tasks=self.concurrency * _AHEAD,
                    shutdown_on_listener_failure=self.listens,
                    heartbeat_timeout=_HEARTBEAT,
                    # Nobody here reads the statistics; pgqueuer's own tools make them when they are asked.
                    log_aggregation_interval=timedelta(0),
                )
            except Exception as error:
                if time.monotonic() - started > _LONGEST_PAUSE:
                    pause = _FIRST_PAUSE
                log.warning("delivery_interrupted", reason=type(error).__name__, retry_in_seconds=pause)
            if not self._stopping.is_set():
                try:
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()
                except TimeoutError:
                    pause = min(pause * 2, _LONGEST_PAUSE)

    def stop(self) -> None:
        self._stopping.set()
        if self._manager is not None:
            self._manager.shutdown.set()

    def _build(self) -> QueueManager:
        queue = queries(AsyncpgPoolDriver(self.pool))
        manager = _Manager(queue, queue.qbe.settings.channel)

        @manager.entrypoint(DELIVER)
        async def deliver(job: Job) -> None:
            try:
                async with self._places:
                    if self._stopping.is_set():
                        raise Later(timedelta(0))
                    tries = max(job.attempts, int(job.priority == AGAIN))
                    await self.deliverer.deliver(int(job.payload or b"0"), tries=tries)
            except Later as later:
                raise RetryRequested(delay=later.delay) from None
            except StoreUnavailable:
                raise RetryRequested(delay=_DATABASE_AWAY) from None
            except Exception as error:
                # A job that fails is never given up: its operation would be forgotten.
                log.exception("delivery_failed", job=job.id, reason=type(error).__name__)
                raise RetryRequested(delay=_DEFECT) from None

        return manager
