"""Puts right from time to time what crashes leave behind, and removes what is no longer needed.

Every process that delivers may run it; in the whole installation one pass is made per interval. It
knows when each thing is due; how it is done is known to the store.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta

import structlog

from adapter.delivery.ports import Upkeep
from adapter.loyalty.ports import StoreUnavailable
from adapter.settings import Settings

log = structlog.get_logger("housekeeping")

_STALE_CALLS = 3
"""An operation that has not moved for so many calls' time has nobody at it, unless it has a job."""
_LEAST_STALE = 60.0  # seconds
_BUDGET = 20.0
"""Seconds a pass may take up new portions of one kind of work; the rest waits for the next pass."""
_SHARE = 20
"""Looking for lost jobs reads the whole queue; it may take at most one of so many parts of the time."""


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did."""

    reservations_freed: int = 0
    jobs_restored: int = 0
    became_doubtful: int = 0
    leases_dropped: int = 0
    bodies_purged: int = 0
    queue_history_trimmed: int = 0
    jobs_brought_forward: int = 0


@dataclass(slots=True)
class Housekeeping:
    upkeep: Upkeep
    settings: Settings
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _look_for_jobs_from: float = 0.0

    async def run(self) -> None:
        """A pass per interval until ``stop`` is called; a pass under way is finished first."""
        while not self._stopping.is_set():
            try:
                await self.once()
            except StoreUnavailable as error:
                log.warning("housekeeping_postponed", reason=str(error))
            except Exception as error:
                log.exception("housekeeping_failed", reason=type(error).__name__)
            interval = self.settings.delivery.housekeeping
            try:
                async with asyncio.timeout(interval * random.uniform(0.9, 1.1)):  # noqa: S311 - no secret
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._stopping.set()

    async def once(self) -> PassReport | None:
        """One pass; ``None`` when another process is at it or was just now. Raises ``StoreUnavailable``."""
        # A little less than the interval, or its jitter would make every other turn one too early.
        since = timedelta(seconds=self.settings.delivery.housekeeping * 0.8)
        async with self.upkeep.turn(since) as ours:
            if not ours:
                return None
            jobs, doubts = await self._restore_jobs()
            report = PassReport(
                jobs_restored=jobs,
                became_doubtful=doubts,
                reservations_freed=await self.upkeep.free_reservations(
                    timedelta(seconds=self.settings.cards.reservation)
                ),
                leases_dropped=await self.upkeep.drop_leases(),
                bodies_purged=await self._purge(),
                queue_history_trimmed=await self._trim(),
                jobs_brought_forward=await self._bring_forward(),
            )
        if done := {name: count for name, count in asdict(report).items() if count}:
            log.info("housekeeping", **done)
        return report

    async def _restore_jobs(self) -> tuple[int, int]:
        started = time.monotonic()
        if started < self._look_for_jobs_from:
            return 0, 0
        older = timedelta(seconds=max(_LEAST_STALE, self.settings.delivery.call_timeout * _STALE_CALLS))
        jobs = doubts = 0
        until = started + _BUDGET
        while time.monotonic() < until and not self._stopping.is_set():
            restored = await self.upkeep.restore_jobs(older)
            jobs, doubts = jobs + restored.jobs, doubts + restored.doubts
            if not restored.jobs:
                break
        now = time.monotonic()
        self._look_for_jobs_from = now + (now - started) * _SHARE
        return jobs, doubts

    async def _purge(self) -> int:
        purged, until = 0, time.monotonic() + _BUDGET
        async for portion in self.upkeep.purge(timedelta(days=self.settings.retention.bodies_days)):
            purged += portion.purged
            if time.monotonic() > until or self._stopping.is_set():
                break
        return purged

    async def _bring_forward(self) -> int:
        """Jobs are put off by a retry's longest pause, a crowd, or a doubt's patience; by no more than
        this."""
        delivery = self.settings.delivery
        longest = max(delivery.retry_ceiling, delivery.reconcile_after, delivery.call_timeout)
        return await self.upkeep.bring_back_in_time(timedelta(seconds=longest * 2 + _LEAST_STALE))

    async def _trim(self) -> int:
        older = timedelta(days=self.settings.retention.queue_log_days)
        trimmed, until = 0, time.monotonic() + _BUDGET
        while time.monotonic() < until and not self._stopping.is_set():
            portion = await self.upkeep.trim_queue_history(older)
            trimmed += portion
            if not portion:
                break
        return trimmed
