"""The last balance a CRM told of each card, kept for the time when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import structlog

from adapter.loyalty.ports import StoreUnavailable
from adapter.store.pool import Gateway
from adapter.store.together import Together
from crm_backends.model import Balance

log = structlog.get_logger("store")

_FRESH_ENOUGH = timedelta(minutes=1)


class PostgresBalances:
    """Implements ``adapter.loyalty.ports.BalanceBook``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._noting = Together(self._note_together, most=100, lanes=1)
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, number: str, balance: Balance) -> None:
        task = asyncio.create_task(self._noting((number, balance)))
        self._tasks.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("balance_not_noted", reason=type(error).__name__)

    async def _note_together(self, notes: Sequence[tuple[str, Balance]]) -> list[None]:
        latest = dict(notes)
        async with self._gateway.connection() as connection:
            await connection.execute(
                """
                INSERT INTO koshelek.last_balances AS known (card_number, total, available)
                SELECT * FROM unnest($1::text[], $2::numeric[], $3::numeric[])
                ON CONFLICT (card_number) DO UPDATE
                   SET total = EXCLUDED.total, available = EXCLUDED.available, at = now()
                 WHERE (known.total, known.available) <> (EXCLUDED.total, EXCLUDED.available)
                    OR known.at < now() - $4::interval
                """,
                list(latest),
                [balance.total for balance in latest.values()],
                [balance.available for balance in latest.values()],
                _FRESH_ENOUGH,
            )
        return [None] * len(notes)

    async def last_known(self, number: str, seconds: float) -> Balance | None:
        try:
            async with self._gateway.connection() as connection:
                row = await connection.fetchrow(
                    """
                    SELECT total, available FROM koshelek.last_balances
                     WHERE card_number = $1 AND at > now() - $2::interval
                    """,
                    number,
                    timedelta(seconds=seconds),
                )
        except StoreUnavailable:
            return None
        return Balance(Decimal(row["total"]), Decimal(row["available"])) if row else None

    async def close(self) -> None:
        """Let notes under way be written."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
