"""The points port over PostgreSQL: the files ``points_….sql``.

It may not know a table by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import TypeAlias

from crm_backends.batching import Batched
from crm_backends.model import Balance, Credit, Holder, PointsEntry, Purchase
from crm_backends.ports import AccountUnknown, BackendError, Deadline, Refusal, Written
from crm_backends.postgres import rows, statements
from crm_backends.postgres.base import NoneWritten, PostgresDriver
from crm_backends.postgres.settings import PostgresSettings
from crm_backends.registry import BackendContext

_Wanted: TypeAlias = tuple[Mapping[str, object], Deadline]
"""The values of a credit, and until when it is to be done."""
_CREDITS_LANES = 2
"""Statements of credits at once."""
_TO_JOIN, _TO_BE_SENT = 1.0, 0.5
"""Seconds that a credit must have left to go together with others, and when its turn has come: all of them
end with the one that has least, and would be in doubt. With less it goes alone, or is not sent."""


class PostgresPoints(PostgresDriver):
    """Points in PostgreSQL."""

    def __init__(self, settings: PostgresSettings, context: BackendContext) -> None:
        super().__init__(settings, context)
        self._crediting = Batched(
            self._credit_together,
            most=statements.MOST_WRITES,
            lanes=_CREDITS_LANES,
            errors_for_whole_batch=(BackendError, NoneWritten),
        )

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
        """Put points on an account, once per key; ``points_credit.sql``.

        In the adapter's own database, by our own statement, credits that arrive while others are under way go
        together: one commit for many. A partner's statement may be slow, and they would queue up.
        """
        values = self._dated(account=account, idempotency_key=idempotency_key, **rows.credit_values(credit))
        wanted = values, deadline
        together = self._database.shared and self._ours("points_credit") and not self._database.pooler
        if together and deadline.remaining() >= _TO_JOIN:
            # After NoneWritten each goes alone and in its own time, so that one that is refused, or waits
            # for a lock, is no other's trouble.
            with contextlib.suppress(NoneWritten):
                return await self._crediting(wanted)
        return await self._credit_alone(wanted)

    async def _credit_alone(self, wanted: _Wanted) -> Written:
        values, deadline = wanted
        return await self._write("points_credit", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER)

    async def _credit_together(self, wanted: Sequence[_Wanted]) -> Sequence[Written]:
        ends = [Written.not_sent("no time was left to send it")] * len(wanted)
        in_time = [n for n, (_, deadline) in enumerate(wanted) if deadline.remaining() >= _TO_BE_SENT]
        if in_time:
            deadline = min((wanted[n][1] for n in in_time), key=Deadline.remaining)
            every = [wanted[n][0] for n in in_time]
            missing = Refusal.NO_SUCH_CUSTOMER
            written = await self._write_together("points_credit", every, deadline, missing=missing)
            for n, end in zip(in_time, written, strict=True):
                ends[n] = end
        return ends
