"""aiohttp's server, changed so that it never answers by itself: always our envelope, never text or HTML.

That holds for bytes that are not HTTP, and for paths and verbs that the application does not have. It may not
know which paths those are.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
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


class PublicRunner(web.AppRunner):
    """Runs the application of the public port."""

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
                return await known(request)
            try:
                return await route(request)
            except web.HTTPException:  # from the router: our handlers raise none
                return await unknown_route(request)

        return _Server(
            answer,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            language=self._language,
            **made._kwargs,
        )
