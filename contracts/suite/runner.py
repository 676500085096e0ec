"""Runs the checks against each service and puts together what they found.

Which clauses a check has, it says itself; what a breach is worth follows from the clause's evidence. It may
not know what is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import quantiles

from contracts.loyalty_online import clauses as load_clauses
from contracts.loyalty_online import untested
from contracts.loyalty_online.subjects import SUBJECTS
from contracts.suite import checks as _checks  # noqa: F401 - importing registers them
from contracts.suite import observing
from contracts.suite.address import Address, CannotConnect, basic
from contracts.suite.answer import Answer
from contracts.suite.checking import CHECKS, RULES, Breach, Check, Rule, Skip
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.pacing import Stopped
from contracts.suite.people import People
from contracts.suite.redaction import Redactor
from contracts.suite.report.findings import Label, clause_states, unjudged
from contracts.suite.results import (
    Clause,
    Evidence,
    Failure,
    Latency,
    Result,
    Run,
    State,
    TargetRun,
    Weight,
)
from contracts.suite.trial import Target, Trial

MOST_BREACHES = 5
"""Breaches of one rule that are shown; all are counted."""

Progress = Callable[[str, Result, int, int], None]
"""Is told the target's name, a result, and how many of how many checks are done."""


class CannotRun(Exception):
    """The service cannot be tested at all; the message is one sentence."""


def everything() -> list[Check | Rule]:
    """All checks and rules."""
    return [*CHECKS, *RULES]


def targets_of(options: Options) -> list[tuple[str, Address]]:
    """Name and address of each service. Raises ``CannotRun``."""
    targets: list[tuple[str, Address]] = []
    for text in options.urls:
        name, equals, url = text.partition("=")
        if not equals or "/" in name:
            name, url = "", text
        try:
            address = Address.parse(url, options.base_path)
        except ValueError as error:
            raise CannotRun(str(error)) from None
        targets.append((name or f"{address.host}:{address.port}{address.path}", address))
    names = [name for name, _ in targets]
    if len(set(names)) < len(names):
        raise CannotRun("two services have one name; name them: NAME=URL")
    return targets


async def run(options: Options, password: str, progress: Progress | None = None) -> Run:
    """Test every service of ``options``, one after the other. Raises ``CannotRun``."""
    targets = targets_of(options)
    if not targets:
        raise CannotRun("no URL to test")
    for name, selection in (("only", options.only), ("without", options.without)):
        unmatched = [one for one in selection if not any(_selects([one], item) for item in everything())]
        if unmatched:
            raise CannotRun(f"--{name} {unmatched[0]}: no clause and no check is called that; see --list")
    judge = Judge(options, load_clauses())
    unknown = [one for one in options.require if not judge.required(one)]
    if unknown:
        raise CannotRun(f"--require {unknown[0]}: no clause is called that; nor is it {', '.join(SUBJECTS)}")
    reasons = {
        judge.disabled(item) for item in everything() if not options.only or _selects(options.only, item)
    }
    if None not in reasons:
        raise CannotRun(f"nothing is left to test: {'; '.join(sorted(map(str, reasons)))}")
    started_at, started = datetime.now(UTC), time.perf_counter()
    async with AsyncExitStack() as stack:
        opened = []
        for name, address in targets:
            target = _target(address, options, password)
            await stack.enter_async_context(target.client)
            await _preflight(target, password)
            opened.append((name, target))
        found = [
            await _run_one(name, target, judge, progress or (lambda *_: None)) for name, target in opened
        ]
    return Run(
        api_version=options.api_version,
        profile=options.profile,
        strict=options.strict,
        started_at=started_at,
        seconds=time.perf_counter() - started,
        suite_version=_version(),
        clauses=tuple(load_clauses().values()),
        targets=tuple(found),
        selection=", ".join(options.only),
        notes=(*_notes(options, targets), *_remarks(opened)),
    )


def _notes(options: Options, targets: Sequence[tuple[str, Address]]) -> Iterable[str]:
    for _, address in targets:
        if options.ca_file is not None and not address.tls:
            yield f"{address.url} is plain HTTP: --ca-file was not used"
        if address.path.endswith("/v1"):
            yield f"{address.url} ends with /v1, as the methods begin: {address.url}/v1/card was asked"


