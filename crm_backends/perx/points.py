"""The points port of Perx: its loyalty programme and the history of what was moved.

It may not know how a call is made (``requests``) nor what a reply looks like (``replies``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from crm_backends.http import port_write
from crm_backends.model import Balance, Credit, FiscalReceipt, PointsEntry, Purchase
from crm_backends.perx import replies
from crm_backends.perx.base import PerxDriver
from crm_backends.ports import AccountUnknown, BackendMisconfigured, Deadline, Refusal, Written

_HISTORY = "/v4/loyalty/transactions_history"
_NEWEST_FIRST = {"sort_by": "transacted_at", "order_by": "desc"}
_SALE = 1
_LOTS_SHOWN = 5
"""Lots of points that will expire, at most, in one list of entries: what was moved is to be seen too."""


class PerxPoints(PerxDriver):
    """Points on Perx."""

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """Available is what may be spent; total adds the points set aside for a purchase under way."""
        data = await self._programme(account, deadline)
        if data is None:
            raise AccountUnknown("perx: points.balance: there is no such customer")
        return replies.balance(data)

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """The points that will expire soonest, then movements, newest first; failed ones are left out."""
        found: list[PointsEntry] = []
        if self._settings.expiring_as_entries:
            data = await self._programme(account, deadline)
            if data is None:
                return ()
            lots = replies.expiring(data, self._settings.expiring_description, self._zone)
            found += lots[: min(_LOTS_SHOWN, limit // 2)]
        async for row in self._history(account, deadline):
            found.append(replies.entry(row, self._zone))
            if len(found) >= limit:
                break
        return found

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Purchases of whole days in the programme's zone, newest first, each as one line."""
        found: list[Purchase] = []
        async for row in self._history(account, deadline):
            day = replies.moved_at(row, self._zone).astimezone(self._zone).date()
            if day < since:
                break
            purchase = replies.purchase(row, self._zone) if day <= until else None
            if purchase is not None:
                found.append(purchase)
        return found

    async def _history(
        self, account: str, deadline: Deadline, key: str | None = None
    ) -> AsyncIterator[Mapping[str, object]]:
        """Movements that happened, newest first; a row that slid to the next page meanwhile comes once."""
        params = dict(_NEWEST_FIRST)
        if key is not None:
            params["transaction_reference"] = key
        seen: set[object] = set()
        async for page in self._requests.pages_as(account, _HISTORY, "the history", params, deadline):
            for row in page.rows:
                number = row.get("id")
                if number is not None and number in seen:
                    continue
                seen.add(number)
                if replies.happened(row):
                    yield row

    @port_write
    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Put a number of points on, or report the purchase and let Perx's rules award.

        A credit that is neither (no points, and no receipt of a sale or no leave to report it) is REFUSED.
        """
        if credit.points is not None:
            return await self._put_on(account, credit.points, idempotency_key, deadline)
        receipt = credit.receipt
        if self._settings.credit_by == "points" or receipt is None or receipt.calculation_type != _SALE:
            return Written.refused()
        return await self._report(account, receipt, idempotency_key, deadline)

    async def _put_on(self, account: str, points: Decimal, key: str, deadline: Deadline) -> Written:
        if points <= 0:
            return Written.done(points=Decimal(0)) if points == 0 else Written.refused()
        body = {
            "user_account": {"identifier": account},
            "loyalty_program_id": self._settings.loyalty_program_id,
            "points": replies.amount(points),
            "transaction_reference": key,
        }
        answer = await self._requests.write("POST", "/v4/pos/loyalty_transactions", body, deadline)
        return await self._ended(answer, account, deadline, lambda data: _credited(data, "points"))

    async def _report(self, account: str, receipt: FiscalReceipt, key: str, deadline: Deadline) -> Written:
        known = await self._requests.account(account, deadline)
        if known is None:
            return Written.refused(Refusal.NO_SUCH_CUSTOMER)
        if not isinstance(known.get("id"), int):
            raise BackendMisconfigured("perx: the customer is told without id")
        body = {
            "user_account_id": known["id"],
            "transaction_data": {
                "transaction_type": self._settings.transaction_type,
                "transaction_reference": key,
                "amount": replies.amount(Decimal(receipt.total_kopecks).scaleb(-2)),
                "currency": self._settings.currency,
                "transaction_date": receipt.issued_at.isoformat(timespec="seconds"),
            },
        }
        answer = await self._requests.write("POST", "/v4/pos/transactions", body, deadline)
        return await self._ended(answer, account, deadline, lambda data: _credited(data, "points_earned"))

    async def reconcile_credit(
        self,
        account: str,
        credit: Credit,
        *,
        idempotency_key: str,
        since: datetime,
        before: Balance | None,
        deadline: Deadline,
    ) -> Written:
        """Look our key up in the history: DONE with its points, NOT_SENT where it is not there.

        What is there is compared with what was asked: other points, or another sum of the receipt, are a
        conflict. Several rows that are as asked were credited several times: all are named, the points are
        those of one. A sale left to the rules may be awarded nothing, and nobody knows whether the history
        shows it then: not there, it is UNKNOWN.

        Raises:
            BackendError: Perx could not be asked.
        """
        rows = [row async for row in self._history(account, deadline, idempotency_key)]
        if not rows and credit.points is None:
            return Written.unknown("perx: the history does not show the sale; it may have earned nothing")
        if not rows:
            return Written.not_sent()
        ours = [row for row in rows if replies.own_key(row) == idempotency_key]
        if not ours:
            if not await self._filters_by(idempotency_key, rows, account, deadline):
                return Written.unknown("perx: the history is not filtered by the key as it was sent")
            ours = rows
        if not all(replies.is_what_was_asked(row, credit) for row in ours):
            return Written.refused(Refusal.KEY_TAKEN, "perx: has other points or another sum under it")
        found = [str(row.get("id")) for row in reversed(ours)]
        written = Written.done(found[0], replies.row_points(ours[-1]))
        return dataclasses.replace(written, entries=tuple(found)) if len(found) > 1 else written

    async def _filters_by(
        self, key: str, rows: Sequence[Mapping[str, object]], account: str, deadline: Deadline
    ) -> bool:
        """Whether rows that do not repeat their key have this one: only if the filter proves to filter.

        Another key, letter by letter, tells that it does not.
        """
        if any(replies.own_key(row) not in (None, key) for row in rows):
            return False
        async for _ in self._history(account, deadline, f"{key}-not"):
            return False
        return True


def _credited(data: Mapping[str, object], field: str) -> Written:
    points = replies.number(data.get(field))
    return Written.unknown() if data.get("id") is None else Written.done(str(data["id"]), points)
