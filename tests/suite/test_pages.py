"""The pages without a browser: who is let in, what is kept from whom, what becomes of what is typed."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from typer.testing import CliRunner

from contracts.cli import app
from contracts.suite.config import Options
from contracts.suite.pages import forms, phone
from contracts.suite.pages.app import serving
from contracts.suite.pages.barcodes import picture
from contracts.suite.pages.runs import compare
from contracts.suite.pages.sessions import MOST, Sessions
from contracts.suite.results import Result, State
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean
from tests.suite.implementations.clean import serving as service
from tests.suite.implementations.shop import ANNA, BLOCKED
from tests.suite.test_reports import BREACH, WARNING, result, run, target

Session = aiohttp.ClientSession


def browser() -> Session:
    """Keeps cookies, as a browser does."""
    return Session(cookie_jar=aiohttp.CookieJar(unsafe=True))  # it is an address, not a name


@pytest.fixture
async def site() -> AsyncIterator[str]:
    async with serving("127.0.0.1", 0, Options(language="en", password=SecretStr("of the file"))) as address:
        yield address


async def secret_of(session: Session, site: str) -> str:
    """What its forms hold."""
    async with session.get(site) as answer:
        found = re.search(r'name="session" value="([^"]+)"', await answer.text())
    assert found is not None
    return found[1]


async def test_every_answer_forbids_what_comes_from_elsewhere(site: str) -> None:
    async with browser() as session:
        for path in ("", "runs", "static/page.css", "static/live.js", "runs/7", "nothing"):
            async with session.get(site + path) as answer:
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert "unsafe" not in answer.headers["Content-Security-Policy"]
                assert answer.headers["Cache-Control"] == "no-store"


async def test_a_form_of_another_site_or_session_is_refused(site: str) -> None:
    async with browser() as session, browser() as other:
        theirs = await secret_of(other, site)
        ours = await secret_of(session, site)
        for given, status in (("", 403), (theirs, 403), (ours, 422)):
            async with session.post(site + "runs", data={"session": given}) as answer:
                assert answer.status == status
        async with Session() as stranger, stranger.post(site + "runs", data={"session": ours}) as answer:
            assert answer.status == 403


async def test_a_name_that_leads_here_is_refused(site: str) -> None:
    """A page of somebody's whose name is turned to this address would otherwise read ours."""
    async with browser() as session:
        async with session.get(site, headers={"Host": "evil.example:80"}) as answer:
            assert answer.status == 403
        async with session.get(site, headers={"Host": "localhost"}) as answer:
            assert answer.status == 200


async def test_a_session_sees_its_own_runs_alone(site: str) -> None:
    async with browser() as session, browser() as other:
        form = {"session": await secret_of(session, site), "urls": "http://127.0.0.1:9", "only": "KLO-1"}
        async with session.post(site + "runs", data=form) as answer:
            assert answer.status == 200
            assert answer.url.path == "/runs/1"
        await secret_of(other, site)
        async with other.get(site + "runs/1") as answer:
            assert answer.status == 404


async def test_no_password_gets_into_a_page(site: str) -> None:
    async with browser() as session:
        form = {"session": await secret_of(session, site), "urls": "", "password": "typed by hand"}
        async with session.post(site + "runs", data=form) as answer:
            text = await answer.text()
        assert "kept in memory" in text
        assert "typed by hand" not in text
        assert "of the file" not in text


async def test_a_token_has_to_be_in_the_address_once() -> None:
    async with serving("127.0.0.1", 0, Options(), token="s3cret") as address, browser() as session:
        site = address.partition("?")[0]
        for wrong in (site, site + "?token=", site + "?token=wrong", site + "runs"):
            async with session.get(wrong) as answer:
                assert answer.status == 403
        async with session.get(address) as answer:
            assert (answer.status, answer.url.query_string) == (200, "")
        async with session.get(site + "runs") as answer:
            assert answer.status == 200


async def test_an_address_for_others_without_a_token_is_not_served() -> None:
    with pytest.raises(ValueError, match="token"):
        async with serving("0.0.0.0", 0, Options()):
            pass


