"""Sales orders of Odoo, and the points that its loyalty programme gives for one when it is confirmed."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.odoo.contacts import Contacts
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import Member

PROGRAM, PRODUCT = 2, 4
REWARD = 100
"""Points for which the programme has a reward."""
_NOTICE: Row = {
    "type": "ir.actions.client",
    "tag": "display_notification",
    "params": {"type": "info", "title": "Rewards Available", "next": {"type": "ir.actions.act_window_close"}},
}
"""What Odoo 19 answers in the place of true where the customer has points for a reward."""


class Orders(Contacts):
    """A draft gives nothing; confirmed, it gives once."""

    rate = Decimal("0.05")
    """Points for a rouble, by the programme's rule."""
    _orders: list[Row]

    def populate(self) -> None:
        self._orders = []
        super().populate()

    def orders(self, call: Call) -> Reply:
        return self.search(call, self._orders)

    def order_create(self, call: Call) -> Reply:
        made = []
        for values in call.body["vals_list"]:
            contact, lines = values["partner_id"], [line for _, _, line in values["order_line"]]
            member = self.shop.by_id(contact) or self.missing("res.partner", contact)
            for line in lines:
                if line["product_id"] != PRODUCT:
                    self.missing("product.product", line["product_id"])
            order = {
                "id": self.shop.number(),
                "client_order_ref": values.get("client_order_ref", False),
                "state": "draft",
                "partner_id": [contact, self.contact(member)["name"]],
                "amount_total": sum(
                    Decimal(str(line["price_unit"])) * line["product_uom_qty"] for line in lines
                ),
            }
            self._orders.append(order)
            made.append(order["id"])
        return Reply(made)

    def order_confirm(self, call: Call) -> Reply:
        orders = [order for order in self._orders if order["id"] in call.body["ids"]]
        if any(order["state"] != "draft" for order in orders):
            text = "Some orders are not in a state requiring confirmation."
            self.raise_error("odoo.exceptions.UserError", text)
        for order in orders:
            points, member = self._confirm(order), str(order["partner_id"][0])
            key = order["client_order_ref"] or None
            self.record(call, "points.credit", customer=member, amount=points, reference=key)
        claimable = any(self.shop.members[order["partner_id"][0]].points >= REWARD for order in orders)
        return Reply(_NOTICE if claimable else True)

    def _confirm(self, order: Row) -> Decimal:
        points: Decimal = (order["amount_total"] * self.rate).quantize(Decimal("0.01"), ROUND_DOWN)
        order["state"] = "sale"
        member = self.shop.members[order["partner_id"][0]]
        self.shop.give(member, points, f"Order S{order['id']:05d}", str(order["id"]))
        return points

    def repeat(self, key: str) -> None:
        """The order under this key once more, as if a second one had been made and confirmed."""
        order = next(one for one in self._orders if one["client_order_ref"] == key)
        self._orders.append(again := {**order, "id": self.shop.number()})
        self._confirm(again)

    # -- the programme ---------------------------------------------------------------------------------

    def cards(self, call: Call) -> Reply:
        rows = [
            {"id": member.id, "partner_id": member.id, "program_id": PROGRAM, "points": _added_up(member)}
            for member in self.shop.members.values()
            if member.moves
        ]
        return self.search(call, rows)

    def history(self, call: Call) -> Reply:
        rows = [
            {
                "id": move.id,
                "card_id.partner_id": member.id,
                "card_id.program_id": PROGRAM,
                "order_model": "sale.order" if move.key else False,
                "order_id": int(move.key) if move.key else False,
                "issued": float(max(move.points, Decimal(0))),
                "used": float(max(-move.points, Decimal(0))),
                "description": move.text,
                "create_date": local_time(move.at),
            }
            for member, move in self.shop.moves()
        ]
        return self.search(call, rows)

    def programs(self, call: Call) -> Reply:
        return self.search(call, [{"id": PROGRAM, "program_type": "loyalty"}])

    def products(self, call: Call) -> Reply:
        return self.search(call, [{"id": PRODUCT, "type": "service"}])


def _added_up(member: Member) -> float:
    """One movement after the other in binary fractions, as Odoo keeps them."""
    total = 0.0
    for move in member.moves:
        total += float(move.points)
    return total
