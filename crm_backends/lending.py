"""Gives connections back to asyncpg's pool for less processor time.

The one module that leans on what asyncpg's pool does inside, which is not its documented interface: a test
sees to it that it still does. It may not know what a connection was used for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy


async def give_back(
    pool: asyncpg.Pool[asyncpg.Record], connection: PoolConnectionProxy[asyncpg.Record], timeout: float
) -> None:
    """Return a connection to its pool, within ``timeout`` seconds.

    asyncpg does that in a task of its own, which no cancellation of the caller interrupts. A connection at
    rest comes back without waiting for anything, so there is nothing to interrupt, and the task, which costs
    as much as the rest of borrowing a connection, is left out.
    """
    lent: Any = connection
    raw = lent._con
    if raw is None or raw.is_closed() or raw.is_in_transaction() or raw._protocol._is_cancelling():
        await pool.release(connection, timeout=timeout)
        return
    raw._on_release()
    await lent._holder.release(timeout)