async def test_the_language_link_leads_back_to_our_own_pages_alone(site: str) -> None:
    async with browser() as session:
        for back, led in (("/runs", "/runs"), ("//evil.example", "/"), ("https://evil.example", "/")):
            async with session.get(
                site + "language/ru", params={"back": back}, allow_redirects=False
            ) as answer:
                assert answer.headers["Location"] == led


HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


class Hostile(Clean):
    """Whatever it is asked, it answers with what harms those who show it as it stands."""

    deep: Any = HOSTILE
    for _ in range(900):
        deep = [deep]
    answer_of: ClassVar[list[Any]] = [
        {"card": {"cardNumber": HOSTILE * 50, "cardState": HOSTILE, "barcode": {"barcodeNumber": HOSTILE,
         "barcodeType": HOSTILE}, "bonus": {"total": HOSTILE, "available": "x" * 10_000,
         "bonuses": [HOSTILE, {"description": HOSTILE * 90, "amount": deep}] * 60}}},
        [{HOSTILE: HOSTILE, "deep": deep, **dict.fromkeys(map(str, range(300)), HOSTILE)}] * 120,
        {"code": HOSTILE, "description": HOSTILE * 1_000, "deep": deep},
        HOSTILE,
        None,
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        answer = self.answer_of[self.asked % len(self.answer_of)]
        return web.json_response(answer, status=(200, 200, 422)[self.asked % 3])


async def test_whatever_a_service_answers_the_phone_shows_harmlessly(site: str) -> None:
    async with service(Hostile()) as url, browser() as session:
        form = {"session": await secret_of(session, site), "urls": url}
        async with session.post(site + "phone/connect", data=form) as answer:
            assert answer.status == 200
        for call in [*phone.ACTIONS, "scenario", "nothing"]:
            typed = {"what": "new-card" if call == "scenario" else "1", "msisdn": "79005550001", "code": "x"}
            async with session.post(site + f"phone/{call}", data=form | typed) as answer:
                text = await answer.text()
                assert answer.status == 200, call
            assert "<script>alert" not in text
            found = re.search("[\x1b\u202e]", text)
            assert found is None, text[max(0, found.start() - 300) : found.end() + 50]
            assert len(text) < 2_000_000


async def test_the_command_serves_until_it_is_asked_to_end() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from contracts.cli import app; app()", "serve", "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    found = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line)
    assert found is not None, line
    async with browser() as session, session.get(found[1]) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 30) == 0


def test_a_port_that_is_in_use_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(app, ["serve", "--port", str(taken.getsockname()[1])])
    assert done.exit_code == 2
    assert "is in use; choose another with --port" in done.output


def test_the_oldest_session_goes_where_there_are_many() -> None:
    sessions = Sessions()
    first, *others = [sessions.new() for _ in range(MOST + 1)]
    assert sessions.get(first.id) is None
    assert all(sessions.get(other.id) is other for other in others)


