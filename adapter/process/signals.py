"""Running to an end on uvloop, and what SIGTERM and Ctrl-C do meanwhile.

It may not know what is run.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import uvloop

Result = TypeVar("Result")
STOPPING = (signal.SIGTERM, signal.SIGINT)


def end_by_sigterm() -> None:
    """Let SIGTERM unwind the stack, as Ctrl-C does: an embedded server must not be left running."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold SIGTERM and SIGINT back while a server or a loop is started or stopped; then they take effect."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_taken() -> Iterator[None]:
    """Let the signals through that ``signals_deferred`` holds back."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        with signals_taken():
            try:
                return await main()
            except asyncio.CancelledError:
                if came:
                    return None
                raise

    with signals_deferred():
        handlers = {number: signal.getsignal(number) for number in STOPPING}
        heeded = [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(stoppable())
        for number, handler in handlers.items():  # the loop has put the defaults in their places
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
    return cast("Result", result)
