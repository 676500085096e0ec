"""Liveness and readiness. Ready means: the database answers and has this program's schema, or a later one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from adapter import __version__


def management_application(is_ready: Callable[[], Awaitable[str | None]]) -> web.Application:
    """The application of the management port. ``is_ready`` returns what is wrong, or ``None``."""

    async def live(request: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "version": __version__})

    async def ready(request: web.Request) -> web.Response:
        problem = await is_ready()
        if problem is not None:
            return web.json_response({"status": "not ready", "reason": problem}, status=503)
        return web.json_response({"status": "ready", "version": __version__})

    application = web.Application()
    application.router.add_get("/health/live", live)
    application.router.add_get("/health/ready", ready)
    return application
