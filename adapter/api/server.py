"""aiohttp's server, changed so that it never answers by itself: always our envelope, never text or HTML.

That goes for what is not even HTTP, and for what leads to no method of the application.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from adapter.api import wire
from adapter.errors import Code, Language, Refused

log = structlog.get_logger("api")

_CALLERS_FAULT = (web.RequestPayloadError, HttpProcessingError, ConnectionError)

ELSEWHERE: web.AppKey[Callable[[web.Request], Awaitable[web.StreamResponse]]] = web.AppKey("elsewhere")
"""The application's own answer to a request that leads to no method of it."""


def new_request_id() -> str:
    """For a request that came without one. It names, it protects nothing."""
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
        """Answer what aiohttp would answer by itself: a head that is no HTTP, or a defect outside a call."""
        refused = Refused(Code.BAD_REQUEST if status < 500 else Code.INTERNAL)
        log.warning("not_http" if status < 500 else "defect", reason=type(exc).__name__, code=refused.code)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer is out already")
        body = wire.encode({"code": refused.code, "description": refused.description(self._language)})
        response = web.Response(
            status=422,
            body=body,
            headers={
                "Content-Type": wire.CONTENT_TYPE,
                "Server": "koshelek-adapter",
                "X-Request-ID": new_request_id(),
            },
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Write down what went wrong outside a call, unless it is the rest of a body that cannot be read.

        That rest is passed over after the answer; a body that is not the gzip it says may be sent by anybody,
        with any credentials, and the request has its line already.
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
        route, elsewhere = made.request_handler, self.app[ELSEWHERE]

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await route(request)
            except web.HTTPException:  # the router's; a method of ours raises none
                return await elsewhere(request)

        return _Server(
            answer,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            language=self._language,
            **made._kwargs,
        )
