"""What a role of the database may do with tables of ours, what lacks, what is more than it needs, and whether
its line is encrypted.

The role that serves reads and writes rows and changes no table; another one owns the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapter.store.pool import Connection

OWN = "koshelek"
"""The adapter's own schema."""
KEPT = ("card_events", "console_audit", "operation_events")
"""Tables that say who did what: rows are added, and never removed."""

# The sequence of an identity column needs no right of its own, that of a serial column does.
_LACKING = """
    WITH wanted AS (
        SELECT oid, quote_ident(nspname) AS schema FROM pg_namespace WHERE nspname = ANY($2::text[])
    ),
    lacking AS (
        SELECT 'SCHEMA' AS kind, 'USAGE' AS privileges, schema AS object
          FROM wanted WHERE NOT has_schema_privilege($1, oid, 'USAGE')
        UNION ALL
        SELECT 'TABLE', string_agg(privilege, ', ' ORDER BY place), format('%s.%I', schema, relname)
          FROM pg_class
          JOIN wanted ON wanted.oid = relnamespace
         CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'])
                    WITH ORDINALITY AS every (privilege, place)
         WHERE relkind IN ('r', 'p')
           AND (privilege = 'SELECT' OR relname <> 'schema_version')
           AND NOT (privilege = 'DELETE' AND schema = 'koshelek' AND relname = ANY($3::text[]))
           AND NOT has_table_privilege($1, pg_class.oid, privilege)
         GROUP BY schema, relname
        UNION ALL
        SELECT 'SEQUENCE', 'USAGE', format('%s.%I', schema, relname)
          FROM pg_class
          JOIN wanted ON wanted.oid = relnamespace
         -- CASE, since the function fails on what is no sequence, and AND has no order.
         WHERE CASE relkind WHEN 'S' THEN NOT has_sequence_privilege($1, pg_class.oid, 'USAGE') END
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'i')
    )
    SELECT privileges || ' ON ' || kind || ' ' || string_agg(object, ', ' ORDER BY object) AS lacking
      FROM lacking GROUP BY kind, privileges
     ORDER BY array_position(ARRAY['SCHEMA', 'TABLE'], kind), privileges
"""
_OF_DATABASE = """
    SELECT string_agg(privilege, ', ' ORDER BY privilege)
           || ' ON DATABASE ' || quote_ident(current_database()) AS lacking
      FROM unnest(ARRAY['CONNECT', 'TEMPORARY']) AS privilege
     WHERE NOT has_database_privilege($1, current_database(), privilege)
"""
# Not the owner's, nor what a role has by another role: to take that away is not for these statements.
_REMOVES_KEPT = """
    SELECT string_agg(format('%s.%I', relnamespace::regnamespace, relname), ', ' ORDER BY relname)
      FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)
     WHERE relnamespace = to_regnamespace('koshelek') AND relname = ANY($2::text[])
       AND grantee = (SELECT oid FROM pg_roles WHERE rolname = $1) AND grantee <> relowner
       AND privilege_type = 'DELETE'
"""
_WIDE = """
    SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
           has_database_privilege($1, current_database(), 'CREATE') AS creates_schemas,
           EXISTS (SELECT FROM pg_namespace
                    WHERE nspname = ANY($2::text[]) AND has_schema_privilege($1, oid, 'CREATE')) AS creates,
           EXISTS (SELECT FROM pg_class
                    WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY($2::text[]))
                      AND pg_has_role($1, relowner, 'USAGE')) AS owns
      FROM pg_roles WHERE rolname = $1
"""
_MORE_THAN_NEEDED = {
    "rolsuper": "is a superuser",
    "rolcreaterole": "may make roles",
    "rolcreatedb": "may make databases",
    "rolreplication": "may replicate the whole server",
    "rolbypassrls": "passes row security",
    "owns": "owns tables",
    "creates": "may make tables",
    "creates_schemas": "may make schemas",
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What the role of database.url may do with the adapter's own tables."""

    role: str
    """As SQL writes it."""
    read_only: bool
    """A standby, or a role or database that is set so."""
    grants: tuple[str, ...]
    """SQL that gives what lacks."""
    more: tuple[str, ...]
    """What it may do besides, a few words each: whoever gets hold of its password may do it, too."""
    revokes: tuple[str, ...]
    """SQL that takes from it the right to remove what says who did what."""


async def rights(connection: Connection) -> Rights:
    """Rights of the role that ``connection`` has."""
    role = str(await connection.fetchval("SELECT current_user"))
    return Rights(
        str(await connection.fetchval("SELECT quote_ident($1)", role)),
        await connection.fetchval("SHOW transaction_read_only") == "on",
        await grants(connection, role, [OWN]),
        await more_than_needed(connection, role, [OWN]),
        await revokes(connection, role),
    )


async def grants(connection: Connection, role: str, schemas: Sequence[str]) -> tuple[str, ...]:
    """SQL that gives ``role`` what it lacks to serve with the tables of these schemas."""
    name = await connection.fetchval("SELECT quote_ident($1)", role)
    rows = await connection.fetch(_OF_DATABASE, role)
    rows += await connection.fetch(_LACKING, role, list(schemas), list(KEPT))
    return tuple(f"GRANT {row['lacking']} TO {name};" for row in rows if row["lacking"])


async def revokes(connection: Connection, role: str) -> tuple[str, ...]:
    """SQL that takes from ``role`` the right to remove what says who did what; older versions gave it."""
    tables = await connection.fetchval(_REMOVES_KEPT, role, list(KEPT))
    name = await connection.fetchval("SELECT quote_ident($1)", role)
    return (f"REVOKE DELETE ON TABLE {tables} FROM {name};",) if tables else ()


async def more_than_needed(connection: Connection, role: str, schemas: Sequence[str]) -> tuple[str, ...]:
    """What ``role`` may do besides reading and writing, a few words each."""
    row = await connection.fetchrow(_WIDE, role, list(schemas))
    if row is None:
        return ()
    more = tuple(words for column, words in _MORE_THAN_NEEDED.items() if row[column])
    return more[:1] if row["rolsuper"] else more  # a superuser may do all the rest, too


async def role_exists(connection: Connection, role: str) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role))


async def encryption(connection: Connection) -> str | None:
    """Version of TLS on the line to the server; ``None``: it is not encrypted."""
    version = await connection.fetchval(
        "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
    )
    return None if version is None else str(version)
