"""The loyalty campaign of Voucherify: its cards, their holders and their points."""

from __future__ import annotations

from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Reply, stamp
from contracts.sandbox.shop import Move
from contracts.sandbox.voucherify.customers import after_cursor, listed
from contracts.sandbox.voucherify.vouchers import CAMPAIGN, Vouchers


class Loyalty(Vouchers):
    """Members join with a card, which has the points."""

    def campaign(self, call: Call) -> Reply:
        self.of_campaign(call)
        return Reply({"id": CAMPAIGN, "name": "Loyalty", "campaign_type": "LOYALTY_PROGRAM"})

    def members(self, call: Call) -> Reply:
        self.of_campaign(call)
        asked = call.query["customer"]
        customer = self.customer_id(self.named(asked)) if asked else None
        rows = [
            self.shown(one)
            for one in reversed(self.vouchers.values())
            if one["campaign_id"] == CAMPAIGN and one["holder_id"] and customer in (None, one["holder_id"])
        ]
        return listed("vouchers", rows)

    def member_add(self, call: Call) -> Reply:
        self.of_campaign(call)
        member, code = self.asked_customer(call.body), call.body.get("voucher")
        card = self.coded(code) if code else self.print_voucher(f"LOYALTY-{member.id}", CAMPAIGN)
        if card["holder_id"] is not None:
            self.refuse(400, "voucher_already_published")
        key = self.new_key(call)
        card["holder_id"] = self.customer_id(member)
        self.publish(member, card, key)
        self.changed(call, "users.set_card", member, key)
        return Reply(self.shown(card))

    def member(self, call: Call) -> Reply:
        return Reply(self.shown(self._card(call)))

    def balance(self, call: Call) -> Reply:
        self.of_campaign(call)
        card, points = self._card(call), call.body["points"]
        if not isinstance(points, int) or points == 0:
            self.refuse(400, "invalid_add_balance_params")
        member = self.named(card["holder_id"])
        text, key = call.body.get("reason") or "", call.body.get("source_id")
        self.give_points(call, member, Decimal(points), text, key)
        return Reply(_balance(card, Decimal(points), member.points))

    def transactions(self, call: Call) -> Reply:
        card = self._card(call)
        rows: list[Row] = []
        left = Decimal(0)
        for move in self.named(card["holder_id"]).moves:
            left += move.points
            rows.insert(0, _transaction(card, move, left))
        return after_cursor(call, rows)

    def _card(self, call: Call) -> Row:
        card = self.coded(call.path["code"])
        return card if card["holder_id"] is not None else self.refuse(404, "not_found")


def _balance(card: Row, points: Decimal, left: Decimal) -> Row:
    return {
        "points": points,
        "total": left,
        "balance": left,
        "type": "loyalty_card",
        "object": "balance",
        "related_object": {"type": "voucher", "id": card["id"]},
    }


def _transaction(card: Row, move: Move, left: Decimal) -> Row:
    return {
        "id": f"vtx_{move.id}",
        "source_id": move.key,
        "voucher_id": card["id"],
        "campaign_id": card["campaign_id"],
        "source": "API",
        "reason": move.text,
        "type": "POINTS_ADDITION" if move.points >= 0 else "POINTS_REMOVAL",
        "details": {"balance": _balance(card, move.points, left)},
        "related_transaction_id": None,
        "created_at": stamp(move.at),
    }
