"""Runs the job queue: takes delivery jobs and hands each to the deliverer.

Any number of workers may run on one database. A worker outlives the database: it starts over when the
connection is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job

from adapter.delivery.at_once import AtOnce, KeptPlace
from adapter.delivery.deliverer import Deliverer
from adapter.delivery.later import Later
from adapter.delivery.ports import PickedJobs
from adapter.loyalty.model import Operation
from adapter.loyalty.ports import StoreUnavailable
from adapter.store.queue import AGAIN, DELIVER, CalmDriver, queries

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
    jobs: PickedJobs
    listens: bool = True
    """Whether notifications reach us; through a pooler in transaction mode they do not, and the queue is
    looked at every second."""
    _manager: QueueManager | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _places: asyncio.Semaphore = field(init=False)
    at_once: AtOnce = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.concurrency)
        self.at_once = AtOnce(
            self._carry,
            self.jobs,
            lambda kind: kind in self.deliverer.resendable,
            self._places,
            self.concurrency,
            self.deliverer.settings.call_timeout,
        )

    async def run(self) -> None:
        """Work until ``stop`` is called; deliveries under way are finished first."""
        try:
            await self._run_queue()
            await self.at_once.finish()
        finally:
            self.at_once.cancel()

    async def _run_queue(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                self._manager = self._build()
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
        self.at_once.stop()
        if self._manager is not None:
            self._manager.shutdown.set()

    def _build(self) -> QueueManager:
        queue = queries(CalmDriver(self.pool))
        manager = _Manager(queue, queue.qbe.settings.channel)

        @manager.entrypoint(DELIVER)
        async def deliver(job: Job) -> None:
            tries = max(job.attempts, int(job.priority == AGAIN))
            async with self._places:
                if self._stopping.is_set():
                    raise RetryRequested(delay=timedelta(0))
                operation_id = int(job.payload or b"0")
                delay = await self._pause_after(self.deliverer.deliver(operation_id, tries=tries), job.id)
            if delay is not None:
                raise RetryRequested(delay=delay)

        return manager

    async def _carry(self, place: KeptPlace, operation: Operation) -> timedelta | None:
        """Deliver an operation that has just been recorded as sent."""
        self.deliverer.clock.observe(place.began, operation.read_at, time.monotonic())
        return await self._pause_after(self.deliverer.carry(operation, place.deadline), operation.id)

    async def _pause_after(self, delivery: Awaitable[None], job: int) -> timedelta | None:
        """Do it; the pause until the operation is looked at again, ``None``: it need not be."""
        try:
            await delivery
        except Later as later:
            return later.delay
        except StoreUnavailable:
            return _DATABASE_AWAY
        except Exception as error:
            # A job that fails is never given up: its operation would be forgotten.
            log.exception("delivery_failed", job=job, reason=type(error).__name__)
            return _DEFECT
        return None
