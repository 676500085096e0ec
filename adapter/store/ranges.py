"""Card numbers of a range: one that no card of the registry has, drawn at random or the next by counting.

It may not know for whom the number is.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from adapter.loyalty.numbers import range_number
from adapter.settings import NumberRange

if TYPE_CHECKING:
    from adapter.store.pool import Connection

_DRAWS = 32
"""Numbers drawn at once. Only where nearly all are in use none of them is free."""
_CHUNK = 256

_USED = "SELECT number FROM koshelek.cards WHERE number = ANY($1)"
_COUNTER = """
    SELECT greatest(next_value, $4) FROM koshelek.number_ranges
     WHERE (prefix, length, check_digit) = ($1, $2, $3)
"""
_COUNTED = """
    UPDATE koshelek.number_ranges SET next_value = $4 WHERE (prefix, length, check_digit) = ($1, $2, $3)
"""


async def number_of_range(connection: Connection, rule: NumberRange) -> str | None:
    """A number of the range that is not in use; ``None``: all are.

    Another transaction may be about to take the same: inserting it decides.
    """
    if rule.order == "random":
        number = await _drawn(connection, rule)
        if number is not None:
            return number
    return await _next(connection, rule)


def draw(rule: NumberRange, start: int) -> str:
    """A random number of the range, from the value ``start`` on."""
    return range_number(rule, start + secrets.randbelow(rule.end - start + 1))


async def _drawn(connection: Connection, rule: NumberRange) -> str | None:
    """A random number; ``None``: those drawn were all in use.

    What lies behind the counter is not drawn: it was given by counting, or is not to be given.
    """
    counted = await connection.fetchval(_COUNTER, *_key(rule), rule.first)
    start = rule.first if counted is None else counted
    if start > rule.end:
        return None
    drawn = [draw(rule, start) for _ in range(_DRAWS)]
    used = {row["number"] for row in await connection.fetch(_USED, drawn)}
    return next((number for number in drawn if number not in used), None)


async def _next(connection: Connection, rule: NumberRange) -> str | None:
    """The next number by counting; the counter stays locked until the commit."""
    key = _key(rule)
    await connection.execute(
        """
        INSERT INTO koshelek.number_ranges (prefix, length, check_digit, next_value)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
        """,
        *key,
        rule.first,
    )
    start = await connection.fetchval(f"{_COUNTER} FOR UPDATE", *key, rule.first)
    if start > rule.end:
        return None
    while start <= rule.end:
        stop = min(start + _CHUNK, rule.end + 1)
        candidates = {range_number(rule, value): value for value in range(start, stop)}
        used = {row["number"] for row in await connection.fetch(_USED, list(candidates))}
        for number, value in candidates.items():
            if number not in used:
                await connection.execute(_COUNTED, *key, value + 1)
                return number
        start = stop
    await connection.execute(_COUNTED, *key, start)  # or every later call would look through them all again
    return None


def _key(rule: NumberRange) -> tuple[str, int, str]:
    return rule.prefix, rule.length, rule.check_digit
