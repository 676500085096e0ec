"""How the suite runs: what it selects, what it may change, what it tells, and what it never tells.

The service under test is the clean one of ``implementations``, over a real socket.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from contracts.cli import app
from contracts.suite import bodies, playing, runner, summary
from contracts.suite.address import Address, basic
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.people import People
from contracts.suite.redaction import Redactor, partly
from contracts.suite.reference import sample
from contracts.suite.results import Outcome, Result, Run, State, TargetRun, Weight
from tests.integration import forks
from tests.suite.implementations.clean import LOGIN, PASSWORD, Call, Clean, serving
from tests.suite.implementations.shop import ANNA, OPTIONS, PLASTIC, Refusal

NOBODY = dict.fromkeys(("existing", "blocked", "ambiguous", "unknown", "plastic", "promo_code"))
"""No identity is configured."""


def options(url: str, **given: Any) -> Options:
    return Options(**{"urls": [url], "login": LOGIN, "receipt_wait": 2.0, **OPTIONS, **given})


async def run(service: Clean, **given: Any) -> Run:
    async with serving(service) as url:
        return await runner.run(options(url, **given), PASSWORD)


async def run_one(service: Clean, **given: Any) -> TargetRun:
    (target,) = (await run(service, **given)).targets
    return target


def by_name(target: TargetRun) -> dict[str, Result]:
    return {result.check: result for result in target.results}


class NumbersAndZeroes(Clean):
    """Breaks an official clause (numbers) and one that a single partner was seen with (zero amounts)."""

    def strings(self, value: Any) -> Any:
        return value

    def card_object(self, card: Any) -> dict[str, Any]:
        return super().card_object(card) | {"level": 7}


class PlainTextOffers(Clean):
    """Breaks an inferred clause alone."""

    async def offers(self, call: Call) -> Any:
        return {"offers": []}


# --- selection and profiles --------------------------------------------------------------------------


async def test_the_read_profile_changes_nothing() -> None:
    service = Clean()
    before = json.dumps(service.shop.__dict__, default=repr, sort_keys=True)
    target = await run_one(service)
    assert json.dumps(service.shop.__dict__, default=repr, sort_keys=True) == before
    assert target.created == ()
    assert target.keeps_the_contract
    disabled = [result for result in target.results if result.state is State.DISABLED]
    assert {result.reason for result in disabled} == {"changes something; asked for with --profile full"}


@pytest.mark.parametrize(
    ("only", "selected"),
    [
        ("KLO-3", {"KLO-3"}),
        ("klo-3-02", {"KLO-3-02"}),
        ("card.", {"KLO-3"}),
        ("find.by_phone", {"KLO-1-01"}),
    ],
)
async def test_only_what_was_asked_for_is_tried(only: str, selected: set[str]) -> None:
    target = await run_one(Clean(), only=[only])
    tried = [result for result in target.results if result.state is not State.DISABLED]
    assert tried
    assert {result.clauses[0][: len(next(iter(selected)))] for result in tried} == selected
    assert {result.state for result in tried} == {State.PASS}


async def test_a_rule_alone_is_judged_on_the_answers_of_all_checks() -> None:
    target = await run_one(NumbersAndZeroes(), only=["KLO-0-34"])
    assert [result.check for result in target.results if result.state is not State.DISABLED] == [
        "every_answer.strings_only"
    ]
    assert by_name(target)["every_answer.strings_only"].state is State.FAIL


@pytest.mark.parametrize("only", ["KLO-0-34", "KLO-0"])
async def test_a_rule_alone_changes_nothing_in_the_read_profile(only: str) -> None:
    service = Clean()
    before = json.dumps(service.shop.__dict__, default=repr, sort_keys=True)
    target = await run_one(service, only=[only])
    assert json.dumps(service.shop.__dict__, default=repr, sort_keys=True) == before
    assert target.created == ()


async def test_a_rule_alone_asks_an_older_version_nothing_newer() -> None:
    asked: list[str] = []

    class Listening(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            asked.append(f"{request.method} {request.path}")
            return await super().handle(request)

    await run_one(Listening("1.0.0"), only=["KLO-0-34"], api_version="1.0.0", profile="full")
    assert "GET /v1/card/anonymous" in asked
    assert asked.count("POST /v1/promo/code") == 1, "but for KLO-0-06, which wants it to be unknown"


async def test_a_version_is_not_asked_for_what_came_later() -> None:
    target = await run_one(Clean("1.0.0"), profile="full", api_version="1.0.0", strict=True)
    assert target.keeps_the_contract, summary.text(await run(Clean("1.0.0"), api_version="1.0.0"))
    ends = by_name(target)
    assert ends["enrolment.issues"].reason == "not in version 1.0.0"
    assert ends["receipts.accepts"].state is State.DISABLED
    assert ends["enrolment.issues_reserved"].state is State.PASS


async def test_without_identities_the_full_profile_makes_people_and_tells_whom() -> None:
    target = await run_one(Clean(), profile="full", strict=True, **NOBODY)
    assert target.keeps_the_contract
    assert {one.what for one in target.created} == {"issued card", "reserved number", "receipts"}
    skipped = {result.check: result.reason for result in target.results if result.state is State.SKIP}
    assert skipped["find.blocked"] == "needs `blocked` in the configuration"
    assert skipped["enrolment.plastic"] == "needs `plastic` in the configuration"
    assert skipped["promo.accepts"] == "needs `promo_code` in the configuration"
    assert "find.by_phone" not in skipped


async def test_without_identities_the_read_profile_says_what_it_lacks() -> None:
    target = await run_one(Clean(), **NOBODY)
    reason = by_name(target)["card.known_card"].reason
    assert reason == "needs `existing` in the configuration, or --profile full to make somebody up"
    assert by_name(target)["find.nobody_is_200"].state is State.PASS


async def test_a_second_run_finds_the_plastic_card_owned_and_skips() -> None:
    service = Clean()
    given = {"profile": "full", "only": ["enrolment.plastic"]}
    assert by_name(await run_one(service, **given))["enrolment.plastic"].state is State.PASS
    again = by_name(await run_one(service, **given))["enrolment.plastic"]
    assert (again.state, again.reason) == (
        State.SKIP,
        "`plastic` in the configuration was refused and is active: it seems to have an owner.",
    )


# --- what a breach is worth --------------------------------------------------------------------------


async def test_evidence_decides_what_a_breach_is_worth() -> None:
    official = by_name(await run_one(NumbersAndZeroes()))["every_answer.strings_only"]
    assert (official.state, official.weight) == (State.FAIL, Weight.FAIL)
    lenient = await run_one(PlainTextOffers())
    inferred = by_name(lenient)["offers_and_lists.offers_are_an_array"]
    assert (inferred.state, inferred.weight) == (State.FAIL, Weight.WARN)
    assert lenient.keeps_the_contract
    assert not (await run_one(PlainTextOffers(), strict=True)).keeps_the_contract


async def test_a_failure_is_a_sentence_with_the_place_the_value_and_a_line_to_repeat_it() -> None:
    found = await run(NumbersAndZeroes(), only=["KLO-0-34", "KLO-1-03"])
    (target,) = found.targets
    failure = by_name(target)["every_answer.strings_only"].failures[0]
    assert (failure.clause, failure.expected) == ("KLO-0-34", "a JSON string")
    assert failure.path is not None
    assert failure.path.startswith("$.card")
    assert failure.actual.endswith("(number)")
    text = summary.text(found)
    assert "KLO-0-34 (official): Every elementary field of a response is a JSON string" in text
    assert "-u LOGIN:PASSWORD" in text
    assert "Does not keep the contract: 1 check failed" in text


class DiesAfterAWhile(Clean):
    """Stops to listen in the middle of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 30
        self.site: Any = None
        self.stopping: asyncio.Task[None] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.left -= 1
        if self.left == 0:
            self.stopping = asyncio.create_task(self.site.stop())
        answer = await super().handle(request)
        answer.force_close()
        return answer


