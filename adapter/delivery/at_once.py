"""Delivers at once what this process records, without a turn through the queue.

A process that accepts and delivers writes a new operation down as sent, and its job as picked, by the one
statement that records it; when that is durable, it is sent. That spares each operation the queue's picking of
its job and the marking of it as sent. What a process that dies leaves behind is what it always was: an
operation marked as sent, and a job that others take over once its heartbeat is stale. Since it may be marked
by a commit whose answer is lost, this is only for CRMs that honour our key: there a doubt is sent again, and
never waits for a person. It may not know what an operation is about.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from adapter import background
from adapter.delivery.ports import PickedJobs
from adapter.loyalty.model import Operation, OperationKind
from adapter.loyalty.ports import StoreUnavailable
from crm_backends.ports import Deadline

_TIDYING = "at_once_jobs"
_TIDY_EVERY, _TIDY_AFTER_FAILURE = 0.1, 1.0  # seconds
_BEAT_EVERY = 5.0  # seconds; others take a job over whose heartbeat is 15 seconds old

Carry = Callable[["KeptPlace", Operation], Awaitable[timedelta | None]]
"""Delivers an operation that is marked as sent. The pause until it is looked at again; ``None``: it need not
be. It does not raise."""


@dataclass(frozen=True, slots=True)
class KeptPlace:
    """Room for one delivery, kept from before its operation is marked as sent."""

    began: float
    """Monotonic seconds."""
    deadline: Deadline
    """Counted from then, too: a process that sleeps meanwhile must not wake up and send."""
    _at_once: AtOnce

    def deliver(self, operation: Operation, job_id: int) -> None:
        """The operation is recorded as sent, and its job as picked: send it."""
        self._at_once.start(self, operation, job_id)

    def give_back(self) -> None:
        """Nothing is to be delivered."""
        self._at_once.places.release()


@dataclass(slots=True)
class AtOnce:
    carry: Carry
    jobs: PickedJobs
    honours_our_key: Callable[[OperationKind], bool]
    """Whether the CRM of a kind does."""
    places: asyncio.Semaphore
    """Those of the worker: what came from the queue and waits for one goes first."""
    concurrency: int
    """How many places there are."""
    call_timeout: float
    """Seconds one delivery may take."""
    _stopped: bool = False
    _running: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """By the id of the job."""
    _finished: list[int] = field(default_factory=list)
    """Jobs that are to be removed."""
    _tidying: asyncio.Task[None] | None = None

    async def place(self, kind: OperationKind) -> KeptPlace | None:
        """Room for a new operation of this kind; ``None``: it goes through the queue."""
        if self._stopped or not self.honours_our_key(kind) or self.places.locked():
            return None
        await self.places.acquire()  # at once, for it is not locked
        return KeptPlace(time.monotonic(), Deadline.after(self.call_timeout), self)

    def start(self, place: KeptPlace, operation: Operation, job_id: int) -> None:
        """Deliver in the background what has a place."""
        self._running[job_id] = background.start(self._deliver(place, operation, job_id), "at_once")
        if self._tidying is None:
            self._tidying = background.start(self._tidy(), _TIDYING)

    async def _deliver(self, place: KeptPlace, operation: Operation, job_id: int) -> None:
        try:
            delay = await self.carry(place, operation)
            if delay is None:
                self._finished.append(job_id)
            else:
                await self.jobs.put_off(job_id, delay)
        except StoreUnavailable:
            pass  # its heartbeat is not kept from now on, so that somebody takes it over
        finally:
            place.give_back()
            del self._running[job_id]

    async def _tidy(self) -> None:
        """Remove the jobs of what is over, and keep the heartbeats of the others, while there are any."""
        beaten, pause = time.monotonic(), _TIDY_EVERY
        try:
            while self._running or self._finished:
                await asyncio.sleep(pause)
                pause = _TIDY_AFTER_FAILURE
                # Where it fails, a job comes once more and finds nothing to do.
                with background.survived(_TIDYING), contextlib.suppress(StoreUnavailable):
                    if self._running and time.monotonic() - beaten > _BEAT_EVERY:
                        beaten = time.monotonic()
                        await self.jobs.keep(list(self._running))
                    finished = list(self._finished)
                    if finished:
                        await self.jobs.finish(finished)
                        del self._finished[: len(finished)]
                    pause = _TIDY_EVERY
        finally:
            self._tidying = None

    def stop(self) -> None:
        """Deliver nothing more at once."""
        self._stopped = True

    async def finish(self) -> None:
        """Wait for what is under way: what is delivered, and what is being recorded as sent."""
        for _ in range(self.concurrency):
            await self.places.acquire()
        if self._tidying is not None:
            await self._tidying

    def cancel(self) -> None:
        """Let go of what is under way still: others take it over."""
        for task in (*self._running.values(), *filter(None, [self._tidying])):
            task.cancel()
