"""Bring the database to this version's schema: numbered SQL files, each applied once.

Several processes may start at once; an advisory lock lets one of them work. The tables of the job
queue are installed and upgraded by the queue's own library, in the same schema.

A migration leaves programs running that were released before it: it only adds. What it makes superfluous is
taken away by a later release. So replicas may be updated one after another.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from adapter.store.queue import queries

if TYPE_CHECKING:
    from adapter.store.pool import Connection, RawConnection

_LOCK = 7_306_001  # any number, but ours alone
_BASE = """
CREATE SCHEMA IF NOT EXISTS koshelek;
CREATE TABLE IF NOT EXISTS koshelek.schema_version (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_FOREIGN_OWNER = """
SELECT nspowner::regrole::text FROM pg_namespace
 WHERE nspname = 'koshelek' AND NOT pg_has_role(nspowner, 'USAGE')
"""


class SchemaUnfit(Exception):
    """The database has the schema of another version of the adapter; the message says what to do."""


def migrations() -> list[tuple[int, str, str]]:
    """Version, name and SQL of every migration, in order."""
    found = []
    for entry in files("adapter.store").joinpath("migrations").iterdir():
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        if entry.name.endswith(".sql"):
            found.append((int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found)


def latest_version() -> int:
    return migrations()[-1][0]


async def schema_version(connection: RawConnection | Connection) -> int:
    """Version of the schema in the database; 0 when there is none."""
    if await connection.fetchval("SELECT to_regclass('koshelek.schema_version')") is None:
        return 0
    return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM koshelek.schema_version"))


async def migrate(url: str, *, upgrade: bool = True) -> tuple[int, int]:
    """Apply what is missing; returns the version before and after.

    Without ``upgrade`` only an empty database gets its tables.

    Raises:
        SchemaUnfit: the database is ahead of this program, or behind it and not to be upgraded.
        OSError, asyncpg.PostgresError: the database cannot be reached or changed.
    """
    # A pooler in transaction mode may stand between: no parameters of a session, no prepared statements,
    # and a lock that ends with the transaction.
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        return await _in_turn(connection, upgrade)
    except asyncpg.InsufficientPrivilegeError:
        if (owner := await connection.fetchval(_FOREIGN_OWNER)) is None:
            raise
        raise SchemaUnfit(
            f"the schema koshelek in the database belongs to the role {owner}, not to the user of "
            f"database.url; write {owner} and its password into database.url, or, where {owner} owns "
            f"nothing else in this database, give it over: REASSIGN OWNED BY {owner} TO <user of the URL>"
        ) from None
    finally:
        await connection.close()


async def _in_turn(connection: RawConnection, upgrade: bool) -> tuple[int, int]:
    async with connection.transaction():
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        return await _migrate(connection, upgrade)


async def _migrate(connection: RawConnection, upgrade: bool) -> tuple[int, int]:
    before, latest = await schema_version(connection), latest_version()
    if before > latest:
        raise SchemaUnfit(
            f"the database has schema version {before}, this program knows {latest}; "
            "install the newer version of koshelek-adapter"
        )
    if before and not upgrade:
        if before < latest:
            raise SchemaUnfit(
                f"the database has schema version {before}, this program needs {latest}; "
                "update the service first (koshelek-adapter serve brings the schema along when it starts), "
                "or use the version of koshelek-adapter that it runs"
            )
        return before, latest
    await connection.execute(_BASE)
    for version, name, sql in migrations():
        if version > before:
            await connection.execute(sql)
            await connection.execute(
                "INSERT INTO koshelek.schema_version (version, name) VALUES ($1, $2)", version, name
            )
    queue = queries(AsyncpgDriver(connection))
    if await queue.schema_is_installed():
        await queue.upgrade()
    else:
        await queue.install(create_schema=False)
        await queue.optimize_autovacuum()
    return before, latest
