"""What a run looks like on the terminal: a line per check while it goes on, and a summary of sentences.

Plain text; what a service sent is made fit for a terminal. It judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import typer

from contracts.suite.client import REQUEST_ID
from contracts.suite.language import ENGLISH, Language
from contracts.suite.report import findings
from contracts.suite.report.texts import printable
from contracts.suite.results import BUDGET, Latency, Result, Run, State, TargetRun, Weight
from contracts.suite.watching import Watcher

WORDS = {"pass": "ok", "fail": "FAIL", "warn": "warn", "skip": "skip", "disabled": "off", "error": "ERROR"}
MOST_SHOWN = 10_000
"""Characters of a line that are shown."""


def verdict(result: Result) -> str:
    """The state, with a failure that is worth a warning told apart."""
    return "warn" if result.state is State.FAIL and result.weight is Weight.WARN else str(result.state)


class Progress(Watcher):
    """Prints a line for each check as it ends; nothing for what was not asked for."""

    def __init__(self, say: Language) -> None:
        self._say = say

    def ends(self, target: str, result: Result, done: int, total: int) -> None:
        if result.state is not State.DISABLED:
            word = self._say(WORDS[verdict(result)])
            title = self._say.sentence(result.title)
            typer.echo(f"{done:>3}/{total}  {word:<6} {result.check:<48} {title}")


def _cell(counts: Counter[str], say: Language) -> str:
    order = ("pass", "fail", "warn", "error", "skip")
    return ", ".join(f"{counts[name]} {say(WORDS[name])}" for name in order if counts[name]) or "-"


def _by_method(target: TargetRun, method: int) -> Counter[str]:
    return Counter(verdict(result) for result in target.results if result.method == method)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _overview(run: Run, say: Language) -> Iterator[str]:
    rows = [["", *[target.name for target in run.targets]]]
    for method in findings.METHODS:
        cells = [_cell(_by_method(target, method), say) for target in run.targets]
        if any(cell != "-" for cell in cells):
            rows.append([findings.method_name(method, say), *cells])
    rows.append([say("in all"), *[_cell(target.counts, say) for target in run.targets]])
    yield from _table(rows)


def _differences(run: Run, say: Language) -> Iterator[str]:
    """Checks that did not end alike everywhere."""
    found = [{result.check: verdict(result) for result in target.results} for target in run.targets]
    rows = [[say("check"), *[target.name for target in run.targets]]]
    for check in found[0]:
        ends = [each.get(check, "-") for each in found]
        if len(set(ends)) > 1:
            rows.append([check, *[say(WORDS.get(end, end)) for end in ends]])
    if len(rows) > 1:
        yield from ("", say("Where they differ:"), "")
        yield from _table(rows)


def _failure(result: Result, run: Run, say: Language) -> Iterator[str]:
    texts = {clause.id: clause for clause in run.clauses}
    word = say(WORDS[verdict(result)])
    more = f" ({say.sentence(result.reason)})" if result.reason else ""
    heads = [say(one) for one in ("Expected", "Actual", "Repeat", "Request")]
    expected, actual, repeat, request = (head.ljust(max(8, *map(len, heads))) for head in heads)
    yield f"{word}  {result.check}{more}"
    for failure in result.failures:
        clause = texts.get(failure.clause)
        if clause is not None:
            yield f"      {clause.id} ({say(clause.evidence)}): {say.clause(clause)}"
        yield f"      {expected}  {say.sentence(failure.expected)}"
        at = f"{failure.path} = " if failure.path else ""
        yield f"      {actual}  {at}{say.sentence(failure.actual)}"
        if failure.exchange is not None and failure.exchange < len(result.exchanges):
            shown = result.exchanges[failure.exchange]
            yield f"      {repeat}  {shown.curl}"
            if shown.request_id:
                yield f"      {request}  {shown.request_id} ({REQUEST_ID})"


def _reasons(target: TargetRun, say: Language) -> Iterator[str]:
    """Why checks were skipped, each reason once."""
    reasons = Counter(result.reason for result in target.results if result.state is State.SKIP)
    if reasons:
        yield from ("", say("Skipped:"))
        yield from (f"  {count:>3} x {say.sentence(reason)}" for reason, count in reasons.most_common())


def _latencies(latencies: Sequence[Latency], say: Language) -> Iterator[str]:
    if not latencies:
        return
    yield from (
        "",
        say(
            "Answer times in seconds (Koshelek is assumed to wait {seconds}; information, no verdict):",
            seconds=f"{BUDGET:g}",
        ),
    )
    rows = [[f"  {say('method')}", say("calls"), "p50", "p95", "p99", say("longest")]]
    for one in latencies:
        times = [f"{value:.3f}" for value in (one.p50, one.p95, one.p99, one.longest)]
        rows.append([f"  {findings.method_name(one.method, say)}", str(one.count), *times])
    yield from _table(rows)


def _created(target: TargetRun, say: Language) -> Iterator[str]:
    if target.created:
        made = Counter(one.what for one in target.created if one.what != "receipts")
        made.update({one.what: int(one.value) for one in target.created if one.what == "receipts"})
        yield from (
            "",
            say("Made there, and left:")
            + " "
            + ", ".join(f"{count} x {say.sentence(what)}" for what, count in made.items()),
        )


def text(run: Run, say: Language = ENGLISH) -> str:
    """What was found, in a page."""
    lines: list[str] = []
    for target in run.targets:
        bad = [result for result in target.results if result.state in (State.FAIL, State.ERROR)]
        bad.sort(key=lambda result: ("error", "fail", "warn").index(verdict(result)))
        if bad:
            lines += ["", f"{target.name}:"]
        for result in bad:
            if result.state is State.ERROR:
                lines += ["", f"{say('ERROR')} {result.check}", f"      {say.sentence(result.reason)}"]
            else:
                lines += ["", *_failure(result, run, say)]
        lines += [*_reasons(target, say), *_latencies(target.latencies, say), *_created(target, say)]
    how = say("profile {name}", name=say(run.profile)) + (f", {say('strict')}" if run.strict else "")
    lines += ["", f"Loyalty Online API {run.api_version}, {how}", "", *_overview(run, say)]
    if len(run.targets) > 1:
        lines += _differences(run, say)
    lines += ["", *(f"{say('Note:')} {say.sentence(note)}" for note in run.notes)]
    for target in run.targets:
        tried = say("{tried} of {number} checks tried", tried=_tried(target), number=len(target.results))
        told = f"{findings.official(run, target, say)}; {tried}"
        lines.append(f"{target.url}: {findings.verdict(target, say)} ({told})")
    return "\n".join(printable(line, MOST_SHOWN) for line in lines).lstrip("\n")


def _tried(target: TargetRun) -> int:
    return sum(result.state in (State.PASS, State.FAIL) for result in target.results)
