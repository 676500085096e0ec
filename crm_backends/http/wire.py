"""One exchange with a CRM: a request out, a whole answer of bounded length in, or a fault that says how far
it got. The only module that knows the HTTP client; it may not know what a status means.

aiohttp by itself sends a PUT, DELETE or GET again when a kept connection turns out to be dead, and tells
"took the request and hung up" by the same class as other broken connections. So neither is relied on: the
connector below notes when a connection stands, and hands out one connection per exchange, never a second.

Nor does aiohttp look at the clock once a connection stands: a process that was paused in between would send
on waking, when others have long since asked what became of the call. So a request leaves in time or never.
"""

from __future__ import annotations

import functools
import json
import math
import secrets
import ssl
import sys
import time
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
import certifi
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from crm_backends.http.messages import Fault, HttpCall, Reached
from crm_backends.http.settings import HttpSettings
from crm_backends.ports import BackendMisconfigured

HEADERS = {
    "Accept": "application/json",
    # Answers are small, and what is not compressed cannot unfold into gigabytes.
    "Accept-Encoding": "identity",
    "User-Agent": "koshelek-adapter",
}
"""Sent with every call."""
_KEEPALIVE = 4.0
"""Seconds an idle connection is kept. Node's servers close theirs after five, and a write that meets a
closing connection ends in doubt."""
_FRESH_TRIES = 3
"""Idle connections given up in a row because something unasked-for had come over them."""
_SMALL = 16_384
"""Bytes of a body that are written in one go."""
_BOUNDARY = secrets.token_hex(16)
"""Between the parts of a form; nobody outside can have put it into a value."""
_FAULTS = (aiohttp.ClientError, OSError, EOFError, ValueError, RuntimeError)
"""What sending and reading may raise; a defect of ours shows as something else."""


class BrokenConnection(aiohttp.ClientConnectionError):
    """The connection broke, and aiohttp asked for another one to send the request again."""


class TooLate(aiohttp.ClientError):
    """The deadline passed before the first byte was sent; nothing was sent."""


@dataclass(slots=True)
class _Exchange:
    """How far one exchange has got."""

    until: float
    """When it is over, by the monotonic clock, in seconds."""
    changes: bool
    """Whether the CRM is to change something."""
    connecting: bool = False
    connected: bool = False


_exchange: ContextVar[_Exchange] = ContextVar("_exchange")


class _Request(ClientRequest):
    """Leaves in time, or not at all."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if time.monotonic() >= _exchange.get().until:
            raise TooLate
        return await super().send(conn)

    if sys.version_info < (3, 12):

        def write_bytes(
            self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
        ) -> Coroutine[Any, Any, None]:
            """Write the body of what changes something at once, as aiohttp does from Python 3.12 on.

            Before, it leaves that to a task of its own, which has to wait until everything else has run.
            """
            writing = super().write_bytes(writer, conn, content_length)
            if (
                not _exchange.get().changes
                or content_length is None
                or content_length > _SMALL
                or conn.protocol is None
                or conn.protocol.writing_paused
            ):
                return writing
            try:
                writing.send(None)
            except StopIteration:
                return _written()
            raise AssertionError("nothing makes a small body wait")


async def _written() -> None:
    """The rest of writing a small body: nothing."""


class _Connector(aiohttp.TCPConnector):
    """Notes how far an exchange has got, and never gives it a spoilt or a second connection."""

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        exchange = _exchange.get()
        if exchange.connected:
            raise BrokenConnection
        exchange.connecting = True
        for _ in range(_FRESH_TRIES):
            connection = await super().connect(req, traces, timeout)
            # Bytes that came over an idle connection would be read as the answer to the next request:
            # one customer's data for another.
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or protocol.should_close:
                connection.close()
                continue
            exchange.connecting, exchange.connected = False, True
            if transport is not None:
                # Without room in the buffer uvloop sends at once. Else it collects what all ready tasks
                # write: many calls leave and come back together, and the processor is idle in between.
                transport.set_write_buffer_limits(high=0)
            return connection
        raise aiohttp.ClientConnectionError("the server speaks before it is asked")


@dataclass(slots=True, repr=False)  # not frozen, which takes three times as long to make
class Answer:
    """A whole answer, not yet judged."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Exchanger(Protocol):
    """What sends a call and brings the answer; see ``Wire``."""

    async def exchange(self, call: HttpCall, proof: Mapping[str, str], seconds: float) -> Answer | Fault: ...

    async def close(self) -> None: ...


class _TooLong(Exception):
    """The answer exceeds the limit and was not read on."""


