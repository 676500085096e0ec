"""Calls of Pegke for a merchant (merchant_v1): a secret that stays the same, and points by phone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from contracts.sandbox.pegke.keeping import Keeping
from contracts.sandbox.pegke.records import OFFERS
from contracts.sandbox.server import Call, Refused, Reply, now
from contracts.sandbox.shop import Member


class Merchant(Keeping):
    """Points and offers."""

    def merchant_give_points(self, call: Call) -> Reply:
        customer, points = self._named(call.body["phone"]), Decimal(call.body["points"])
        self.give(call, customer, points)
        return _success(phone=call.body["phone"], given=points, points=self.points(customer))

    def merchant_check_points(self, call: Call) -> Reply:
        customer = self._named(call.query["phone"])
        return _success(phone=call.query["phone"], points=self.points(customer))

    def merchant_check_history(self, call: Call) -> Reply:
        customer = self._named(call.body["phone"])
        user = self.user(customer)
        details = {"name": user["name"], "phone": call.body["phone"], "points": user["points"]}
        return _success(customer=details, **self.history(customer, int(call.body.get("page") or 1)))

    def merchant_my_offers(self, _call: Call) -> Reply:
        offers = [
            {
                "id": offer.id,
                "title": offer.title,
                "description": offer.description,
                "points": offer.points,
                "valid_till": (now().date() + timedelta(days=offer.days)).isoformat(),
            }
            for offer in OFFERS
        ]
        return _success(offers=offers)

    def _named(self, phone: str) -> Member:
        customer = self.customers.get(phone)
        if customer is None:
            raise Refused(self.merchant_error(self.switches.absent_status, "Customer does not exist"))
        return customer


def _success(**data: Any) -> Reply:
    return Reply({"status": "success", "data": data})
