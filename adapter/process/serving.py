"""Runs the adapter: database first, then the ports, one process or several, until a signal.

It may not know what is served; that is put together by ``bootstrap``, and imported where it is: commands that
only need the database are spared it.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import asyncpg
import structlog
import uvloop

from adapter.process import embedded, logs, reloading, tls
from adapter.process.file_limit import raise_file_limit
from adapter.process.listening import check_ports, listen
from adapter.process.postgresql_programs import EmbeddedError
from adapter.settings import CannotRun, Settings
from adapter.store.migrate import SchemaUnfit, migrate
from crm_backends.database import OWN_KEY, cause_of

if TYPE_CHECKING:
    from aiohttp import web

    from adapter.bootstrap import Service
    from adapter.process.reloading import Source
    from crm_backends.ports import Finding

log = structlog.get_logger("serving")

Result = TypeVar("Result")


@contextmanager
def database(
    settings: Settings,
    *,
    join: bool = False,
    upgrade: bool = True,
    created: Callable[[str], object] = lambda url: None,
) -> Iterator[str]:
    """The URL of the adapter's database, migrated; an embedded server runs as long as the context.

    ``join``: an embedded server that another process of ours runs in the data folder will do. ``upgrade``:
    the schema of an older version may be brought up to date; a database without any gets one anyhow, and
    ``created`` is told its URL.

    Raises:
        CannotRun: the database cannot be reached, started or migrated, or would have to be upgraded.
    """
    server = None
    _end_by_sigterm()
    try:
        if settings.database.url is not None:
            url = settings.database.url.get_secret_value()
        elif join and (shared := embedded.running(settings.database.data_dir)) is not None:
            url = shared
        else:
            try:
                with _signals_deferred():
                    server = embedded.start(settings.database.data_dir)
            except EmbeddedError as error:
                raise CannotRun(str(error)) from None
            url = server.url
        try:
            before, _ = run(lambda: migrate(url, upgrade=upgrade))
            if not before:
                created(url)
        except SchemaUnfit as error:
            raise CannotRun(str(error)) from None
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CannotRun(str(cause_of(error, url, OWN_KEY))) from None
        yield url
    finally:
        if server is not None:
            with _signals_deferred():
                server.stop()


def _end_by_sigterm() -> None:
    """Let SIGTERM unwind the stack, as Ctrl-C does: an embedded server must not be left running."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


_STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold SIGTERM and SIGINT back while a server or a loop is started or stopped; then they take effect."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _signals_taken() -> Iterator[None]:
    """Let the signals through that ``_signals_deferred`` holds back."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _manage(service: Service, port: int) -> web.AppRunner:
    """Answer health and metrics on ``port`` of ``management.host``. Raises ``CannotRun``."""
    from aiohttp import web

    runner = web.AppRunner(service.management_application(), access_log=None)
    try:
        await listen(runner, service.settings.management.host, port)
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def spare_the_collector() -> None:
    """Once everything is loaded: let Python's cycle collector look at what requests leave behind, and rarely.

    By default it goes over all loaded code every few hundred objects; with hundreds of requests under way
    that is a third of their processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def must_fit(misfits: Sequence[Finding]) -> None:
    """Raise ``CannotRun`` when a file of the partner's can never work; a line each."""
    if misfits:
        lines = (f"{finding.subject}: {finding.detail}; {finding.remedy}" for finding in misfits)
        raise CannotRun("\n".join(lines))


async def _prove(settings: Settings, url: str) -> None:
    """Raise ``CannotRun`` for what every worker would end with."""
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
        for number in _STOPPING:
            loop.add_signal_handler(number, stopping.set)
    service = Service(settings, url)
    context = tls.context_of(settings.server)
    runners: list[web.AppRunner] = []
    try:
        await service.open()
        must_fit(await service.misfits())
        public = PublicRunner(
            service.public_application(),
            language=settings.koshelek.language,
            shutdown_timeout=settings.server.shutdown_timeout,
        )
        runners.append(public)
        port = await listen(
            public,
            settings.server.host,
            settings.server.port,
            ssl_context=context,
            reuse_port=share_port or None,
            backlog=1024,
        )
        if manage and settings.management.enabled:
            runners.append(await _manage(service, settings.management.port))
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
        log.info("stopping")
    finally:
        for runner in runners:
            await runner.cleanup()
        await service.close()


