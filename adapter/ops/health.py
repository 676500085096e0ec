"""Liveness and readiness. Ready means: the database answers and has this program's schema, or a later one.

Readiness also names every CRM; a setting decides whether the adapter is ready while a CRM does not work.
A process that is being stopped is not ready.
It may not know how database and CRMs are asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from adapter import version
from adapter.ops.crm_watch import Standing


def management_application(
    database_problem: Callable[[], Awaitable[str | None]],
    standings: Callable[[], Mapping[str, Standing]],
    stopping: Callable[[], bool],
    *,
    needs_crm: bool,
) -> web.Application:
    """The application of the management port.

    Args:
        database_problem: tells what is wrong with the database, or ``None``.
        standings: tells how the CRM of each port stands.
        stopping: tells whether the process is being stopped.
        needs_crm: not ready unless all of them are well.
    """

    async def live(request: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "version": version.text()})

    async def ready(request: web.Request) -> web.Response:
        problem = await database_problem()
        crms = standings()
        told: dict[str, Any] = {
            "status": "ready",
            "version": version.text(),
            "database": problem or "ok",
            "crm": {port: standing.as_data() for port, standing in crms.items()},
        }
        if problem is None and stopping():
            problem = "the process is stopping"
        if problem is None and needs_crm:
            problem = next(
                (
                    f"crm {port}: {standing.reason or standing.state}"
                    for port, standing in crms.items()
                    if standing.state not in ("ok", "none")
                ),
                None,
            )
        if problem is not None:
            told |= {"status": "not ready", "reason": problem}
        return web.json_response(told, status=200 if problem is None else 503)

    application = web.Application()
    application.router.add_get("/health/live", live)
    application.router.add_get("/health/ready", ready)
    return application
