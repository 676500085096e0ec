"""What a run of the suite found: the one structure the terminal, the reports and the tests read.

Plain data. Exchanges in here are redacted already: no credential and no personal value of a real person
gets this far. It may not know how checks are made, nor how reports are drawn.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

BUDGET = 4.0
"""Seconds Koshelek is assumed to wait."""


class Evidence(enum.StrEnum):
    """Where a clause is known from."""

    OFFICIAL = "official"
    TWO = "two"
    ONE = "one"
    INFERRED = "inferred"


class State(enum.StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - a state, no password
    FAIL = "fail"
    SKIP = "skip"
    """It lacks something it needs: an identity, a profile, an earlier step; the reason says what."""
    DISABLED = "disabled"
    """It was not asked for: another version, another selection, switched off."""
    ERROR = "error"
    """The suite itself could not do it; nothing is known about the service."""


class Outcome(enum.StrEnum):
    """What a run says of a service."""

    KEEPS = "keeps"
    BREAKS = "breaks"
    """A check failed with weight."""
    UNKNOWN = "unknown"
    """The suite had an error of its own, or nothing was tried."""


class Weight(enum.StrEnum):
    """What a breach is worth."""

    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Clause:
    """One requirement: a row of ``clauses.csv``."""

    id: str
    method: int
    """Number of the method in the contract; 0: common to all."""
    text: str
    level: str
    """``MUST`` or ``SHOULD``."""
    evidence: Evidence
    versions: tuple[str, ...]
    source: str
    text_ru: str = ""
    """The same in Russian."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, redacted."""

    verb: str
    url: str
    request_headers: tuple[tuple[str, str], ...]
    request_body: str | None
    status: int | None
    """``None``: no answer came; ``problem`` says why."""
    reason: str
    http_version: str
    response_headers: tuple[tuple[str, str], ...]
    response_body: str
    started_at: datetime
    seconds: float
    curl: str
    """A command line that repeats the request; credentials masked."""
    problem: str | None = None

    @property
    def request_id(self) -> str:
        """By which the service may find the request in its logs; empty where none was sent."""
        return next((value for name, value in self.request_headers if name == "X-Request-Id"), "")


@dataclass(frozen=True, slots=True)
class Failure:
    """One breach, as a sentence."""

    clause: str
    expected: str
    actual: str
    """With the JSON path and the value, where there is one."""
    path: str | None = None
    exchange: int | None = None
    """Index of the exchange in the result's ``exchanges``."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one check ended against one target."""

    check: str
    """Stable name of the check, for example ``find.unknown_person_is_an_empty_body``."""
    title: str
    method: int
    """Number of the method; 0: common; 100: a scenario, a sequence of calls."""
    clauses: tuple[str, ...]
    state: State
    weight: Weight
    """What a FAIL of this check is worth in this run."""
    reason: str = ""
    """Of a skip, a disabled check or an error."""
    failures: tuple[Failure, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Information, never a verdict: seconds of the answers to one method."""

    method: int
    count: int
    p50: float
    p95: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class Created:
    """Something the suite made in the target and cannot take away."""

    what: str
    value: str


@dataclass(frozen=True, slots=True)
class TargetRun:
    """Everything one run found at one base URL."""

    url: str
    name: str
    results: tuple[Result, ...]
    latencies: tuple[Latency, ...] = ()
    created: tuple[Created, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    """Name and content of what belongs beside the reports: bodies that a ``curl`` line of a failure names."""

    @property
    def failed(self) -> Iterator[tuple[Result, Failure, Exchange | None]]:
        """Every failure with its result and the exchange that shows it."""
        for result in self.results:
            for failure in result.failures:
                here = failure.exchange is not None and failure.exchange < len(result.exchanges)
                yield result, failure, result.exchanges[failure.exchange or 0] if here else None

    @property
    def counts(self) -> Counter[str]:
        """How many checks ended how; a FAIL that is worth a warning counts as ``warn``."""
        return Counter(
            Weight.WARN if result.state is State.FAIL and result.weight is Weight.WARN else result.state
            for result in self.results
        )

    @property
    def outcome(self) -> Outcome:
        counts = self.counts
        if counts[State.FAIL]:
            return Outcome.BREAKS
        if counts[State.ERROR] or not (counts[State.PASS] or counts[Weight.WARN]):
            return Outcome.UNKNOWN
        return Outcome.KEEPS

    @property
    def keeps_the_contract(self) -> bool:
        return self.outcome is Outcome.KEEPS


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the suite: one or several targets, the same checks for each."""

    api_version: str
    profile: str
    strict: bool
    started_at: datetime
    seconds: float
    suite_version: str
    clauses: Sequence[Clause]
    targets: tuple[TargetRun, ...]
    selection: str = ""
    """What was asked for with ``--only``, if anything."""
    notes: tuple[str, ...] = ()
    """What whoever reads the findings should know of the run."""

    @property
    def outcome(self) -> Outcome:
        """The worst of the targets'."""
        found = {target.outcome for target in self.targets}
        return next(one for one in (Outcome.BREAKS, Outcome.UNKNOWN, Outcome.KEEPS) if one in found)
