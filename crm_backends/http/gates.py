"""Two gates before a CRM: the breaker leaves a CRM that is away alone, the bulkhead bounds the calls at once.

They count and decide; they may not know what a call is.
"""

from __future__ import annotations

import asyncio
import enum
import time

import structlog

_log = structlog.get_logger("crm")


class BreakerState(enum.StrEnum):
    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """The CRM does not answer, and no calls are made."""
    HALF_OPEN = "half_open"
    """The pause is over: one call may try."""


class Ticket:
    """Leave to make one call."""


class Breaker:
    """Opens after ``failures`` in a row, lets one call try after ``pause`` seconds, closes on any answer.

    It writes one log line when the CRM stops answering (``crm_away``) and one when it answers (``crm_back``).
    """

    def __init__(self, name: str, failures: int, pause: float, patience: float) -> None:
        """``patience``: seconds that the CRM may take for an answer."""
        self._name = name
        self._limit = failures
        self._pause = pause
        self._patience = patience
        self._failures = 0
        self._cut_since: float | None = None
        self._opened_at: float | None = None
        self._trial: Ticket | None = None

    @property
    def state(self) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        if self._trial is not None or self._rested():
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    def _rested(self, pauses: int = 1) -> bool:
        return self._opened_at is None or time.monotonic() - self._opened_at >= pauses * self._pause

    def admit(self, *, optional: bool = False) -> Ticket | None:
        """A ticket to be given back with ``leave``, or ``None`` while the CRM is not asked.

        ``optional``: the call may be cut short. It is the one that tries only after a second pause in which
        there was no other.
        """
        ticket = Ticket()
        if self._opened_at is not None:
            if self._trial is not None or not self._rested(2 if optional else 1):
                return None
            self._trial = ticket
        return ticket

    def stands(self, ticket: Ticket) -> bool:
        """Whether the ticket still holds; the breaker may have opened while its holder queued."""
        return self._opened_at is None or self._trial is ticket

    def answered(self) -> None:
        """The CRM answered; what it said does not matter."""
        self._failures = 0
        self._cut_since = None
        if self._opened_at is not None:
            self._opened_at = self._trial = None
            _log.info("crm_back", backend=self._name)

    def failed(self, reason: str) -> None:
        """No connection, no answer, or a server error; ``reason`` is a class name or a status."""
        self._failures += 1
        if self._opened_at is None:
            if self._failures >= self._limit:
                self._opened_at = time.monotonic()
                _log.warning("crm_away", backend=self._name, reason=reason)
        elif self._trial is not None:
            self._opened_at = time.monotonic()
            self._trial = None

    def cut_short(self, reason: str) -> None:
        """An optional call was given up sooner than the CRM may take for an answer. That is a failure only
        where nothing was answered for as long as it may take."""
        now = time.monotonic()
        if self._cut_since is None:
            self._cut_since = now
        elif now - self._cut_since >= self._patience:
            self.failed(reason)

    def leave(self, ticket: Ticket) -> None:
        """The call is over; if it was the trial and decided nothing, the next one may try."""
        if self._trial is ticket:
            self._trial = None


class Bulkhead:
    """At most ``places`` calls at once; the others wait up to ``patience`` seconds each, in order."""

    def __init__(self, places: int, patience: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._patience = patience
        self.under_way = 0
        self.waiting = 0

    async def enter(self, remaining: float) -> bool:
        """Whether a place was got within ``remaining`` seconds; it is given back with ``leave``."""
        if not self._places.locked():
            await self._places.acquire()  # at once; a timer would only cost
        else:
            self.waiting += 1
            try:
                async with asyncio.timeout(min(self._patience, remaining)):
                    await self._places.acquire()
            except TimeoutError:
                return False
            finally:
                self.waiting -= 1
        self.under_way += 1
        return True

    def leave(self) -> None:
        self.under_way -= 1
        self._places.release()
