"""The suite's reports: right, well-formed, and harmless whatever a target answered."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as Xml

import jsonschema
import pytest

from contracts.suite.report import write_reports
from contracts.suite.report.findings import Label, clause_states, verdict
from contracts.suite.report.page import Page as ReportPage
from contracts.suite.report.texts import laid_out, printable
from contracts.suite.results import (
    Clause,
    Created,
    Evidence,
    Exchange,
    Failure,
    Latency,
    Result,
    Run,
    State,
    TargetRun,
    Weight,
)

STARTED = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
STRINGS = "common.strings"
EMPTY = "find.empty"
STATUS = "info.state"


def clause(name: str, method: int, text: str, evidence: Evidence = Evidence.OFFICIAL) -> Clause:
    return Clause(name, method, text, "MUST", evidence, ("1.0.0", "1.3.0"), "seed, section 3")


CLAUSES = (
    clause(STRINGS, 0, "Every elementary field of an answer is a JSON string."),
    clause(EMPTY, 1, "Nothing found: 200 with an empty body."),
    clause(STATUS, 3, "cardState is active or inactive.", Evidence.ONE),
    clause("offers.array", 8, "Offers are an array.", Evidence.INFERRED),
)


def exchange(body: str = '{"card":{"bonus":{"total":75}}}', **changes: object) -> Exchange:
    made = Exchange(
        verb="GET",
        url="http://127.0.0.1:8080/v1/card/290000000001?a=1&b=",
        request_headers=(("Authorization", "Basic ***"), ("Accept", "application/json")),
        request_body=None,
        status=200,
        reason="OK",
        http_version="HTTP/1.1",
        response_headers=(("Content-Type", "application/json; charset=utf-8"),),
        response_body=body,
        started_at=STARTED,
        seconds=0.0123,
        curl="curl -u '***' 'http://127.0.0.1:8080/v1/card/290000000001?a=1&b='",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def result(check: str = "info.strings", state: State = State.PASS, **changes: object) -> Result:
    made = Result(
        check=check,
        title=f"Title of {check}",
        method=3,
        clauses=(STRINGS, STATUS),
        state=state,
        weight=Weight.FAIL,
        exchanges=(exchange(),),
        seconds=0.02,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


BREACH = result(
    state=State.FAIL,
    failures=(Failure(STRINGS, "a JSON string", "the number 75", "$.card.bonus.total", 0),),
)
WARNING = result(
    "info.state",
    State.FAIL,
    weight=Weight.WARN,
    failures=(Failure(STATUS, "active or inactive", "blocked", "$.card.cardState", 0),),
)
SKIPPED = result("promo.code", State.SKIP, method=12, reason="no promo code was given", exchanges=())
DISABLED = result(
    "offers.array", State.DISABLED, method=8, clauses=("offers.array",), reason="not asked for", exchanges=()
)
BROKEN = result(
    "find.stranger", State.ERROR, method=1, clauses=(EMPTY,), reason="the connection was reset", exchanges=()
)
EVERYTHING = (BREACH, WARNING, SKIPPED, DISABLED, BROKEN, result("info.card"))


def target(*results: Result, name: str = "shop", **changes: object) -> TargetRun:
    made = TargetRun("http://127.0.0.1:8080", name, results)
    return replace(made, **changes)  # type: ignore[arg-type]


def run(*targets: TargetRun, **changes: object) -> Run:
    made = Run("1.3.0", "sandbox", False, STARTED, 4.2, "0.1.0", CLAUSES, targets)
    return replace(made, **changes)  # type: ignore[arg-type]


class Page(HTMLParser):
    """What a browser would see: its elements, and its text without the style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    def open(self, kind: str) -> list[bool]:
        """For each folding element of a class, whether it is open."""
        return [
            "open" in attributes
            for _, attributes in self.elements
            if kind in (attributes.get("class") or "").split()
        ]


def written(one: Run, folder: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().decode("utf-8") for path in write_reports(one, folder)}


