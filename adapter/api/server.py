"""aiohttp's server, changed so that it never answers by itself: always our envelope, never text or HTML.

That holds for bytes that are not HTTP, and for paths and verbs that the application does not have. When it
stops it cuts nobody off whose connection was made. It may not know which paths there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError, RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from adapter.api import answers
from adapter.errors import Code, Language, Refused

log = structlog.get_logger("api")

_CALLERS_FAULT = (web.RequestPayloadError, HttpProcessingError, ConnectionError)

_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
UNKNOWN_ROUTE: web.AppKey[_Answer] = web.AppKey("unknown_route")
"""The application's answer to a path or verb that it does not have."""
LITERAL_ROUTES: web.AppKey[Mapping[tuple[str, str], _Answer]] = web.AppKey("literal_routes")
"""By verb and path, the application's answers to those of its paths in which nothing varies."""


def new_request_id() -> str:
    """A request id for a request that came without. It need not be secret."""
    return f"{random.getrandbits(64):016x}"


class _Handler(RequestHandler):
    __slots__ = ("_language",)

    def __init__(self, manager: web.Server, *, language: Language, **options: Any) -> None:
        super().__init__(manager, **options)
        self._language = language

    def data_received(self, data: bytes) -> None:
        """Read what came. Where it is no HTTP, a request that waits for the rest of its body is told.

        aiohttp answers such bytes after the request under way, which would wait until its deadline.
        """
        super().data_received(data)
        if not self._messages or isinstance(self._messages[-1][0], RawRequestMessage):
            return
        bodies = [body for _, body in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        for body in bodies:
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError("the body is no HTTP"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer in aiohttp's place: a request head that is not HTTP, or a defect outside a call."""
        refused = Refused(Code.BAD_REQUEST if status < 500 else Code.INTERNAL)
        log.warning("not_http" if status < 500 else "defect", reason=type(exc).__name__, code=refused.code)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer is out already")
        response = web.Response(
            status=422,
            body=answers.envelope(refused, self._language),
            headers={
                "Content-Type": answers.CONTENT_TYPE,
                "Server": "koshelek-adapter",
                "X-Request-ID": new_request_id(),
            },
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an error outside a call, unless the cause is a request body that cannot be read.

        aiohttp reads the rest of a body after the answer. Anybody can send a body that is not the gzip its
        head says, and such a request has its log line already.
        """
        if not isinstance(kw.get("exc_info"), _CALLERS_FAULT):
            super().log_exception(*args, **kw)


class _Server(web.Server):
    def __init__(self, *arguments: Any, language: Language, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._language = language

    def __call__(self) -> RequestHandler:
        return _Handler(self, language=self._language, loop=self._loop, **self._kwargs)


_LAST_REQUESTS, _HANDSHAKES = 0.5, 2.0
"""Seconds for which a stop waits for the next request of connections that stand, and for TLS of the last."""


class PublicRunner(web.AppRunner):
    """Runs the application of the public port."""

    _stopping = False

    def __init__(self, application: web.Application, *, language: Language, shutdown_timeout: float) -> None:
        super().__init__(
            application,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            keepalive_timeout=75,
            handler_cancellation=False,
        )
        self._language = language

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        route, unknown_route = made.request_handler, self.app[UNKNOWN_ROUTE]
        literal = self.app[LITERAL_ROUTES]

        async def answer(request: web.Request) -> web.StreamResponse:
            # The router finds the same, for more processor time; what is to be done about "Expect" it does.
            known = literal.get((request.method, request.rel_url.raw_path))
            if known is not None and "Expect" not in request.headers:
                response = await known(request)
            else:
                try:
                    response = await route(request)
                except web.HTTPException:  # from the router: our handlers raise none
                    response = await unknown_route(request)
            if self._stopping:
                response.force_close()
            return response

        return _Server(
            answer,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            language=self._language,
            **made._kwargs,
        )

    async def cleanup(self) -> None:
        """Take no more connections, answer what comes over those that were made, and end.

        The system makes connections by itself and keeps them until they are taken; those would be reset with
        the listening socket, their requests unanswered. aiohttp closes idle connections, also where a request
        is on its way.
        """
        self._stopping = True
        sites: list[web.BaseSite] = list(self.sites)
        for site in sites:
            await self._take_what_waits(site)
        if self.server is not None and sites:
            tls = any(site._ssl_context is not None for site in sites)
            await self._answer_what_comes(self.server, at_least=_LAST_REQUESTS if tls else 0.0)
        await super().cleanup()

    async def _take_what_waits(self, site: web.BaseSite) -> None:
        """Stop listening, having taken every connection that the system had made until then."""
        listening: Any = site._server
        sockets = [] if listening is None else listening.sockets
        # A second handle on each, since the loop closes its own when it stops listening.
        ours: list[socket.socket] = []
        try:
            for one in sockets:
                ours.append(socket.socket(fileno=os.dup(one.fileno())))
                ours[-1].setblocking(False)
        except OSError as error:  # the process has as many files open as it may have
            log.warning("connections_not_taken", reason=type(error).__name__)
        await site.stop()
        made: list[socket.socket] = []
        for one in ours:
            with one:
                made += _made_by_now(one)
        if made:
            await self._take(made, site._ssl_context)

    async def _take(self, made: Sequence[socket.socket], context: ssl.SSLContext | None) -> None:
        """Serve these connections, as if the loop had taken them."""
        loop, server = asyncio.get_running_loop(), self.server
        assert server is not None  # noqa: S101 - there was a site
        taking = (loop.connect_accepted_socket(server, one, ssl=context) for one in made)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_HANDSHAKES, self._shutdown_timeout)):
                await asyncio.gather(*taking, return_exceptions=True)

    async def _answer_what_comes(self, server: web.Server, *, at_least: float) -> None:
        """Wait a little for requests on connections that have no whole one; each answer closes one.

        ``at_least``: seconds, for connections that are not seen yet, since they agree upon TLS.
        """
        await asyncio.sleep(at_least)
        loop = asyncio.get_running_loop()
        until = loop.time() + min(_LAST_REQUESTS, self._shutdown_timeout)
        while any(_waits_for_more(one) for one in server.connections):
            if loop.time() > until:
                break
            await asyncio.sleep(0.02)


def _waits_for_more(connection: RequestHandler) -> bool:
    """Whether no request has come over it yet, or one without the end of its body."""
    request = connection._current_request
    return request is None or not request.content.is_eof()


def _made_by_now(listening: socket.socket) -> list[socket.socket]:
    """Every connection that the system has made and nobody has taken."""
    made: list[socket.socket] = []
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return made
        except ConnectionAbortedError:
            continue
        except OSError as error:
            log.warning("connections_not_taken", reason=type(error).__name__)
            return made
        connection.setblocking(False)
        made.append(connection)
