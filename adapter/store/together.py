"""Calls that arrive while others are under way go together: one round trip, or one commit, for many.

A lone call starts at once and waits for nobody. It may not know what the calls do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Together(Generic[Item, Result]):
    """Gathers items and hands them to ``work``, which returns a result for each, in order.

    Args:
        work: does a batch; what it raises reaches every caller of the batch.
        most: largest batch.
        lanes: batches under way at once.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, most: int, lanes: int
    ) -> None:
        self._work = work
        self._most = most
        self._lanes = lanes
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._busy = 0
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Result:
        """The result for ``item``. A caller that is cancelled leaves its item to the batch."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._busy < self._lanes:
            self._busy += 1
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await result

    async def _run(self) -> None:
        try:
            await self._work_off()
        finally:
            # Here and not when the task is known to be done: whoever got a result may come again before.
            self._busy -= 1

    async def _work_off(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            try:
                results = await self._work([item for item, _ in batch])
            except Exception as error:
                for _, result in batch:
                    if not result.done():
                        result.set_exception(error)
            else:
                for (_, result), value in zip(batch, results, strict=True):
                    if not result.done():
                        result.set_result(value)