def test_four_files_come_into_a_folder_that_was_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    paths = write_reports(run(target(*EVERYTHING)), folder)
    assert [path.name for path in paths] == ["report.html", "junit.xml", "results.json", "exchange.har"]
    assert sorted(folder.iterdir()) == sorted(paths)


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    write_reports(run(target(BREACH)), tmp_path)
    again = written(run(target(result())), tmp_path)
    assert "the number 75" not in "".join(again.values())


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    assert written(run(target(*EVERYTHING)), tmp_path / "1") == written(
        run(target(*EVERYTHING)), tmp_path / "2"
    )


# The page


def test_page_tells_a_failure_as_a_sentence_with_its_exchange(tmp_path: Path) -> None:
    text = Page(written(run(target(*EVERYTHING)), tmp_path)["report.html"]).text
    assert (
        "common.strings MUST official Every elementary field of an answer is a JSON string. "
        "Expected a JSON string Actual $.card.bonus.total the number 75" in text
    )
    assert '{ "card": { "bonus": { "total": 75 } } }' in text
    assert "curl -u '***' 'http://127.0.0.1:8080/v1/card/290000000001?a=1&b='" in text


def test_page_sums_up(tmp_path: Path) -> None:
    text = Page(written(run(target(*EVERYTHING), notes=("A note.",)), tmp_path)["report.html"]).text
    assert "Does not keep the contract: 1 check failed, 1 check could not be made" in text
    assert "1 fail 1 error 1 warn 1 pass 1 skip 1 disabled" in text
    assert "API version 1.3.0 Profile sandbox" in text
    assert "Started 2026-03-01 09:30:00 UTC Took 4.2 s Suite 0.1.0 A note." in text


def test_page_opens_what_failed_and_folds_the_rest(tmp_path: Path) -> None:
    fine = result("find.fine", method=1, title="fine")
    page = Page(written(run(target(fine, result(), WARNING)), tmp_path)["report.html"])
    assert page.open("method") == [False, True]
    assert page.open("check") == [False, True, False]
    assert page.open("exchange") == [True]


def test_page_begins_with_what_is_broken(tmp_path: Path) -> None:
    page = Page(written(run(target(WARNING, BREACH, result("info.card"))), tmp_path)["report.html"])
    assert (
        "What is broken fail Title of info.strings common.strings "
        "warn Title of info.state info.state Checks" in page.text
    )
    assert [attributes["href"] for tag, attributes in page.elements if tag == "a"][-2:] == [
        "#info.strings",
        "#info.state",
    ]


def test_page_groups_what_failed_for_one_cause(tmp_path: Path) -> None:
    def failed(check: str, actual: str) -> Result:
        return result(check, State.FAIL, failures=(Failure(STRINGS, "status 200", actual, None, 0),))

    away = '502 "bad gateway 17"', '502 "bad gateway 29"', "404"
    text = Page(
        written(run(target(*(failed(f"a.{each}", each) for each in away))), tmp_path)["report.html"]
    ).text
    assert '2 checks for one cause: 502 "bad gateway 17" fail' in text


def test_page_begins_each_method_with_what_failed(tmp_path: Path) -> None:
    fine, failed = result("card.fine"), replace(BREACH, check="card.wrong")
    page = Page(written(run(target(fine, failed)), tmp_path)["report.html"])
    checks = [each.get("id") for _, each in page.elements if "check" in (each.get("class") or "").split()]
    assert checks == ["card.wrong", "card.fine"]


def test_page_of_a_good_run_has_nothing_broken(tmp_path: Path) -> None:
    assert "broken" not in Page(written(run(target(result())), tmp_path)["report.html"]).text


def test_page_tells_why_a_check_was_not_made(tmp_path: Path) -> None:
    text = Page(written(run(target(*EVERYTHING)), tmp_path)["report.html"]).text
    assert "Title of promo.code skip no promo code was given" in text
    assert "Title of offers.array disabled not asked for" in text


def test_page_lists_what_was_left_in_the_target_and_latency(tmp_path: Path) -> None:
    one = target(
        result(),
        created=(Created("card", "290000000001"),),
        latencies=(Latency(3, 20, 0.0123, 0.4, 1.5, 100.0),),
    )
    text = Page(written(run(one), tmp_path)["report.html"]).text
    assert "card 290000000001" in text
    assert "3. Card and balance 20 12 ms 400 ms 1.5 s 1 min 40 s" in text


