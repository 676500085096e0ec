"""What a run tells whoever waits for it while it goes on. It may not know who that is."""

from __future__ import annotations

from collections.abc import Callable

from contracts.suite.checking import Check
from contracts.suite.results import Result


class Watcher:
    """Is told how a run goes on. Each method does nothing here; a subclass overrides those it needs."""

    def opened(self, stop: Callable[[str], None]) -> None:
        """Every service has answered. ``stop`` ends the run early, with the reason that is told."""

    def begins(self, target: str, check: Check) -> None:
        """A check is made now."""

    def ends(self, target: str, result: Result, done: int, total: int) -> None:
        """A check has ended, as the ``done``-th of ``total``; also one that was not asked for."""
