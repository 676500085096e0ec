"""Loyalty accounts of RetailCRM, which have numbers of their own, beside those of the customers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.retailcrm.customers import Customers, page, well
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import MOSCOW, Member, Move

LOYALTY = 2


class Loyalty(Customers):
    """Made, activated, credited, listed."""

    def joined(self, member: Member) -> None:
        member.more.setdefault("account", self.shop.number())

    def accounts(self, call: Call) -> Reply:
        rows = [self._account(member) for member in self.shop.members.values() if "account" in member.more]
        told: Mapping[str, Callable[[Row], object]] = {
            "filter[phoneNumber]": lambda row: row["phoneNumber"],
            "filter[customerId]": lambda row: str(row["customer"]["id"]),
            "filter[status]": lambda row: row["status"],
        }
        for name, tell in told.items():
            rows = [row for row in rows if call.query[name] in (None, tell(row))]
        return page("loyaltyAccounts", rows, call.query)

    def account(self, call: Call) -> Reply:
        return well(loyaltyAccount=self._account(self._owner(call)))

    def account_create(self, call: Call) -> Reply:
        made = self.entity(call, "loyaltyAccount", {"phoneNumber", "customer", "cardNumber"})
        member = self.shop.by_id(made.get("customer", {}).get("id"))
        if member is None or "phoneNumber" not in made:
            self.refuse(400, "Errors in the entity format")
        if "account" in member.more:
            self.refuse(400, "Loyalty account already exists")
        member.more |= {"account": self.shop.number(), "active": False}
        return well(201, loyaltyAccount=self._account(member), warnings=[])

    def account_activate(self, call: Call) -> Reply:
        member = self._owner(call)
        member.more["active"] = True
        return well(loyaltyAccount=self._account(member))

    def bonus_credit(self, call: Call) -> Reply:
        try:
            amount = Decimal(call.body["amount"])
        except ArithmeticError:
            self.refuse(400, "Errors in the entity format")
        self.give_points(call, self._owner(call), amount)
        return well(loyaltyBonus={"amount": amount})

    def bonus_operations(self, call: Call) -> Reply:
        rows = [_operation(move) for move in reversed(self._owner(call).moves)]
        return page("bonusOperations", rows, call.query)

    def _owner(self, call: Call) -> Member:
        wanted = call.path["id"]
        return self.only(lambda member: str(member.more.get("account")) == wanted, *self.not_found)

    @staticmethod
    def _account(member: Member) -> Row:
        active = member.more.get("active", True)
        return {
            "active": active,
            "id": member.more["account"],
            "loyalty": {"id": LOYALTY},
            "customer": {"id": member.id, "firstName": member.first_name, "lastName": member.last_name},
            "phoneNumber": member.digits,
            "amount": member.points,
            "createdAt": local_time(member.since, MOSCOW),
            "status": "activated" if active else "not_confirmed",
        }


def _operation(move: Move) -> Row:
    kind = "credit_manual" if move.points >= 0 else "charge_manual"
    return {"type": kind, "createdAt": local_time(move.at, MOSCOW), "amount": move.points}
