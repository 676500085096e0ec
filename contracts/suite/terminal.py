"""What a run looks like on the terminal: a line per check while it goes on, and a summary of sentences.

Plain text; what a service sent is made fit for a terminal. It judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from contracts.suite.client import REQUEST_ID
from contracts.suite.report import findings
from contracts.suite.report.texts import printable
from contracts.suite.results import BUDGET, Latency, Result, Run, State, TargetRun, Weight

WORDS = {"pass": "ok", "fail": "FAIL", "warn": "warn", "skip": "skip", "disabled": "off", "error": "ERROR"}
MOST_SHOWN = 10_000
"""Characters of a line that are shown."""


def verdict(result: Result) -> str:
    """The state, with a failure that is worth a warning told apart."""
    return "warn" if result.state is State.FAIL and result.weight is Weight.WARN else str(result.state)


def line(result: Result, done: int, total: int) -> str | None:
    """One line of progress; nothing for what was not asked for."""
    if result.state is State.DISABLED:
        return None
    word = WORDS[verdict(result)]
    return f"{done:>3}/{total}  {word:<5} {result.check:<48} {result.title}"


def _cell(counts: Counter[str]) -> str:
    order = ("pass", "fail", "warn", "error", "skip")
    return ", ".join(f"{counts[name]} {WORDS[name]}" for name in order if counts[name]) or "-"


def _by_method(target: TargetRun, method: int) -> Counter[str]:
    return Counter(verdict(result) for result in target.results if result.method == method)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _overview(run: Run) -> Iterator[str]:
    rows = [["", *[target.name for target in run.targets]]]
    for method in findings.METHODS:
        cells = [_cell(_by_method(target, method)) for target in run.targets]
        if any(cell != "-" for cell in cells):
            rows.append([findings.method_name(method), *cells])
    rows.append(["in all", *[_cell(target.counts) for target in run.targets]])
    yield from _table(rows)


def _differences(run: Run) -> Iterator[str]:
    """Checks that did not end alike everywhere."""
    found = [{result.check: verdict(result) for result in target.results} for target in run.targets]
    rows = [["check", *[target.name for target in run.targets]]]
    for check in found[0]:
        ends = [each.get(check, "-") for each in found]
        if len(set(ends)) > 1:
            rows.append([check, *[WORDS.get(end, end) for end in ends]])
    if len(rows) > 1:
        yield from ("", "Where they differ:", "")
        yield from _table(rows)


def _failure(result: Result, run: Run) -> Iterator[str]:
    texts = {clause.id: clause for clause in run.clauses}
    word = WORDS[verdict(result)]
    more = f" ({result.reason})" if result.reason else ""
    yield f"{word}  {result.check}{more}"
    for failure in result.failures:
        clause = texts.get(failure.clause)
        if clause is not None:
            yield f"      {clause.id} ({clause.evidence}): {clause.text}"
        yield f"      Expected  {failure.expected}"
        yield f"      Actual    {f'{failure.path} = ' if failure.path else ''}{failure.actual}"
        if failure.exchange is not None and failure.exchange < len(result.exchanges):
            shown = result.exchanges[failure.exchange]
            yield f"      Repeat    {shown.curl}"
            if shown.request_id:
                yield f"      Request   {shown.request_id} ({REQUEST_ID})"


def _reasons(target: TargetRun) -> Iterator[str]:
    """Why checks were skipped, each reason once."""
    reasons = Counter(result.reason for result in target.results if result.state is State.SKIP)
    if reasons:
        yield from ("", "Skipped:")
        yield from (f"  {count:>3} x {reason}" for reason, count in reasons.most_common())


def _latencies(latencies: Sequence[Latency]) -> Iterator[str]:
    if not latencies:
        return
    yield from (
        "",
        f"Answer times in seconds (Koshelek is assumed to wait {BUDGET:g}; information, no verdict):",
    )
    rows = [["  method", "calls", "p50", "p95", "p99", "longest"]]
    for one in latencies:
        times = [f"{value:.3f}" for value in (one.p50, one.p95, one.p99, one.longest)]
        rows.append([f"  {findings.method_name(one.method)}", str(one.count), *times])
    yield from _table(rows)


def _created(target: TargetRun) -> Iterator[str]:
    if target.created:
        made = Counter(one.what for one in target.created if one.what != "receipts")
        made.update({one.what: int(one.value) for one in target.created if one.what == "receipts"})
        yield from (
            "",
            "Made there, and left: " + ", ".join(f"{count} x {what}" for what, count in made.items()),
        )


def summary(run: Run) -> str:
    """What was found, in a page."""
    lines: list[str] = []
    for target in run.targets:
        told = [result for result in target.results if result.state in (State.FAIL, State.ERROR)]
        told.sort(key=lambda result: ("error", "fail", "warn").index(verdict(result)))
        if told:
            lines += ["", f"{target.name}:"]
        for result in told:
            if result.state is State.ERROR:
                lines += ["", f"ERROR {result.check}", f"      {result.reason}"]
            else:
                lines += ["", *_failure(result, run)]
        lines += [*_reasons(target), *_latencies(target.latencies), *_created(target)]
    lines += [
        "",
        f"Loyalty Online API {run.api_version}, profile {run.profile}{', strict' if run.strict else ''}",
        "",
    ]
    lines += _overview(run)
    if len(run.targets) > 1:
        lines += _differences(run)
    lines += ["", *(f"Note: {note}" for note in run.notes)]
    for target in run.targets:
        tried = f"{findings.official(run, target)}; {_tried(target)} of {len(target.results)} checks tried"
        lines.append(f"{target.url}: {findings.verdict(target)} ({tried})")
    return "\n".join(printable(line, MOST_SHOWN) for line in lines).lstrip("\n")


def _tried(target: TargetRun) -> int:
    return sum(result.state in (State.PASS, State.FAIL) for result in target.results)
