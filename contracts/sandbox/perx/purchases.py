"""Calls of Perx about purchases: money, from which a rule makes points."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from contracts.sandbox.perx.holdings import Holdings
from contracts.sandbox.perx.records import Account, Movement
from contracts.sandbox.server import Call, Reply, stamp


class Purchases(Holdings):
    """One by one, or as an invoice that uses points and vouchers which were set aside."""

    def submit_transaction(self, call: Call) -> Reply:
        account = self._account(int(call.body["user_account_id"]))
        data = call.body["transaction_data"]
        reference = data.get("transaction_reference")
        points = self._rule(data["amount"])
        row = self._purchase(account, data, Decimal(data["amount"]), points)
        account.points += points
        self._record_points(call, "points_credited", account, points, reference)
        return Reply(
            {
                "data": {
                    "id": row.id,
                    "user_account_id": account.id,
                    "transaction_type": data["transaction_type"],
                    "transaction_reference": reference,
                    "amount": data["amount"],
                    "currency": data["currency"],
                    "transaction_date": data.get("transaction_date", stamp(row.at)),
                    "points_earned": points,
                    "properties": data.get("properties", {}),
                }
            }
        )

    def create_invoice(self, call: Call) -> Reply:
        account = self._reference(call.body["user_account"])
        used = call.body.get("used_items", [])
        held = [
            self._reservation(account, item["item_id"])
            for item in used
            if item["item_type"].startswith("Stored")
        ]
        vouchers = [
            self._voucher_of(account, item["item_id"]) for item in used if item["item_type"].startswith("Rew")
        ]
        for voucher in vouchers:
            self._must_be(voucher, "issued", self.switches.reserved_state)
        for reservation in held:
            del self.reservations[reservation.id]
            account.in_progress -= reservation.points
            self._record_points(call, "points_burned", account, reservation.points, str(reservation.id))
        for voucher in vouchers:
            self._redeem(call, account, voucher)
        earned = Decimal(0)
        for data in call.body["transaction_data"]:
            points = self._rule(data["collected_amount"])
            self._purchase(account, data, Decimal(data["collected_amount"]), points)
            account.points += points
            earned += points
            reference = data.get("transaction_reference")
            self._record_points(call, "points_credited", account, points, reference)
        return Reply({"data": {"id": next(self._numbers), "points_earned": earned}}, 201)

    def _rule(self, money: Any) -> Decimal:
        exact = Decimal(money) * self.switches.points_per_100 / 100
        return exact.to_integral_value(ROUND_FLOOR)

    def _purchase(
        self, account: Account, data: Mapping[str, Any], money: Decimal, points: Decimal
    ) -> Movement:
        reference = self._kept(data.get("transaction_reference"))
        details = {
            "type": "Transaction",
            "data": {
                "transaction_type": data["transaction_type"],
                "transaction_reference": reference,
                "currency": data.get("currency"),
            },
        }
        properties = data.get("properties", {})
        return self._move(
            account, points, "Purchase", reference, money=money, details=details, properties=properties
        )
