"""What is common to all methods: versions, paths, credentials, envelopes, hostile input, outages."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
from collections.abc import AsyncIterator

import asyncpg
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from structlog.testing import capture_logs

from adapter.api import app
from adapter.api.auth import hash_password
from adapter.errors import TEXTS, Code
from adapter.ops.metrics import Metrics
from crm_backends.model import Customer
from crm_backends.ports import BackendUnavailable

from .conftest import LOGIN, PASSWORD, Adapter, StartAdapter, basic, new_phone

NEWER = {
    "1.1.0": [("POST", "/v1/promo/qrCode")],
    "1.2.0": [("POST", "/v1/card/anonymous")],
    "1.3.0": [("POST", "/v1/promo/code")],
}


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.0", "1.3.0"])
async def test_a_method_newer_than_the_version_is_unknown(start: StartAdapter, version: str) -> None:
    adapter = await start(koshelek={"api_version": version})
    for since, methods in NEWER.items():
        for verb, path in methods:
            code = (await adapter.call(verb, path, {})).code
            assert (code == Code.UNKNOWN_METHOD) == (since > version), (path, code)
    assert (await adapter.get("/v1/card/anonymous")).status == 200


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/cards"),
        ("GET", "/v2/card"),
        ("DELETE", "/v1/card"),
        ("POST", "/v1/card"),
        ("GET", "/v1/promo/qrCode"),
        ("PUT", "/v1/card/anonymous"),
        ("DELETE", "/v1/card/anonymous"),
        ("POST", "/v1/card/getAllUsers"),
        ("PATCH", "/v1/card/getAllUsersExtended"),
        ("PUT", "/v1/card/anonymous/communication"),
        ("GET", "/v1/card/getAllUsers/purchases"),
        ("DELETE", "/v1/card/2900000000018"),
        ("OPTIONS", "/v1/card"),
        ("TRACE", "/v1/card"),
        ("GET", "/favicon.ico"),
        ("GET", "/v1/card/%2e%2e/%2e%2e/etc/passwd"),
    ],
)
async def test_an_unknown_path_or_verb_gets_the_envelope(common: Adapter, verb: str, path: str) -> None:
    answer = await common.call(verb, path)
    assert answer.body == {"code": Code.UNKNOWN_METHOD, "description": "Неизвестный метод"}


async def test_head_does_not_crash(common: Adapter) -> None:
    answer = await common.call("HEAD", "/v1/card")
    assert (answer.status, answer.body) == (422, None)


async def test_a_base_path_stands_before_everything(start: StartAdapter) -> None:
    adapter = await start(server={"base_path": "/loyalty/api"})
    assert (await adapter.get("/loyalty/api/v1/card/anonymous")).status == 200
    assert (await adapter.get("/v1/card/anonymous")).code == Code.UNKNOWN_METHOD


async def test_descriptions_come_in_english_by_setting(start: StartAdapter) -> None:
    adapter = await start(koshelek={"language": "en"})
    assert (await adapter.get("/v1/card/1")).body["description"] == "Card not found"


# --- credentials -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + "x" * 3000,
        "Basic bm9jb2xvbg==",
        "Bearer abc",
        basic(LOGIN, "wrong"),
        basic("other", PASSWORD),
        basic(LOGIN, PASSWORD + " "),
        basic("", ""),
    ],
)
async def test_bad_credentials_are_401_with_a_challenge(common: Adapter, header: str | None) -> None:
    for path in ("/v1/card", "/nowhere"):
        async with common.session.get(
            common.base + path, headers={} if header is None else {"Authorization": header}
        ) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"
            assert (await response.json())["code"] == Code.UNAUTHORIZED


async def test_bad_credentials_may_be_422_by_setting(start: StartAdapter) -> None:
    adapter = await start(koshelek={"unauthorized_status": 422})
    answer = await adapter.call("GET", "/v1/card", headers={"Authorization": "Basic x"})
    assert answer.code == Code.UNAUTHORIZED


async def test_two_pairs_are_valid_during_a_rotation(start: StartAdapter) -> None:
    adapter = await start(
        koshelek={"previous_login": "старый", "previous_password": SecretStr("пароль: с двоеточием")}
    )
    for login, password in ((LOGIN, PASSWORD), ("старый", "пароль: с двоеточием")):
        answer = await adapter.call("GET", "/v1/card", headers={"Authorization": basic(login, password)})
        assert answer.status == 200
    for login, password in ((LOGIN, "пароль: с двоеточием"), ("старый", PASSWORD)):
        answer = await adapter.call("GET", "/v1/card", headers={"Authorization": basic(login, password)})
        assert answer.status == 401


async def test_a_hashed_password_is_accepted(start: StartAdapter) -> None:
    adapter = await start(koshelek={"password": SecretStr(hash_password("длинный секрет"))})
    for password, status in (("длинный секрет", 200), ("другой", 401), ("длинный секрет", 200)):
        answer = await adapter.call("GET", "/v1/card", headers={"Authorization": basic(LOGIN, password)})
        assert answer.status == status


# --- bodies ------------------------------------------------------------------------------------------

BODY_METHODS = [
    ("POST", "/v1/card/anonymous"),
    ("POST", "/v1/card/anonymous/2900000000018"),
    ("POST", "/v1/card/2900000000018"),
    ("PUT", "/v1/card/2900000000018/communication"),
    ("POST", "/v1/promo/qrCode"),
    ("POST", "/v1/promo/code"),
]


@pytest.mark.parametrize(("verb", "path"), BODY_METHODS)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.NOT_JSON),
        (b"{", Code.NOT_JSON),
        (b"phone=79161112233", Code.NOT_JSON),
        (b'{"phone": "\xff\xfe"}', Code.NOT_JSON),
        (b'{"phone": NaN}', Code.NOT_JSON),
        (b"\xef\xbb\xbf\x00", Code.NOT_JSON),
        (b"[" * 100_00 + b"]" * 100_00, Code.NOT_JSON),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, Code.NOT_JSON),
        (b"[]", Code.NOT_AN_OBJECT),
        (b"null", Code.NOT_AN_OBJECT),
        (b'"text"', Code.NOT_AN_OBJECT),
        (b"12345", Code.NOT_AN_OBJECT),
        (b'{"x": "' + b"y" * 1_000_000 + b'"}', Code.BODY_TOO_LARGE),
    ],
)
async def test_a_hostile_body_gets_the_envelope(
    common: Adapter, verb: str, path: str, body: bytes, code: Code
) -> None:
    assert (await common.call(verb, path, body)).code == code


async def test_the_limit_of_a_body_is_a_setting(start: StartAdapter) -> None:
    adapter = await start(server={"max_body": 1024})
    answer = await adapter.post("/v1/card/anonymous", {"phone": new_phone(), "x": "y" * 1100})
    assert answer.code == Code.BODY_TOO_LARGE


async def test_lone_surrogates_and_odd_text_do_not_crash(adapter: Adapter) -> None:
    for text in (rb"\ud800", rb"\u0000", rb"\udfff\ud800"):
        body = b'{"phone": "79161112233", "firstname": "' + text + b'"}'
        answer = await adapter.call("POST", "/v1/card/anonymous", body)
        assert answer.code in (Code.NOT_JSON, Code.FIELD_INVALID)
    number = await adapter.issue(phone="79161112233", firstname="🦊 'DROP TABLE' \\ \"<b>", surname="\u202e")
    assert (await adapter.get(f"/v1/card/{number}")).status == 200


async def test_the_content_type_of_a_request_does_not_matter(adapter: Adapter) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=cp1251"):
        answer = await adapter.post(
            "/v1/card/anonymous", {"phone": new_phone(), "firstname": "Анна"}, headers={"Content-Type": kind}
        )
        assert answer.status == 200
    assert await adapter.sql("SELECT DISTINCT first_name FROM crm.customers") == "Анна"


# --- raw sockets -------------------------------------------------------------------------------------


async def _raw(adapter: Adapter, data: bytes, *, eof: bool = False) -> tuple[str, str, str]:
    """Status line, head and body of whatever the port answers to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", adapter.port)
    writer.write(data)
    await writer.drain()
    if eof:
        writer.write_eof()
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split("\r\n")[0], head, body


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"BREW /v1/card HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/card HTTP/9.9\r\n\r\n",
        b"GET /v1/card HTTP/1.1\r\nHost\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_what_is_not_http_gets_the_envelope_too(common: Adapter, data: bytes) -> None:
    status, head, body = await _raw(common, data)
    assert "422" in status, (status, body)
    assert "Content-Type: application/json; charset=utf-8" in head
    assert json.loads(body)["code"] in set(Code)
    assert "<" not in body


