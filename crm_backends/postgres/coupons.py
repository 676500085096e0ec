"""The coupons port over PostgreSQL: the files ``coupons_….sql``.

It may not know a table by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from crm_backends.model import Holder, Offer
from crm_backends.ports import Deadline, Refusal, Written
from crm_backends.postgres import rows
from crm_backends.postgres.base import PostgresDriver


class PostgresCoupons(PostgresDriver):
    """Coupons in PostgreSQL."""

    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """Whose coupons these are; ``coupons_account.sql``."""
        found = await self._read("coupons_account", rows.holder_values(holder), deadline, rows.account)
        return self._only("coupons_account", found, str)

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        """General offers and the holder's own; ``coupons_offers.sql``."""
        values = self._dated(account=account)
        return await self._read("coupons_offers", values, deadline, lambda row: rows.offer(row, self._zone))

    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Give the coupons of an occasion, once per key; ``coupons_issue.sql``."""
        values = self._dated(account=account, occasion=occasion, idempotency_key=idempotency_key)
        return await self._write("coupons_issue", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER)

    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Use a promo code, once per key; ``coupons_redeem.sql``."""
        values = self._dated(account=account, code=code, idempotency_key=idempotency_key)
        return await self._write("coupons_redeem", values, deadline, missing=Refusal.CODE_UNKNOWN)
