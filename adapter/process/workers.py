"""``serve`` in one process or several that share the port: started, watched, stopped.

It may not know what a process serves.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from adapter.api import tls
from adapter.process import logs, reloading
from adapter.process.database import database
from adapter.process.file_limit import raise_file_limit
from adapter.process.listening import check_ports
from adapter.process.serving import prove, serve_until_stopped
from adapter.process.signals import STOPPING, run
from adapter.settings import CannotRun, Settings

if TYPE_CHECKING:
    from adapter.process.reloading import Source

log = structlog.get_logger("serving")


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
            run(lambda: prove(settings, url))
            with tempfile.TemporaryDirectory(prefix="koshelek-metrics-") as folder:
                # The workers count into files there, so that the one with the management port can add up.
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
                _supervise(settings, url, source)


def _supervise(settings: Settings, url: str, source: Source | None) -> None:
    """Keep ``server.workers`` processes alive that share the port, until a signal; pass a SIGHUP on."""
    if settings.server.port == 0:
        raise CannotRun("server.port is 0; several workers need a fixed port to share")
    came: list[int] = []  # an Event would hang if a signal's handler set it during its own wait
    for number in STOPPING:
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
                if (found := reloading.changed(source, settings)) is not None:
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
                with reloading.held_back():  # a SIGHUP waits until the new process can handle it
                    children[index].start()
            time.sleep(0.2)
    finally:
        for child in children.values():
            child.terminate()
        patience = time.monotonic() + settings.server.shutdown_timeout + settings.delivery.call_timeout + 8
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
