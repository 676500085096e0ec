"""Discount cards of Mindbox: a number is one customer's or nobody's."""

from __future__ import annotations

from contracts.sandbox.fields import Row
from contracts.sandbox.mindbox.customers import Customers, well
from contracts.sandbox.server import Call, Reply


class Cards(Customers):
    """Looked up and bound to a customer."""

    fresh, in_use = "NotIssued", "Activated"

    def get_cards(self, call: Call) -> Reply:
        member = self.who(call.body["customer"])
        return well(discountCards=[_card(card) for card in self.cards_of(member)] if member else [])

    def get_card(self, call: Call) -> Reply:
        card = self._asked_card(call)
        told = {"processingStatus": "Found", **_card(card)} if card else {"processingStatus": "NotFound"}
        return well(discountCard=told)

    def bind_card(self, call: Call) -> Reply:
        member, card = self.who(call.body["customer"]), self._asked_card(call)
        if member is None:
            return well(discountCard={"processingStatus": "NotProcessed"})
        if card is None:
            return well(discountCard={"processingStatus": "NotFound"})
        if card["owner"] is not None:
            whose = "Current" if card["owner"] == member.id else "Another"
            return well(discountCard={"processingStatus": f"AlreadyBoundTo{whose}Customer"})
        card.update(owner=member.id, state=self.in_use)
        self.changed(call, "users.set_card", member, card["number"])
        return well(discountCard={"processingStatus": "Bound"})

    def _asked_card(self, call: Call) -> Row | None:
        return self.card_numbered(str(call.body["discountCard"]["ids"]["number"]))


def _card(card: Row) -> Row:
    return {"ids": {"number": card["number"]}, "status": {"ids": {"systemName": card["state"]}}}
