"""How the suite runs: what it selects, what it may change, what it tells, and what it never tells.

The service under test is the clean one of ``implementations``, over a real socket.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from contracts.suite import playing, runner, terminal
from contracts.suite.client import Address
from contracts.suite.config import Options
from contracts.suite.redaction import Redactor, partly
from contracts.suite.results import Result, Run, State, TargetRun, Weight
from tests.suite.implementations.clean import LOGIN, PASSWORD, Call, Clean, serving
from tests.suite.implementations.shop import ANNA, OPTIONS, PLASTIC

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


async def test_a_version_is_not_asked_for_what_came_later() -> None:
    target = await run_one(Clean("1.0.0"), profile="full", api_version="1.0.0", strict=True)
    assert target.keeps_the_contract, terminal.summary(await run(Clean("1.0.0"), api_version="1.0.0"))
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
    assert (again.state, again.reason) == (State.SKIP, "the plastic card has an owner already")


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
    text = terminal.summary(found)
    assert "KLO-0-34 (official): Every elementary field of a response is a JSON string" in text
    assert "-u LOGIN:PASSWORD" in text
    assert "BREAKS THE CONTRACT" in text


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


async def test_a_service_that_goes_away_is_an_error_and_no_verdict_on_it() -> None:
    service = DiesAfterAWhile()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", service.handle)
    served = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await served.setup()
    service.site = web.TCPSite(served, "127.0.0.1", 0)
    await service.site.start()
    url = f"http://127.0.0.1:{served.addresses[0][1]}"
    try:
        (target,) = (await runner.run(options(url, parallel=1), PASSWORD)).targets
    finally:
        await served.cleanup()
    errors = [result for result in target.results if result.state is State.ERROR]
    assert errors
    assert {result.reason for result in errors} == {f"{url} does not answer: connection refused"}
    assert not target.keeps_the_contract


async def test_several_services_are_compared() -> None:
    async with serving(Clean()) as one, serving(PlainTextOffers()) as other:
        given = options("", urls=[f"ours={one}", f"theirs={other}"])
        found = await runner.run(given, PASSWORD)
    assert [target.name for target in found.targets] == ["ours", "theirs"]
    text = terminal.summary(found)
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
    assert "holds no credentials" in await cannot_run(options("http://a:b@c"))
    assert await cannot_run(options("", urls=[])) == "no URL to test"
    assert "two services have one name" in await cannot_run(options("", urls=[url, url]))
    assert "--only KLO-77: no clause" in await cannot_run(options(url, only=["KLO-77"]))
    nothing = await cannot_run(options(url, only=["KLO-2"]))
    assert nothing == "nothing is left to test: changes something; asked for with --profile full"
    async with serving(Clean()) as served:
        refused = await cannot_run(options(served), PASSWORD + "x")
        assert refused == f"{served} refuses the login and password; see --login and --password-file"


async def test_refused_credentials_are_noticed_where_they_are_answered_422() -> None:
    class Answers422(Clean):
        def unauthorized(self) -> web.Response:
            answer = super().unauthorized()
            answer.set_status(422)
            return answer

    async with serving(Answers422()) as url:
        assert "refuses the login" in await cannot_run(options(url), "wrong")
        (target,) = (await runner.run(options(url, strict=True), PASSWORD)).targets
        assert target.keeps_the_contract


def test_a_base_url_may_have_a_path() -> None:
    address = Address.parse("https://shop.example.com:8443/koshelek/", "api")
    assert (address.url, address.port, address.tls) == (
        "https://shop.example.com:8443/koshelek/api",
        8443,
        True,
    )
    assert Address.parse("shop.example.com").url == "https://shop.example.com"


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
    assert "@example.com" not in text
    assert ANNA["firstname"] not in text
    for made_up in ("79000000", "7900000"):
        assert made_up not in text
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
    assert json.loads(redactor.body(b'{"code": "WELCOME"}', request=True)) == {"code": "<promo code>"}
    assert json.loads(redactor.body(b'["1", "2"]', strangers=True)) == ["<somebody's>", "<somebody's>"]


# --- the commands ------------------------------------------------------------------------------------


async def command(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """The command as a process: exit status, standard output and error."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("KLO_")}
    code = "from contracts.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, env=kept | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in out + err
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_exit_status_tells_kept_broken_and_not_tested(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    known = {"KLO_LOGIN": LOGIN, "KLO_PASSWORD_FILE": str(password)}
    async with serving(Clean()) as url:
        status, out, _ = await command(
            "run", url, "--only", "KLO-1", "--report-dir", str(tmp_path / "r"), **known
        )
        assert (status, url + " keeps the contract" in out) == (0, True)
        assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
            "exchange.har", "junit.xml", "report.html", "results.json",
        ]  # fmt: skip
        assert (await command("run", url, "--login", "other", **known))[0] == 2
    async with serving(NumbersAndZeroes()) as url:
        assert (await command("run", url, "--login", LOGIN, "--only", "KLO-0-34", **known))[0] == 1
    status, _, err = await command("run", KLO_PROFIL="full")
    assert (status, err) == (2, "error: KLO_PROFIL: unknown variable; did you mean KLO_PROFILE?\n")


async def test_list_names_every_clause_with_its_checks_or_the_reason() -> None:
    status, out, _ = await command("run", "--list", "--only", "KLO-5")
    assert status == 0
    assert "    enrolment.reserves (full)" in out
    assert "    untested: A check would take an hour." in out
    assert "KLO-6" not in out


async def test_play_shows_one_exchange_without_credentials(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(f"login: {LOGIN}\npassword: '{PASSWORD}'\n", encoding="utf-8")
    async with serving(Clean()) as url:
        given = ("--config", str(file))
        status, out, _ = await command("play", url, "find", "--msisdn", str(ANNA["phone"]), *given)
        assert status == 0
        assert f"> GET {url}/v1/card?msisdn={ANNA['phone']}" in out
        assert "> Authorization: Basic ***" in out
        assert '<     "cardState": "active",' in out
        status, out, _ = await command("play", url, "card", "123456789", *given)
        assert (status, "< HTTP/1.1 422" in out) == (1, True)
        status, out, _ = await command("play", url, "scenario", "new-card", *given)
        assert (status, out.endswith("Every step succeeded.\n"), out.count("< HTTP/1.1 200")) == (0, True, 4)
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
