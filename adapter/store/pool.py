"""Connections to the adapter's PostgreSQL, and its errors in words that carry no data.

PostgreSQL's messages quote the values of rows, so none of them leaves this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from adapter.loyalty.ports import StoreBusy, StoreUnavailable
from adapter.settings import Database

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    RawConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]


async def _leave_clean(connection: RawConnection) -> None:
    # The default reset is a round trip. Nothing here sets session state, so only an open transaction
    # would have to be undone.
    if connection.is_in_transaction():
        await connection.reset()


async def open_pool(url: str, settings: Database, *, size: int | None = None) -> Pool:
    """A pool that connects when it is first used, so that a database that is down does not stop it."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size or settings.pool_size,
        timeout=settings.acquire_timeout + 2,
        command_timeout=settings.statement_timeout,
        statement_cache_size=0 if settings.pooler else 256,
        max_inactive_connection_lifetime=300,
        reset=_leave_clean,
        server_settings={"application_name": "koshelek-adapter"},
    )


class Gateway:
    """Hands out connections for a bounded time and translates their failures.

    Raises from every use: ``StoreBusy`` when none is free in time, ``StoreUnavailable`` when the
    database does not answer. Errors of a statement itself pass through for the caller that expects them.
    """

    def __init__(self, pool: Pool, acquire_timeout: float) -> None:
        self.pool = pool
        self._acquire_timeout = acquire_timeout

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        try:
            connection = await self.pool.acquire(timeout=self._acquire_timeout)
        except TimeoutError:
            if self.pool.get_idle_size() == 0 and self.pool.get_size() >= self.pool.get_max_size():
                raise StoreBusy("no database connection was free in time") from None
            raise StoreUnavailable("the database did not accept a connection in time") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(_words(error)) from None
        try:
            yield connection
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,  # a connection that the server has just given up
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            asyncpg.PostgresIOError,
            asyncpg.ReadOnlySQLTransactionError,
            asyncpg.UndefinedTableError,
            asyncpg.InvalidSchemaNameError,
        ) as error:
            raise StoreUnavailable(_words(error)) from None
        finally:
            await asyncio.shield(self.pool.release(connection))

    async def clock_drift(self) -> float:
        """Seconds by which this machine's clock and the database's differ."""
        async with self.connection() as connection:
            there = await connection.fetchval("SELECT clock_timestamp()")
        return abs(float((there - datetime.now(UTC)).total_seconds()))


def _words(error: BaseException) -> str:
    """Kind of a database error, without its message: the message may quote a row."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' ({state})' if state else ''}"
