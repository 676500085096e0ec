"""Bring the database to this version's schema: numbered SQL files, each applied once.

Several processes may start at once; an advisory lock lets one of them work. The tables of the job
queue are installed and upgraded by the queue's own library, in the same schema, when it is of another
version than the one that the schema is marked with.

A migration leaves programs running that were released before it: it only adds. What it makes superfluous is
taken away by a later release. So replicas may be updated one after another. Its first line says from which
version on programs run with it: those may start, too, and leave the newer tables as they are.
"""

from __future__ import annotations

import re
from importlib import metadata
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

_OWNER = """
SELECT nspowner::regrole::text AS owner, pg_has_role(nspowner, 'USAGE') AS ours,
       has_schema_privilege(oid, 'USAGE') AS usable
  FROM pg_namespace WHERE nspname = 'koshelek'
"""

_RUNS_FROM = re.compile(r"-- Runs with programs from schema version (\d+) on\.")
_OLDEST_PROGRAM = """
SELECT max(coalesce((to_jsonb(migration) ->> 'runs_from')::int, version))
  FROM koshelek.schema_version AS migration WHERE version > $1
"""
_QUEUE_MADE_BY = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'koshelek'"


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

    Where nothing is missing, nothing is changed: a role without a right to change tables may call this, and
    an older program leaves what a newer one has made. Without ``upgrade`` only an empty database gets its
    tables.

    Raises:
        SchemaUnfit: the database is ahead of this program, or behind it and not to be upgraded, or not to be
            upgraded by this role.
        OSError, asyncpg.PostgresError: the database cannot be reached or changed.
    """
    # A pooler in transaction mode may stand between: no parameters of a session, no prepared statements,
    # and a lock that ends with the transaction.
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        return await _in_turn(connection, upgrade)
    except asyncpg.InsufficientPrivilegeError:
        if (why := await _right_that_lacks(connection)) is None:
            raise
        raise SchemaUnfit(why) from None
    finally:
        await connection.close()


async def _right_that_lacks(connection: RawConnection) -> str | None:
    """Why the tables can be neither made nor changed by this role, and what to do."""
    row = await connection.fetchrow(_OWNER)
    if row is None:
        return (
            "the database has no tables of the adapter, and the user of database.url may not make them; run "
            "koshelek-adapter database prepare with a role that may (GRANT CREATE ON DATABASE)"
        )
    if row["ours"]:
        return None
    what = "may not change its tables, which are of an older version" if row["usable"] else "may not use it"
    return (
        f"the schema koshelek in the database belongs to the role {row['owner']}, and the user of "
        f"database.url {what}; run koshelek-adapter database prepare with the role {row['owner']}: it brings "
        "the tables along and prints the GRANTs that lack"
    )


async def _in_turn(connection: RawConnection, upgrade: bool) -> tuple[int, int]:
    async with connection.transaction():
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        return await _migrate(connection, upgrade)


async def _migrate(connection: RawConnection, upgrade: bool) -> tuple[int, int]:
    before, latest = await schema_version(connection), latest_version()
    if before > latest and await _oldest_program(connection) > latest:
        raise SchemaUnfit(
            f"the database has schema version {before}, this program knows {latest}; "
            "install the newer version of koshelek-adapter"
        )
    if 0 < before < latest and not upgrade:
        raise SchemaUnfit(
            f"the database has schema version {before}, this program needs {latest}; "
            "update the service first (koshelek-adapter serve or database prepare brings the schema along), "
            "or use the version of koshelek-adapter that it runs"
        )
    if before < latest:
        await connection.execute(_BASE)
        for version, name, sql in migrations():
            if version > before:
                await connection.execute(sql)
                await connection.execute(
                    "INSERT INTO koshelek.schema_version (version, name) VALUES ($1, $2)", version, name
                )
                if (older := _RUNS_FROM.match(sql)) is not None:
                    await connection.execute(
                        "UPDATE koshelek.schema_version SET runs_from = $1 WHERE version = $2",
                        int(older[1]),
                        version,
                    )
    if upgrade or not before:
        await _bring_queue_along(connection, compare=before < latest)
    return before, max(before, latest)


async def _oldest_program(connection: RawConnection) -> int:
    """The schema version that a program has to know to run with all migrations it does not know."""
    return int(await connection.fetchval(_OLDEST_PROGRAM, latest_version()))


async def _bring_queue_along(connection: RawConnection, *, compare: bool) -> None:
    """Make the queue's tables, or bring them to our library's version; never back to an older one's.

    ``compare``: also look at tables of this very version.
    """
    queue = queries(AsyncpgDriver(connection))
    ours = f"pgqueuer {metadata.version('pgqueuer')}"
    made_by = await connection.fetchval(_QUEUE_MADE_BY)
    if made_by == ours and not compare:  # which takes the database longer than all else of a start
        return
    if not await queue.schema_is_installed():
        await queue.install(create_schema=False)
        await queue.optimize_autovacuum()
    elif _numbers(made_by) > _numbers(ours):
        return
    elif (await queue.plan_upgrade()).statements:
        await queue.upgrade()
    else:
        return
    await connection.execute(f"COMMENT ON SCHEMA koshelek IS '{ours}'")


def _numbers(version: str | None) -> list[int]:
    """The numbers of a version, to compare it by; none of what is not known."""
    return [int(number) for number in re.findall(r"\d+", version or "")]