class Wire:
    """Connections to one CRM, kept for reuse."""

    def __init__(self, settings: HttpSettings) -> None:
        """Must be called inside the event loop.

        Raises:
            BackendMisconfigured: ``ca_file`` cannot be read.
        """
        self._settings = settings
        self._base = str(URL(settings.base_url)).rstrip("/")
        self._session = aiohttp.ClientSession(
            # limit=0: the bulkhead bounds the calls at once, and counts those that wait; aiohttp would not.
            connector=_Connector(limit=0, keepalive_timeout=_KEEPALIVE, ssl=_tls(settings.ca_file)),
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie would be another customer's
            headers=HEADERS,
            # Without a body aiohttp would call it octet-stream, which strict servers refuse with 415.
            skip_auto_headers=("Content-Type",),
            request_class=_Request,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def exchange(self, call: HttpCall, proof: Mapping[str, str], seconds: float) -> Answer | Fault:
        """Send ``call`` once, with the headers of ``proof``; over after ``seconds`` whatever happens.

        A call that changes something leaves the moment its time has been looked at, in one piece.
        """
        seconds = min(seconds, self._settings.read_timeout)
        exchange = _Exchange(time.monotonic() + seconds, call.changes)
        mark = _exchange.set(exchange)
        try:
            return await self._send(call, proof, seconds)
        except _TooLong:
            return Fault("the answer is longer than max_answer", kind=BackendMisconfigured)
        except _FAULTS as error:
            return _fault(error, exchange)
        finally:
            _exchange.reset(mark)

    async def _send(self, call: HttpCall, proof: Mapping[str, str], seconds: float) -> Answer:
        body, described = body_of(call)
        headers = {**proof, **described, **call.headers}
        query = tuple(call.params.items()) if call.params else ()
        if any(name.startswith("?") for name in headers):  # see ``Auth.headers``
            query += tuple((name[1:], value) for name, value in headers.items() if name.startswith("?"))
            headers = {name: value for name, value in headers.items() if not name.startswith("?")}
        async with self._session.request(
            call.method,
            _url(self._base, call.path, query),
            headers=headers,
            data=body,
            allow_redirects=False,
            timeout=_timeout(int(100 * seconds) or 1, self._settings.connect_timeout),
        ) as response:
            content = bytearray()
            while not response.content.at_eof():
                content += await response.content.readany()
                if len(content) > self._settings.max_answer:  # not read further, compressed or not
                    raise _TooLong
            return Answer(response.status, bytes(content), response.headers)


@functools.lru_cache(256)  # some are asked for again and again, and one takes as long as reading a socket
def _url(base: str, path: str, query: tuple[tuple[str, str | int], ...]) -> URL:
    url = URL(path if "://" in path[:8] else f"{base}/{path.removeprefix('/')}")
    return url.extend_query(query) if query else url


@functools.lru_cache(1024)  # in steps, so that there is most often one already
def _timeout(hundredths: int, connect: float) -> aiohttp.ClientTimeout:
    """``hundredths`` of a second altogether, and ``connect`` seconds of them until a connection stands."""
    # To the point: by default aiohttp brings what is longer than five seconds up to a whole one.
    return aiohttp.ClientTimeout(total=hundredths / 100, connect=connect, ceil_threshold=math.inf)


def body_of(call: HttpCall) -> tuple[bytes | None, Mapping[str, str]]:
    """The body, in one piece, and the headers that say what it is.

    aiohttp's own writer of multipart forms takes as long as the rest of a call.
    """
    if call.json is not None:
        text = json.dumps(call.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode(), {"Content-Type": "application/json"}
    if call.form is None:
        return None, {}
    if not call.multipart:
        return urlencode(call.form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in call.form.items()
    ]
    body = f"{''.join(parts)}--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


@functools.cache
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """One context for all clients with the same certificates: making one takes tens of milliseconds."""
    context = ssl.create_default_context(cafile=certifi.where())
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one
            problem = type(error).__name__
        else:
            return context
        raise BackendMisconfigured(f"ca_file cannot be read as PEM certificates ({problem})")
    return context


def _fault(error: Exception, exchange: _Exchange) -> Fault:
    """What an exception means; its own text is never used, it quotes URLs and answers."""
    reason = type(error).__name__
    if isinstance(error, TooLate):
        return Fault("no time left to ask", reason, Reached.NOTHING)
    if not exchange.connecting:
        return Fault("no whole answer", reason, away=True, again=True)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        text = "the certificate is not trusted; see ca_file"
        return Fault(text, reason, Reached.NOTHING, away=True, kind=BackendMisconfigured)
    return Fault("no connection", reason, Reached.NOTHING, away=True, again=True)
