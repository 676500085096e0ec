"""Points of Mindbox, on one balance, and what moved them."""

from __future__ import annotations

from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.mindbox.cards import Cards
from contracts.sandbox.mindbox.customers import invalid, well
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import Move

BALANCE = "Main"


class Points(Cards):
    """Told and changed."""

    def get_points(self, call: Call) -> Reply:
        points = self.known(call).points
        told = {"total": points, "available": points, "blocked": 0, "systemName": BALANCE}
        return well(balances=[told])

    def get_history(self, call: Call) -> Reply:
        moves, page = self.known(call).moves, call.body["page"]
        begin = (page["pageNumber"] - 1) * page["itemsPerPage"]
        part = moves[::-1][begin : begin + page["itemsPerPage"]]
        return well(customerActions=[_action(move) for move in part], customerActionsCount=len(moves))

    def change_balance(self, call: Call) -> Reply:
        member = self.who(call.body["customer"])
        if member is None:
            return invalid("/customer")
        for change in call.body["balanceChanges"]:
            comment = change.get("comment", "")
            key = comment.partition(" ")[0] or None
            self.give_points(call, member, Decimal(str(change["changeAmount"])), comment, key)
        return well()


def _action(move: Move) -> Row:
    return {
        "ids": {"mindboxId": move.id},
        "dateTimeUtc": local_time(move.at, milliseconds=True),
        "customerBalanceChanges": [
            {
                "changeAmount": move.points,
                "comment": move.text,
                "isAvailable": True,
                "balanceType": {"name": BALANCE},
                "balanceChangeKind": {"systemName": "Custom"},
            }
        ],
    }
