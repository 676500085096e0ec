"""E-mails of the holders that a users CRM cannot be asked for, in PostgreSQL.

They are kept and looked for in their one form: who wrote one into the CRM may have spelled it otherwise.
"""

from __future__ import annotations

from adapter.store.pool import Gateway
from crm_backends.inputs import read_email


def _one_form(email: str) -> str:
    return read_email(email) or email.lower()


class PostgresEmails:
    """Implements ``adapter.loyalty.ports.EmailBook``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def owner(self, email: str) -> str | None:
        async with self._gateway.connection() as connection:
            found: str | None = await connection.fetchval(
                "SELECT users_reference FROM koshelek.emails WHERE email = $1", _one_form(email)
            )
        return found

    async def note(self, users_reference: str, email: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                """
                WITH noted AS (
                    INSERT INTO koshelek.emails AS known (users_reference, email) VALUES ($1, $2)
                    ON CONFLICT (email) DO UPDATE SET email = EXCLUDED.email
                     WHERE known.users_reference = EXCLUDED.users_reference
                    RETURNING email
                )
                DELETE FROM koshelek.emails
                 WHERE users_reference = $1 AND email <> $2 AND EXISTS (SELECT FROM noted)
                """,
                users_reference,
                _one_form(email),
            )
