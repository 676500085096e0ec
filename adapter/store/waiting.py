"""Waiting for operations to end: those of this process are told at once, those of others are asked for.

It may not know who waits, nor what an operation is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from adapter import background
from adapter.loyalty.model import FINAL, FOR_A_PERSON, Operation

_OVER = FINAL | FOR_A_PERSON
_POLL = 0.05  # seconds


class Waiters:
    """Callers who wait for the end of an operation.

    Args:
        read: reads those of these operations that are over or held.
    """

    def __init__(self, read: Callable[[Sequence[int]], Awaitable[Iterable[Operation]]]) -> None:
        self._read = read
        self._waiting: dict[int, set[asyncio.Future[Operation]]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def wait(self, operation: Operation, seconds: float) -> Operation:
        """The operation as it stands once it is over or held, at the latest after so many seconds."""
        if seconds <= 0 or operation.state in _OVER:
            return operation
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Operation] = loop.create_future()
        self._waiting.setdefault(operation.id, set()).add(ended)
        if self._poller is None:
            self._poller = background.start(self._poll(), "waiters")
        # asyncio.timeout would cost several times as much, and every receipt waits.
        limit = loop.call_later(seconds, _let_go, ended, operation)
        try:
            return await ended
        finally:
            limit.cancel()
            waiting = self._waiting.get(operation.id, set())
            waiting.discard(ended)
            if not waiting:
                self._waiting.pop(operation.id, None)

    def tell(self, operation: Operation) -> None:
        """Let those go on who wait for this operation, if it is over or held."""
        if operation.state in _OVER:
            for waiter in self._waiting.get(operation.id, ()):
                _let_go(waiter, operation)

    async def _poll(self) -> None:
        """Ask for operations that another process may have ended, while anybody waits for one.

        Polling works through any pooler and costs one statement however many are waiting; notifications
        would make every commit queue up behind one lock.
        """
        try:
            while self._waiting:
                await asyncio.sleep(_POLL)
                if not self._waiting:
                    break
                try:
                    operations = await self._read(list(self._waiting))
                except Exception:  # noqa: S112 - the waiters have their own time limit
                    continue
                for operation in operations:
                    self.tell(operation)
        finally:
            self._poller = None


def _let_go(waiter: asyncio.Future[Operation], operation: Operation) -> None:
    if not waiter.done():
        waiter.set_result(operation)
