"""Connections to the adapter's PostgreSQL, and its errors in words that carry no data.

PostgreSQL's messages quote the values of rows, so none of them leaves this module.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

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


async def open_pool(url: str, settings: Database, *, size: int | None = None, durable: bool = True) -> Pool:
    """A pool that connects when it is first used, so that a database that is down does not stop it.

    ``durable=False``: what it commits may be lost if the database server dies within the next moment. Through
    a pooler it is durable all the same: a session's settings would reach others there.
    """
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size or settings.pool_size,
        max_inactive_connection_lifetime=300,
        reset=_leave_clean,
        **_connecting(settings, durable),
    )


def renew(pool: Pool, url: str, settings: Database, *, durable: bool = True) -> None:
    """Connect with this URL from now on; connections that stand stay."""
    pool.set_connect_args(url, **_connecting(settings, durable))


def _connecting(settings: Database, durable: bool) -> dict[str, Any]:
    session = {"application_name": "koshelek-adapter"}
    if not durable and not settings.pooler:
        session["synchronous_commit"] = "off"
    return {
        "timeout": settings.acquire_timeout + 2,
        "command_timeout": settings.statement_timeout,
        "statement_cache_size": 0 if settings.pooler else 256,
        "server_settings": session,
    }


class Gateway:
    """Hands out connections for a bounded time and translates their failures.

    Raises from every use: ``StoreBusy`` when none is free in time, ``StoreUnavailable`` when the
    database does not answer. Errors of a statement itself pass through for the caller that expects them.
    """

    def __init__(self, pool: Pool, acquire_timeout: float) -> None:
        self.pool = pool
        self.acquire_timeout = acquire_timeout

    def connection(self) -> Borrowed:
        """``async with gateway.connection() as connection``."""
        return Borrowed(self.pool, self.acquire_timeout)

    async def clock_drift(self) -> float:
        """Seconds by which this machine's clock and the database's differ."""
        async with self.connection() as connection:
            there = await connection.fetchval("SELECT clock_timestamp()")
        return abs(float((there - datetime.now(UTC)).total_seconds()))


class Borrowed:
    """One use of a connection. A class, since a generator would cost more than the rest of a look-up."""

    __slots__ = ("_connection", "_pool", "_timeout")

    def __init__(self, pool: Pool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout

    async def __aenter__(self) -> Connection:
        pool = self._pool
        try:
            # An idle connection is had at once; a timer would only cost.
            timeout = None if pool.get_idle_size() else self._timeout
            self._connection = await pool.acquire(timeout=timeout)
        except TimeoutError:
            if pool.get_idle_size() == 0 and pool.get_size() >= pool.get_max_size():
                raise StoreBusy("no database connection was free in time") from None
            raise StoreUnavailable("the database did not accept a connection in time") from None
        except (*_AWAY, asyncpg.PostgresError) as error:
            raise StoreUnavailable(_words(error)) from None
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Bounded: on a line that went silent asyncpg would wait for its cancelled statement for ever. A
        # connection that breaks now is dropped by the pool; what was done with it is known already.
        with contextlib.suppress(*_AWAY):
            await self._pool.release(self._connection, timeout=_RELEASE)
        if isinstance(error, _STATEMENT_LOST):
            raise StoreUnavailable(
                "a pooler in transaction mode stands between: set database.pooler = true"
            ) from None
        if isinstance(error, _AWAY):
            raise StoreUnavailable(_words(error)) from None


_RELEASE = 5.0  # seconds
_STATEMENT_LOST = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""A prepared statement is another's, or gone, so nothing was executed. The start looks for poolers, too."""
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that the server has just given up
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # a deadlock: the same again may go well
    asyncpg.PostgresIOError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
)


def count(tag: str) -> int:
    """Rows of a command tag."""
    return int(tag.rpartition(" ")[2])


def _words(error: BaseException) -> str:
    """Kind of a database error, without its message: the message may quote a row."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' ({state})' if state else ''}"
