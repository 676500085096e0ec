"""E-mails of the holders that a users CRM cannot be asked for, in PostgreSQL."""

from __future__ import annotations

from adapter.store.pool import Gateway


class PostgresEmails:
    """Implements ``adapter.loyalty.ports.EmailBook``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def owner(self, email: str) -> str | None:
        async with self._gateway.connection() as connection:
            found: str | None = await connection.fetchval(
                "SELECT users_reference FROM koshelek.emails WHERE email = $1", email
            )
        return found

    async def note(self, users_reference: str, email: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                """
                WITH former AS (
                    DELETE FROM koshelek.emails WHERE users_reference = $1 AND email <> $2
                )
                INSERT INTO koshelek.emails (users_reference, email) VALUES ($1, $2)
                ON CONFLICT (email) DO NOTHING
                """,
                users_reference,
                email,
            )