@pytest.mark.parametrize(
    "request_line",
    [
        "OPTIONS * HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "GET /v1/%0Aq HTTP/1.1",
    ],
)
@pytest.mark.parametrize("more", ["", "Expect: magic\r\n"])
async def test_what_leads_to_no_path_is_an_unknown_method_and_counted(
    common: Adapter, request_line: str, more: str
) -> None:
    before = await _unknown_methods(common)
    for token, status, code in (
        (basic(LOGIN, PASSWORD), 422, Code.UNKNOWN_METHOD),
        (basic(LOGIN, "wrong"), 401, Code.UNAUTHORIZED),
    ):
        head = f"{request_line}\r\nHost: a\r\nAuthorization: {token}\r\nConnection: close\r\n{more}\r\n"
        line, head, body = await _raw(common, head.encode())
        assert f" {status} " in line
        assert "Content-Type: application/json; charset=utf-8" in head
        assert "Server: koshelek-adapter" in head
        assert json.loads(body)["code"] == code
    assert await _unknown_methods(common) == before + 2


async def _unknown_methods(adapter: Adapter) -> int:
    """How many calls of unknown methods the monitoring is told of."""
    told = re.findall(r'\nkoshelek_request_seconds_count{call="unknown",.*} (.+)', await _metrics(adapter))
    return sum(int(float(count)) for count in told)