@pytest.mark.parametrize("only", [[], ["KLO-0-34"]])
async def test_a_service_that_goes_away_is_an_error_and_no_verdict_on_it(only: list[str]) -> None:
    service = DiesAfterAWhile()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", service.handle)
    served = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await served.setup()
    service.site = web.TCPSite(served, "127.0.0.1", 0)
    await service.site.start()
    url = f"http://127.0.0.1:{served.addresses[0][1]}"
    try:
        (target,) = (await runner.run(options(url, parallel=1, only=only), PASSWORD)).targets
    finally:
        await served.cleanup()
    errors = [result for result in target.results if result.state is State.ERROR]
    assert errors
    assert {result.reason for result in errors} == {f"{url} does not answer: connection refused"}
    assert target.outcome is Outcome.UNKNOWN


async def test_where_nothing_could_be_tried_nothing_is_said_of_the_service() -> None:
    found = await run(Clean(), only=["KLO-3-01", "KLO-1-01"], **NOBODY)
    assert found.outcome is Outcome.UNKNOWN
    assert "Could not be tested: no check was tried" in summary.text(found)


async def test_several_services_are_reached_before_one_is_tested() -> None:
    asked: list[str] = []

    class Listening(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            asked.append(request.path)
            return await super().handle(request)

    away = f"http://127.0.0.1:{free_port()}"
    async with serving(Listening()) as url:
        assert away in await cannot_run(options("", urls=[url, away]))
    assert asked == ["/v1/card"]


async def test_several_services_are_compared() -> None:
    async with serving(Clean()) as one, serving(PlainTextOffers()) as other:
        given = options("", urls=[f"ours={one}", f"theirs={other}"])
        found = await runner.run(given, PASSWORD)
    assert [target.name for target in found.targets] == ["ours", "theirs"]
    text = summary.text(found)
    assert "Where they differ:" in text
    (line,) = [line for line in text.splitlines() if line.startswith("offers_and_lists.offers_are_an_array")]
    assert line.split() == ["offers_and_lists.offers_are_an_array", "ok", "warn"]


async def test_answer_times_are_told_by_method() -> None:
    target = await run_one(Clean())
    times = {one.method: one for one in target.latencies}
    assert set(times) == {1, 3, 7, 8, 9}
    assert all(0 < one.p50 <= one.p95 <= one.p99 <= one.longest for one in times.values())


# --- what cannot be tested ---------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def cannot_run(given: Options, password: str = PASSWORD) -> str:
    with pytest.raises(runner.CannotRun) as error:
        await runner.run(given, password)
    return str(error.value)


async def test_what_cannot_be_tested_is_told_in_a_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert await cannot_run(options(url)) == f"{url} does not answer: connection refused"
    assert "ftp://a is no base URL" in await cannot_run(options("ftp://a"))
    assert "a b is no base URL" in await cannot_run(options("a b"))
    assert "http://a:port is no base URL" in await cannot_run(options("http://a:port"))
    of_a_method = await cannot_run(options("https://a.example/v1/card?msisdn=7"))
    assert of_a_method.endswith("is the address of a method: leave out /v1 and what follows")
    assert "holds no login and no password" in await cannot_run(options("http://a:b@c"))
    assert await cannot_run(options("", urls=[])) == "no URL to test"
    assert "two services have one name" in await cannot_run(options("", urls=[url, url]))
    assert "--only KLO-77: no clause" in await cannot_run(options(url, only=["KLO-77"]))
    nothing = await cannot_run(options(url, only=["KLO-2"]))
    assert nothing == "nothing is left to test: changes something; asked for with --profile full"
    async with serving(Clean()) as served:
        plain = await cannot_run(options(served.replace("http:", "https:")))
        assert plain.endswith("with http:// in front of the address it is asked without")
        refused = await cannot_run(options(served), PASSWORD + "x")
        assert refused == f"{served} refuses the login and password"


async def test_refused_credentials_are_noticed_where_they_are_answered_422() -> None:
    class Answers422(Clean):
        def unauthorized(self) -> web.Response:
            answer = super().unauthorized()
            answer.set_status(422)
            return answer

    async with serving(Answers422()) as url:
        assert "answers alike with these credentials and with wrong ones" in await cannot_run(
            options(url), "not right"
        )
        (target,) = (await runner.run(options(url, strict=True), PASSWORD)).targets
        assert target.keeps_the_contract


async def test_a_service_that_is_down_is_told_by_what_it_says() -> None:
    class Down(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            return self.error(Refusal("500", "DBMS server unavailable"), Call("", "", {}, b""))

    async with serving(Down()) as url:
        told = await cannot_run(options(url))
    assert "or the service is down. It says: 422" in told
    assert "DBMS server unavailable" in told


async def test_a_ca_file_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    given = {"ca_file": tmp_path / "none.pem"}
    assert "--ca-file: cannot read" in await cannot_run(options("https://a.example", **given))
    (tmp_path / "none.pem").write_text("no certificate", encoding="utf-8")
    assert "no certificate in PEM form" in await cannot_run(options("https://a.example", **given))
    with pytest.raises(playing.CannotPlay, match="--ca-file"):
        await playing.play(
            options("https://a.example", **given), "", "reserve", playing.Given(), print, masked=True
        )


class BelowV1(Clean):
    """Has its methods below a path that is called like their beginning."""

    def method(self, verb: str, path: str) -> tuple[str, str]:
        return super().method(verb, path.removeprefix("/v1"))


async def test_what_is_odd_about_the_options_is_noted(tmp_path: Path) -> None:
    async with serving(Clean()) as url:
        found = await runner.run(options(url, ca_file=tmp_path / "ca", only=["KLO-1-04"]), PASSWORD)
        assert found.notes == (f"{url} is plain HTTP: --ca-file was not used",)
        assert f"Note: {found.notes[0]}" in summary.text(found)
        told = await cannot_run(options(f"{url}/v1"))
        assert told == (
            f"{url}/v1/v1/card is answered 422: the methods begin with /v1 by themselves, so leave it out of "
            "the address"
        )
    async with serving(BelowV1()) as url:
        found = await runner.run(options(f"{url}/v1", only=["KLO-0-25"]), PASSWORD)
        assert found.notes == (f"{url}/v1 ends with /v1, as the methods begin: {url}/v1/v1/card was asked",)


def test_a_base_url_may_have_a_path() -> None:
    address = Address.parse("https://shop.example.com:8443/koshelek/", "api")
    assert (address.url, address.port, address.tls) == (
        "https://shop.example.com:8443/koshelek/api",
        8443,
        True,
    )
    assert Address.parse("shop.example.com").url == "https://shop.example.com"
    assert Address.parse("http://[::1]:8080").authority == "[::1]:8080"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM file with a key and a certificate of its own for 127.0.0.1."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl to make a certificate with")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    made = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=suite -keyout {file} -out {file}.crt"
    )
    subprocess.run([*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text(), encoding="utf-8")
    return file


@pytest.mark.parametrize(("oldest", "kept"), [("TLSv1_2", True), ("TLSv1", False)])
async def test_the_tls_version_is_looked_at(certificate: Path, oldest: str, kept: bool) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    if not kept:
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            tls.minimum_version = ssl.TLSVersion[oldest]
    service, application = Clean(), web.Application()
    application.router.add_route("*", "/{path:.*}", service.handle)
    served = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await served.setup()
    await web.TCPSite(served, "127.0.0.1", 0, ssl_context=tls).start()
    url = f"https://127.0.0.1:{served.addresses[0][1]}"
    try:
        assert "its certificate is not accepted" in await cannot_run(options(url))
        (target,) = (
            await runner.run(options(url, ca_file=certificate, only=["transport"]), PASSWORD)
        ).targets
    finally:
        await served.cleanup()
    ends = {name: result.state for name, result in by_name(target).items() if name.startswith("transport")}
    assert ends == {
        "transport.https": State.PASS,
        "transport.tls_version": State.PASS if kept else State.FAIL,
        "transport.one_connection": State.PASS,
        "transport.no_http": State.PASS,
    }


# --- what comes over the wire ------------------------------------------------------------------------


@asynccontextmanager
async def client_of(url: str, **given: Any) -> AsyncIterator[Client]:
    chosen = {"timeout": 30.0} | given
    async with Client(Address.parse(url), LOGIN, PASSWORD, redactor=Redactor(), **chosen) as client:
        yield client


async def test_an_answer_that_is_too_long_is_marked_as_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST_LIST", 20)
    async with serving(Clean()) as url, client_of(url) as client:
        answer = await client.call(9, "GET", "/v1/card/getAllUsers")
        assert (answer.cut, len(answer.body)) == (True, 20)
        assert not (await client.call(1, "GET", "/v1/card?msisdn=79001234567")).cut


async def test_a_list_of_all_users_has_a_time_of_its_own() -> None:
    class Slow(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.6)
            return await super().handle(request)

    async with serving(Slow()) as url, client_of(url, timeout=0.2, list_timeout=30) as client:
        one, all_ = await asyncio.gather(
            client.call(1, "GET", "/v1/card"), client.call(9, "GET", "/v1/card/getAllUsers")
        )
    assert (one.exchange.problem, all_.status) == ("no answer within 0.2 s", 200)


async def test_the_agreed_credentials_are_told_from_others() -> None:
    async with serving(Clean()) as url, client_of(url) as client:
        agreed = await client.call(1, "GET", "/v1/card")
        other = await client.call(1, "GET", "/v1/card", authorization=basic(LOGIN, "wrong"))
        none = await client.call(1, "GET", "/v1/card", authorization=None)
        request = f"GET /v1/card HTTP/1.1\r\nHost: a\r\nAuthorization: {client.authorization}\r\n\r\n"
        (bare,) = await client.raw(request.encode())
    answers = [agreed, other, none, bare]
    assert [answer.with_credentials for answer in answers] == [True, False, False, True]
    assert "-u LOGIN:PASSWORD" in agreed.exchange.curl
    assert "-u WRONG:PAIR" in other.exchange.curl


async def test_a_body_in_pieces_is_read_until_the_service_closes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"a":')
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b' "b"}')
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with client_of(url) as client:
            (answer,) = await client.raw(b"GET / HTTP/1.1\r\n\r\n")
    assert answer.body == b'{"a": "b"}'
    assert f"nc 127.0.0.1 {client.address.port}" in answer.exchange.curl


