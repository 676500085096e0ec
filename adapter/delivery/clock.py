"""How long ago something was, so that two clocks agree: the database's and this process's own.

The database's clock is shared by all processes, but may be put back or forward by hours (a machine that was
paused, a failover). The own one only ever runs forward, and knows nothing of what was before this process. An
age is believed as far as both tell it. It may not know what is aged.
"""

from __future__ import annotations

import time
from datetime import datetime

_TOLERANCE = 0.5  # seconds
_DRIFT = 0.001
"""Seconds a second by which two clocks that are well may run apart."""
_KEPT = 300.0
"""Seconds for which narrow bounds are better than newer ones."""


class DatabaseClock:
    """Watches the database's clock by what is read from it anyway."""

    def __init__(self) -> None:
        self._least = self._most = 0.0
        """Bounds of how far the database's clock is ahead of ours, in seconds."""
        self._steady_since: float | None = None
        """Since when, by our clock, it has been seen to run as ours does."""
        self._seen_at = self._bounded_at = 0.0

    def observe(self, before: float, told: datetime | None, after: float) -> None:
        """``told`` was the database's time at some moment between two of ours (``time.monotonic()``)."""
        if told is None:
            return
        least, most = told.timestamp() - after, told.timestamp() - before
        if self._steady_since is not None:
            slack = _TOLERANCE + _DRIFT * (after - self._seen_at)
            if least <= self._most + slack and most >= self._least - slack:
                self._seen_at = after
                # A slow answer tells little.
                if most - least < self._most - self._least or after - self._bounded_at > _KEPT:
                    self._least, self._most, self._bounded_at = least, most, after
                return
        self._least, self._most = least, most
        self._steady_since, self._seen_at, self._bounded_at = before, after, after

    def age(self, moment: datetime) -> float:
        """Seconds since ``moment`` of the database's clock, no more than both clocks vouch for.

        For a moment before this process began to look, or before the database's clock jumped, the age counts
        from then on: it is at least as old as that.
        """
        if self._steady_since is None:
            return 0.0
        now = time.monotonic()
        own = now - self._steady_since
        told = now + self._least - moment.timestamp()
        if told < -_TOLERANCE:  # in the future: the database's clock was put back since
            return own
        return max(0.0, min(told, own))
