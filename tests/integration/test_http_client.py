"""What each fault of a CRM ends in, over real sockets; the table of ``crm_backends/HTTP.md`` is this data.

``python -m tests.integration.test_http_client`` prints the table.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import shutil
import ssl
import subprocess
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
import structlog
import uvloop

from crm_backends.http import (
    Auth,
    Basic,
    Bearer,
    ClientCredentials,
    Details,
    HttpClient,
    HttpSettings,
    Reply,
)
from crm_backends.ports import (
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Written,
)
from tests.support.waiting import until

from . import raw_server
from .raw_server import RawServer, Visit, answer, says, says_each_time

BODY = {"points": 10, "phone": "+79990001122"}
GZIP = "Content-Encoding: gzip"


def settings(url: str, **others: object) -> HttpSettings:
    """Settings under which nothing is over early."""
    given: dict[str, object] = {"base_url": url, "breaker_failures": 100, "retry_after_ceiling": 0.2}
    return HttpSettings.model_validate(given | others)


IMPATIENT: dict[str, Any] = {"connect_timeout": 0.3, "read_timeout": 0.3}
"""For the rows that wait for a timeout; on a busy machine the others must not meet one."""


@asynccontextmanager
async def client(url: str, auth: Auth | None = None, **others: object) -> AsyncIterator[HttpClient]:
    crm = HttpClient("crm", settings(url, **others), auth)
    await crm.open()
    try:
        yield crm
    finally:
        await crm.close()


class Way(Protocol):
    async def __call__(self, crm: HttpClient) -> str: ...


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(seconds)


async def read(crm: HttpClient, deadline: Deadline | None = None) -> str:
    """How a read ends, in a word."""
    try:
        reply = await crm.read("GET", "/balance", deadline=deadline or soon())
    except BackendError as error:
        return type(error).__name__
    return f"reply {reply.status}"


async def write(crm: HttpClient, method: str = "POST", deadline: Deadline | None = None) -> str:
    """How a write ends, in a word."""
    try:
        ended = await crm.write(method, "/points", json=BODY, deadline=deadline or soon())
    except BackendError as error:
        return type(error).__name__
    return ended.outcome.upper() if isinstance(ended, Written) else f"reply {ended.status}"


# -- the table -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What the CRM does, how a read and a write end, and how often it saw each."""

    what: str
    read: str
    reads: int
    write: str
    writes: int
    behave: raw_server.Behaviour = raw_server.well
    scheme: str = "http"
    patience: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[str, str]:
        return self.read, self.write


