"""How fast a CRM is asked again: an outage must not end in a flood.

It counts and decides; it may not know what is delivered.
"""

from __future__ import annotations

import random
import time


class Pace:
    """At most ``per_second`` admissions, with bursts of one second; whoever comes too early is told when.

    It keeps no list of who waits: what is put off comes back spread over the time that the crowd needs.
    """

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._tokens = self._most = max(1.0, per_second)
        self._at = time.monotonic()
        self._waiting = 0

    def admit(self) -> float:
        """0: go on now. Else the seconds after which to come again."""
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            self._waiting = max(0, self._waiting - 1)
            return 0.0
        self._waiting += 1
        return random.uniform(0.5, 1.5) * max(1.0, self._waiting / self._rate)  # noqa: S311 - no secret
