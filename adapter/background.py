"""What runs in the background, beside the calls: nothing of it ends without a word in the log.

The rule has two halves. Everything is started by ``start``, which logs an exception nobody foresaw at once; a
task of asyncio's own would keep it until somebody asks. And every turn of a loop is made within ``survived``,
so that such an exception costs one turn, not all that would have come. It may not know what is run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

log = structlog.get_logger("background")

Result = TypeVar("Result")

_running: set[asyncio.Task[Any]] = set()
"""asyncio holds a task weakly: one that nobody else holds might vanish on its way."""


def start(work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
    """Run ``work`` in the background. An exception that ends it is logged, with this name."""
    task = asyncio.create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background_failed", task=task.get_name(), reason=type(error).__name__, exc_info=error)


@contextmanager
def survived(name: str) -> Iterator[None]:
    """One turn of a loop in the background: an exception nobody foresaw is logged, and the loop goes on."""
    try:
        yield
    except Exception as error:
        log.exception("background_failed", task=name, reason=type(error).__name__)
