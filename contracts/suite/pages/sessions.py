"""Who sits at the pages, and what they typed: in memory, gone with the process. It may not know any page."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from contracts.suite.pages.phone import Phone
from contracts.suite.pages.runs import PageRun

MOST = 100
"""Sessions that are kept; the one that was unused for longest goes first."""
MOST_RUNS = 30
"""Runs of one session that are kept."""


@dataclass
class Session:
    """One browser."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Is in every form of its pages, so that other sites cannot send one in its name."""
    language: str | None = None
    """``en`` or ``ru``, once it was chosen on a page."""
    values: dict[str, str] | None = field(default=None, repr=False)
    """What was typed into the form, but for the password."""
    password: str | None = field(default=None, repr=False)
    runs: list[PageRun] = field(default_factory=list)
    started: int = 0
    """How many runs there were."""
    phone: Phone = field(default_factory=Phone)
    used_at: float = field(default_factory=time.monotonic)

    def run(self, number: int) -> PageRun | None:
        return next((run for run in self.runs if run.number == number), None)

    def before(self, run: PageRun) -> PageRun | None:
        """The run before this one that tested the same and came to an end."""
        earlier = [one for one in self.runs if one.number < run.number and one.same_as(run) and one.found]
        return earlier[-1] if earlier else None

    def keep(self, run: PageRun) -> None:
        """Remember a run; the oldest goes where there are many."""
        self.runs.append(run)
        for old in self.runs[:-MOST_RUNS]:
            old.cancel()
        del self.runs[:-MOST_RUNS]

    def close(self) -> None:
        for run in self.runs:
            run.cancel()


class Sessions:
    """All sessions of a process."""

    def __init__(self) -> None:
        self._all: dict[str, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(self._all.values())

    def get(self, id_: str) -> Session | None:
        session = self._all.get(id_)
        if session is not None:
            session.used_at = time.monotonic()
        return session

    def new(self) -> Session:
        while len(self._all) >= MOST:
            oldest = min(self._all.values(), key=lambda one: one.used_at)
            oldest.close()
            del self._all[oldest.id]
        session = Session()
        self._all[session.id] = session
        return session