def _remarks(opened: Sequence[tuple[str, Target]]) -> Iterable[str]:
    """What was found out about the configuration; of which service, where there are several."""
    for name, target in opened:
        remarks = list(target.remarks)
        if times := target.client.pace.throttled:
            remarks.append(f"{times} requests were turned away for their rate, and sent again: see --rate.")
        yield from (f"{name}: {text}" if len(opened) > 1 else text for text in remarks)


def _version() -> str:
    try:
        return version("koshelek-adapter")
    except PackageNotFoundError:
        return "unknown"


def _target(address: Address, options: Options, password: str) -> Target:
    """The service, its client not yet open. Raises ``CannotRun``."""
    redactor = Redactor()
    redactor.hide_credentials(options.login, password)
    try:
        client = Client(
            address,
            options.login,
            password,
            redactor=redactor,
            timeout=options.timeout,
            list_timeout=options.list_timeout,
            ca_file=options.ca_file,
            rate=options.rate,
            keep_values=options.show_values,
        )
    except CannotConnect as error:
        raise CannotRun(str(error)) from None
    return Target(address, options, client, People(options, redactor), password)


async def _run_one(name: str, target: Target, judge: Judge, progress: Progress) -> TargetRun:
    results = await _run_checks(target, judge, lambda *told: progress(name, *told))
    answers = target.client.answers
    found = [*results, *judge.rules(answers, target.client.redactor)]
    made = TargetRun(
        url=target.address.url,
        name=name,
        results=(*found, *judge.demands(found)),
        latencies=tuple(latencies(answers)),
        created=target.created,
    )
    return dataclasses.replace(made, files=tuple(_files(made, target.client)))


def _files(run: TargetRun, client: Client) -> Iterator[tuple[str, bytes]]:
    """The bodies that lines of failures take from a file, and what a local file may show (--show-values)."""
    lines = " ".join(exchange.curl for _, _, exchange in run.failed if exchange is not None)
    yield from ((name, body) for name, body in client.bodies.items() if f"@{name}" in lines)
    kept = client.plain or {}
    plain = [kept[id(one)] for _, _, one in run.failed if one is not None and id(one) in kept]
    if plain:
        yield "values.txt", "\n\n".join(dict.fromkeys(plain)).encode("utf-8", "backslashreplace")


async def _preflight(target: Target, password: str) -> None:
    """Make sure that something answers and lets us in. Raises ``CannotRun``."""
    phone = target.people.stranger().phone or ""
    url = target.address.url
    try:
        answer = await target.client.call(1, "GET", "/v1/card", query={"msisdn": phone})
        if answer.status is None:
            raise CannotRun(f"{url} does not answer: {answer.exchange.problem}")
        if answer.status == 401:
            raise CannotRun(f"{url} refuses the login and password; see --login and --password-file")
        if answer.status in (502, 503, 504):
            raise CannotRun(f"{url} is not there: {answer.in_short()}")
        if answer.refused:
            wrong = basic(target.options.login or "nobody", password + "-wrong")
            other = await target.client.call(
                1, "GET", "/v1/card", query={"msisdn": phone}, authorization=wrong
            )
            if (other.status, other.body) == (answer.status, answer.body):
                raise CannotRun(
                    f"{url}/v1/card answers alike with these credentials and with wrong ones: login, "
                    f"password or base path is wrong, or the service is down. It says: {answer.in_short()}"
                )
    except (CannotConnect, Stopped) as error:
        raise CannotRun(str(error)) from None
    target.client.let_in_by = f"/v1/card?msisdn={phone}"
    target.client.answers.clear()


def _selects(only: Sequence[str], item: Check | Rule) -> bool:
    """Whether the selection names a clause, a method or the beginning of the name of this check."""
    return any(item.name.startswith(one) for one in only) or any(_names(only, id_) for id_ in item.clauses)


def _names(only: Sequence[str], clause: str) -> bool:
    """Whether the selection names this clause or its method."""
    return any(clause == one.upper() or clause.startswith(f"{one.upper()}-") for one in only)