def test_page_shows_each_clause_with_its_result(tmp_path: Path) -> None:
    text = Page(written(run(target(*EVERYTHING)), tmp_path)["report.html"]).text
    assert "warn info.state cardState is active or inactive. MUST one" in text
    assert "error find.empty Nothing found" in text


def test_page_puts_targets_side_by_side(tmp_path: Path) -> None:
    ours, theirs = target(result(), name="ours"), target(BREACH, SKIPPED, name="theirs")
    text = Page(written(run(ours, theirs), tmp_path)["report.html"]).text
    assert "Keeps the contract ours" in text
    assert "Check ours theirs Title of info.strings pass fail Title of promo.code not checked skip" in text
    assert "ours theirs Clause Says Level Evidence pass fail common.strings" in text


def test_page_of_one_target_has_no_comparison(tmp_path: Path) -> None:
    assert "Side by side" not in written(run(target(*EVERYTHING)), tmp_path)["report.html"]


def test_page_needs_no_network_and_holds_one_script_that_its_policy_knows(tmp_path: Path) -> None:
    text = written(run(target(*EVERYTHING)), tmp_path)["report.html"]
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "form"}
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    (policy,) = [each["content"] for _, each in page.elements if each.get("http-equiv")]
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)
    references = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("href", "src", "action", "style") or name.startswith("on")
    ]
    assert references
    assert all(value is not None and value.startswith("#") for value in references)


def test_page_of_an_empty_run_says_so(tmp_path: Path) -> None:
    text = Page(written(run(target()), tmp_path)["report.html"]).text
    assert "Could not be tested: no check was tried" in text
    assert "The run holds no checks." in text


def test_every_link_of_the_page_leads_somewhere(tmp_path: Path) -> None:
    page = Page(written(run(target(*EVERYTHING), target(result(), name="b")), tmp_path)["report.html"])
    anchors = {attributes.get("id") for _, attributes in page.elements}
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert links
    assert {str(link).removeprefix("#") for link in links} <= anchors


# Hostile answers

HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "closing": "</pre></details></style></script><!--",
    "attribute": "\"'><svg/onload=alert(1)>",
    "template": "{{ 7*7 }}{% raw %}",
    "cdata": "]]></failure><testsuite/>",
    "control": "\x00\x01\x08\x0b\x1b[31m\x7f\x85\r",
    "surrogate": "\ud800 \udcff",
    "noncharacter": "\ufffe\uffff",
    "direction": "\u202egnp.exe\u2066",
    "mark": '\ufeff{"a": "1"}',
    "deep": "[" * 990 + "]" * 990,
    "deeper": "[" * 200_000,
    "digits": '{"a": ' + "9" * 7_000 + "}",
    "long": "x" * 1_000_000,
}


def hostile(text: str) -> Run:
    """A run with the same text wherever a target has a say."""
    bad = exchange(
        text,
        reason=text,
        http_version="HTTP/1.1",
        response_headers=((text, text),) * 300,
        request_body=text,
        problem=text,
        curl=text,
        url="http://127.0.0.1/" + text,
    )
    breach = replace(
        BREACH,
        exchanges=(bad,) * 30,
        reason=text,
        failures=(Failure(text, text, text, text, 29),) * 100,
    )
    failed = (breach, replace(breach, check="other", weight=Weight.WARN))
    skipped = replace(SKIPPED, reason=text)
    broken = replace(BROKEN, reason=text, exchanges=(replace(bad, status=None),))
    return run(target(*failed, skipped, broken, created=(Created(text, text),) * 600), notes=(text,))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answer_stays_harmless_and_bounded(name: str, tmp_path: Path) -> None:
    files = written(hostile(HOSTILE[name]), tmp_path)
    plain = Page(written(hostile("x"), tmp_path / "plain")["report.html"])
    page = Page(files["report.html"])
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert [list(attributes) for _, attributes in page.elements] == [
        list(attributes) for _, attributes in plain.elements
    ]
    xml = Xml.fromstring(files["junit.xml"])
    assert len(xml.findall(".//testcase")) == 4
    assert len(xml.findall(".//testsuite")) == 3
    json.loads(files["results.json"])
    json.loads(files["exchange.har"])
    assert len(files["report.html"]) < 4_000_000
    assert all(len(text) < 12_000_000 for text in files.values())
    unseen = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
    assert not unseen.search(files["report.html"])
    assert not unseen.search(files["junit.xml"])


