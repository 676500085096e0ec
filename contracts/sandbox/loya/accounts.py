"""Bonus accounts of Loya, which have numbers of their own, and their history."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from contracts.sandbox.fields import Row
from contracts.sandbox.loya.clients import Clients
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import MOSCOW, Member, Move


class Accounts(Clients):
    """Made, attached to a client, changed."""

    def account_create(self, call: Call) -> Reply:
        return Reply({"id": self.shop.number(), "balance": 0, "balanceInactive": 0, "state": "active"})

    def account_attach(self, call: Call) -> Reply:
        self.named(call.path["client"]).more["account"] = int(call.path["account"])
        return Reply("attached")

    def account(self, call: Call) -> Reply:
        return _account(self._owner(call), call.query)

    def account_change(self, call: Call) -> Reply:
        member, given = self._owner(call), call.body
        amount, text = Decimal(str(given["amount"])), given["description"]
        if given["operType"] != "credit" or amount <= 0:
            self.refuse(400, "Неверная операция")
        self.give_points(call, member, amount, text, text.partition(" ")[0] or None)
        return _account(member, {})

    def _owner(self, call: Call) -> Member:
        wanted = call.path["id"]
        return self.only(lambda member: str(member.more["account"]) == wanted, 404, "Счет не найден")


def _account(member: Member, asked: Mapping[str, Any]) -> Reply:
    limit, drop = int(asked.get("pager.limit") or 10), int(asked.get("pager.drop") or 0)
    number = member.more["account"]
    moves = list(reversed(member.moves))[drop : drop + limit]
    account = {"id": number, "balance": member.points, "balanceInactive": 0, "state": "active"}
    return Reply({"account": account, "history": [{"record": _record(number, move)} for move in moves]})


def _record(account: int, move: Move) -> Row:
    return {
        "id": move.id,
        "accountId": account,
        "date": local_time(move.at, MOSCOW),
        "amount": abs(move.points),
        "operType": "credit" if move.points >= 0 else "debit",
        "recType": "manual",
        "description": move.text,
        "bonusEndDate": None,
    }