async def deliver_until_stopped(
    settings: Settings, url: str, *, management_port: int | None = None, source: Source | None = None
) -> None:
    """Carry recorded operations to the CRM, and nothing else, until SIGTERM or SIGINT.

    Health and metrics are answered on ``management_port``, if there is one. Raises ``CannotRun``.
    """
    from adapter.bootstrap import Service

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOPPING:
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
        log.info("stopping")
    finally:
        if management is not None:
            await management.cleanup()
        await service.close()


def run(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run ``main()`` to its end on uvloop, and return what it gives.

    SIGTERM and Ctrl-C cancel it at one of its awaits, then end the program as they do elsewhere; a loop half
    made or half taken down does not see them. A signal that is ignored stays so.
    """
    came: list[int] = []

    async def stoppable() -> Result | None:
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task())

        def stop(number: int) -> None:
            came.append(number)
            task.cancel()

        for number in heeded:
            loop.add_signal_handler(number, stop, number)
        with _signals_taken():
            try:
                return await main()
            except asyncio.CancelledError:
                if came:
                    return None
                raise

    with _signals_deferred():
        handlers = {number: signal.getsignal(number) for number in _STOPPING}
        heeded = [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(stoppable())
        for number, handler in handlers.items():  # the loop has put the defaults in their places
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
    return cast("Result", result)


def serve(
    settings: Settings,
    *,
    source: Source | None = None,
) -> None:
    """The whole service, in ``server.workers`` processes, until a signal. Raises ``CannotRun``."""
    check_ports(settings)
    tls.context_of(settings.server)
    raise_file_limit()
    with reloading.held_back(), database(settings) as url:
        if settings.server.workers == 1:
            run(lambda: serve_until_stopped(settings, url, source=source))
        else:
            run(lambda: _prove(settings, url))
            with tempfile.TemporaryDirectory(prefix="koshelek-metrics-") as folder:
                # The workers count into files there, so that the one with the management port can add up.
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
                _supervise(settings, url, source)


def _supervise(settings: Settings, url: str, source: Source | None) -> None:
    """Keep ``server.workers`` processes alive that share the port, until a signal; pass a SIGHUP on."""
    if settings.server.port == 0:
        raise CannotRun("server.port is 0; several workers need a fixed port to share")
    came: list[int] = []  # no Event: a handler that sets it may run within its very wait, and would hang
    for number in _STOPPING:
        signal.signal(number, lambda number, _: came.append(number))
    reload: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: reload.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    spawn = multiprocessing.get_context("spawn")
    children: dict[int, Any] = {}
    started: dict[int, float] = {}
    try:
        while not came:
            if reload and source is not None:
                reload.clear()
                if (found := reloading.changed(source)) is not None:
                    settings = reloading.for_new_processes(settings, found)
                    for child in children.values():
                        with suppress(ProcessLookupError):
                            os.kill(child.pid, signal.SIGHUP)
            for index in range(settings.server.workers):
                child = children.get(index)
                if child is not None and child.is_alive():
                    continue
                if child is not None:
                    log.error("worker_died", worker=index, exit_code=child.exitcode)
                    if time.monotonic() - started[index] < 2:
                        time.sleep(1)
                children[index] = spawn.Process(
                    target=_worker_process, args=(settings, url, index, source), name=f"worker-{index}"
                )
                started[index] = time.monotonic()
                with reloading.held_back():  # what comes before it can heed it waits for it
                    children[index].start()
            time.sleep(0.2)
    finally:
        for child in children.values():
            child.terminate()
        patience = time.monotonic() + settings.server.shutdown_timeout + settings.delivery.call_timeout + 5
        for child in children.values():
            child.join(max(0.1, patience - time.monotonic()))
            if child.is_alive():
                child.kill()
                child.join()


def _worker_process(settings: Settings, url: str, index: int, source: Source | None) -> None:
    """Body of one of several processes; it ends when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    logs.configure(settings.log)

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        parent = multiprocessing.parent_process()
        if parent is not None:
            loop.add_reader(parent.sentinel, stopping.set)
        await serve_until_stopped(
            settings, url, manage=index == 0, share_port=True, stop=stopping, source=source
        )

    try:
        run(main)
    except CannotRun as error:
        log.error("worker_cannot_run", worker=index, reason=str(error))
        sys.exit(1)