async def test_a_card_number_is_quoted_in_a_path() -> None:
    service, told = Clean(), list[str]()
    number = "RU 1#2"
    service.shop.cards[number] = dataclasses.replace(next(iter(service.shop.cards.values())), number=number)
    async with serving(service) as url:
        assert await playing.play(
            options(url), PASSWORD, "card", playing.Given(what=number), told.append, masked=False
        ), told
    assert "/v1/card/RU%201%232" in told[0]


# --- what is never told ------------------------------------------------------------------------------


def planted() -> list[str]:
    people = [OPTIONS[name] for name in ("existing", "blocked", "ambiguous")]
    values = [str(value) for person in people for value in person.values()]
    return [*values, PASSWORD, OPTIONS["promo_code"], PLASTIC]


async def test_no_credential_and_no_personal_value_gets_into_the_results() -> None:
    found = await run(NumbersAndZeroes(), profile="full")
    text = json.dumps(dataclasses.asdict(found), default=str, ensure_ascii=False)
    assert len(text) > 100_000
    assert [value for value in planted() if value in text] == []
    assert ANNA["firstname"] not in text
    assert re.search(r"(?<!\d)7900000\d{4}(?!\d)", text), "a phone of the test range is nobody's"
    assert "<phone>" in text
    assert partly(PLASTIC) in text