AWAY, ODD, WHO = "BackendUnavailable", "BackendMisconfigured", "BackendCredentials"
DOUBT, NOT_SENT = "UNKNOWN", "NOT_SENT"
HALF_CHUNK = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{"ok"'
BOMB = gzip.compress(bytes(range(256)) * 400_000, compresslevel=1)
MOVED = "Location: http://127.0.0.1:1/elsewhere"


def replies(status: int, body: bytes = b"", *headers: str) -> raw_server.Behaviour:
    return says_each_time(answer(status, body, *headers))


FAULTS = [
    Row("takes the connection and hangs up", AWAY, 0, DOUBT, 0, raw_server.hangs_up_at_once),
    Row("takes the connection and resets it", AWAY, 0, DOUBT, 0, raw_server.resets_at_once),
    Row("reads the request and hangs up", AWAY, 3, DOUBT, 1, raw_server.hangs_up_after_reading),
    Row("reads the request and resets", AWAY, 3, DOUBT, 1, raw_server.resets_after_reading),
    Row("reads the request and is silent", AWAY, 3, DOUBT, 1, raw_server.never_answers, patience=IMPATIENT),
    Row("half a header, then hangs up", AWAY, 3, DOUBT, 1, says(b"HTTP/1.1 200 OK\r\nContent-Le")),
    Row("half a body, then hangs up", AWAY, 3, DOUBT, 1, says(answer(200, b'{"ok": true}')[:-6])),
    Row("half a chunk, then hangs up", AWAY, 3, DOUBT, 1, says(HALF_CHUNK)),
    Row("what is not HTTP", AWAY, 3, DOUBT, 1, says(b"\x16\x03\x01\x02garbage\r\n\r\n")),
    Row("one byte a second", AWAY, 3, DOUBT, 1, raw_server.drips, patience=IMPATIENT),
    Row("100 MB", ODD, 1, DOUBT, 1, raw_server.endless),
    Row("an answer that unfolds to 100 MB", ODD, 1, DOUBT, 1, replies(200, BOMB, GZIP)),
    Row("200 with a body that is not JSON", AWAY, 1, DOUBT, 1, replies(200, b"<html>sorry</html>")),
    Row("200 with a body that is not the gzip it says", AWAY, 3, DOUBT, 1, replies(200, b"{}", GZIP)),
    Row("200 without a body", "reply 200", 1, "reply 200", 1, replies(200)),
    Row("204", "reply 204", 1, "reply 204", 1, replies(204)),
    Row("204 with a body", AWAY, 3, DOUBT, 1, replies(204, b'{"stray": 1}')),
    Row("302", ODD, 1, DOUBT, 1, replies(302, b"", MOVED)),
    Row("401", WHO, 1, WHO, 1, replies(401, b"{}")),
    Row("403", WHO, 1, WHO, 1, replies(403, b"{}")),
    Row("404", "reply 404", 1, "reply 404", 1, replies(404, b'{"code": 40}')),
    Row("408", AWAY, 3, DOUBT, 1, replies(408, b"{}")),
    Row("422", "reply 422", 1, "reply 422", 1, replies(422, b'{"code": 4103}')),
    Row("429", AWAY, 3, NOT_SENT, 1, replies(429, b"{}")),
    Row("429 with Retry-After", AWAY, 3, NOT_SENT, 1, replies(429, b"{}", "Retry-After: 3600")),
    Row("500 after doing the work", AWAY, 3, DOUBT, 1, replies(500, b"{}")),
    Row("503 with Retry-After", AWAY, 3, DOUBT, 1, replies(503, b"{}", "Retry-After: 1")),
    Row("a TLS handshake that fails", AWAY, 0, NOT_SENT, 0, raw_server.knows_no_tls, "https"),
    Row("a TLS handshake without an end", AWAY, 0, NOT_SENT, 0, raw_server.never_answers, "https", IMPATIENT),
]
ELSEWHERE = [
    Row("refuses the connection", AWAY, 0, NOT_SENT, 0),
    Row("never takes the connection", AWAY, 0, NOT_SENT, 0),
    Row("a name that is not known", AWAY, 0, NOT_SENT, 0),
    Row("a certificate that is not trusted", ODD, 0, ODD, 0),
    Row("401, but not with the next token", "reply 200", 2, "reply 200", 2),
    Row("hangs up between two calls on a kept connection", "reply 200", 1, "reply 200", 1),
    Row("reads a call on a kept connection and hangs up", "reply 200", 2, DOUBT, 1),
]
"""Rows whose tests stand by themselves below."""


def table() -> str:
    """The rows as Markdown."""
    rows = [*ELSEWHERE[:4], *FAULTS, *ELSEWHERE[4:]]
    lines = ["| the CRM | a read | seen | a write | seen |", "|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.read} | {r.reads} | {r.write} | {r.writes} |" for r in rows]
    return "\n".join(lines)


def expected(what: str) -> Row:
    return next(row for row in ELSEWHERE if row.what == what)


def test_the_table_of_the_documentation_is_the_one_tested_here(project: Path) -> None:
    assert table() in (project / "crm_backends" / "HTTP.md").read_text()


@asynccontextmanager
async def serving(
    behave: raw_server.Behaviour = raw_server.well,
    auth: Auth | None = None,
    scheme: str = "http",
    **others: object,
) -> AsyncIterator[tuple[RawServer, HttpClient]]:
    """A server that behaves so, and a client of it."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer(behave).running())
        yield (
            server,
            await stack.enter_async_context(client(f"{scheme}://127.0.0.1:{server.port}", auth, **others)),
        )


async def reads_as_told(row: Row) -> None:
    async with serving(row.behave, scheme=row.scheme, **row.patience) as (server, crm):
        assert (await read(crm), len(server.seen)) == (row.read, row.reads), row.what


async def writes_as_told(row: Row, method: str) -> None:
    async with serving(row.behave, scheme=row.scheme, **row.patience) as (server, crm):
        assert (await write(crm, method), len(server.seen)) == (row.write, row.writes), row.what
        assert len(server.seen) + server.partly <= 1 or row.scheme == "https", row.what


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.what)
async def test_a_read_ends_as_the_table_says(row: Row) -> None:
    await reads_as_told(row)


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.what)
async def test_a_write_ends_as_the_table_says_and_is_seen_once_at_most(row: Row) -> None:
    for method in ("POST", "PUT"):
        await writes_as_told(row, method)


def test_the_table_holds_on_the_event_loop_of_production() -> None:
    async def all_rows() -> None:
        for row in FAULTS:
            await asyncio.gather(reads_as_told(row), writes_as_told(row, "POST"), writes_as_told(row, "PUT"))

    uvloop.run(all_rows())


# -- rows that need a scene of their own ------------------------------------------------------------------


async def ends(crm: HttpClient) -> tuple[str, str]:
    return await read(crm), await write(crm)


async def test_a_refused_connection_is_certain_not_to_have_reached_it() -> None:
    async with client(f"http://127.0.0.1:{raw_server.unused_port()}") as crm:
        assert await ends(crm) == expected("refuses the connection").ends


async def test_a_connection_never_taken_is_certain_not_to_have_reached_it() -> None:
    async with (
        raw_server.full_backlog() as port,
        client(f"http://127.0.0.1:{port}", connect_timeout=0.3) as crm,
    ):
        assert await ends(crm) == expected("never takes the connection").ends


async def test_a_deadline_that_comes_while_connecting_leaves_no_doubt() -> None:
    async with (
        raw_server.full_backlog() as port,
        client(f"http://127.0.0.1:{port}", connect_timeout=5) as crm,
    ):
        began = time.monotonic()
        assert await write(crm, deadline=soon(0.2)) == "NOT_SENT"
        assert time.monotonic() - began < 0.5


async def test_an_unknown_name_is_certain_not_to_have_reached_it() -> None:
    async with client("https://crm.invalid", connect_timeout=0.3) as crm:
        assert await ends(crm) == expected("a name that is not known").ends


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM file with a key and a certificate of its own for 127.0.0.1."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, crt, both = folder / "key.pem", folder / "crt.pem", folder / "both.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=crm -keyout {key} -out {crt}"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    both.write_bytes(key.read_bytes() + crt.read_bytes())
    return both


async def test_a_certificate_is_trusted_only_if_the_settings_say_so(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with RawServer(raw_server.well, tls=tls).running() as server:
        async with client(server.url) as crm:
            assert await ends(crm) == expected("a certificate that is not trusted").ends
        assert server.seen == []
        async with client(server.url, ca_file=certificate) as crm:
            assert await ends(crm) == ("reply 200", "reply 200")
        async with client(server.url.replace("127.0.0.1", "localhost"), ca_file=certificate) as crm:
            assert await read(crm) == "BackendMisconfigured", "the name is compared, too"


async def test_a_ca_file_that_cannot_be_read_is_told_at_opening(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("absent.pem", "empty.pem"):
        crm = HttpClient("crm", settings("https://crm.invalid", ca_file=tmp_path / name))
        with pytest.raises(BackendMisconfigured, match="ca_file"):
            await crm.open()
        await crm.close()


def wants(token: str, otherwise: int = 401) -> raw_server.Behaviour:
    """Gives tokens t1, t2, ... and does the work for ``token`` alone."""

    async def behaviour(visit: Visit) -> None:
        while request := await visit.request():
            if request.target == "/token":
                given = sum(seen.target == "/token" for seen in visit.server.seen)
                await visit.json(200, {"access_token": f"t{given}", "expires_in": 3600})
            elif request.headers["authorization"] == f"Bearer {token}":
                await visit.json(200, {"ok": True})
            else:
                await visit.json(otherwise)

    return behaviour


def calls(server: RawServer) -> int:
    return sum(seen.target != "/token" for seen in server.seen)


@pytest.mark.parametrize("way", [read, write])
async def test_a_token_that_expired_on_the_way_is_renewed_once(way: Way) -> None:
    row = expected("401, but not with the next token")
    async with serving(wants("t2"), ClientCredentials("/token", "id", "secret")) as (server, crm):
        assert await way(crm) == row.read == row.write
        assert calls(server) == row.reads == row.writes
        assert await way(crm) == "reply 200"
        assert calls(server) == 3, "the new token is kept"


@pytest.mark.parametrize("way", [read, write])
async def test_a_token_refused_twice_is_a_matter_of_credentials(way: Way) -> None:
    async with serving(wants("none of them"), ClientCredentials("/token", "id", "secret")) as (server, crm):
        assert await way(crm) == "BackendCredentials"
        assert calls(server) == 2


# -- connections that are kept ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_write_without_a_body_says_nothing_of_its_type(method: str) -> None:
    async with RawServer(says_each_time(answer(200, b"{}"))).running() as server, client(server.url) as crm:
        await crm.write(method, "/activate", deadline=soon())
        await crm.write(method, "/points", json=BODY, deadline=soon())
        bare, described = server.seen
    assert bare.body == b""
    assert "content-type" not in bare.headers
    if method != "DELETE":
        assert bare.headers["content-length"] == "0"
    assert described.headers["content-type"] == "application/json"


async def test_connections_are_reused() -> None:
    async with serving() as (server, crm):
        for _ in range(5):
            assert await read(crm) == "reply 200"
        assert (len(server.seen), server.connections) == (5, 1)


async def hangs_up_idle(visit: Visit) -> None:
    visit.writer.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_a_connection_the_crm_closed_meanwhile_is_replaced(method: str) -> None:
    row = expected("hangs up between two calls on a kept connection")
    async with serving(raw_server.well_once_then(hangs_up_idle)) as (server, crm):
        await crm.read("GET", "/first", deadline=soon())
        await asyncio.sleep(0.05)
        ended = await (read(crm) if method == "GET" else write(crm, method))
        assert ended == row.read == row.write
        assert len(server.seen) - 1 == row.reads == row.writes
        assert server.connections == 2


@pytest.mark.parametrize("breaks", [raw_server.hangs_up_after_reading, raw_server.resets_after_reading])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_write_seen_on_a_kept_connection_that_breaks_is_not_sent_again(
    method: str, breaks: raw_server.Behaviour
) -> None:
    """aiohttp by itself would send PUT and DELETE again."""
    row = expected("reads a call on a kept connection and hangs up")
    async with serving(raw_server.well_once_then(breaks)) as (server, crm):
        await crm.read("GET", "/first", deadline=soon())
        assert await write(crm, method) == row.write
        assert [seen.method for seen in server.seen] == ["GET", *[method] * row.writes]
        assert (server.connections, server.partly) == (1, 0)


async def test_a_read_on_a_kept_connection_that_breaks_is_sent_again_by_us() -> None:
    row = expected("reads a call on a kept connection and hangs up")
    async with serving(raw_server.well_once_then(raw_server.hangs_up_after_reading)) as (server, crm):
        await crm.read("GET", "/first", deadline=soon())
        assert await read(crm) == row.read
        assert len(server.seen) - 1 == row.reads
        assert server.connections == 2


async def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    """One customer's data must not be given to another."""

    async def answers_twice(visit: Visit) -> None:
        while request := await visit.request():
            await visit.json(200, {"for": request.target})
            await asyncio.sleep(0.02)
            await visit.json(200, {"for": "somebody else"})

    async with serving(answers_twice) as (server, crm):
        for path in ("/anna", "/boris", "/vera"):
            reply = await crm.read("GET", path, deadline=soon())
            assert reply.body == {"for": path}
            await asyncio.sleep(0.06)
        assert server.connections == 3


# -- time and pressure -----------------------------------------------------------------------------------


async def test_the_deadline_ends_an_answer_that_comes_byte_by_byte() -> None:
    async with serving(raw_server.drips, read_timeout=30) as (_, crm):
        for way, end in ((read, "BackendUnavailable"), (write, "UNKNOWN")):
            began = time.monotonic()
            assert await way(crm, deadline=soon(0.4)) == end
            assert 0.3 < time.monotonic() - began < 0.7


async def test_without_time_nothing_is_sent() -> None:
    async with serving() as (server, crm):
        assert await read(crm, soon(0)) == "BackendUnavailable"
        assert await write(crm, deadline=soon(0.01)) == "NOT_SENT"
        assert server.connections == 0


async def test_who_sleeps_through_the_deadline_after_connecting_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = aiohttp.TCPConnector.connect

    async def paused(*details: Any) -> Any:
        connection = await connect(*details)
        time.sleep(0.3)  # noqa: ASYNC251 - the whole process, as a paused machine
        return connection

    async with serving(replies(200)) as (server, crm):
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", paused)
        for method in ("POST", "DELETE"):
            assert await crm.write(method, "/x", json={}, deadline=Deadline.after(0.2)) == Written.not_sent()
        assert not server.seen
        assert await crm.write("DELETE", "/x", deadline=Deadline.after(0.2)) == Written.not_sent()
        assert isinstance(await crm.write("POST", "/x", json={}, deadline=Deadline.after(2)), Reply)
        assert len(server.seen) == 1


async def test_of_an_endless_answer_only_the_limit_is_read() -> None:
    async with serving(raw_server.endless, read_timeout=5, max_answer=65_536) as (server, crm):
        assert await read(crm) == "BackendMisconfigured"
        assert server.sent < 10_000_000, "what fits into the buffers of the sockets"


@pytest.mark.parametrize(("asked", "least", "most"), [("1", 0.1, 0.4), ("0", 0.0, 0.3), ("soon", 0.0, 0.5)])
async def test_retry_after_is_honoured_up_to_the_ceiling(asked: str, least: float, most: float) -> None:
    async def behaviour(visit: Visit) -> None:
        while await visit.request():
            if len(visit.server.seen) == 1:
                await visit.json(429, {}, f"Retry-After: {asked}")
            else:
                await visit.json(200, {})

    async with serving(behaviour, retry_after_ceiling=0.1) as (_, crm):
        began = time.monotonic()
        assert await read(crm) == "reply 200"
        assert least <= time.monotonic() - began < most


async def test_a_wait_that_outlasts_the_deadline_is_not_begun() -> None:
    async with serving(replies(429, b"{}", "Retry-After: 2"), retry_after_ceiling=5) as (server, crm):
        began = time.monotonic()
        assert await read(crm, soon(1)) == "BackendUnavailable"
        assert time.monotonic() - began < 0.5
        assert len(server.seen) == 1


async def test_a_write_is_tried_again_only_while_no_connection_is_made() -> None:
    for behave in (raw_server.knows_no_tls, raw_server.never_answers):
        async with serving(behave, scheme="https", **IMPATIENT) as (server, crm):
            assert await write(crm) == "NOT_SENT"
            # The system makes connections before the server sees them.
            await until(lambda: server.connections == 3, "the third connection was seen")
    async with serving(raw_server.hangs_up_at_once) as (server, crm):
        assert await write(crm) == "UNKNOWN"
        assert server.connections == 1


async def test_the_bulkhead_bounds_the_calls_at_once_and_counts_the_waiting() -> None:
    gate = asyncio.Event()

    async def slow(visit: Visit) -> None:
        while await visit.request():
            await gate.wait()
            await visit.json(200, {})

    async with serving(slow, concurrency=3, queue_timeout=0.2, read_timeout=5) as (server, crm):
        reads = [asyncio.create_task(read(crm)) for _ in range(5)]
        writing = asyncio.create_task(write(crm))
        await asyncio.sleep(0.1)
        assert (crm.under_way, crm.waiting, len(server.seen)) == (3, 3, 3)
        await asyncio.sleep(0.2)
        assert (crm.under_way, crm.waiting, len(server.seen)) == (3, 0, 3)
        gate.set()
        assert await asyncio.gather(*reads) == ["reply 200"] * 3 + ["BackendUnavailable"] * 2
        assert await writing == "NOT_SENT"
        assert (crm.under_way, crm.waiting, crm.state) == (0, 0, "closed")


async def gives_up(task: asyncio.Task[str]) -> None:
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_caller_that_gives_up_gives_its_place_back() -> None:
    async with serving(raw_server.never_answers, concurrency=1, read_timeout=5) as (server, crm):
        first, second = asyncio.create_task(read(crm)), asyncio.create_task(read(crm))
        await gives_up(second)
        await gives_up(first)
        assert (crm.under_way, crm.waiting) == (0, 0)
        server.behave = raw_server.well
        assert await read(crm) == "reply 200"


# -- the breaker -----------------------------------------------------------------------------------------


async def test_the_breaker_opens_lets_one_call_try_and_closes() -> None:
    fails = replies(500, b"{}", "Connection: close")
    with structlog.testing.capture_logs() as logs:
        async with serving(fails, attempts=1, breaker_failures=3, breaker_pause=0.15) as (server, crm):
            assert await write(crm) == "UNKNOWN"
            assert [await read(crm) for _ in range(2)] == ["BackendUnavailable"] * 2
            assert str(crm.state) == "open"
            assert (await read(crm), await write(crm)) == ("BackendUnavailable", "NOT_SENT")
            assert len(server.seen) == 3, "it is left alone"
            await asyncio.sleep(0.2)
            assert str(crm.state) == "half_open"
            await asyncio.gather(*(read(crm) for _ in range(10)))
            assert (len(server.seen), str(crm.state)) == (4, "open")
            server.behave = raw_server.well
            await asyncio.sleep(0.2)
            ended = await asyncio.gather(*(write(crm) for _ in range(10)))
            assert (ended.count("reply 200"), ended.count("NOT_SENT")) == (1, 9)
            assert str(crm.state) == "closed"
            assert await read(crm) == "reply 200"
    assert logs == [
        {"event": "crm_away", "log_level": "warning", "backend": "crm", "reason": "status 500"},
        {"event": "crm_back", "log_level": "info", "backend": "crm"},
    ]


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429])
async def test_refusals_do_not_open_the_breaker(status: int) -> None:
    async with serving(replies(status, b"{}"), attempts=1, breaker_failures=1) as (_, crm):
        await ends(crm)
        assert crm.state == "closed"


