"""What all reports tell in the same words: names of methods, labels of results, what became of a clause.

It may not know in what form it is told.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from contracts.suite.results import Outcome, Result, State, TargetRun, Weight

METHODS = {
    0: "Common to all methods",
    1: "Find a card",
    2: "Consents",
    3: "Card and balance",
    4: "Update the profile",
    5: "Reserve a number",
    6: "Issue a reserved number",
    7: "Purchases",
    8: "Offers",
    9: "All users",
    10: "Receipt QR code",
    11: "Issue without reserving",
    12: "Promo code",
    100: "Scenarios",
}


OUTCOMES = {
    Outcome.KEEPS: "Keeps the contract",
    Outcome.BREAKS: "Does not keep the contract",
    Outcome.UNKNOWN: "Could not be tested",
}


class Label(enum.StrEnum):
    """A result in one word; the order is that of importance."""

    FAIL = "fail"
    ERROR = "error"
    WARN = "warn"
    PASS = "pass"  # noqa: S105 - a state, no password
    SKIP = "skip"
    DISABLED = "disabled"
    NONE = "not checked"


def method_name(number: int) -> str:
    """``3. Card and balance``; scenarios and what is common have no number."""
    name = METHODS.get(number, "Method")
    return f"{number}. {name}" if 0 < number < 100 else name


def label(result: Result | None) -> Label:
    """The word for a result; a FAIL that is worth a warning is ``WARN``."""
    if result is None:
        return Label.NONE
    if result.state is State.FAIL and result.weight is Weight.WARN:
        return Label.WARN
    return Label(result.state.value)


def verdict(target: TargetRun) -> str:
    """The run's finding in a sentence."""
    counts = target.counts
    failed = _number(counts[State.FAIL], "check", "failed") if counts[State.FAIL] else ""
    not_made = _number(counts[State.ERROR], "check", "could not be made") if counts[State.ERROR] else ""
    match target.outcome:
        case Outcome.BREAKS:
            more = f": {', '.join(filter(None, (failed, not_made)))}"
        case Outcome.UNKNOWN:
            more = f": {not_made or 'no check was tried'}"
        case Outcome.KEEPS:
            more = f", with {_number(counts[Weight.WARN], 'warning')}" if counts[Weight.WARN] else ""
    return OUTCOMES[target.outcome] + more


def _number(count: int, noun: str, what: str = "") -> str:
    return f"{count} {noun}{'' if count == 1 else 's'} {what}".strip()


def clause_states(results: Sequence[Result]) -> dict[str, Label]:
    """What became of each clause that a check names; clauses without a finding are not in it.

    A failed check says nothing of those of its clauses that none of its failures names: it may have ended
    before it came to them.
    """
    order = list(Label)
    states: dict[str, Label] = {}
    for result in results:
        if result.state is State.FAIL:
            found = [(failure.clause, label(result)) for failure in result.failures]
        else:
            found = [(clause, label(result)) for clause in result.clauses]
        for clause, new in found:
            states[clause] = min(states.get(clause, Label.NONE), new, key=order.index)
    return states
