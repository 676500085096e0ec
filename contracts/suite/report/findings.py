"""What all reports tell in the same words: names of methods, labels of results, what became of a clause.

It may not know in what form it is told.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Collection, Sequence

from contracts.loyalty_online.subjects import SUBJECTS
from contracts.suite.language import ENGLISH, Language
from contracts.suite.results import Evidence, Outcome, Result, Run, State, TargetRun, Weight

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


def method_name(number: int, say: Language = ENGLISH) -> str:
    """``3. Card and balance``; scenarios and what is common have no number."""
    name = say(METHODS.get(number, "Method"))
    return f"{number}. {name}" if 0 < number < 100 else name


def label(result: Result | None) -> Label:
    """The word for a result; a FAIL that is worth a warning is ``WARN``."""
    if result is None:
        return Label.NONE
    if result.state is State.FAIL and result.weight is Weight.WARN:
        return Label.WARN
    return Label(result.state.value)


def verdict(target: TargetRun, say: Language = ENGLISH) -> str:
    """The run's finding in a sentence, and what it says nothing of."""
    return "; ".join([finding(target, say), *unjudged_subjects(target, say)])


def finding(target: TargetRun, say: Language = ENGLISH) -> str:
    """The run's finding in a sentence."""
    counts = target.counts
    failed = not_made = ""
    if counts[State.FAIL]:
        failed = say.count(counts[State.FAIL], "{number} check failed", "{number} checks failed")
    if counts[State.ERROR]:
        not_made = say.count(
            counts[State.ERROR], "{number} check could not be made", "{number} checks could not be made"
        )
    match target.outcome:
        case Outcome.BREAKS:
            more = f": {', '.join(filter(None, (failed, not_made)))}"
        case Outcome.UNKNOWN:
            more = f": {not_made or _nothing_tried(target, say)}"
        case Outcome.KEEPS if counts[Weight.WARN]:
            more = ", " + say.count(counts[Weight.WARN], "with {number} warning", "with {number} warnings")
        case Outcome.KEEPS:
            more = ""
    return say(OUTCOMES[target.outcome]) + more


def _nothing_tried(target: TargetRun, say: Language) -> str:
    """That nothing could be tried, and for want of what."""
    lacks = Counter(result.reason for result in target.results if result.state is State.SKIP)
    why = "; ".join(say.sentence(reason) for reason, _ in lacks.most_common(2))
    return say("no check was tried") + (f", {say('because')}: {why}" if why else "")


def unjudged_subjects(target: TargetRun, say: Language = ENGLISH) -> list[str]:
    """How many clauses about money, and about identity, were not judged, and why.

    Clauses that the version or the selection leaves out are not told.
    """
    told = []
    for subject, clauses in SUBJECTS.items():
        reasons = unjudged(target.results, clauses)
        if reasons:
            most = Counter(reasons.values()).most_common(2)
            why = "; ".join(say.sentence(reason).removesuffix(".") for reason, _ in most)
            told.append(
                say.count(
                    len(reasons),
                    f"{{number}} clause about {subject} was not judged, because: ",
                    f"{{number}} clauses about {subject} were not judged, because: ",
                )
                + why
            )
    return told


def unjudged(results: Sequence[Result], clauses: Collection[str]) -> dict[str, str]:
    """Which of these clauses were asked for and not judged, each with the reason."""
    states = clause_states(results)
    reasons: dict[str, str] = {}
    for result in results:
        for clause in result.clauses:
            judged = states.get(clause) in (Label.FAIL, Label.WARN, Label.PASS)
            if clause in clauses and not judged and not result.reason.startswith(NOT_ASKED_FOR):
                reasons.setdefault(clause, result.reason)
    return reasons


NOT_ASKED_FOR = ("not selected", "not in version")
"""Beginnings of the reasons why a check was left out by version or selection."""


def official(run: Run, target: TargetRun, say: Language = ENGLISH) -> str:
    """How many official clauses that were asked for are kept, and how many were not judged."""
    named = {clause.id for clause in run.clauses if clause.evidence is Evidence.OFFICIAL}
    states = clause_states(target.results)
    left_out = unjudged(target.results, named)
    judged = [clause for clause in named if states.get(clause) in (Label.FAIL, Label.WARN, Label.PASS)]
    kept = sum(states[clause] is Label.PASS for clause in judged)
    more = say(", {number} not judged", number=len(left_out)) if left_out else ""
    return say("official: {kept} of {judged} kept", kept=kept, judged=len(judged)) + more


def cause(result: Result) -> str:
    """What came instead of what was expected, with every number as 9: the same text for the same cause.

    For an error it is the reason. Of several failures the first counts.
    """
    if not result.failures:
        return result.reason
    said = result.failures[0].actual
    return f"{result.failures[0].path or ''} {re.sub(r'[0-9]+', '9', said)}".strip()


def clause_states(results: Sequence[Result]) -> dict[str, Label]:
    """The label of each clause that a check names; clauses without a finding are not in it.

    A failed check leaves out those of its clauses that no failure names: it may have ended before them.
    """
    order = list(Label)
    states: dict[str, Label] = {}
    for result in results:
        if result.state is State.FAIL:
            found = [(failure.clause, label(result)) for failure in result.failures if failure.clause]
        else:
            found = [(clause, label(result)) for clause in result.clauses]
        for clause, new in found:
            states[clause] = min(states.get(clause, Label.NONE), new, key=order.index)
    return states
