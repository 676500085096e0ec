"""What a check is made of: its registration, and the two ways in which it can end badly.

A check is a coroutine that is given a ``Trial``, calls methods of the contract through it, and returns; it
raises ``Breach`` when a clause is broken and ``Skip`` when it lacks something. Checks read values leniently:
what holds for every answer (types, statuses, headers) is judged by rules, once. It may not know who runs
checks, nor in which order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from contracts.suite.answer import Answer

if TYPE_CHECKING:
    from contracts.suite.trial import Trial

SCENARIO = 100
"""Stands for a method number where a sequence of calls is meant."""

OPTIONAL = (8, 9)
"""Methods that a service may leave out: then they are unknown paths."""


class Skip(Exception):
    """The check lacks something; the message says what."""


class Breach(Exception):
    """A clause is broken."""

    def __init__(
        self,
        expected: str,
        actual: str,
        *,
        answer: Answer | None = None,
        path: str | None = None,
        doubtful: bool = False,
    ) -> None:
        """``doubtful``: it may be intended, and do no harm; then evidence alone decides what it is worth."""
        super().__init__(expected)
        self.expected = expected
        self.actual = actual
        self.answer = answer
        self.path = path
        self.doubtful = doubtful


@dataclass(frozen=True, slots=True)
class Check:
    """One check as it was registered."""

    name: str
    title: str
    method: int
    clauses: tuple[str, ...]
    run: Callable[[Trial], Awaitable[None]]
    writes: bool
    """It changes something in the service; the read profile leaves it out."""
    since: str
    """Version from which on the methods it needs are there."""
    last: bool
    """Whether it is made when all others are done, since it looks back on the run."""


Verdict = Breach | Literal["kept"] | None
"""Of a rule on one answer; ``None``: it has nothing to say about such an answer."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A clause that is judged on every answer of a run that it is about."""

    name: str
    title: str
    clauses: tuple[str, ...]
    judge: Callable[[Answer], Verdict]
    about: str
    """What it judges: ``answer``, ``error``, …"""
    probes: bool
    """Whether answers to requests that Koshelek never sends are judged, too."""
    chance: Callable[[Sequence[tuple[Answer, bool]]], bool] | None
    """Whether these breaches, among all answers, may be chance; ``None``: one breach is enough."""
    silence: bool
    """Whether requests that were never answered are judged, too."""

    def on(self, answer: Answer) -> Verdict:
        """The verdict on one answer; ``None`` for answers that only a check may judge."""
        left_out = answer.method in OPTIONAL and answer.refused
        asked_by_koshelek = answer.with_credentials and not answer.probe and not left_out
        if answer.status is None and not self.silence:
            return None
        if answer.cut or not (asked_by_koshelek or self.probes):
            return None
        return self.judge(answer)


CHECKS: list[Check] = []
RULES: list[Rule] = []


def method_of(clause: str) -> int:
    """Number of the method in a clause's id; ``SCENARIO`` for a scenario's."""
    number = clause.split("-")[1]
    return SCENARIO if number == "S" else int(number)


def _name_and_title(function: Callable[..., Any]) -> tuple[str, str]:
    group = function.__module__.rpartition(".")[2]
    return f"{group}.{function.__name__}", (function.__doc__ or function.__name__.replace("_", " ")).strip()


def check(
    *clauses: str, writes: bool = False, since: str = "1.0.0", last: bool = False
) -> Callable[[Callable[[Trial], Awaitable[None]]], Callable[[Trial], Awaitable[None]]]:
    """Register a check of these clauses; what it says when it fails is about the first of them."""

    def register(function: Callable[[Trial], Awaitable[None]]) -> Callable[[Trial], Awaitable[None]]:
        name, title = _name_and_title(function)
        CHECKS.append(Check(name, title, method_of(clauses[0]), clauses, function, writes, since, last))
        return function

    return register


def rule(
    *clauses: str,
    about: str = "answer",
    probes: bool = False,
    chance: Callable[[Sequence[tuple[Answer, bool]]], bool] | None = None,
    silence: bool = False,
) -> Callable[[Callable[[Answer], Verdict]], Callable[[Answer], Verdict]]:
    """Register a rule for every answer; see ``Rule``."""

    def register(function: Callable[[Answer], Verdict]) -> Callable[[Answer], Verdict]:
        name, title = _name_and_title(function)
        RULES.append(Rule(name, title, clauses, function, about, probes, chance, silence))
        return function

    return register
