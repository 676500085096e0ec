"""``report.html``: the page for people. One file, no network; its own script filters and searches, no more.

Everything a target sent goes through ``texts`` and the template's escaping; the page's own policy forbids
requests, and all scripts but that one, on top. It may not judge: words and colours follow ``findings``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from contracts.kit.pages import FOLDER as KIT
from contracts.kit.pages import base_style
from contracts.suite.language import ENGLISH, Language
from contracts.suite.report.findings import (
    Label,
    cause,
    clause_states,
    finding,
    label,
    method_name,
    official,
    unjudged_subjects,
)
from contracts.suite.report.texts import MOST_HEADERS, laid_out, printable
from contracts.suite.results import Clause, Created, Exchange, Latency, Outcome, Result, Run, TargetRun

FOLDER = Path(__file__).parent
SCRIPT = (FOLDER / "filter.js").read_text(encoding="utf-8")
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    f"script-src 'sha256-{b64encode(sha256(SCRIPT.encode()).digest()).decode()}'"
)
"""What a browser lets the report do."""
COUNTED = [label for label in Label if label is not Label.NONE]


@dataclass(frozen=True, slots=True)
class Most:
    """How many of a kind the page shows, so that no target can make it endless."""

    exchanges: int = 12
    failures: int = 40
    headers: int = MOST_HEADERS
    created: int = 500


MOST = Most()


def render(run: Run, language: Language = ENGLISH) -> str:
    """The page's text."""
    template = environment(language, FOLDER, KIT).get_template("page.html.j2")
    shown = Page(run, language)
    return template.render(page=shown, run=run, policy=POLICY, script=Markup(SCRIPT)) + "\n"  # noqa: S704 - ours


@lru_cache
def environment(language: Language, *folders: Path) -> Environment:
    """Templates of these folders that speak a language: ``t`` says what is ours, ``s`` what checks say."""
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        text=printable, body=laid_out, duration=partial(duration, say=language), moment=moment
    )
    made.globals.update(t=language, s=language.sentence, most=MOST, Label=Label)
    return made


def style() -> str:
    """The style sheet, for pages that look alike."""
    return f"{base_style()}\n{(FOLDER / 'page.css').read_text(encoding='utf-8')}"


def duration(seconds: float, say: Language = ENGLISH) -> str:
    """``12 ms`` or ``3.4 s`` or ``2 min 5 s``."""
    if seconds < 1:
        return say("{number} ms", number=f"{seconds * 1000:.0f}")
    if seconds < 90:
        return say("{number} s", number=f"{seconds:.1f}")
    return say("{minutes} min {seconds} s", minutes=f"{seconds // 60:.0f}", seconds=f"{seconds % 60:.0f}")


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
        """Number from 1, exchange, and whether a failure points at it.

        Of too many those are kept, and what led to them: the ones before.
        """
        if self.result is None:
            return []
        blamed = {failure.exchange for failure in self.result.failures if failure.exchange is not None}
        numbered = [
            (number, each, number - 1 in blamed) for number, each in enumerate(self.result.exchanges, 1)
        ]
        if blamed:
            last = max(blamed) + 1
            numbered.sort(key=lambda entry: (not entry[2], entry[0] > last, -entry[0]))
        kept = numbered[: MOST.exchanges]
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
    def _blamed(self) -> Result | None:
        """The worst of its results that is broken."""
        found = [part for part in self.parts if part.label in (Label.FAIL, Label.ERROR, Label.WARN)]
        found.sort(key=lambda part: list(Label).index(part.label))
        return found[0].result if found else None

    @property
    def cause(self) -> str:
        """A text that is the same for checks that failed in the same way."""
        return "" if self._blamed is None else cause(self._blamed)

    @property
    def told(self) -> str:
        """What came instead of what was expected, as a sentence."""
        result = self._blamed
        if result is None or not result.failures:
            return "" if result is None else result.reason
        return result.failures[0].actual

    @property
    def broken_clauses(self) -> list[str]:
        """Clauses that a failure names, at whichever target, each once."""
        results = [part.result for part in self.parts if part.result is not None]
        named = (failure.clause for result in results for failure in result.failures)
        return list(dict.fromkeys(named))[: MOST.failures]


@dataclass(frozen=True, slots=True)
class Cause:
    """Checks that failed in the same way."""

    text: str
    """What came instead of what was expected, at the first of them."""
    checks: tuple[Check, ...]


def _worst(check: Check) -> int:
    """Place of the worst label in the order of importance."""
    return min(list(Label).index(part.label) for part in check.parts)


@dataclass(frozen=True, slots=True)
class Method:
    """All checks of one method."""

    name: str
    checks: tuple[Check, ...]
    """What failed first."""

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

    def __init__(self, run: Run, language: Language = ENGLISH) -> None:
        self._run = run
        self._say = language
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
        checks.sort(key=lambda check: (check.method, _worst(check)))
        grouped = groupby(checks, key=lambda check: check.method)
        return [Method(method_name(number, self._say), tuple(group)) for number, group in grouped]

    @cached_property
    def checks(self) -> list[Check]:
        return [check for method in self.methods for check in method.checks]

    @cached_property
    def broken(self) -> list[Check]:
        """Checks that failed somewhere, the worst first."""
        return sorted((check for check in self.checks if check.broken), key=_worst)

    @cached_property
    def causes(self) -> list[Cause]:
        """The same by what came instead of what was expected; the worst first, then the most frequent."""
        found: dict[str, list[Check]] = {}
        for check in self.broken:
            found.setdefault(check.cause, []).append(check)
        made = [Cause(checks[0].told, tuple(checks)) for checks in found.values()]
        return sorted(made, key=lambda one: (_worst(one.checks[0]), -len(one.checks)))

    @cached_property
    def labels(self) -> list[Label]:
        """The kinds of results that there are, for the filter."""
        there = {part.label for check in self.checks for part in check.parts}
        return [label for label in Label if label in there]

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
        return [(method_name(each.method, self._say), target, each) for target, each in rows]

    @cached_property
    def clause_rows(self) -> list[tuple[Clause, list[Label]]]:
        """Every clause with what became of it at each target."""
        states = [clause_states(target.results) for target in self.targets]
        return [
            (clause, [found.get(clause.id, Label.NONE) for found in states]) for clause in self._run.clauses
        ]

    def official(self, target: TargetRun) -> str:
        said = official(self._run, target, self._say)
        return said[:1].upper() + said[1:]

    def finding(self, target: TargetRun) -> str:
        return finding(target, self._say)

    def unjudged(self, target: TargetRun) -> list[str]:
        return unjudged_subjects(target, self._say)

    @staticmethod
    def colour(target: TargetRun) -> Label:
        """The label whose colour the verdict has."""
        if target.outcome is Outcome.BREAKS:
            return Label.FAIL
        if target.outcome is Outcome.UNKNOWN:
            return Label.ERROR
        return Label.WARN if target.counts[Label.WARN] else Label.PASS

    @staticmethod
    def counts(target: TargetRun) -> Iterator[tuple[Label, int]]:
        """All kinds, also those that did not occur."""
        return ((each, target.counts[each]) for each in COUNTED)