class Judge:
    """Turns what happened into results."""

    def __init__(self, options: Options, clauses: Mapping[str, Clause]) -> None:
        self.options = options
        self.clauses = clauses
        self.wants_rules = any(_selects(options.only, rule) for rule in RULES)

    def weight(self, item: Check | Rule) -> Weight:
        official = any(self.clauses[clause].evidence is Evidence.OFFICIAL for clause in item.clauses)
        return Weight.FAIL if official or self.options.strict else Weight.WARN

    def disabled(self, item: Check | Rule) -> str | None:
        """Why this one was not asked for, if it was not."""
        if self.options.only and not _selects(self.options.only, item):
            return f"not selected by --only {' '.join(self.options.only)}"
        if _selects(self.options.without, item):
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
            weight=self.weight(item),
            **more,  # type: ignore[arg-type]
        )

    async def try_check(self, check: Check, target: Target, turn: asyncio.Semaphore) -> Result:
        """Run one check; whatever it does, there is a result."""
        trial, started = Trial(target, turn), time.perf_counter()
        redactor = target.client.redactor
        hide = redactor.text
        state, reason = State.PASS, ""
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
            state = State.FAIL
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
        )

    def rules(self, answers: Sequence[Answer], redactor: Redactor) -> Iterable[Result]:
        """One result per rule, over every proper exchange of the run."""
        for rule in RULES:
            if (reason := self.disabled(rule)) is not None:
                yield self.result(rule, State.DISABLED, reason=reason)
            else:
                yield self._rule(rule, answers, redactor)

    def _rule(self, rule: Rule, answers: Sequence[Answer], redactor: Redactor) -> Result:
        judged = [(answer, verdict) for answer in answers if (verdict := rule.on(answer)) is not None]
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
            named = [each for each in self.clauses if _names([name], each)]
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


async def _run_checks(
    target: Target, judge: Judge, progress: Callable[[Result, int, int], None]
) -> list[Result]:
    """All checks, at most ``parallel`` at a time; results in the order of registration."""
    turn = asyncio.Semaphore(target.options.parallel)
    target.watches_credits = any(
        judge.disabled(check) is None for check in CHECKS if check.name.startswith("money.")
    )
    if target.watches_credits:
        for what in (observing.RECEIPT, observing.CODE):
            with contextlib.suppress(Skip, CannotConnect, Stopped):  # the checks that need them will say so
                await observing.watched_people(Trial(target), what)
    total, done = len(CHECKS), 0

    async def one(check: Check) -> Result:
        nonlocal done
        reason = judge.disabled(check)
        only_for_rules = reason is not None and judge.wants_rules and judge.barred(check) is None
        only_for_rules = only_for_rules and not _selects(judge.options.without, check)
        if reason is not None and not only_for_rules:
            result = judge.result(check, State.DISABLED, reason=reason)
        else:
            async with turn:
                result = await judge.try_check(check, target, turn)
            if only_for_rules and result.state is not State.ERROR:  # it ran to make answers for the rules
                result = judge.result(check, State.DISABLED, reason=reason)
        done += 1
        progress(result, done, total)
        return result

    results: dict[str, Result] = {}
    for last in (False, True):
        made = await asyncio.gather(*[one(check) for check in CHECKS if check.last is last])
        results.update({result.check: result for result in made})
    return [results[check.name] for check in CHECKS]


def latencies(answers: Iterable[Answer]) -> Iterable[Latency]:
    """Percentiles of the answers to each method, seconds."""
    by_method: dict[int, list[float]] = {}
    for answer in answers:
        if answer.method and answer.status is not None:
            by_method.setdefault(answer.method, []).append(answer.exchange.seconds)
    for method, seconds in sorted(by_method.items()):
        cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
        yield Latency(method, len(seconds), cuts[49], cuts[94], cuts[98], max(seconds))


def catalogue(options: Options) -> str:
    """Every clause of the version and the selection with its checks, as ``--list`` prints it.

    Raises ``CannotRun`` when there is none.
    """
    by_clause: dict[str, list[str]] = {}
    for item in everything():
        if _selects(options.only, item) or not options.only:
            writes = " (full)" if getattr(item, "writes", False) else ""
            for clause in item.clauses:
                by_clause.setdefault(clause, []).append(f"    {item.name}{writes}")
    lines = []
    reasons = untested()
    for each in load_clauses().values():
        if options.api_version not in each.versions:
            continue
        if each.id in by_clause:
            lines += [f"{each.id}  {each.level} {each.evidence}  {each.text}", *by_clause[each.id]]
        elif each.id in reasons and (_names(options.only, each.id) or not options.only):
            lines += [
                f"{each.id}  {each.level} {each.evidence}  {each.text}",
                f"    untested: {reasons[each.id]}",
            ]
    if not lines:
        raise CannotRun(
            f"no clause and no check of version {options.api_version} is called {' '.join(options.only)}"
        )
    return "\n".join(lines)
