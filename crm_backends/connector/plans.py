"""A connector that was read, as data: what is sent, what an answer means, what is given. Nothing of it runs.

It may not know how a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crm_backends.connector.language import Connector, Flow, Pages
from crm_backends.connector.scope import Expression
from crm_backends.connector.templates import Fill
from crm_backends.connector.vocabulary import Shape


@dataclass(frozen=True, slots=True)
class Ruling:
    """One outcome."""

    when: Expression
    decides: str


@dataclass(frozen=True, slots=True)
class Paging:
    plan: Pages
    rows: Expression
    next: Expression | None
    last: Expression | None


@dataclass(frozen=True, slots=True)
class Sending:
    """A call, ready to be filled."""

    method: str
    path: Fill
    query: Fill | None
    headers: Fill | None
    json: Fill | None
    form: Fill | None
    multipart: bool
    auth: str | None
    takes_text: bool
    """Whether a good answer may be something else than JSON."""
    where: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step of an operation, ready to run."""

    name: str
    sending: Sending
    when: Expression | None
    given: Fill | None
    """What the request calls ``with``."""
    commits: bool
    prepares: bool
    rulings: Sequence[Ruling]
    """In this order: those of the step, of its operation, of the connector."""
    turns_away: bool
    """Whether a ruling says that credentials are refused."""
    ok: Expression | None
    has: Sequence[Expression]
    """What a good answer has."""
    accept: frozenset[int]
    """Statuses that an outcome names."""
    save: Sequence[tuple[str, Expression]]
    paging: Paging | None


@dataclass(frozen=True, slots=True)
class ResultMapping:
    """How the fields of a result are made of what was answered: one result for each row."""

    rows: Expression | None
    where: Expression | None
    result: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """How a doubt is reconciled."""

    steps: Sequence[StepPlan]
    go_on: Sequence[tuple[Expression, int]]
    """A condition, and the operation's step to go on at."""
    mapping: ResultMapping


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation."""

    name: str
    shape: Shape
    at_once: Sequence[Ruling]
    alone: Expression | None
    steps: Sequence[StepPlan]
    mapping: ResultMapping
    reconciling: ReconcilePlan | None
    """Absent where the doubt cannot be reconciled by looking."""


@dataclass(frozen=True, slots=True)
class LoginPlan:
    """A login, ready to run."""

    sending: Sending
    token: Expression
    lasts: Expression | None
    ok: Expression | None
    has: Sequence[Expression]
    sent: Sequence[tuple[str, Fill]]
    """Names of headers, or of query parameters after a question mark."""


@dataclass(frozen=True, slots=True)
class AuthPart:
    """One flow of an ``auth``: its kind, and what it is made of."""

    kind: str
    texts: Mapping[str, Fill] = field(default_factory=dict)
    login: LoginPlan | None = None
    flow: Flow | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A connector that can run."""

    model: Connector
    plans: Mapping[str, Plan]
    check: Sequence[StepPlan]
    flows: Mapping[str | None, Sequence[AuthPart]]
    """By name; without one, that of every call."""
    headers: Fill | None
    content: Expression | None
    """What of an answer was asked for, where the connector has a name for it."""
    looks_at_headers: bool
    """Whether any expression does."""
