"""Phones and e-mails that customers are just being given, in PostgreSQL, for all processes; kept hashed.

It may not know what the CRM says of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from adapter.store.identities import Identities
from adapter.store.pool import Gateway

_LASTS = timedelta(minutes=1)
"""A CRM's search may show a change late, and a call may end without its outcome being known."""

# What somebody else has at hand is left to the next one: calls that wait for each other crosswise would fail.
_FORGET = """
    DELETE FROM koshelek.contact_claims
     WHERE contact IN (SELECT contact FROM koshelek.contact_claims
                        WHERE until < now() OR (customer = $1 AND contact <> ALL($2))
                          FOR UPDATE SKIP LOCKED)
"""
# One that ends later than any of this time can was made before the database's clock was put back. Not only
# later than ours: a transaction that began after ours may have been faster.
_CLAIM = """
    INSERT INTO koshelek.contact_claims AS claim (contact, customer, until)
    SELECT contact, $1, now() + $3::interval FROM unnest($2::text[]) AS contact ORDER BY contact
    ON CONFLICT (contact) DO UPDATE SET customer = EXCLUDED.customer, until = EXCLUDED.until
     WHERE claim.customer = EXCLUDED.customer
        OR claim.until < now() OR claim.until > EXCLUDED.until + $3::interval
    RETURNING contact
"""
_RELEASE = "DELETE FROM koshelek.contact_claims WHERE customer = $1"
_CLAIMED = """
    SELECT EXISTS (SELECT FROM koshelek.contact_claims
                    WHERE contact = ANY($1) AND until BETWEEN now() AND now() + 2 * $2::interval)
"""


class _Taken(Exception):
    """Undoes what the transaction has done."""


class PostgresContactClaims:
    """Implements ``adapter.loyalty.ports.ContactClaims``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._identities = Identities(gateway)

    async def claim(self, contacts: Sequence[str], customer_id: str) -> bool:
        hashed = await self._hashed(contacts)
        try:
            async with self._gateway.connection() as connection, connection.transaction():
                if len(await connection.fetch(_CLAIM, customer_id, hashed, _LASTS)) < len(hashed):
                    raise _Taken
                await connection.execute(_FORGET, customer_id, hashed)
        except _Taken:
            return False
        return True

    async def release(self, customer_id: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(_RELEASE, customer_id)

    async def are_claimed(self, contacts: Sequence[str]) -> bool:
        hashed = await self._hashed(contacts)
        async with self._gateway.connection() as connection:
            return bool(await connection.fetchval(_CLAIMED, hashed, _LASTS))

    async def _hashed(self, contacts: Sequence[str]) -> list[str]:
        return sorted({await self._identities.kept(contact) for contact in contacts})
