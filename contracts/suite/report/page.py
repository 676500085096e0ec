"""``report.html``: the page for people. One file, no network, no script.

Everything a target sent goes through ``texts`` and the template's escaping; the page's own policy forbids
scripts and requests on top. It may not judge: words and colours follow ``findings``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from contracts.suite.report.findings import Label, clause_states, label, method_name, official, verdict
from contracts.suite.report.texts import MOST_HEADERS, laid_out, printable
from contracts.suite.results import Clause, Created, Exchange, Latency, Outcome, Result, Run, TargetRun

COUNTED = [label for label in Label if label is not Label.NONE]


@dataclass(frozen=True, slots=True)
class Most:
    """How many of a kind the page shows, so that no target can make it endless."""

    exchanges: int = 12
    failures: int = 40
    headers: int = MOST_HEADERS
    created: int = 500


MOST = Most()


def render(run: Run) -> str:
    """The page's text."""
    return _template().render(page=Page(run), run=run, most=MOST, Label=Label) + "\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(text=printable, body=laid_out, duration=duration, moment=moment)
    return environment.get_template("page.html.j2")


def duration(seconds: float) -> str:
    """``12 ms`` or ``3.4 s`` or ``2 min 5 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def moment(run: Run) -> str:
    """When the run began, in UTC."""
    return f"{run.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Part:
    """What one check found at one target."""

    target: TargetRun
    result: Result | None

    @property
    def label(self) -> Label:
        return label(self.result)

    @property
    def exchanges(self) -> list[tuple[int, Exchange, bool]]:
        """Number from 1, exchange, and whether a failure points at it; those first if there are too many."""
        if self.result is None:
            return []
        blamed = {failure.exchange for failure in self.result.failures}
        numbered = [
            (number, each, number - 1 in blamed) for number, each in enumerate(self.result.exchanges, 1)
        ]
        kept = sorted(numbered, key=lambda entry: not entry[2])[: MOST.exchanges]
        return sorted(kept, key=lambda entry: entry[0])


@dataclass(frozen=True, slots=True)
class Check:
    """One check at every target."""

    name: str
    title: str
    method: int
    parts: tuple[Part, ...]

    @property
    def broken(self) -> bool:
        return any(part.label in (Label.FAIL, Label.ERROR, Label.WARN) for part in self.parts)

    @property
    def broken_clauses(self) -> list[str]:
        """Clauses that a failure names, at whichever target, each once."""
        results = [part.result for part in self.parts if part.result is not None]
        named = (failure.clause for result in results for failure in result.failures)
        return list(dict.fromkeys(named))[: MOST.failures]


@dataclass(frozen=True, slots=True)
class Method:
    """All checks of one method."""

    number: int
    checks: tuple[Check, ...]

    @property
    def name(self) -> str:
        return method_name(self.number)

    @property
    def broken(self) -> bool:
        return any(check.broken for check in self.checks)

    @property
    def counts(self) -> list[tuple[Label, int]]:
        """How many results of each kind there are, over all targets."""
        labels = [part.label for check in self.checks for part in check.parts]
        return [(each, labels.count(each)) for each in COUNTED if each in labels]


class Page:
    """A run, arranged the way the page shows it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.targets = run.targets
        self.several = len(run.targets) > 1
        self.clauses = {clause.id: clause for clause in run.clauses}

    @cached_property
    def methods(self) -> list[Method]:
        """The tree; checks of all targets side by side, in the order of the methods."""
        found: list[dict[str, Result]] = [
            {result.check: result for result in target.results} for target in self.targets
        ]
        first: dict[str, Result] = {}
        for results in found:
            first = first | {name: result for name, result in results.items() if name not in first}
        checks = [
            Check(
                name,
                result.title,
                result.method,
                tuple(
                    Part(target, results.get(name))
                    for target, results in zip(self.targets, found, strict=True)
                ),
            )
            for name, result in first.items()
        ]
        checks.sort(key=lambda check: check.method)
        grouped = groupby(checks, key=lambda check: check.method)
        return [Method(number, tuple(group)) for number, group in grouped]

    @cached_property
    def checks(self) -> list[Check]:
        return [check for method in self.methods for check in method.checks]

    @cached_property
    def broken(self) -> list[Check]:
        """Checks that failed somewhere, official ones first."""
        order = list(Label)
        found = [check for check in self.checks if check.broken]
        return sorted(found, key=lambda check: min(order.index(part.label) for part in check.parts))

    @cached_property
    def unmade(self) -> list[tuple[Check, Part]]:
        """Checks that were not made, with a reason to tell."""
        return [
            (check, part)
            for check in self.checks
            for part in check.parts
            if part.result is not None and part.label in (Label.SKIP, Label.DISABLED)
        ]

    @cached_property
    def created(self) -> list[tuple[TargetRun, Created]]:
        return [(target, each) for target in self.targets for each in target.created]

    @cached_property
    def latencies(self) -> list[tuple[str, TargetRun, Latency]]:
        rows = [(target, each) for target in self.targets for each in target.latencies]
        rows.sort(key=lambda row: row[1].method)
        return [(method_name(each.method), target, each) for target, each in rows]

    @cached_property
    def clause_rows(self) -> list[tuple[Clause, list[Label]]]:
        """Every clause with what became of it at each target."""
        states = [clause_states(target.results) for target in self.targets]
        return [
            (clause, [found.get(clause.id, Label.NONE) for found in states]) for clause in self._run.clauses
        ]

    def official(self, target: TargetRun) -> str:
        return official(self._run, target)

    @staticmethod
    def verdict(target: TargetRun) -> str:
        return verdict(target)

    @staticmethod
    def colour(target: TargetRun) -> Label:
        """The kind of label that the verdict has the colour of."""
        if target.outcome is Outcome.BREAKS:
            return Label.FAIL
        if target.outcome is Outcome.UNKNOWN:
            return Label.ERROR
        return Label.WARN if target.counts[Label.WARN] else Label.PASS

    @staticmethod
    def counts(target: TargetRun) -> Iterator[tuple[Label, int]]:
        """All kinds, also those that did not occur."""
        return ((each, target.counts[each]) for each in COUNTED)