async def test_calls_that_queued_while_the_breaker_opened_are_not_sent() -> None:
    quick: dict[str, Any] = {"attempts": 1, "breaker_failures": 1, "concurrency": 1, "read_timeout": 0.3}
    async with serving(raw_server.never_answers, **quick) as (
        server,
        crm,
    ):
        ended = list(await asyncio.gather(read(crm), write(crm)))
        assert ended == ["BackendUnavailable", "NOT_SENT"]
        assert len(server.seen) == 1


async def test_a_trial_given_up_by_its_caller_leaves_the_next_one_to_try() -> None:
    patience: dict[str, Any] = {"attempts": 1, "breaker_failures": 1, "breaker_pause": 0.1, "read_timeout": 5}
    async with serving(raw_server.hangs_up_at_once, **patience) as (server, crm):
        await read(crm)
        server.behave = raw_server.never_answers
        await asyncio.sleep(0.15)
        await gives_up(asyncio.create_task(read(crm)))
        server.behave = raw_server.well
        assert await read(crm) == "reply 200"


async def test_optional_calls_that_are_cut_short_say_nothing_of_the_crm() -> None:
    patience: dict[str, Any] = {"attempts": 1, "breaker_failures": 1, "breaker_pause": 0.1, "read_timeout": 5}

    async def optional(crm: HttpClient) -> None:
        with pytest.raises(BackendUnavailable):
            await crm.read("GET", "/card", deadline=Deadline.after(0.1, optional=True))

    async with serving(raw_server.never_answers, **patience) as (server, crm):
        await asyncio.gather(*(optional(crm) for _ in range(5)))
        assert crm.state == "closed"
        server.behave = raw_server.hangs_up_after_reading
        await optional(crm)
        assert crm.state == "open", "a broken connection does say something, whoever asked"
        asked = len(server.seen)
        await asyncio.sleep(0.12)
        await optional(crm)
        assert len(server.seen) == asked, "whoever waits for the answer tries first"
        await asyncio.sleep(0.1)
        await optional(crm)
        assert len(server.seen) == asked + 1, "but where nobody does, somebody tries"
        server.behave = raw_server.well
        await asyncio.sleep(0.12)
        assert await read(crm) == "reply 200"
        assert crm.state == "closed"


