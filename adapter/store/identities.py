"""Identities of operations that are personal: a registration is known by a phone or an e-mail.

They only have to be recognised again, so what is kept is a hash with a key of this database.
"""

from __future__ import annotations

import hashlib

from adapter.loyalty.model import OperationKind
from adapter.store.pool import Gateway

PERSONAL = frozenset({OperationKind.REGISTRATION})
"""Kinds of operations whose identities are kept hashed."""


class Identities:
    """Asks for the key once; it never changes. Raises ``StoreUnavailable``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._key: bytes | None = None

    async def kept(self, identity: str) -> str:
        """What is kept of a personal identity."""
        if self._key is None:
            async with self._gateway.connection() as connection:
                self._key = bytes(await connection.fetchval("SELECT key FROM koshelek.identity_key"))
        return hashlib.sha256(self._key + identity.encode()).hexdigest()
