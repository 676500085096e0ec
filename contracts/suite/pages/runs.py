"""One run of the suite as a page follows it: what is tried now, what was found so far, and its reports.

It may not know how it is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.suite import runner
from contracts.suite.checking import Check
from contracts.suite.config import ConfigError, Options
from contracts.suite.language import Language
from contracts.suite.report import files
from contracts.suite.report.findings import Label, label
from contracts.suite.results import Result, Run, State
from contracts.suite.watching import Watcher

MOST_TOLD = 200
"""Failures that are told while a run goes on; the report has them all."""
STOPPED = "it was stopped on the page"
_BAD = (Label.FAIL, Label.ERROR, Label.WARN)


class PageRun(Watcher):
    """Starts when it is made; ends by itself, or by ``stop``."""

    def __init__(self, number: int, options: Options, password: str) -> None:
        self.number = number
        self.options = options
        self.started_at = datetime.now(UTC)
        self.ended_at: datetime | None = None
        self.under_way: dict[str, Check] = {}
        self.done = self.total = 0
        self.counts: Counter[Label] = Counter()
        self.bad: list[Result] = []
        self.found: Run | None = None
        self.problem = ""
        """Why nothing could be tested, as a sentence."""
        self.reached = False
        """Whether every service has answered."""
        self.stopping = False
        self._stop: Callable[[str], None] | None = None
        self._files: dict[str, dict[str, bytes]] = {}
        self._task = asyncio.create_task(self._go(password), name=f"run {number}")

    async def _go(self, password: str) -> None:
        try:
            self.found = await runner.run(self.options, password, self)
        except (runner.CannotRun, ConfigError) as error:
            self.problem = str(error)
        except Exception as error:
            self.problem = f"a defect of the suite: {type(error).__name__}"
            raise
        finally:
            self.ended_at = datetime.now(UTC)
            self.under_way.clear()

    def opened(self, stop: Callable[[str], None]) -> None:
        self._stop, self.reached = stop, True
        if self.stopping:
            stop(STOPPED)

    def begins(self, target: str, check: Check) -> None:
        self.under_way[f"{target} {check.name}"] = check

    def ends(self, target: str, result: Result, done: int, total: int) -> None:
        self.under_way.pop(f"{target} {result.check}", None)
        self.done, self.total = done, total
        if result.state is not State.DISABLED:
            self.counts[label(result)] += 1
        if label(result) in _BAD and len(self.bad) < MOST_TOLD:
            self.bad.append(result)

    @property
    def totals(self) -> Counter[Label]:
        """How many checks ended how; rules on all answers are judged at the end of a run."""
        if self.found is None:
            return self.counts
        return Counter(label(result) for target in self.found.targets for result in target.results)

    @property
    def broken(self) -> list[Result]:
        """What failed, the worst first."""
        results = self.bad
        if self.found is not None:
            results = [result for target in self.found.targets for result in target.results]
        order = list(Label)
        bad = [result for result in results if label(result) in _BAD]
        return sorted(bad, key=lambda result: order.index(label(result)))[:MOST_TOLD]

    @property
    def going_on(self) -> bool:
        return self.ended_at is None

    def stop(self) -> None:
        """Ask nothing more; what was found until then is told."""
        self.stopping = True
        if self._stop is not None:
            self._stop(STOPPED)

    def cancel(self) -> None:
        """End at once."""
        self._task.cancel()

    async def wait(self) -> None:
        """Until it has ended, however it does."""
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asyncio.shield(self._task)

    def same_as(self, other: PageRun) -> bool:
        """Whether both test the same services for the same."""
        ours, theirs = self.options, other.options
        return (ours.urls, ours.api_version, ours.base_path) == (
            theirs.urls, theirs.api_version, theirs.base_path,
        )  # fmt: skip

    def files(self, language: Language) -> dict[str, bytes]:
        """The reports by their names; empty while there is nothing to report."""
        if self.found is None:
            return {}
        if language.code not in self._files:
            self._files[language.code] = files(self.found, language)
        return self._files[language.code]


@dataclass(frozen=True, slots=True)
class Change:
    """A check that ended in another way than before."""

    target: str
    result: Result
    before: Label
    after: Label


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the checks since an earlier run."""

    broken: list[Change]
    mended: list[Change]
    other: list[Change]

    @property
    def same(self) -> bool:
        return not (self.broken or self.mended or self.other)


def compare(before: Run, after: Run) -> Comparison:
    """Checks that ended in another way; only those that both runs have."""
    found = Comparison([], [], [])
    earlier = {
        (target.url, result.check): label(result) for target in before.targets for result in target.results
    }
    for target in after.targets:
        for result in target.results:
            then, now = earlier.get((target.url, result.check)), label(result)
            if then is None or then is now:
                continue
            change = Change(target.name, result, then, now)
            if now in _BAD and (then not in _BAD or now is Label.FAIL):
                found.broken.append(change)
            elif then in _BAD and now is Label.PASS:
                found.mended.append(change)
            else:
                found.other.append(change)
    return found