async def test_optional_calls_alone_find_out_that_the_crm_does_not_answer() -> None:
    patience: dict[str, Any] = {"attempts": 1, "breaker_failures": 2, "read_timeout": 0.5}
    async with serving(raw_server.never_answers, **patience) as (_, crm):
        for _ in range(10):
            with pytest.raises(BackendUnavailable):
                await crm.read("GET", "/card", deadline=Deadline.after(0.1, optional=True))
        assert crm.state == "open"


async def test_tokens_given_by_a_crm_that_is_away_do_not_close_the_breaker() -> None:
    auth = ClientCredentials("/token", "id", "secret")
    async with serving(wants("nothing", otherwise=500), auth, attempts=1, breaker_failures=3) as (_, crm):
        for customer in ("anna", "boris", "vera"):
            with pytest.raises(BackendUnavailable):
                await crm.read("GET", "/balance", scope=customer, deadline=soon())
        assert crm.state == "open"


@pytest.mark.parametrize(
    "error",
    [aiohttp.ClientConnectionError(), aiohttp.ServerDisconnectedError(), RuntimeError(), ValueError()],
)
async def test_an_error_nobody_has_seen_before_is_doubt(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Also one that is called "no connection", unless our own connector was at it."""

    async def fail(*_: object, **__: object) -> None:
        raise error

    async with serving(replies(200)) as (_, crm):
        monkeypatch.setattr(aiohttp.ClientSession, "_request", fail)
        assert await crm.write("POST", "/x", deadline=soon()) == Written.unknown()


# -- secrets ---------------------------------------------------------------------------------------------

SECRETS = ["s3cret", "czNjcmV0", "+7999", "7999", "phone", "stack trace", "Authorization"]
LEAK = b'{"error": {"message": "+7999 has no s3cret", "stack": "stack trace"}}'


async def told(crm: HttpClient) -> list[str]:
    """Everything a caller can learn of a read and a write, errors with all that hangs on them."""
    texts = [repr(crm)]
    for way in (crm.read, crm.write):
        secret: Details = {"params": {"phone": "+7999"}, "deadline": soon()}
        try:
            texts.append(repr(await way("POST", "/s3cret", **secret)))
        except BackendError as error:
            frames = traceback.TracebackException.from_exception(error, lookup_lines=False)
            texts += [
                str(error),
                *frames.format_exception_only(),
                repr(error.__cause__),
                repr(error.__context__),
            ]
    return texts


@pytest.mark.parametrize(
    "row", [*FAULTS, Row("", "", 0, "", 0, replies(500, LEAK))], ids=lambda row: row.what
)
async def test_no_secret_is_in_an_error_or_a_log(
    row: Row, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    auth = Basic("koshelek", "s3cret")
    quick: dict[str, Any] = {"attempts": 1, "breaker_failures": 1, "read_timeout": 0.1}
    async with serving(row.behave, auth, row.scheme, **quick) as (_, crm):
        texts = await told(crm)
    written = capsys.readouterr()
    text = "".join([*texts, repr(auth), caplog.text, written.out, written.err])
    assert not [secret for secret in SECRETS if secret in text], text


async def test_what_cannot_go_into_a_header_is_told_without_quoting_it() -> None:
    for secret in ("пароль", "two\r\nlines"):
        with pytest.raises(BackendMisconfigured) as caught:
            Bearer(secret)
        assert secret not in repr(caught.value) + str(caught.value)


if __name__ == "__main__":
    print(table())
