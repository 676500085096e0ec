"""Runs the checks against each service and puts together what they found.

It may not know what a breach is worth, nor what is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from statistics import quantiles

from contracts.loyalty_online import clauses as load_clauses
from contracts.loyalty_online import untested
from contracts.loyalty_online.subjects import SUBJECTS
from contracts.suite import baseline, observing, resuming
from contracts.suite.address import Address, CannotConnect, basic, named
from contracts.suite.answer import Answer
from contracts.suite.checking import CHECKS, Check, Skip
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.judging import Judge, everything, names_clause, selects
from contracts.suite.pacing import Stopped
from contracts.suite.people import People
from contracts.suite.redaction import Redactor
from contracts.suite.results import Latency, Result, Run, State, TargetRun, Weight
from contracts.suite.trial import Target, Trial
from contracts.suite.watching import Watcher


class CannotRun(Exception):
    """The service cannot be tested at all; the message is one sentence."""

    def __init__(self, message: str, option: str = "") -> None:
        """``option``: key of the option that is the reason; empty: none is."""
        super().__init__(message)
        self.option = option


def targets_of(options: Options) -> list[tuple[str, Address, Options]]:
    """Name, address and options of each service. Raises ``CannotRun``."""
    targets: list[tuple[str, Address, Options]] = []
    given = [(text, options) for text in options.urls]
    for name, more in options.targets.items():
        own = options.for_target(more)
        given += [(f"{name}={url}", own) for url in own.urls]
    for text, own in given:
        name, url = named(text)
        try:
            address = Address.parse(url, own.base_path)
        except ValueError as error:
            raise CannotRun(str(error), "urls") from None
        targets.append((name or f"{address.host}:{address.port}{address.path}", address, own))
    names = [name for name, _, _ in targets]
    if len(set(names)) < len(names):
        raise CannotRun("two services have one name; name them: NAME=URL", "urls")
    return targets


def refuse_selection(options: Options) -> None:
    """Raises ``CannotRun`` if `only` or `without` names no clause, method or check."""
    for name, selection in (("only", options.only), ("without", options.without)):
        unmatched = [one for one in selection if not any(selects([one], item) for item in everything())]
        if unmatched:
            raise CannotRun(
                f"--{name} {unmatched[0]}: no clause and no check is called that; see --list", name
            )


async def run(
    options: Options, password: str, watcher: Watcher | None = None, *, interruptible: bool = False
) -> Run:
    """Test every service of ``options``, one after the other. Raises ``CannotRun``.

    ``interruptible``: at Ctrl-C nothing more is asked, and what was found until then is returned.
    """
    targets = targets_of(options)
    if not targets:
        raise CannotRun("no URL to test", "urls")
    refuse_selection(options)
    if options.baseline is not None:
        try:
            baseline.read(options.baseline, _names_of_all())
        except baseline.BadBaseline as error:
            raise CannotRun(str(error)) from None
    earlier = _earlier(options)
    judge = Judge(options, load_clauses())
    unknown = [one for one in options.require if not judge.required(one)]
    if unknown:
        raise CannotRun(f"--require {unknown[0]}: no clause is called that; nor is it {', '.join(SUBJECTS)}")
    reasons = {
        judge.disabled(item) for item in everything() if not options.only or selects(options.only, item)
    }
    if None not in reasons:
        raise CannotRun(f"nothing is left to test: {'; '.join(sorted(map(str, reasons)))}")
    started_at, started = datetime.now(UTC), time.perf_counter()
    async with AsyncExitStack() as stack:
        opened = []
        for name, address, own in targets:
            target = _target(address, own, own.secret if own is not options else password)
            await stack.enter_async_context(target.client)
            await _preflight(target, target.password)
            opened.append((name, target))
        watcher, stop = watcher or Watcher(), partial(_stop, [target for _, target in opened])
        watcher.opened(stop)
        with _stopped_by_ctrl_c(stop) if interruptible else contextlib.nullcontext():
            found = [await _run_one(name, target, judge, watcher, earlier) for name, target in opened]
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
        notes=(*_notes(targets), *_remarks(opened)),
    )


def _notes(targets: Sequence[tuple[str, Address, Options]]) -> Iterable[str]:
    for _, address, options in targets:
        if options.ca_file is not None and not address.tls:
            yield f"{address.url} is plain HTTP: --ca-file was not used"
        if address.path.endswith("/v1"):
            yield f"{address.url} ends with /v1, as the methods begin: {address.url}/v1/card was asked"


def _remarks(opened: Sequence[tuple[str, Target]]) -> Iterable[str]:
    """Mistakes found in the configuration; with several services, each with its service."""
    for name, target in opened:
        remarks = list(target.remarks)
        if times := target.client.pace.throttled:
            remarks.append(f"{times} requests were turned away for their rate, and sent again: see --rate.")
        yield from (f"{name}: {text}" if len(opened) > 1 else text for text in remarks)


def _version() -> str:
    """Of the package that is installed: the suite's own, or the adapter's, which holds it too."""
    for name in ("koshelek-contract", "koshelek-adapter"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
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


def _earlier(options: Options) -> Mapping[str, resuming.Earlier]:
    """What is taken from an earlier run, by the address of the service. Raises ``CannotRun``."""
    if options.resume is None:
        return {}
    try:
        return resuming.read(options.resume, options.api_version, options.profile)
    except resuming.CannotResume as error:
        raise CannotRun(str(error)) from None


def _stop(targets: Sequence[Target], why: str) -> None:
    """Nothing more is asked of these."""
    for target in targets:
        target.client.pace.stop(why)


@contextlib.contextmanager
def _stopped_by_ctrl_c(stop: Callable[[str], None]) -> Iterator[None]:
    """At the first Ctrl-C nothing more is asked; at the second all ends at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop("it was interrupted; --resume takes it up")

    with contextlib.suppress(NotImplementedError, RuntimeError):  # on Windows, and outside the main thread
        loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