def test_what_is_typed_becomes_options() -> None:
    defaults = Options(ca_file=Path("authority.pem"), promo_code="OLD")
    typed = forms.typed(
        {
            "urls": " https://a.example , b=https://b.example ",
            "existing.phone": "+7 (900) 123-45-67",
            "strict": "yes",
            "rate": "5",
            "promo_code": "",
            "report_dir": "/etc",
        }
    )
    options = forms.options_of(defaults, typed, "s")
    assert options.urls == ["https://a.example", "b=https://b.example"]
    assert (options.strict, options.rate, options.promo_code) == (True, 5.0, None)
    assert options.existing is not None
    assert options.existing.phone == "79001234567"
    assert options.ca_file == Path("authority.pem")
    assert options.report_dir is None
    assert forms.options_of(defaults, forms.shown(options), "s") == options


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({}, "urls"),
        ({"urls": "https://a.example", "rate": "often"}, "rate"),
        ({"urls": "https://a.example", "blocked.phone": "x"}, "blocked.phone"),
        ({"urls": "https://a.example", "ambiguous.phone": "79001234567"}, "ambiguous.phone"),
    ],
)
def test_a_problem_is_told_at_its_field(typed: dict[str, str], field: str) -> None:
    with pytest.raises(forms.BadForm) as raised:
        forms.options_of(Options(), forms.typed(typed), "")
    assert list(raised.value.problems) == [field]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"urls": "ftp://a.example"}, "is no base URL"),
        ({"urls": "https://a.example/v1/card"}, "is the address of a method"),
        ({"urls": "https://a.example", "only": "KLO-77"}, "no clause and no check is called that"),
        ({"urls": "https://a.example", "receipt_total": "much"}, "expected roubles"),
    ],
)
@pytest.mark.parametrize("path", ["runs", "phone/connect"])
async def test_what_cannot_be_asked_is_told_in_the_form(
    given: dict[str, str], told: str, path: str, site: str
) -> None:
    async with browser() as session:
        form = {"session": await secret_of(session, site)} | given
        async with session.post(site + path, data=form) as answer:
            text = await answer.text()
        assert answer.status == 422
        assert told in text
        async with session.get(site + "runs") as answer:
            assert "Nothing was tested yet" in await answer.text()


def test_a_group_of_fields_stands_open_where_something_is_in_it() -> None:
    empty = forms.shown(Options())
    assert not any(group.stands_open(empty, {}) for group in (*forms.PEOPLE, forms.POINTS, forms.MORE))
    assert forms.POINTS.stands_open(empty | {"promo_holder": "existing"}, {})
    assert forms.POINTS.stands_open(empty, {"receipt_total": "expected roubles"})
    assert forms.PEOPLE[1].stands_open(empty | {"blocked.email": "b@example.org"}, {})


async def test_who_is_refused_has_not_the_card_that_lay_there(site: str) -> None:
    async with service(Clean()) as url, browser() as session:
        form = {"session": await secret_of(session, site), "urls": url, "login": LOGIN, "password": PASSWORD}
        await session.post(site + "phone/connect", data=form)
        async with session.post(site + "phone/find", data=form | {"msisdn": ANNA["phone"]}) as answer:
            assert "No card lies open" not in await answer.text()
        async with session.post(site + "phone/find", data=form | {"msisdn": BLOCKED["phone"]}) as answer:
            text = await answer.text()
        assert "The service answered 422" in text
        assert "No card lies open" in text


def test_no_option_that_names_a_file_can_be_typed() -> None:
    assert not {"password_file", "ca_file", "baseline", "report_dir", "resume", "show_values"} & set(
        forms.FIELDS
    )


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        ("2900000000025", "EAN_13", ""),
        ("2900000000024", "EAN_13", "The last digit is wrong for EAN_13: it has to be 5."),
        ("29000000025", "EAN_13", "EAN_13 needs 13 digits"),
        ("96385074", "EAN_8", ""),
        ("036000291452", "UPC_A", ""),
        ("ABC-123", "CODE_128", ""),
        ("Ёж", "CODE_128", "no barcode number that could be drawn"),
        ("Ёж 42", "QR_CODE", ""),
        ("", "QR_CODE", "no barcode number that could be drawn"),
        ("1", "AZTEC", "not one of the contract"),
    ],
)
def test_a_barcode_is_drawn_or_the_reason_is_told(number: str, kind: str, said: str) -> None:
    made = picture(number, kind)
    assert said in made.problem
    assert bool(made.source) is not bool(made.problem)


def test_two_runs_are_compared_check_by_check() -> None:
    def found(*results: Result) -> Any:
        return run(target(*results))

    fine, other = result(BREACH.check), result("other")
    assert compare(found(fine), found(BREACH)).broken[0].result is BREACH
    assert compare(found(BREACH), found(fine)).mended[0].result is fine
    assert compare(found(BREACH), found(BREACH, other)).same
    skipped = result(WARNING.check, State.SKIP)
    assert [change.result for change in compare(found(WARNING), found(skipped)).other] == [skipped]
