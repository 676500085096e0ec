"""Asks the database about card numbers, for ``check``: how many are left, and whether series overlap."""

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
_IN_RANGE = """
    SELECT count(*) FROM (
        SELECT FROM koshelek.cards
         WHERE number BETWEEN $1 AND $2 AND length(number) = $3 AND number ~ '^[0-9]+$' {} LIMIT $4
    ) AS taken
"""


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
        # A replacement that a person entered is no sign of a series brought from elsewhere.
        brought = await connection.fetchval(_IN_RANGE.format("AND replaces IS NULL"), *bounds, MOST)
        return RangeUse(left, ahead, int(brought))
    # Used are drawn numbers and brought ones; the brought ones have no owner.
    used = await connection.fetchval(_IN_RANGE.format(""), *bounds, None)
    brought = await connection.fetchval(_IN_RANGE.format("AND state = 'ownerless'"), *bounds, MOST)
    return RangeUse(left - int(used), tuple(draw(rule, start) for _ in range(5)), int(brought))
