"""A time limit for a call: what ``asyncio.timeout`` does, for less processor time.

Every call is under one and hardly any exceeds it, so setting it up is what counts. It may not know what a
call does.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class TimeLimit:
    """``with TimeLimit(seconds):`` cancels what is awaited within after so many seconds.

    Raises ``TimeoutError`` then. A cancellation that comes from elsewhere passes through.
    """

    __slots__ = ("_cancelling", "_passed", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - every call has a task
        self._task, self._cancelling, self._passed = task, task.cancelling(), False
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._pass)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._passed:
            # The task counts how often it is to be cancelled; one more than before was ours.
            others = self._task.uncancel() > self._cancelling
            if kind is asyncio.CancelledError and not others:
                raise TimeoutError from error

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel()
