"""Since when a CRM has answered this process without a break. It may not know what it was asked."""

from __future__ import annotations

import time


class Answering:
    """One CRM, as this process sees it when it looks for what is in doubt."""

    def __init__(self, longest_gap: float) -> None:
        self._longest_gap = longest_gap
        """Seconds between two answers, at most; who was not asked for longer may have been away."""
        self._since: float | None = None
        self._last = 0.0

    def answered(self) -> None:
        now = time.monotonic()
        if self._since is None or now - self._last > self._longest_gap:
            self._since = now
        self._last = now

    def failed(self) -> None:
        self._since = None

    def seconds(self) -> float:
        """How long it has answered without a break, up to its last answer."""
        return 0.0 if self._since is None else self._last - self._since
