"""Consents of card holders in PostgreSQL, with the time of the last change."""

from __future__ import annotations

from adapter.store.pool import Gateway
from crm_backends.model import ChannelConsents


class PostgresConsents:
    """Implements ``adapter.loyalty.ports.ConsentBook``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def record(self, number: str, consents: ChannelConsents) -> None:
        channels = sorted(consents.allow | consents.deny)  # in one order everywhere: no deadlock
        async with self._gateway.connection() as connection:
            await connection.execute(
                """
                INSERT INTO koshelek.consents (card_number, channel, allowed)
                SELECT $1, channel, channel = ANY($3) FROM unnest($2::text[]) AS channel
                ON CONFLICT (card_number, channel)
                DO UPDATE SET allowed = EXCLUDED.allowed, changed_at = now()
                """,
                number,
                channels,
                list(consents.allow),
            )
