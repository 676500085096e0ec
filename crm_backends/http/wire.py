"""One exchange with a CRM: a request out, a whole answer of bounded length in, or a fault that says how far
it got. Together with ``client`` it is all that knows the HTTP client; it may not know what a status means.

httpx's interface over aiohttp's transport. The transport reports "took the request and hung up" with the
same class as "no such host", and aiohttp by itself sends a PUT, DELETE or GET again when a kept connection
turns out to be dead. So neither is relied on: the connector below notes when a connection stands, and hands
out one connection per exchange, never a second.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import aiohttp
import httpx
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

from crm_backends.http.answers import Fault, Reached
from crm_backends.http.settings import HttpSettings
from crm_backends.ports import BackendMisconfigured

_KEEPALIVE = 4.0
"""Seconds an idle connection is kept. Node's servers close theirs after five, and a write that meets a
closing connection ends in doubt."""
_FRESH_TRIES = 3
"""Idle connections given up in a row because something unasked-for had come over them."""
_FAULTS = (
    httpx.HTTPError,
    httpx.StreamError,
    aiohttp.ClientError,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
)
"""What sending and reading may raise; a defect of ours shows as something else."""


class BrokenConnection(aiohttp.ClientConnectionError):
    """The connection broke, and aiohttp asked for another one to send the request again."""


@dataclass(slots=True)
class _Exchange:
    """How far one exchange has got."""

    connect_timeout: float
    connecting: bool = False
    connected: bool = False


_exchange: ContextVar[_Exchange] = ContextVar("_exchange")


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
            connection = await super().connect(
                req, traces, aiohttp.ClientTimeout(connect=exchange.connect_timeout)
            )
            # Bytes that came over an idle connection would be read as the answer to the next request:
            # one customer's data for another.
            if connection.protocol is not None and not connection.protocol.should_close:
                exchange.connecting, exchange.connected = False, True
                return connection
            connection.close()
        raise aiohttp.ClientConnectionError("the server speaks before it is asked")


class _Client(httpx.AsyncClient):
    """``send`` without what is not wanted here: redirects, cookies kept for other customers, a log line
    with the whole URL. Those take longer than the call itself. The hook is the one that respx uses."""

    async def send_once(self, request: httpx.Request) -> httpx.Response:
        return await self._transport_for_url(request.url).handle_async_request(request)


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """A whole answer, not yet judged."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


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
        context = _tls(settings.ca_file)
        session = aiohttp.ClientSession(
            # The bulkhead bounds the connections; a second queue here would not be counted.
            connector=_Connector(limit=0, keepalive_timeout=_KEEPALIVE, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        transport = AiohttpTransport(client=session, verify=context, trust_env=False)
        self._client = _Client(transport=transport, trust_env=False, follow_redirects=False, timeout=None)

    async def close(self) -> None:
        await self._client.aclose()

    async def exchange(self, request: httpx.Request, seconds: float) -> Answer | Fault:
        """Send ``request`` once; over after ``seconds`` whatever happens."""
        exchange = _Exchange(self._settings.connect_timeout)
        mark = _exchange.set(exchange)
        try:
            async with asyncio.timeout(min(seconds, self._settings.read_timeout)):
                return await self._send(request)
        except _TooLong:
            return Fault("the answer is longer than max_answer", kind=BackendMisconfigured)
        except _FAULTS as error:
            return _fault(error, exchange)
        finally:
            _exchange.reset(mark)

    async def _send(self, request: httpx.Request) -> Answer:
        request.headers.encoding = "ascii"  # told, they need not be searched for what they are
        response = await self._client.send_once(request)
        response.headers.encoding = "latin-1"
        try:
            content = await self._content(response)
        finally:
            await response.aclose()
        return Answer(response.status_code, content, response.headers)

    async def _content(self, response: httpx.Response) -> bytes:
        """The body, not read further than the limit, which holds before and after decompression."""
        most = self._settings.max_answer
        compressed = "content-encoding" in response.headers
        stream = response.aiter_bytes() if compressed else cast("AsyncIterable[bytes]", response.stream)
        content = bytearray()
        async for chunk in stream:
            content += chunk
            if len(content) > most:
                raise _TooLong
        return bytes(content)


@functools.cache
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """One context for all clients with the same certificates: making one takes tens of milliseconds."""
    context = httpx.create_ssl_context()
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
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    reason = type(cause).__name__
    if not exchange.connecting:
        return Fault("no whole answer", reason, away=True, again=True)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        text = "the certificate is not trusted; see ca_file"
        return Fault(text, reason, Reached.NOTHING, away=True, kind=BackendMisconfigured)
    return Fault("no connection", reason, Reached.NOTHING, away=True, again=True)
