"""The points port over PostgreSQL: the files ``points_….sql``.

It may not know a table by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from crm_backends.model import Balance, Credit, Holder, PointsEntry, Purchase
from crm_backends.ports import AccountUnknown, Deadline, Refusal, Written
from crm_backends.postgres import rows
from crm_backends.postgres.base import PostgresDriver


class PostgresPoints(PostgresDriver):
    """Points in PostgreSQL."""

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """Whose points these are; ``points_account.sql``."""
        found = await self._read("points_account", rows.holder_values(holder), deadline, rows.account)
        return self._only("points_account", found, str)

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """Points on the account; ``points_balance.sql``. No row: there is no account, and nothing on it."""
        found = await self._read("points_balance", self._dated(account=account), deadline, rows.balance)
        balance = self._only("points_balance", found, lambda balance: balance)
        if balance is None:
            raise AccountUnknown("postgres: points_balance returns no row", has_nothing=True)
        return balance

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """Movements, newest first; ``points_entries.sql``."""
        values = self._dated(account=account, limit=limit)
        return await self._read("points_entries", values, deadline, lambda row: rows.entry(row, self._zone))

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Purchase lines of whole days, both included; ``points_purchases.sql``."""
        values = {
            "account": account,
            "since": since,
            "until": until,
            "since_at": datetime.combine(since, time.min, self._zone),
            "until_at": datetime.combine(until + timedelta(days=1), time.min, self._zone),
        }
        return await self._read(
            "points_purchases", values, deadline, lambda row: rows.purchase(row, self._zone)
        )

    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Put points on an account, once per key; ``points_credit.sql``."""
        values = self._dated(account=account, idempotency_key=idempotency_key, **rows.credit_values(credit))
        return await self._write("points_credit", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER)
