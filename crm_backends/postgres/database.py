"""Connections to a CRM's database, and the schema ``crm`` where it is ours to manage.

It may not know an operation, nor what its SQL says.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from crm_backends.database import same_database
from crm_backends.pooler import loses_statements
from crm_backends.ports import BackendError, BackendMisconfigured, BackendUnavailable, Deadline
from crm_backends.postgres import errors
from crm_backends.postgres.settings import PostgresSettings
from crm_backends.registry import BackendContext
from crm_backends.spent import charge

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

NAME: Final = "postgres"
SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_VERSION = 3
"""Raised with every change of ``schema.sql``, which is run over an older schema, never over a newer one."""
_MARK = re.compile(r"koshelek-adapter schema (\d+)")
_SCHEMA_LOCK = 0x6B6F7368656C656B  # "koshelek": processes that start together create the schema in turn
_SCHEMA_TIMEOUT = 60.0  # seconds
_RELEASE = 0.25  # seconds a connection has to become usable again; then it is dropped


async def _keep(_connection: object) -> None:
    """Nothing to reset: no statement of ours leaves a trace in the session, and this saves a round trip."""


class CrmDatabase:
    """One database, with a pool of its own or the adapter's."""

    def __init__(self, settings: PostgresSettings, context: BackendContext) -> None:
        self._settings = settings
        url = settings.url
        self._zone = context.timezone
        self._url = (url.get_secret_value(), "url") if url else (context.database_url, "database.url")
        self.shared = url is None
        """Whether it is the adapter's own."""
        self.pooler = settings.pooler or (self.shared and context.pooler)
        """Whether a pooler in transaction mode stands before it."""
        self._pool = context.database_pool if self.shared else None
        self._upgrade = context.upgrade
        self._schema_ready = not settings.manages_schema()
        self._schema_turn = asyncio.Lock()

    async def open(self) -> None:
        """Make the pool and, where it is ours to manage, the schema; a database that is down is no error."""
        await self._make_pool()
        with contextlib.suppress(BackendError):
            # Taking a connection creates the schema. What fails now is tried again by the first call.
            async with self.connection(Deadline.after(self._settings.statement_timeout)):
                pass

    @contextlib.asynccontextmanager
    async def at_hand(self) -> AsyncIterator[None]:
        """Open within, whether it was or not; what was not open is closed again."""
        borrowed = self._pool is None
        await self._make_pool()
        try:
            yield
        finally:
            if borrowed:
                await self.close()

    async def _make_pool(self) -> None:
        if self._pool is None and self._settings.url is not None:
            self._pool = await asyncpg.create_pool(
                self._settings.url.get_secret_value(),
                min_size=0,
                max_size=self._settings.pool_size,
                reset=_keep,
                init=self._in_our_zone,
                **self._connecting(),
            )

    def _connecting(self) -> dict[str, Any]:
        names = {"application_name": "koshelek-adapter"}
        if self.pooler:  # it keeps what is set while connecting, nothing that is set later
            names["timezone"] = self._zone.key
        return {"statement_cache_size": 0 if self.pooler else 100, "server_settings": names}

    async def _in_our_zone(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Let ``now()`` and a column without a zone mean the programme's local time, as the driver reads it.

        Not when connecting, so that the zone the session would have had can still be told.
        """
        if not self.pooler:
            with contextlib.suppress(asyncpg.InvalidParameterValueError):  # check tells that it has another
                await connection.execute(f"SET timezone = '{self._zone.key}'")

    async def close(self) -> None:
        """Close our own pool; the adapter's is left alone."""
        if self._pool is not None and not self.shared:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(self._settings.statement_timeout):
                    await pool.close()
            except errors.DATABASE_ERRORS:
                pool.terminate()

    def renew(self, settings: PostgresSettings) -> bool:
        """Connect with another user or password from now on; connections that stand stay."""
        url, before = settings.url, self._settings.url
        if url is None or before is None or settings.model_copy(update={"url": before}) != self._settings:
            return False
        if not same_database(url.get_secret_value(), before.get_secret_value()):
            return False
        self._settings, self._url = settings, (url.get_secret_value(), "url")
        if self._pool is not None:
            self._pool.set_connect_args(url.get_secret_value(), **self._connecting())
        return True

    def connection(self, limit: Deadline, *, schema: bool = True) -> _Lease:
        """A connection of the pool, the schema in place; for ``async with``.

        Raises:
            BackendError: no connection could be had; no statement of an operation has been sent.
        """
        return _Lease(self, limit, schema and not self._schema_ready)

    async def _create_schema(self, connection: Connection) -> None:
        """Run ``schema.sql`` unless it, or a newer one, has been run; the mark is the schema's comment.

        What is there already stays as it is where it is not ours to upgrade.
        """
        text = await asyncio.to_thread(SCHEMA.read_text, encoding="utf-8")
        try:
            async with self._schema_turn, asyncio.timeout(_SCHEMA_TIMEOUT), connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
                there = await _schema_version(connection)
                if there is None or (there < SCHEMA_VERSION and self._upgrade):
                    await connection.execute(text)
                    await connection.execute(
                        f"COMMENT ON SCHEMA crm IS 'koshelek-adapter schema {SCHEMA_VERSION}'"
                    )
        except errors.DATABASE_ERRORS as error:
            if errors.sqlstate(error) == errors.NO_RIGHT:
                raise BackendMisconfigured(
                    "the schema crm is missing or of an older version, and this user may not change it; run "
                    "koshelek-adapter database prepare with the role that owns the tables"
                ) from None
            raise errors.on_read(SCHEMA.name, error) from None
        self._schema_ready = True

    async def prepare(self) -> Sequence[str]:
        """See ``KeepsTables``."""
        if not self._settings.manages_schema():
            return ()
        async with self.connection(Deadline.after(_SCHEMA_TIMEOUT)):
            pass  # taking a connection creates the schema
        return ("crm",) if self.shared else ()

    @contextlib.asynccontextmanager
    async def _on_one_server(self, connection: Connection, limit: Deadline) -> AsyncIterator[None]:
        """A transaction: behind a pooler nothing else keeps the steps of one statement on one server."""
        async with asyncio.timeout(limit.remaining()), connection.transaction():
            yield

    async def has_unnamed_pooler(self) -> bool:
        """Whether a pooler stands before it in which our statements get lost, and no setting says so.

        ``False`` as well where it cannot be reached.
        """
        url = self._settings.url
        if url is None or self.pooler:  # the adapter's own is looked at when it starts
            return False
        try:
            return await loses_statements(url.get_secret_value())
        except errors.CONNECT_ERRORS:
            return False

    async def columns(self, connection: Connection, text: str, limit: Deadline) -> list[tuple[str, str]]:
        """Prepare a statement, execute nothing: name and PostgreSQL type of each result column."""
        if self.pooler:
            async with self._on_one_server(connection, limit):
                prepared = await connection.prepare(text, name="")
        else:
            prepared = await connection.prepare(text, timeout=limit.remaining())
        return [(column.name, column.type.name) for column in prepared.get_attributes()]

    async def fetch(
        self,
        connection: Connection,
        text: str,
        arguments: Sequence[object],
        limit: Deadline,
    ) -> list[asyncpg.Record]:
        if not self.pooler:
            return await connection.fetch(text, *arguments, timeout=limit.remaining())
        async with self._on_one_server(connection, limit):
            return await connection.fetch(text, *arguments)


async def _schema_version(connection: Connection) -> int | None:
    """Which ``schema.sql`` was run last; 0: one from before they were numbered; ``None``: none."""
    rows = await connection.fetch(
        "SELECT obj_description(oid, 'pg_namespace') AS mark FROM pg_namespace WHERE nspname = 'crm'"
    )
    if not rows or rows[0]["mark"] is None:
        return None
    numbered = _MARK.fullmatch(rows[0]["mark"])
    return int(numbered[1]) if numbered else 0


class _Lease:
    """One use of a connection. A class, since a generator would cost more than the rest of a look-up."""

    __slots__ = ("_began", "_connection", "_database", "_limit", "_pool", "_schema")

    def __init__(self, database: CrmDatabase, limit: Deadline, schema: bool) -> None:
        self._database = database
        self._limit = limit
        self._schema = schema

    async def __aenter__(self) -> Connection:
        pool = self._database._pool
        if pool is None:
            raise BackendUnavailable("the driver is not open")
        self._pool = pool
        self._began = monotonic()
        seconds = self._limit.remaining()
        if not seconds:
            raise BackendUnavailable("no time left to ask the database")
        try:
            # An idle connection is had at once; a timer would only cost.
            self._connection = await pool.acquire(timeout=None if pool.get_idle_size() else seconds)
        except BaseException as error:
            charge(NAME, self._began)
            if isinstance(error, TimeoutError) and pool.get_size() >= pool.get_max_size():
                raise BackendUnavailable(
                    "no connection to the database was free in time; raise pool_size, or look for slow SQL"
                ) from None
            if isinstance(error, errors.CONNECT_ERRORS):
                raise errors.on_connect(error, *self._database._url) from None
            raise
        if self._schema:
            try:
                await self._database._create_schema(self._connection)
            except BaseException:
                await self.__aexit__()
                raise
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        charge(NAME, self._began)
        # The result is already known; a connection that breaks now is dropped by the pool.
        with contextlib.suppress(*errors.DATABASE_ERRORS):
            # Limited, since a connection whose call was given up waits until the server has taken that in.
            await self._pool.release(self._connection, timeout=_RELEASE)