def test_a_cut_text_says_how_much_is_missing() -> None:
    assert printable("x" * 2_005, 2_000) == "x" * 2_000 + "… (5 more characters)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        ("\x00\x1b[2J\r", r"\x00\x1b[2J\x0d"),
        ("\udcff", r"\udcff"),
        ("\u202eabc\ufeff", r"\u202eabc\ufeff"),
        ("Привет, 👋", "Привет, 👋"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"a":1.10,"a":[{},[]]}', '{\n  "a": 1.10,\n  "a": [\n    {},\n    []\n  ]\n}'),
        ('{"a": "x{,:}\\"[" }', '{\n  "a": "x{,:}\\"["\n}'),
        ("[]", "[]"),
        ('[ "1" , null ]', '[\n  "1",\n  null\n]'),
        ('[[1],{"b":{}}]', '[\n  [\n    1\n  ],\n  {\n    "b": {}\n  }\n]'),
        ('"x"', '"x"'),
        ("{not json", "{not json"),
        ("", ""),
        ("[1e999, 10000000000000000000000]", "[\n  1e999,\n  10000000000000000000000\n]"),
    ],
)
def test_json_is_laid_out_without_a_change_to_its_tokens(body: str, shown: str) -> None:
    assert laid_out(body) == shown


# Words


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ((result(),), "Keeps the contract"),
        ((result(), WARNING), "Keeps the contract, with 1 warning"),
        ((result(), BREACH, BREACH), "Does not keep the contract: 2 checks failed"),
        ((BREACH, BROKEN), "Does not keep the contract: 1 check failed, 1 check could not be made"),
        ((result(), BROKEN), "Could not be tested: 1 check could not be made"),
        ((SKIPPED, DISABLED), "Could not be tested: no check was tried, because: no promo code was given"),
    ],
)
def test_verdict(results: tuple[Result, ...], sentence: str) -> None:
    assert verdict(target(*results)) == sentence


def test_a_clause_is_as_bad_as_its_worst_finding() -> None:
    assert clause_states([result(), BREACH])[STRINGS] is Label.FAIL
    assert clause_states([WARNING, result()])[STATUS] is Label.WARN
    assert clause_states([SKIPPED, result()])[STRINGS] is Label.PASS


def test_a_failed_check_says_nothing_of_its_other_clauses() -> None:
    assert STATUS not in clause_states([BREACH])


# For programs


