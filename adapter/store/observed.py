"""What Koshelek sends that no setting names, added up over all processes: names alone, never values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapter.loyalty.observed import Observed, ObservedName
from adapter.store.pool import Gateway

MOST = 1000
"""Different names that are kept; a caller who makes names up fills no database."""

# In one order everywhere, or two processes would wait for each other.
_NOTE = """
    INSERT INTO koshelek.observed AS known (call, what, name, times)
    SELECT call, what, name, times
      FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS seen (call, what, name, times)
     WHERE (SELECT count(*) FROM koshelek.observed) < $5
        OR EXISTS (SELECT FROM koshelek.observed AS kept
                    WHERE (kept.call, kept.what, kept.name) = (seen.call, seen.what, seen.name))
     ORDER BY call, what, name
    ON CONFLICT (call, what, name) DO UPDATE
       SET times = known.times + EXCLUDED.times, last_seen = now()
    RETURNING call, what, name, xmax = 0 AS is_new
"""


class PostgresObserved:
    """Raises ``StoreUnavailable`` from everything."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def note(self, counted: Mapping[ObservedName, int]) -> Sequence[ObservedName]:
        """Add up what was seen; returns those that nobody had seen before."""
        names = list(counted)
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(
                _NOTE,
                [seen.call for seen in names],
                [seen.what for seen in names],
                [seen.name for seen in names],
                [counted[seen] for seen in names],
                MOST,
            )
        return [ObservedName(row["call"], row["what"], row["name"]) for row in rows if row["is_new"]]

    async def all(self) -> Sequence[Observed]:
        """Everything that was seen, what was seen last first."""
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(
                "SELECT call, what, name, times, first_seen, last_seen FROM koshelek.observed "
                "ORDER BY last_seen DESC, call, what, name"
            )
        return [
            Observed(
                ObservedName(row["call"], row["what"], row["name"]),
                row["times"],
                row["first_seen"],
                row["last_seen"],
            )
            for row in rows
        ]

    async def forget(self) -> int:
        """Begin anew; returns how many there were."""
        async with self._gateway.connection() as connection:
            tag = await connection.execute("DELETE FROM koshelek.observed")
        return int(tag.split()[-1])
