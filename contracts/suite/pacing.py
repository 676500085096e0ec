"""How fast a service is asked, and when to stop asking it: throttling, and a login that was locked out.

It may not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 60.0
"""Seconds that a throttling service is waited for."""
MOST_REPEATS = 10
"""How often a request is sent again that was turned away for its rate."""


class Stopped(Exception):
    """Nothing more can be found out in this run; the message says why and what to do."""


class Pace:
    """At most so many requests a second, and none while the service asks to wait."""

    def __init__(self, rate: float | None) -> None:
        self._apart = 0.0 if rate is None else 1 / rate
        self._next = 0.0
        self.throttled = 0
        """How often the service turned a request away for its rate."""
        self.stopped: str | None = None
        """Why nothing more is asked."""

    async def turn(self) -> None:
        """Wait until the next request may be sent. Raises ``Stopped``."""
        loop = asyncio.get_running_loop()
        while True:
            if self.stopped is not None:
                raise Stopped(self.stopped)
            now = loop.time()
            if now >= self._next:
                self._next = now + self._apart
                return
            await asyncio.sleep(min(self._next - now, 1.0))

    def stop(self, why: str) -> Stopped:
        """Send nothing more; what to raise."""
        self.stopped = self.stopped or why
        return Stopped(self.stopped)

    def throttle(self, status: int | None, headers: Mapping[str, str], attempt: int) -> bool:
        """Whether the request was turned away for its rate, and is to be sent again. Raises ``Stopped``."""
        after = headers.get("Retry-After")
        if status != 429 and not (status == 503 and after is not None):
            return False
        self.throttled += 1
        wait = _seconds(after) if after is not None else min(2.0**attempt, 8.0)
        if wait is None or wait > LONGEST_WAIT or attempt >= MOST_REPEATS:
            asked = f", Retry-After: {after}" if after is not None else ""
            why = f"the service turns requests away for their rate ({status}{asked})"
            raise self.stop(f"{why}: ask more slowly with --rate")
        self._next = max(self._next, asyncio.get_running_loop().time() + wait)
        return True


def _seconds(retry_after: str) -> float | None:
    """How long to wait; ``None`` where that cannot be read."""
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