async def _metrics(adapter: Adapter) -> str:
    return (await adapter.service.metrics.exposition()).decode()


async def test_a_body_held_back_is_asked_for_and_other_expectations_are_passed_over(adapter: Adapter) -> None:
    for expectation, continued in (("100-continue", True), ("magic", False)):
        body = f'{{"phone": "{new_phone()}"}}'
        head = (
            f"POST /v1/card/anonymous HTTP/1.1\r\nHost: a\r\nAuthorization: {basic(LOGIN, PASSWORD)}\r\n"
            f"Connection: close\r\nExpect: {expectation}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        line, _, rest = await _raw(adapter, head.encode())
        assert (line == "HTTP/1.1 100 Continue") == continued
        assert "cardNumber" in rest


async def test_a_body_that_breaks_off_does_not_crash(common: Adapter) -> None:
    token = basic(LOGIN, PASSWORD).encode()
    head = b"POST /v1/card/anonymous HTTP/1.1\r\nHost: a\r\nAuthorization: " + token
    for rest in (
        b"\r\nContent-Length: 100\r\n\r\n{",
        b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n{}",
    ):
        status, _, body = await _raw(common, head + rest, eof=True)
        assert status == "" or (re.search(" (422|200) ", status) and json.loads(body or "{}") is not None)
    assert (await common.get("/v1/card")).status == 200


async def test_pipelined_requests_are_answered_in_order(common: Adapter) -> None:
    token = basic(LOGIN, PASSWORD).encode()
    one = b"GET /v1/card/1 HTTP/1.1\r\nHost: a\r\nAuthorization: " + token + b"\r\n\r\n"
    two = b"GET /v1/nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: " + token + b"\r\n\r\n"
    _, head, body = await _raw(common, one + two)
    answers = head + body
    assert answers.index(f'"{Code.CARD_UNKNOWN}"') < answers.index(f'"{Code.UNKNOWN_METHOD}"')


# --- outages and defects -----------------------------------------------------------------------------


async def test_a_database_that_is_down_gets_the_envelope(adapter: Adapter, database: str) -> None:
    number = await adapter.issue(phone="79161112233")
    name = await adapter.sql("SELECT current_database()")
    admin = await asyncpg.connect(re.sub(r"/[^/?]+\?", "/postgres?", database))
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    try:
        calls = [
            ("GET", f"/v1/card/{number}", None),
            ("GET", "/v1/card?msisdn=79161112233", None),
            ("GET", "/v1/card/anonymous", None),
            ("POST", "/v1/card/anonymous", {"phone": "79161112234"}),
            ("POST", "/v1/promo/qrCode", {"qrCode": adapter.qr(), "cardNumber": number}),
            ("GET", "/v1/card/getAllUsers", None),
        ]
        with capture_logs() as logs:
            for verb, path, body in calls:
                answer = await adapter.call(verb, path, body)
                assert answer.code in (Code.DATABASE_DOWN, Code.CRM_DOWN), (path, answer)
        assert [line["event"] for line in logs].count("database_unavailable") == 1  # not one each
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()
    assert (await adapter.get(f"/v1/card/{number}")).status == 200


async def test_connections_cut_by_the_server_do_not_reach_the_caller_twice(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233")
    await adapter.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await asyncio.sleep(0.1)
    assert (await adapter.get(f"/v1/card/{number}")).status == 200


async def test_a_defect_is_an_envelope_without_a_trace(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object, **options: object) -> list[Customer]:
        raise ZeroDivisionError("secret 79161112233")

    monkeypatch.setattr(type(adapter.service.programme.finder), "find", broken)
    answer = await adapter.get("/v1/card", msisdn="79161112233")
    assert answer.body == {"code": Code.INTERNAL, "description": TEXTS[Code.INTERNAL].ru}


@pytest.mark.parametrize("why", ["the CRM is gone", "the reader does not read", "the reader is gone"])
async def test_a_list_that_breaks_off_is_told_and_lets_its_connection_go(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    released, told = asyncio.Event(), asyncio.Event()
    observe = Metrics.answered

    def answered(metrics: Metrics, call: str, status: int, code: str | None, seconds: float) -> None:
        observe(metrics, call, status, code, seconds)
        told.set()

    monkeypatch.setattr(Metrics, "answered", answered)
    adapter = await start()
    monkeypatch.setattr(app, "_PART", 0.3)

    async def phones(*arguments: object) -> AsyncIterator[list[str]]:
        try:
            for _ in range(200):
                yield ["+79161112233"] * 100_000
                if why == "the CRM is gone":
                    raise BackendUnavailable("gone")
        finally:
            released.set()

    monkeypatch.setattr(type(adapter.service.programme.users), "list_phones", phones)
    reader, writer = await asyncio.open_connection("127.0.0.1", adapter.port, limit=1024)
    token = basic(LOGIN, PASSWORD)
    writer.write(f"GET /v1/card/getAllUsers HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n".encode())
    assert b"200" in await reader.readline()
    if why == "the reader is gone":
        writer.transport.abort()
    async with asyncio.timeout(10):
        await released.wait()
        await told.wait()
    writer.transport.abort()
    assert 'koshelek_refused_total{call="all_users",code="broken"} 1.0' in await _metrics(adapter)


async def test_a_slow_crm_is_cut_off_at_the_deadline(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = await start(server={"deadline": 0.2})

    async def slow(*arguments: object, **options: object) -> list[Customer]:
        await asyncio.sleep(5)
        return []

    monkeypatch.setattr(type(adapter.service.programme.finder), "find", slow)
    assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.TIMED_OUT


async def test_more_requests_than_allowed_are_refused_at_once(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = await start(server={"max_requests": 5})
    release = asyncio.Event()

    async def waiting(*arguments: object, **options: object) -> list[Customer]:
        await release.wait()
        return []

    monkeypatch.setattr(type(adapter.service.programme.finder), "find", waiting)
    held = [asyncio.create_task(adapter.get("/v1/card", msisdn="79161112233")) for _ in range(5)]
    await asyncio.sleep(0.2)
    assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.OVERLOADED
    release.set()
    assert {(await answer).status for answer in held} == {200}


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/v1/promo/code", {"code": "WELCOME"}, "accepted"),
        ("/v1/promo/qrCode", {"qrCode": ""}, "accepted"),
        ("/v1/card/anonymous", {}, Code.STILL_WORKING),
    ],
)
async def test_what_is_recorded_is_said_to_be_accepted_however_short_the_deadline(
    start: StartAdapter, path: str, body: dict[str, str], says: str
) -> None:
    adapter = await start(
        server={"deadline": 0.6},
        delivery={"in_process": False},
        receipts={"wait": 30},
        promo={"wait": 30},
        enrolment={"wait": 30},
    )
    reference = await adapter.register(phone="+79161112233")
    number = await adapter.plastic(7, "active", reference)
    body = {name: value or adapter.qr() for name, value in body.items()}
    answer = await adapter.post(path, body | {"cardNumber": number, "phone": new_phone()})
    assert (answer.body.get("status") or answer.code) == says
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations") == 1


async def test_a_flood_of_wrong_passwords_shuts_nobody_out_who_is_known(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = await start(
        koshelek={"password": SecretStr(hash_password(PASSWORD))}, server={"max_requests": 1}
    )
    assert (await adapter.get("/v1/card")).status == 200
    release = threading.Event()

    def slow(*arguments: object) -> bool:
        release.wait(20)
        return False

    monkeypatch.setattr(PasswordHasher, "verify", slow)
    flood = [
        asyncio.create_task(
            adapter.call("GET", "/v1/card", headers={"Authorization": basic(LOGIN, f"guess {number}")})
        )
        for number in range(20)
    ]
    try:
        # All but the few that may wait are turned away at once.
        turned_away = [await answer for answer in itertools.islice(asyncio.as_completed(flood), 12)]
        assert {answer.code for answer in turned_away} == {Code.OVERLOADED}
        assert (await adapter.get("/v1/card")).status == 200
    finally:
        release.set()
    assert sorted([(await answer).status for answer in flood]) == [401] * 8 + [422] * 12


async def test_the_request_id_comes_back_or_is_made(common: Adapter) -> None:
    answer = await common.call("GET", "/v1/card", headers={"X-Request-ID": "abc-123"})
    assert answer.headers["X-Request-ID"] == "abc-123"
    for bad in ("a b", "x" * 65, "<script>"):
        answer = await common.call("GET", "/v1/card", headers={"X-Request-ID": bad})
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])


async def test_the_server_does_not_tell_what_it_is_made_of(common: Adapter) -> None:
    answer = await common.get("/v1/card")
    assert answer.headers["Server"] == "koshelek-adapter"
