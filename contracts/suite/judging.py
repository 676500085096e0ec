"""Turns what happened in checks, and what was answered, into results.

Which clauses a check has, it says itself; what a breach is worth follows from the clause's evidence. It may
not know which services there are, nor what is printed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from contracts.loyalty_online import untested
from contracts.loyalty_online.subjects import HARM, SUBJECTS
from contracts.suite import checks as _checks  # noqa: F401 - importing registers them
from contracts.suite.address import CannotConnect
from contracts.suite.answer import Answer
from contracts.suite.checking import CHECKS, RULES, Breach, Check, Rule, Skip
from contracts.suite.config import Options
from contracts.suite.pacing import Stopped
from contracts.suite.redaction import Redactor
from contracts.suite.report.findings import Label, clause_states, unjudged
from contracts.suite.results import Clause, Evidence, Failure, Result, State, Weight
from contracts.suite.trial import Target, Trial

MOST_BREACHES = 5
"""Breaches of one rule that are shown; all are counted."""


def everything() -> list[Check | Rule]:
    """All checks and rules."""
    return [*CHECKS, *RULES]


def selects(only: Sequence[str], item: Check | Rule) -> bool:
    """Whether the selection names a clause, a method or the beginning of the name of this check."""
    return any(item.name.startswith(one) for one in only) or any(
        names_clause(only, id_) for id_ in item.clauses
    )


def names_clause(only: Sequence[str], clause: str) -> bool:
    """Whether the selection names this clause or its method."""
    return any(clause == one.upper() or clause.startswith(f"{one.upper()}-") for one in only)


class Judge:
    """Turns what happened into results."""

    def __init__(self, options: Options, clauses: Mapping[str, Clause]) -> None:
        self.options = options
        self.clauses = clauses
        self.wants_rules = any(selects(options.only, rule) for rule in RULES)

    def weight(self, item: Check | Rule, *, doubtful: bool = False) -> Weight:
        """What a breach is worth; ``doubtful``: it may do no harm."""
        official = any(self.clauses[clause].evidence is Evidence.OFFICIAL for clause in item.clauses)
        harmful = item.clauses[0] in HARM and not doubtful
        return Weight.FAIL if official or harmful or self.options.strict else Weight.WARN

    def disabled(self, item: Check | Rule) -> str | None:
        """Why this one was not asked for, if it was not."""
        if self.options.only and not selects(self.options.only, item):
            return f"not selected by --only {' '.join(self.options.only)}"
        if selects(self.options.without, item):
            return f"left out by --without {' '.join(self.options.without)}"
        return self.barred(item)

    def barred(self, item: Check | Rule) -> str | None:
        """Why this one may not be made, whether or not it is selected."""
        version = self.options.api_version
        since = getattr(item, "since", "1.0.0")
        if since > version or not any(version in self.clauses[clause].versions for clause in item.clauses):
            return f"not in version {version}"
        if getattr(item, "writes", False) and self.options.profile == "read":
            return "changes something; asked for with --profile full"
        return None

    def result(self, item: Check | Rule, state: State, **more: object) -> Result:
        method = item.method if isinstance(item, Check) else 0
        return Result(
            check=item.name,
            title=item.title,
            method=method,
            clauses=item.clauses,
            state=state,
            **({"weight": self.weight(item)} | more),  # type: ignore[arg-type]
        )

    async def try_check(self, check: Check, target: Target, turn: asyncio.Semaphore) -> Result:
        """Run one check; whatever it does, there is a result."""
        trial, started = Trial(target, turn), time.perf_counter()
        redactor = target.client.redactor
        hide = redactor.text
        state, reason, weight = State.PASS, "", self.weight(check)
        failures: tuple[Failure, ...] = ()
        try:
            await check.run(trial)
        except Skip as lack:
            state, reason = State.SKIP, hide(str(lack))
        except Breach as breach:
            exchanges = trial.exchanges
            index = len(exchanges) - 1 if exchanges else None
            if breach.answer is not None and breach.answer.exchange in exchanges:
                index = exchanges.index(breach.answer.exchange)
            state, weight = State.FAIL, self.weight(check, doubtful=breach.doubtful)
            failures = (_failure(check, breach, index, redactor),)
        except Stopped as stop:
            state = State.SKIP if target.stop_is_told else State.ERROR
            reason = f"stopped early: {stop}"
            target.stop_is_told = True
        except CannotConnect as error:
            state, reason = State.ERROR, str(error)
        except Exception as error:
            state, reason = State.ERROR, hide(f"a defect of the suite: {type(error).__name__}: {error}")
        return self.result(
            check,
            state,
            reason=reason,
            failures=failures,
            exchanges=tuple(trial.exchanges),
            seconds=time.perf_counter() - started,
            weight=weight,
        )

    def rules(self, answers: Sequence[Answer], redactor: Redactor) -> Iterable[Result]:
        """One result per rule, over every proper exchange of the run."""
        reasons = {rule.name: self.disabled(rule) for rule in RULES}
        judged: dict[str, list[tuple[Answer, Breach | Literal["kept"]]]] = {rule.name: [] for rule in RULES}
        asked_for = [rule for rule in RULES if reasons[rule.name] is None]
        for answer in answers:  # all rules on one answer, so that a long one is read once
            for rule in asked_for:
                if (verdict := rule.on(answer)) is not None:
                    judged[rule.name].append((answer, verdict))
        for rule in RULES:
            if (reason := reasons[rule.name]) is not None:
                yield self.result(rule, State.DISABLED, reason=reason)
            else:
                yield self._rule(rule, judged[rule.name], redactor)

    def _rule(
        self, rule: Rule, judged: Sequence[tuple[Answer, Breach | Literal["kept"]]], redactor: Redactor
    ) -> Result:
        if not judged:
            return self.result(rule, State.SKIP, reason=f"there was no {rule.about} to judge")
        breaches = [(answer, verdict) for answer, verdict in judged if isinstance(verdict, Breach)]
        broken = {id(answer) for answer, _ in breaches}
        if rule.chance is not None and rule.chance([(answer, id(answer) in broken) for answer, _ in judged]):
            return self.result(rule, State.PASS)
        if not breaches:
            return self.result(rule, State.PASS)
        shown: dict[tuple[str, str | None], tuple[Answer, Breach]] = {}
        for answer, breach in breaches:  # one of a kind: the same method, the same place
            shown.setdefault((f"{answer.method} {answer.status}", breach.path), (answer, breach))
        kept = list(shown.values())[:MOST_BREACHES]
        exchanges = tuple(answer.exchange for answer, _ in kept)
        failures = tuple(_failure(rule, breach, index, redactor) for index, (_, breach) in enumerate(kept))
        reason = f"{len(breaches)} of {len(judged)} answers"
        return self.result(rule, State.FAIL, reason=reason, failures=failures, exchanges=exchanges)

    def required(self, name: str) -> set[str]:
        """The clauses that a word of ``--require`` means, of those that the version has."""
        if name in SUBJECTS:
            named: Collection[str] = SUBJECTS[name]
        elif name == Evidence.OFFICIAL:
            named = [each.id for each in self.clauses.values() if each.evidence is Evidence.OFFICIAL]
        else:
            named = [each for each in self.clauses if names_clause([name], each)]
        version = self.options.api_version
        return {each for each in named if version in self.clauses[each].versions and each not in untested()}

    def demands(self, results: Sequence[Result]) -> Iterable[Result]:
        """What ``--require`` and ``--max-skips`` make of clauses and checks that were not judged."""
        if self.options.require:
            wanted = set[str]().union(*map(self.required, self.options.require))
            states = clause_states(results)
            reasons = unjudged(results, wanted)
            failures = [
                Failure(
                    each, "a verdict, as --require wants", f"not judged: {reasons.get(each, 'not asked for')}"
                )
                for each in self.clauses
                if each in wanted and states.get(each) not in (Label.FAIL, Label.WARN, Label.PASS)
            ]
            title = "Every clause that --require names was judged"
            yield self._demand("run.required_clauses", title, failures)
        most = self.options.max_skips
        if most is not None:
            skipped = [result for result in results if result.state is State.SKIP]
            why = "; ".join(reason for reason, _ in Counter(one.reason for one in skipped).most_common(3))
            failures = [Failure("", f"at most {most} checks skipped", f"{len(skipped)} were: {why}")]
            title = f"At most {most} checks were skipped"
            yield self._demand("run.few_skips", title, failures if len(skipped) > most else [])

    @staticmethod
    def _demand(name: str, title: str, failures: Sequence[Failure]) -> Result:
        state = State.FAIL if failures else State.PASS
        clauses = tuple(each.clause for each in failures if each.clause)
        return Result(name, title, 0, clauses, state, Weight.FAIL, failures=tuple(failures))


def _failure(item: Check | Rule, breach: Breach, exchange: int | None, redactor: Redactor) -> Failure:
    return Failure(
        item.clauses[0],
        redactor.text(breach.expected),
        redactor.value_at(breach.path, breach.actual),
        None if breach.path is None else redactor.text(breach.path),
        exchange,
    )