def test_values_are_masked_in_every_spelling() -> None:
    redactor = Redactor()
    redactor.hide("anna+1@example.org", "email")
    redactor.hide_credentials("login", "p:ssword")
    assert redactor.text("?email=anna%2B1%40example.org") == "?email=<email>"
    assert redactor.text("to Anna+2@shop.example and +79161234567") == "to <email> and <phone>"
    assert redactor.header("Authorization", "Basic bG9naW4=") == "Basic ***"
    assert redactor.text("fn=9999078900004792&i=12&fp=3522207165") == "fn=<receipt>&i=<receipt>&fp=<receipt>"
    body = {
        "Phone": "1",
        "card": {"cardNumber": "2900000000018"},
        "description": "79161234567",
        "code": "201",
    }
    assert json.loads(redactor.body(json.dumps(body).encode())) == {
        "Phone": "<phone>",
        "card": {"cardNumber": "2900…018"},
        "description": "<phone>",
        "code": "201",
    }
    assert json.loads(redactor.body(b'{"code": "WELCOME"}', request=True)) == {"code": "<text, 7 characters>"}
    assert json.loads(redactor.body(b'["1", 2]', strangers=True)) == ["<text, 1 characters>", "<number>"]
    assert redactor.body(b"79161234567, 79161234568", strangers=True) == "24 bytes"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call +7 (916) 123-45-67 now", "call <phone> now"),
        ("8 916 123 45 67", "<phone>"),
        ("+375291112233 or 375291112233", "<phone> or <12 digits>"),
        ("/v1/card/RU00000012K/purchases", "/v1/card/RU00…12K/purchases"),
        ("/v1/card/getAllUsersExtended", "/v1/card/getAllUsersExtended"),
        ("/v1/card/..%2f..%2fetc%2fpasswd", "/v1/card/..%2f..%2fetc%2fpasswd"),
        ("2026-10-03T12:00:00Z, 1000.00, 8 9 10 11", "2026-10-03T12:00:00Z, 1000.00, 8 9 10 11"),
    ],
)
def test_what_looks_like_somebodys_is_masked_in_any_text(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


CARD = {
    "cardNumber": 2900000000018,
    "cardState": "active",
    "holder": "Смирнова Анна Ивановна",
    "phones": ["79161234567", 375291112233],
    "bonus": {"total": 75, "bonuses": [{"amount": "5", "description": "За покупку", "shop": "Тверская, 1"}]},
    "79161234567": True,
}


def test_only_what_a_clause_is_about_is_shown_of_a_body() -> None:
    shown = json.loads(Redactor().body(json.dumps(CARD).encode()))
    assert shown == {
        "cardNumber": "<number>",
        "cardState": "active",
        "holder": "<text, 22 characters>",
        "phones": ["<text, 11 characters>", "<number>"],
        "bonus": {
            "total": 75,
            "bonuses": [{"amount": "5", "description": "За покупку", "shop": "<text, 11 characters>"}],
        },
        "<name, 11 characters>": True,
    }


def test_a_body_that_is_no_json_shows_its_form_and_an_error_its_text() -> None:
    body = "{'cardState': 'active', 'holder': 'Анна', 'cardNumber': 2900000000018}".encode()
    form = "{'cardState': 'xxxxxx', 'xxxxxx': 'xxxx', 'cardNumber': <13 digits>}"
    assert Redactor().body(body) == form
    assert Redactor().body(b"<h1>Bad gateway</h1>", refused=True) == "<h1>Bad gateway</h1>"


def test_configured_card_numbers_are_masked_in_any_text() -> None:
    redactor = Redactor()
    People(
        Options(plastic="PLASTIC-0001", blocked={"phone": "79001234567", "card_number": "BLOCKED-1"}),
        redactor,
    )
    assert redactor.text("PLASTIC-0001, BLOCKED-1") == "PLAS…001, BLOC…D-1"


class TellsOfPeople(Clean):
    """More fields than documented, numbers where strings are due, a name in an error."""

    def strings(self, value: Any) -> Any:
        return value

    def card_object(self, card: Any) -> dict[str, Any]:
        more = {"holder": "Смирнова Анна Ивановна", "birthday": 19800203, "mobile": "375291112233"}
        return super().card_object(card) | more

    async def all_users(self, call: Call) -> Any:
        return [77011234567, 375291112233, 998701234]


async def test_nothing_of_a_stranger_gets_into_the_results() -> None:
    found = await run(TellsOfPeople())
    text = json.dumps(dataclasses.asdict(found), default=str, ensure_ascii=False)
    told = ("Смирнова", "19800203", "375291112233", "77011234567", "998701234", "Тверская", "кофе")
    assert [value for value in told if value in text] == []
    failures = {
        failure.path: failure.actual
        for failure in by_name(found.targets[0])["every_answer.strings_only"].failures
    }
    assert failures["$[0]"] == "<11 digits> (number)"
    assert failures["$.card.birthday"] == "99999999 (number)"


class EchoesCredentials(Clean):
    """Refuses with what was sent, encoded and decoded."""

    def is_let_in(self, header: str) -> bool:
        self.sent = header
        return super().is_let_in(header)

    def envelope(self, refusal: Refusal) -> Any:
        sent = self.sent.removeprefix("Basic ")
        with contextlib.suppress(ValueError):
            sent = f"{sent} {base64.b64decode(sent, validate=True).decode()}"
        return {"code": refusal.code, "description": f"refused: {sent}"}


async def test_credentials_that_are_echoed_are_found_and_never_shown() -> None:
    found = await run(EchoesCredentials())
    text = json.dumps(dataclasses.asdict(found), default=str, ensure_ascii=False)
    pairs = [
        (LOGIN, PASSWORD),
        (LOGIN, PASSWORD + "x"),
        (LOGIN + "x", PASSWORD),
        (LOGIN, PASSWORD.swapcase()),
    ]
    secrets = [basic(*pair).removeprefix("Basic ") for pair in pairs] + [PASSWORD, PASSWORD.swapcase()]
    assert [secret for secret in secrets if secret in text or secret.rstrip("=") in text] == []
    assert "refused: <credentials> <credentials>" in text
    assert by_name(found.targets[0])["every_answer.nothing_of_the_inside"].state is State.FAIL


async def test_play_masks_credentials_in_an_echo_and_shows_no_control_characters() -> None:
    class Echoes(EchoesCredentials):
        def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
            return web.Response(status=422, text=f"\x1b[2J {self.sent} {PASSWORD}")

    told: list[str] = []
    async with serving(Echoes()) as url:
        given = playing.Given(what="123456789")
        assert not await playing.play(options(url), PASSWORD, "card", given, told.append, masked=False)
    assert "\\x1b[2J Basic <credentials> <password>" in told[0]


async def test_play_masked_shows_no_value_that_was_typed() -> None:
    service, told = Clean(), list[str]()
    number = next(person.card.number for person in service.shop.people if person.card)
    typed = playing.Given(
        card=number, msisdn=ANNA["phone"], qr="t=20260101T1200&s=1.00&fn=9999078900004792&i=1&fp=2"
    )
    async with serving(service) as url:
        await playing.play(options(url), PASSWORD, "receipt", typed, told.append, masked=True)
        await playing.play(options(url), PASSWORD, "find", typed, told.append, masked=True)
    for value in (number, str(ANNA["phone"]), "9999078900004792"):
        assert value not in "".join(told)


async def test_play_takes_no_other_status_for_200() -> None:
    class Created(Clean):
        def answer(self, value: Any) -> web.StreamResponse:
            return self.response(201, value)

    told: list[str] = []
    async with serving(Created()) as url:
        assert not await playing.play(
            options(url), PASSWORD, "reserve", playing.Given(), told.append, masked=False
        )
    assert "< HTTP/1.1 201" in told[0]


async def test_a_terminal_is_shown_no_control_characters() -> None:
    class Escapes(Clean):
        async def find(self, call: Call) -> Any:
            raise Refusal("1", "none")

        def encoded(self, value: Any) -> bytes:
            return b"\x1b[2J" + super().encoded(value)

    text = summary.text(await run(Escapes(), only=["KLO-1"]))
    assert "\x1b" not in text
    assert "\\x1b[2J" in text


# --- the commands ------------------------------------------------------------------------------------


async def command(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """The command as a process: exit status, standard output and error."""
    return told(
        await asyncio.to_thread(
            forks.run,
            "koshelek-contract",
            *arguments,
            cwd=Path.cwd(),
            env=environment() | variables,
            timeout=60,
        )
    )


async def command_anew(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """The same in a new interpreter."""
    words = [sys.executable, "-c", "from contracts.cli import main; main()", *arguments]
    return told(
        await asyncio.to_thread(
            subprocess.run, words, env=environment() | variables, capture_output=True, timeout=60
        )
    )


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("KLO_")}


def told(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    assert b"Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_the_exit_status_tells_kept_broken_and_not_tested(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    known = {"KLO_LOGIN": LOGIN, "KLO_PASSWORD_FILE": str(password)}
    async with serving(Clean()) as url:
        status, out, _ = await command_anew(
            "run", url, "--only", "KLO-1", "--report-dir", str(tmp_path / "r"), **known
        )
        assert (status, url + ": Keeps the contract" in out) == (0, True)
        assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
            "exchange.har", "junit.xml", "report.html", "results.json",
        ]  # fmt: skip
        assert (await command("run", url, "--login", "other", **known))[0] == 2
        assert (await command("run", url, "--only", "KLO-3-01", **known))[0] == 2
    async with serving(NumbersAndZeroes()) as url:
        anna = {"KLO_EXISTING__PHONE": str(ANNA["phone"])}
        assert (await command("run", url, "--only", "KLO-3", "--only", "KLO-0-34", **known, **anna))[0] == 1
    status, _, err = await command("run", KLO_PROFIL="full")
    assert (status, err) == (2, "error: KLO_PROFIL: unknown variable; did you mean KLO_PROFILE?\n")


async def test_nothing_is_asked_where_what_is_found_could_not_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nobody = "http://127.0.0.1:1"  # would be told, were it asked
    for places, said in (
        (("--report-dir", str(tmp_path / "file")), "cannot write into "),
        (("--report-dir", str(tmp_path / "file" / "deeper")), "cannot write into "),
        (("--write-baseline", str(tmp_path)), "cannot write "),
        (("--write-baseline", str(tmp_path / "nowhere" / "file")), "cannot write "),
    ):
        status, _, err = await command("run", nobody, *places)
        assert status == 2
        assert err.startswith(f"error: {said}{places[1]}: ")
    new = ("--report-dir", str(tmp_path / "a" / "b"), "--write-baseline", str(tmp_path / "new"))
    assert "does not answer" in (await command("run", nobody, *new))[2]
    assert os.listdir(tmp_path) == ["file"]


def invoked(*arguments: str) -> tuple[int, str]:
    """The command in this process: exit status, standard output and error."""
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_list_names_every_clause_with_its_checks_or_the_reason() -> None:
    status, out = invoked("run", "--list", "--only", "KLO-5")
    assert status == 0
    assert "    enrolment.reserves (full)" in out
    assert "    untested: A check would take an hour." in out
    assert "KLO-6" not in out


def test_list_keeps_to_the_selection_and_the_version() -> None:
    status, out = invoked("run", "--list", "--only", "find.by_phone")
    assert (status, [line[:8] for line in out.splitlines()]) == (0, ["KLO-1-01", "    find"])
    assert "KLO-12-01" in invoked("run", "--list")[1]
    assert "KLO-12-01" not in invoked("run", "--list", "--api-version", "1.0.0")[1]
    assert invoked("run", "--list", "--only", "KLO-77") == (
        2, "error: no clause and no check of version 1.3.0 is called KLO-77\n",
    )  # fmt: skip


def test_an_interrupted_run_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run", interrupted)
    assert invoked("run", "http://127.0.0.1:1") == (2, "error: interrupted\n")


def test_config_prints_a_sample() -> None:
    assert invoked("config") == (0, sample())


async def test_play_shows_one_exchange_without_credentials(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(f"login: {LOGIN}\npassword: '{PASSWORD}'\n", encoding="utf-8")
    async with serving(Clean()) as url:
        given = ("--config", str(file))
        status, out, _ = await command_anew("play", url, "find", "--msisdn", str(ANNA["phone"]), *given)
        assert status == 0
        assert f"> GET {url}/v1/card?msisdn={ANNA['phone']}" in out
        assert "> Authorization: Basic ***" in out
        assert '<     "cardState": "active",' in out
        status, out, _ = await command("play", url, "card", "123456789", *given)
        assert (status, "< HTTP/1.1 422" in out) == (1, True)
        status, out, _ = await command("play", url, "scenario", "new-card", *given)
        assert (status, out.endswith("Every step succeeded.\n"), "< HTTP/1.1 200" in out) == (0, True, True)
        status, _, err = await command("play", url, "fnd", *given)
        assert (status, "there is no call fnd; there are: find" in err) == (2, True)


async def test_every_call_can_be_played() -> None:
    typed = {
        "find": {"msisdn": ANNA["phone"]}, "consents": {"allow": ("sms",)}, "card": {},
        "update": {"email": "a@b.cd"}, "reserve": {}, "purchases": {}, "offers": {}, "users": {},
        "users-extended": {}, "receipt": {},
        "issue": {}, "promo": {"code": OPTIONS["promo_code"]},
    }  # fmt: skip
    service = Clean()
    number = next(person.card.number for person in service.shop.people if person.card)
    async with serving(service) as url:
        for call, given in typed.items():
            told: list[str] = []
            what = None if call in ("find", "reserve", "users", "users-extended", "issue") else number
            well = await playing.play(
                options(url), PASSWORD, call, playing.Given(what=what, **given), told.append, masked=False
            )  # fmt: skip
            assert well, told
        reserved = next(card.number for card in service.shop.cards.values() if card.reserved)
        given_number = playing.Given(what=reserved)
        assert await playing.play(
            options(url), PASSWORD, "issue-reserved", given_number, told.append, masked=True
        )
    assert set(playing.CALLS) == {*typed, "issue-reserved"}
