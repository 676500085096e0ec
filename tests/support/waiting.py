"""Waiting for what another task, process or server does. It may not know what is waited for."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def until(
    happened: Callable[[], bool | Awaitable[bool]],
    what: str | Callable[[], str] = "what was waited for",
    limit: float = 20.0,
) -> None:
    """Look again and again, for ``limit`` seconds at most; a failure says what did not happen."""
    end = time.monotonic() + limit
    while True:
        result = happened()
        if await result if inspect.isawaitable(result) else result:
            return
        assert time.monotonic() < end, f"did not happen in time: {what if isinstance(what, str) else what()}"
        await asyncio.sleep(0.05)
