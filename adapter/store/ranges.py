"""Card numbers made by counting: the next of a range that no card of the registry has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapter.loyalty.numbers import range_number
from adapter.settings import NumberRange

if TYPE_CHECKING:
    from adapter.store.pool import Connection

_CHUNK = 256


async def next_of_range(connection: Connection, rule: NumberRange) -> str | None:
    """The next number of a range that is not in use; its counter stays locked until the commit."""
    key = (rule.prefix, rule.length, rule.check_digit)
    await connection.execute(
        """
        INSERT INTO koshelek.number_ranges (prefix, length, check_digit, next_value)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
        """,
        *key,
        rule.first,
    )
    start = await connection.fetchval(
        """
        SELECT greatest(next_value, $4) FROM koshelek.number_ranges
         WHERE (prefix, length, check_digit) = ($1, $2, $3) FOR UPDATE
        """,
        *key,
        rule.first,
    )
    while start <= rule.end:
        stop = min(start + _CHUNK, rule.end + 1)
        candidates = {range_number(rule, value): value for value in range(start, stop)}
        rows = await connection.fetch(
            "SELECT number FROM koshelek.cards WHERE number = ANY($1)", list(candidates)
        )
        used = {row["number"] for row in rows}
        for number, value in candidates.items():
            if number not in used:
                await connection.execute(
                    """
                    UPDATE koshelek.number_ranges SET next_value = $4
                     WHERE (prefix, length, check_digit) = ($1, $2, $3)
                    """,
                    *key,
                    value + 1,
                )
                return number
        start = stop
    return None