def test_results_keep_their_schema(tmp_path: Path) -> None:
    schema = json.loads(resources.files("contracts.suite.report").joinpath("results.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    unanswered = result("find.away", State.ERROR, exchanges=(exchange(status=None, problem="timed out"),))
    one = target(
        *EVERYTHING, unanswered, created=(Created("card", "1"),), latencies=(Latency(3, 1, 1, 1, 1, 1),)
    )
    content = json.loads(written(run(one), tmp_path)["results.json"])
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert not list(validator.iter_errors(content))
    described = set(schema["properties"]) | {"format"}
    assert set(content) == described


def test_results_are_sorted_and_readable(tmp_path: Path) -> None:
    text = written(run(target(result("b"), result("a"), result("z", method=1, title="Тест"))), tmp_path)[
        "results.json"
    ]
    content = json.loads(text)
    assert [each["check"] for each in content["targets"][0]["results"]] == ["z", "a", "b"]
    assert text == json.dumps(content, sort_keys=True, ensure_ascii=False, indent=2) + "\n"
    assert "Тест" in text


def test_results_tell_states_and_counts(tmp_path: Path) -> None:
    content = json.loads(written(run(target(*EVERYTHING)), tmp_path)["results.json"])
    (one,) = content["targets"]
    assert one["counts"] == {"pass": 1, "fail": 1, "warn": 1, "error": 1, "skip": 1, "disabled": 1}
    assert (one["keeps_the_contract"], one["outcome"]) == (False, "breaks")
    assert one["clauses"] == {
        STRINGS: "fail",
        STATUS: "warn",
        EMPTY: "error",
        "offers.array": "disabled",
    }


def test_junit_counts_failures_and_lets_warnings_pass(tmp_path: Path) -> None:
    root = Xml.fromstring(written(run(target(*EVERYTHING)), tmp_path)["junit.xml"])
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert [suite.get("name") for suite in root] == [
        "shop: 1. Find a card",
        "shop: 3. Card and balance",
        "shop: 8. Offers",
        "shop: 12. Promo code",
    ]
    card = root[1]
    assert [case.get("name") for case in card.iter("testcase")] == ["info.strings", "info.state", "info.card"]
    breach, warning, _ = card.iter("testcase")
    sentence = "common.strings at $.card.bonus.total: expected a JSON string; actual: the number 75"
    assert [each.tag for each in breach] == ["failure"]
    assert breach[0].get("message") == sentence
    assert [each.tag for each in warning] == ["system-out"]
    assert (warning[0].text or "").startswith("WARNING info.state at $.card.cardState")
    assert card.find("properties/property[@name='warnings']").get("value") == "1"  # type: ignore[union-attr]
    assert [each.get("message") for each in root.iter("skipped")] == [
        "disabled: not asked for",
        "skip: no promo code was given",
    ]


def test_har_holds_every_exchange_in_order(tmp_path: Path) -> None:
    late = exchange(started_at=STARTED + timedelta(seconds=5), verb="POST", request_body='{"phone": "ё"}')
    away = exchange(
        started_at=STARTED + timedelta(seconds=2), status=None, response_headers=(), problem="reset"
    )
    one = result(exchanges=(late, exchange())), result("x", exchanges=(away,))
    log = json.loads(written(run(target(*one)), tmp_path)["exchange.har"])["log"]
    assert log["version"] == "1.2"
    assert set(log["creator"]) == {"name", "version"}
    first, second, third = log["entries"]
    assert [each["response"]["status"] for each in log["entries"]] == [200, 0, 200]
    assert second["_error"] == "reset"
    assert third["comment"] == "shop: info.strings"
    assert third["request"]["postData"]["text"] == '{"phone": "ё"}'
    assert third["request"]["bodySize"] == len('{"phone": "ё"}'.encode())
    assert first["request"]["queryString"] == [{"name": "a", "value": "1"}, {"name": "b", "value": ""}]
    for entry in log["entries"]:
        assert_is_har_entry(entry)


def test_an_exchange_that_a_check_and_a_rule_tell_stands_in_the_har_once(tmp_path: Path) -> None:
    one = exchange()
    results = result("info.card", exchanges=(one,)), result("every.rule", method=0, exchanges=(one,))
    (entry,) = json.loads(written(run(target(*results)), tmp_path)["exchange.har"])["log"]["entries"]
    assert entry["comment"] == "shop: info.card; shop: every.rule"


def assert_is_har_entry(entry: dict[str, object]) -> None:
    """The fields that HAR 1.2 requires, and their types."""
    text, number, array = {"type": "string"}, {"type": "number"}, {"type": "array"}
    common = {
        "httpVersion": text,
        "cookies": array,
        "headers": array,
        "headersSize": number,
        "bodySize": number,
    }

    def of(properties: dict[str, object]) -> dict[str, object]:
        return {"type": "object", "required": list(properties), "properties": properties}

    jsonschema.validate(
        entry,
        of(
            {
                "startedDateTime": {
                    "type": "string",
                    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)$",
                },
                "time": {"type": "number", "minimum": 0},
                "request": of({"method": text, "url": text, "queryString": array, **common}),
                "response": of(
                    {
                        "status": {"type": "integer"},
                        "statusText": text,
                        "content": of({"size": number, "mimeType": text}),
                        "redirectURL": text,
                        **common,
                    }
                ),
                "cache": {"type": "object"},
                "timings": of({"send": number, "wait": number, "receive": number}),
            }
        ),
    )


def test_of_many_exchanges_those_before_the_failure_are_shown() -> None:
    many = tuple(exchange(url=f"http://127.0.0.1/{number}") for number in range(1, 41))
    broken = replace(BREACH, exchanges=many, failures=(replace(BREACH.failures[0], exchange=29),))
    (part,) = ReportPage(run(target(broken))).broken[0].parts
    assert [number for number, _, _ in part.exchanges] == list(range(19, 31))
