"""One process at work: the ports open, deliveries under way, until a signal.

It may not know what is served; that is put together by ``bootstrap``, and imported where it is: commands that
only need the database are spared it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from adapter.api import tls
from adapter.process import reloading
from adapter.process.listening import listen
from adapter.process.signals import STOPPING
from adapter.settings import CannotRun, Settings

if TYPE_CHECKING:
    from aiohttp import web

    from adapter.bootstrap import Service
    from adapter.process.reloading import Source
    from crm_backends.ports import Finding

log = structlog.get_logger("serving")


async def _manage(service: Service, port: int) -> web.AppRunner:
    """Answer health and metrics on ``port`` of ``management.host``. Raises ``CannotRun``."""
    from aiohttp import web

    from adapter.checking.looking import Looking

    application = await service.management_application(Looking(service))
    runner = web.AppRunner(application, access_log=None)
    try:
        await listen(runner, service.settings.management.host, port)
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def spare_the_collector() -> None:
    """Call when everything is loaded: Python's cycle collector then looks at newer objects alone, and rarely.

    By default it goes through all loaded code every few hundred new objects. With hundreds of requests under
    way that took a third of the processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def must_fit(misfits: Sequence[Finding]) -> None:
    """Raise ``CannotRun`` if a file of the partner's can never work: a line for each such file."""
    if misfits:
        lines = (f"{finding.subject}: {finding.detail}; {finding.remedy}" for finding in misfits)
        raise CannotRun("\n".join(lines))


async def prove(settings: Settings, url: str) -> None:
    """Open and close a service, so that an error that would end every worker process is raised once, here.

    Raises ``CannotRun``.
    """
    from adapter.bootstrap import Service

    service = Service(settings, url)
    try:
        await service.open()
        must_fit(await service.misfits())
    finally:
        await service.close()


async def serve_until_stopped(
    settings: Settings,
    url: str,
    *,
    manage: bool = True,
    share_port: bool = False,
    ready: Callable[[Service, int], Awaitable[None]] | None = None,
    stop: asyncio.Event | None = None,
    source: Source | None = None,
) -> None:
    """Serve both ports until SIGTERM, SIGINT or ``stop``; requests under way are finished.

    ``ready`` is told the port once requests are answered; ``source`` is read again on SIGHUP. Raises
    ``CannotRun``.
    """
    from adapter.api.server import PublicRunner
    from adapter.bootstrap import Service

    stopping = stop or asyncio.Event()
    if stop is None:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, stopping.set)
    service = Service(settings, url)
    context = tls.context_of(settings.server)
    public: web.AppRunner | None = None
    management: web.AppRunner | None = None
    try:
        await service.open()
        must_fit(await service.misfits())
        public = PublicRunner(
            service.public_application(),
            language=settings.koshelek.language,
            shutdown_timeout=settings.server.shutdown_timeout,
        )
        port = await listen(
            public,
            settings.server.host,
            settings.server.port,
            ssl_context=context,
            reuse_port=share_port or None,
            backlog=1024,
        )
        if manage and settings.management.enabled:
            management = await _manage(service, settings.management.port)
        if settings.delivery.in_process:
            await service.start_delivery()
        if manage:
            service.start_watch()
        if source is not None:
            reloading.heeded(source, service, context)
        spare_the_collector()
        log.info("ready", host=settings.server.host, port=port, api_version=settings.koshelek.api_version)
        if ready is not None:
            await ready(service, port)
        await stopping.wait()
        service.stopping = True
        log.info("stopping")
    finally:
        await _end(service, public, management)


async def deliver_until_stopped(
    settings: Settings, url: str, *, management_port: int | None = None, source: Source | None = None
) -> None:
    """Carry recorded operations to the CRM, and nothing else, until SIGTERM or SIGINT.

    Health and metrics are answered on ``management_port``, if there is one. Raises ``CannotRun``.
    """
    from adapter.bootstrap import Service

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stopping.set)
    service = Service(settings, url)
    management: web.AppRunner | None = None
    try:
        await service.open()
        must_fit(await service.misfits())
        if management_port is not None:
            management = await _manage(service, management_port)
        await service.start_delivery()
        service.start_watch()
        if source is not None:
            reloading.heeded(source, service, None)
        spare_the_collector()
        log.info("delivering", concurrency=settings.delivery.concurrency)
        await stopping.wait()
        service.stopping = True
        log.info("stopping")
    finally:
        await _end(service, None, management)


async def _end(service: Service, public: web.AppRunner | None, management: web.AppRunner | None) -> None:
    """Requests, then deliveries, are brought to an end, while readiness says that the process stops."""
    async with AsyncExitStack() as last_first:  # each of them, whatever happens to the others
        last_first.push_async_callback(service.close)
        if management is not None:
            last_first.push_async_callback(management.cleanup)
        last_first.push_async_callback(service.stop_delivery)
        if public is not None:
            last_first.push_async_callback(public.cleanup)
