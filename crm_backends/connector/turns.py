"""Calls about the same thing, one after the other. It may not know what they are about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from crm_backends.ports import Deadline


class Turns:
    """Has calls with the same mark wait for each other, within this process."""

    def __init__(self) -> None:
        self._lines: dict[object, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def alone(self, mark: object, deadline: Deadline) -> AsyncIterator[bool]:
        """Wait until no other call with this mark is under way; false: it took until the deadline."""
        lock, waiting = self._lines.get(mark, (asyncio.Lock(), 0))
        self._lines[mark] = (lock, waiting + 1)
        got = False
        try:
            try:
                async with asyncio.timeout(deadline.remaining()):
                    got = await lock.acquire()
            except TimeoutError:
                got = False
            yield got
        finally:
            if got:
                lock.release()
            lock, waiting = self._lines[mark]
            if waiting == 1:
                del self._lines[mark]
            else:
                self._lines[mark] = (lock, waiting - 1)
