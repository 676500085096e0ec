"""Calls of Perx about points, without a purchase."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from contracts.sandbox.perx.keeping import Keeping
from contracts.sandbox.perx.paging import page_meta, page_of
from contracts.sandbox.perx.records import LOYALTY_PROGRAM_ID, Account, Movement, Reservation
from contracts.sandbox.server import Call, Reply, now, stamp


class Loyalty(Keeping):
    """Given, taken, set aside, listed."""

    def list_loyalty_programs(self, call: Call) -> Reply:
        return Reply({"data": [self._loyalty(self._holder(call))], "meta": page_meta(1, 1, 24)})

    def get_loyalty_program(self, call: Call) -> Reply:
        self._programme(call.path["programId"])
        return Reply({"data": self._loyalty(self._holder(call))})

    def list_transactions_history(self, call: Call) -> Reply:
        account, wanted = self._holder(call), call.query["transaction_reference"]
        rows = [
            row
            for row in self.movements
            if row.account == account.id
            and wanted in (None, row.reference)
            and (row.shown_at is None or row.shown_at <= now())
        ]
        key = {"id": lambda row: row.id, "transacted_at": lambda row: (row.at, row.id)}[call.query["sort_by"]]
        rows.sort(key=key, reverse=call.query["order_by"] == "desc")
        page, size = call.query["page"], call.query["size"]
        data = [row.as_json() for row in page_of(rows, page, size)]
        return Reply({"data": data, "meta": page_meta(len(rows), page, size)})

    def submit_loyalty_transaction(self, call: Call) -> Reply:
        account = self._named(call)
        points, reference = Decimal(call.body["points"]), call.body.get("transaction_reference")
        properties = dict(call.body.get("properties", {}))
        if account.points + points < 0:
            failed = {**properties, "error_message": "Insufficient points"}
            self._move(account, points, "Points redemption", reference, properties=failed)
            raise self._error(400, 41, "Insufficient points")
        if points > 0:
            account.points += points
            row = self._move(account, points, "Points earned", reference, properties=properties)
            kind = "points_credited"
        else:
            account.take(-points)
            row = self._move(account, points, "Points redemption", reference, properties=properties)
            kind = "points_burned"
        self._record_points(call, kind, account, abs(points), reference)
        return Reply({"data": self._loyalty_transaction(row, points, reference, properties)}, 201)

    def reserve_points(self, call: Call) -> Reply:
        account, points = self._named(call), Decimal(call.body["amount_to_deduct"])
        if account.points < points:
            raise self._error(400, 41, "Insufficient points")
        taken = account.take(points)
        account.in_progress += points
        row = self._move(account, -points, "Points reserved", None)
        self.reservations[row.id] = Reservation(row.id, account.id, points, taken)
        self._record_points(call, "points_reserved", account, points, str(row.id))
        return Reply({"data": self._loyalty_transaction(row, -points, None, {})}, 201)

    def revert_points(self, call: Call) -> Reply:
        account = self._reference(call.body["user_account"])
        held = self._reservation(account, call.path["transactionId"])
        del self.reservations[held.id]
        account.in_progress -= held.points
        account.give_back(held.points, held.aging)
        self._move(account, held.points, "Points reservation reverted", None)
        self._record_points(call, "points_released", account, held.points, str(held.id))
        return Reply({"data": {"id": held.id}})

    def _loyalty(self, account: Account) -> dict[str, Any]:
        return {
            "id": LOYALTY_PROGRAM_ID,
            "name": "Sandbox Club",
            "membership_number": f"M{account.id:08d}",
            "membership_state": account.membership_state,
            "membership_expiry": None,
            "points_balance": account.points,
            "redemption_in_progress_points": account.in_progress,
            "tier_points": account.points,
            "current_membership_tier_name": "Basic",
            "tiers": [],
            "points_balances": [],
            "aging_points": [
                {"expiring_on_date": day.isoformat(), "points_expiring": points}
                for day, points in account.aging
            ],
        }

    @staticmethod
    def _loyalty_transaction(
        row: Movement, points: Decimal, reference: str | None, properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": row.id,
            "loyalty_program_id": LOYALTY_PROGRAM_ID,
            "points": points,
            "transaction_reference": reference,
            "transacted_at": stamp(row.at),
            "properties": properties,
        }