async def _run_one(
    name: str, target: Target, judge: Judge, watcher: Watcher, runs: Mapping[str, resuming.Earlier]
) -> TargetRun:
    earlier = runs.get(target.address.url, resuming.Earlier({}, ()))
    results = await _run_checks(name, target, judge, watcher, earlier.results)
    answers = target.client.answers
    rules = [
        earlier.results.get(one.check, one) if one.state is not State.FAIL else one
        for one in judge.rules(answers, target.client.redactor)
    ]
    found = [*results, *rules]
    if judge.options.baseline is not None:
        found, mended = baseline.apply(found, baseline.read(judge.options.baseline, _names_of_all()))
        target.remarks.update(dict.fromkeys(f"baseline: nothing breaks {name} any more." for name in mended))
    made = TargetRun(
        url=target.address.url,
        name=name,
        results=(*found, *judge.demands(found)),
        latencies=tuple(latencies(answers)),
        created=tuple(dict.fromkeys((*earlier.created, *target.created))),
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


def _names_of_all() -> Iterator[str]:
    for item in everything():
        yield item.name
        yield from item.clauses


async def _preflight(target: Target, password: str) -> None:
    """Make sure that something answers and lets us in. Raises ``CannotRun``."""
    phone = target.people.stranger().phone or ""
    url = target.address.url
    try:
        answer = await target.client.call(1, "GET", "/v1/card", query={"msisdn": phone})
        if answer.status is None:
            raise CannotRun(f"{url} does not answer: {answer.exchange.problem}")
        if answer.status == 401:
            raise CannotRun(f"{url} refuses the login and password")
        if answer.status in (502, 503, 504):
            raise CannotRun(f"{url} is not there: {answer.in_short()}")
        if answer.refused and target.address.path.endswith("/v1"):
            raise CannotRun(
                f"{url}/v1/card is answered {answer.status}: the methods begin with /v1 by themselves, so "
                "leave it out of the address"
            )
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


async def _run_checks(
    name: str,
    target: Target,
    judge: Judge,
    watcher: Watcher,
    earlier: Mapping[str, Result],
) -> list[Result]:
    """All checks, at most ``parallel`` at a time; results in the order of registration.

    Those that an ``earlier`` run has judged are taken from there.
    """
    turn = asyncio.Semaphore(target.options.parallel)
    target.watches_credits = any(
        judge.disabled(check) is None and check.name not in earlier
        for check in CHECKS
        if check.name.startswith("money.")
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
        only_for_rules = only_for_rules and not selects(judge.options.without, check)
        if reason is not None and not only_for_rules:
            result = judge.result(check, State.DISABLED, reason=reason)
        elif reason is None and check.name in earlier:
            result = earlier[check.name]
            if judge.options.strict:
                result = dataclasses.replace(result, weight=Weight.FAIL)
        else:
            async with turn:
                watcher.begins(name, check)
                result = await judge.try_check(check, target, turn)
            if only_for_rules and result.state is not State.ERROR:  # it ran to make answers for the rules
                result = judge.result(check, State.DISABLED, reason=reason)
        done += 1
        watcher.ends(name, result, done, total)
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


def list_clauses(options: Options) -> str:
    """Every clause of the version and the selection with its checks, as ``--list`` prints it.

    Raises ``CannotRun`` when there is none.
    """
    by_clause: dict[str, list[str]] = {}
    for item in everything():
        if selects(options.only, item) or not options.only:
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
        elif each.id in reasons and (names_clause(options.only, each.id) or not options.only):
            lines += [
                f"{each.id}  {each.level} {each.evidence}  {each.text}",
                f"    untested: {reasons[each.id]}",
            ]
    if not lines:
        raise CannotRun(
            f"no clause and no check of version {options.api_version} is called {' '.join(options.only)}"
        )
    return "\n".join(lines)
