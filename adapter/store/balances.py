"""The last balance a CRM told of each card, kept for the time when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import structlog

from adapter import background
from adapter.loyalty.ports import StoreUnavailable
from adapter.store.pool import Gateway
from crm_backends.model import Balance

log = structlog.get_logger("store")

_FRESH_ENOUGH = timedelta(minutes=1)


class PostgresBalances:
    """Implements ``adapter.loyalty.ports.BalanceBook``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._notes: dict[str, Balance] = {}
        self._being_written: Mapping[str, Balance] = {}
        self._writer: asyncio.Task[None] | None = None

    def note(self, number: str, balance: Balance) -> None:
        self._notes[number] = balance
        if self._writer is None or self._writer.done():
            self._writer = background.start(self._write_off(), "balances")

    async def _write_off(self) -> None:
        while self._notes:
            self._being_written, self._notes = self._notes, {}
            try:
                await self._write(dict(sorted(self._being_written.items())))  # in one order: no deadlock
            except Exception as error:
                log.warning("balance_not_noted", reason=type(error).__name__)
        self._being_written = {}

    async def _write(self, notes: Mapping[str, Balance]) -> None:
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
                list(notes),
                [balance.total for balance in notes.values()],
                [balance.available for balance in notes.values()],
                _FRESH_ENOUGH,
            )

    async def last_known(self, number: str, seconds: float) -> Balance | None:
        try:
            return await self._told(number, timedelta(seconds=seconds))
        except StoreUnavailable:
            return None

    async def ever_told(self, number: str) -> Balance | None:
        return await self._told(number, None)

    async def _told(self, number: str, within: timedelta | None) -> Balance | None:
        noted = self._notes.get(number) or self._being_written.get(number)
        if noted is not None:  # a moment ago
            return noted
        async with self._gateway.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT total, available FROM koshelek.last_balances
                 WHERE card_number = $1 AND ($2::interval IS NULL OR at > now() - $2::interval)
                """,
                number,
                within,
            )
        return Balance(Decimal(row["total"]), Decimal(row["available"])) if row else None

    async def close(self) -> None:
        """Let what was noted be written."""
        if self._writer is not None:
            await self._writer
