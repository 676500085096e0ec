"""``junit.xml``: a suite for each target and method, as CI systems read it.

Warnings fail no build: they are told in the case's output and counted in the suite's properties. A check that
was not asked for counts as skipped, since the format knows nothing else.
"""

from __future__ import annotations

from datetime import UTC
from itertools import groupby
from xml.etree import ElementTree as Xml

from contracts.suite.report.findings import Label, label, method_name
from contracts.suite.report.texts import BODY_LIMIT, printable
from contracts.suite.results import Failure, Result, Run, TargetRun


def render(run: Run) -> str:
    """The file's text."""
    root = Xml.Element("testsuites", name=f"Loyalty Online API {printable(run.api_version)}")
    every: list[Result] = []
    for target in run.targets:
        every += target.results
        ordered = sorted(target.results, key=lambda result: result.method)
        for number, results in groupby(ordered, key=lambda result: result.method):
            root.append(_suite(run, target, number, list(results)))
    _count(root, every, run.seconds)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _suite(run: Run, target: TargetRun, number: int, results: list[Result]) -> Xml.Element:
    name = f"{printable(target.name)}: {method_name(number)}"
    suite = Xml.Element("testsuite", name=name)
    _count(suite, results, sum(result.seconds for result in results))
    suite.set("timestamp", run.started_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds"))
    properties = Xml.SubElement(suite, "properties")
    for key, value in {
        "target": target.url,
        "api_version": run.api_version,
        "profile": run.profile,
        "strict": str(run.strict).lower(),
        "suite_version": run.suite_version,
        "warnings": str(sum(label(result) is Label.WARN for result in results)),
    }.items():
        Xml.SubElement(properties, "property", name=key, value=printable(value))
    for result in results:
        suite.append(_case(name, result))
    return suite


def _case(suite: str, result: Result) -> Xml.Element:
    case = Xml.Element(
        "testcase", classname=suite, name=printable(result.check), time=f"{result.seconds:.3f}"
    )
    match label(result):
        case Label.FAIL:
            sentences = [_sentence(result, failure) for failure in result.failures] or [result.title]
            breach = Xml.SubElement(case, "failure", type="breach", message=sentences[0].partition("\n")[0])
            breach.text = "\n\n".join(sentences)
        case Label.WARN:
            told = [_sentence(result, failure) for failure in result.failures] or [result.title]
            Xml.SubElement(case, "system-out").text = "\n\n".join(f"WARNING {text}" for text in told)
        case Label.ERROR:
            Xml.SubElement(case, "error", type="error", message=printable(result.reason))
        case Label.SKIP | Label.DISABLED as state:
            Xml.SubElement(case, "skipped", message=f"{state}: {printable(result.reason)}")
        case _:
            pass
    return case


def _sentence(result: Result, failure: Failure) -> str:
    """What is wrong, in one line; and below it the request, its id, and a line that repeats it."""
    where = f" at {printable(failure.path)}" if failure.path else ""
    lines = [
        f"{printable(failure.clause)}{where}: expected {printable(failure.expected)}; "
        f"actual: {printable(failure.actual)}"
    ]
    if failure.exchange is not None and failure.exchange < len(result.exchanges):
        shown = result.exchanges[failure.exchange]
        lines += [
            f"Request: {printable(shown.verb)} {printable(shown.url)}",
            f"Request id: {printable(shown.request_id)}",
            f"Repeat: {printable(shown.curl, BODY_LIMIT)}",
        ]
    return "\n".join(line for line in lines if line != "Request id: ")


def _count(element: Xml.Element, results: list[Result], seconds: float) -> None:
    labels = [label(result) for result in results]
    element.set("tests", str(len(labels)))
    element.set("failures", str(labels.count(Label.FAIL)))
    element.set("errors", str(labels.count(Label.ERROR)))
    element.set("skipped", str(labels.count(Label.SKIP) + labels.count(Label.DISABLED)))
    element.set("time", f"{seconds:.3f}")
