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


READS_MOST, READS_LANES = 64, 2
"""For look-ups: in one statement, and statements at once."""


class Batched(Generic[Item, Result]):
    """Gathers items and hands them to ``work``, which returns a result for each, in order.

    Args:
        work: does a batch.
        most: largest batch.
        lanes: batches under way at once.
        errors_for_whole_batch: errors that are no single item's, such as a database that does not answer;
            they reach every caller of the batch. After any other, its items are done one by one, so that it
            reaches only the caller whose item it is: for work that may be done again, such as reading.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int,
        lanes: int,
        errors_for_whole_batch: tuple[type[Exception], ...] = (Exception,),
    ) -> None:
        self._work = work
        self._most = most
        self._lanes = lanes
        self._errors_for_whole_batch = errors_for_whole_batch
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
            # Here, not in a callback of the task: a caller with its result may come again before it.
            self._busy -= 1

    async def _work_off(self) -> None:
        while self._waiting:
            await self._do([self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))])

    async def _do(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._work([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, self._errors_for_whole_batch):
                for one in batch:
                    if not one[1].done():
                        await self._do([one])
                return
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
        else:
            for (_, result), value in zip(batch, results, strict=True):
                if not result.done():
                    result.set_result(value)
