"""Serves the contract pages and the OpenAPI documents. It may not know what is on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from contracts.kit.listening import base_url
from contracts.loyalty_online import openapi, page
from contracts.loyalty_online.clauses import VERSIONS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@asynccontextmanager
async def running(port: int, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve while the context lasts; the base URL. Port 0 takes a free one. Raises ``OSError``."""
    runner = web.AppRunner(_application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound_host, bound_port = runner.addresses[0][:2]
        yield base_url(bound_host, bound_port)
    finally:
        await runner.cleanup()


def _application() -> web.Application:
    application = web.Application()
    application.router.add_get("/", _newest)
    for version in VERSIONS:
        html = page.render(version).encode()
        application.router.add_get(f"/{version}", _fixed(html, "text/html"))
        document = openapi.text(version).encode()
        application.router.add_get(f"/{openapi.file(version).name}", _fixed(document, "application/yaml"))
    return application


async def _newest(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"/{VERSIONS[-1]}")


def _fixed(body: bytes, content_type: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            body=body,
            content_type=content_type,
            charset="utf-8",
            headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"},
        )

    return answer
