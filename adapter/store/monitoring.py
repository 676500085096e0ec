"""What is not over, counted, for those who watch the service. It may not know how that is shown."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.loyalty.model import OPEN, OperationKind, OperationState
from adapter.loyalty.ports import Waiting
from adapter.store.pool import Gateway

_COUNTED = 10_000
# Cheap however many wait: of each state the oldest come first in the index operations_open, and nothing else
# comes in this order. Only with statistics from before a burst would the planner rather sort them all.
_IN_ORDER = "SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)"
_WAITING = """
    SELECT kind, state, count(*) AS count,
           greatest(0, extract(epoch FROM now() - min(recorded_at)))::float8 AS oldest_seconds
      FROM unnest($1::text[]) AS open (name)
     CROSS JOIN LATERAL (
               SELECT kind, state, recorded_at FROM koshelek.operations
                -- Not "state = open.name": then any index on the id would be in order too.
                WHERE (state, id) >= (open.name, 0) AND state IN ('recorded', 'sent', 'unknown', 'held')
                ORDER BY state, id LIMIT $2
           ) AS oldest
     WHERE state = open.name
     GROUP BY kind, state
    UNION ALL
    SELECT kind, state, count(*), greatest(0, extract(epoch FROM now() - min(recorded_at)))::float8
      FROM (SELECT kind, state, recorded_at FROM koshelek.operations
             WHERE state = 'doubled' ORDER BY state, id LIMIT $2) AS doubled
     GROUP BY kind, state
"""


class PostgresMonitoring:
    """Counts. Raises ``StoreUnavailable``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def waiting(self) -> Sequence[Waiting]:
        """What is not over, counted."""
        async with self._gateway.connection() as connection, connection.transaction():
            await connection.execute(_IN_ORDER)
            rows = await connection.fetch(_WAITING, list(OPEN), _COUNTED)
        return [
            Waiting(
                OperationKind(row["kind"]), OperationState(row["state"]), row["count"], row["oldest_seconds"]
            )
            for row in rows
        ]
