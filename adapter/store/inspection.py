"""What ``check`` asks the adapter's own database: rights that lack, card numbers in each other's way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapter.loyalty.numbers import range_number
from adapter.settings import NumberRange
from adapter.store.ranges import draw

if TYPE_CHECKING:
    from adapter.store.pool import Connection

MOST = 10_000
"""Numbers that are counted at most."""
_LACKING = """
    SELECT kind, name, lacking
      FROM (SELECT 'TABLE' AS kind, oid::regclass::text AS name,
                   ARRAY(SELECT privilege
                           FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
                          WHERE NOT has_table_privilege(oid, privilege)) AS lacking
              FROM pg_class WHERE relnamespace = to_regnamespace('koshelek') AND relkind IN ('r', 'p')
            UNION ALL
            SELECT 'SEQUENCE', oid::regclass::text,
                   CASE WHEN relkind <> 'S' OR has_sequence_privilege(oid, 'USAGE, UPDATE') THEN '{}'
                        ELSE ARRAY['USAGE'] END
              FROM pg_class WHERE relnamespace = to_regnamespace('koshelek') AND relkind = 'S') AS tables
     WHERE lacking <> '{}'
     ORDER BY kind DESC, name
"""
_OF_OTHERS = """
    SELECT count(*) FROM pg_class
     WHERE relnamespace = to_regnamespace('koshelek') AND relkind IN ('r', 'p')
       AND NOT pg_has_role(relowner, 'USAGE')
"""
_IN_RANGE = """
    SELECT count(*) FROM (
        SELECT FROM koshelek.cards
         WHERE number BETWEEN $1 AND $2 AND length(number) = $3 AND number ~ '^[0-9]+$' {} LIMIT $4
    ) AS taken
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """What the role of database.url may do with the adapter's own tables."""

    role: str
    read_only: bool
    """A standby, or a role or database that is set so."""
    grants: tuple[str, ...]
    """SQL that gives what lacks."""
    not_ours: int
    """Tables of another owner, which a later version could not change."""


async def rights(connection: Connection) -> Rights:
    role = str(await connection.fetchval("SELECT quote_ident(current_user)"))
    read_only = await connection.fetchval("SHOW transaction_read_only") == "on"
    grants = [
        f"GRANT {', '.join(row['lacking'])} ON {row['kind']} {row['name']} TO {role};"
        for row in await connection.fetch(_LACKING)
    ]
    return Rights(role, read_only, tuple(grants), int(await connection.fetchval(_OF_OTHERS)))


@dataclass(frozen=True, slots=True)
class RangeUse:
    """How far a range of card numbers is used up."""

    left: int
    ahead: tuple[str, ...]
    """The next few numbers; some that may be drawn, where the order is random."""
    taken: int
    """Numbers ahead that an import has brought, so that they are passed over; ``MOST`` at most."""


async def range_use(connection: Connection, rule: NumberRange) -> RangeUse:
    key = (rule.prefix, rule.length, rule.check_digit)
    counted = await connection.fetchval(
        "SELECT next_value FROM koshelek.number_ranges WHERE (prefix, length, check_digit) = ($1, $2, $3)",
        *key,
    )
    start = max(rule.first, counted or 0)
    if start > rule.end:
        return RangeUse(0, (), 0)
    bounds = (range_number(rule, start), range_number(rule, rule.end), rule.length)
    left = rule.end - start + 1
    if rule.order == "counting":
        ahead = tuple(range_number(rule, value) for value in range(start, min(start + 5, rule.end + 1)))
        # One that a person has put in the place of another is no sign of a series brought from elsewhere.
        brought = await connection.fetchval(_IN_RANGE.format("AND replaces IS NULL"), *bounds, MOST)
        return RangeUse(left, ahead, int(brought))
    # Those that were drawn are among them, too; without an owner are those that were brought.
    used = await connection.fetchval(_IN_RANGE.format(""), *bounds, None)
    brought = await connection.fetchval(_IN_RANGE.format("AND state = 'ownerless'"), *bounds, MOST)
    return RangeUse(left - int(used), tuple(draw(rule, start) for _ in range(5)), int(brought))
