"""Wallets of iiko, refilled by a call, and the movements in them beside the guest's receipts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.iiko.guests import WALLET, Guests
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import Member

_PROGRAM = "01330000-6bec-ac1f-0000-000000000002"
_LONGEST_PAGE = 5


class Wallets(Guests):
    """One wallet, that of the one programme."""

    def programmes(self, call: Call) -> Reply:
        told = {"id": _PROGRAM, "name": "Бонусы", "programType": 1, "isActive": True, "walletId": WALLET}
        return Reply({"Programs": [told]})

    def program_add(self, call: Call) -> Reply:
        member = self.guest(call)
        member.more["in_programme"] = True
        return Reply({"userWalletId": self.uid(-member.id), "walletId": WALLET})

    def topup(self, call: Call) -> Reply:
        member, points = self.guest(call), Decimal(str(call.body["sum"]))
        if call.body["walletId"] != WALLET or not member.more["in_programme"] or points <= 0:
            self.refuse(400, "The wallet cannot be refilled")
        comment = call.body.get("comment") or ""
        self.give_points(call, member, points, comment, comment)
        return Reply({})

    def transactions(self, call: Call) -> Reply:
        since, until = (_read(call.body[name]) for name in ("dateFrom", "dateTo"))
        rows = sorted(self._movements(self.guest(call)), key=lambda pair: pair[0])
        told = [
            {**row, "whenCreated": local_time(at, milliseconds=True), "revision": number, "isIgnored": False}
            for number, (at, row) in enumerate(rows)
            if since <= at <= until
        ]
        size, page = min(call.body["pageSize"], _LONGEST_PAGE), call.body["pageNumber"]
        part = told[page * size : (page + 1) * size]
        return Reply({"transactions": part, "pageSize": call.body["pageSize"], "pageNumber": page})

    def _movements(self, member: Member) -> list[tuple[datetime, Row]]:
        """What moved points, and the receipts, each with its time."""
        rows: list[tuple[datetime, Row]] = []
        before = Decimal(0)
        for move in member.moves:
            row = {
                "id": self.uid(move.id),
                "walletId": WALLET,
                "sum": move.points,
                "comment": move.text or None,
                "typeName": "RefillWalletFromApi" if move.points >= 0 else "PayFromWallet",
                "balanceBefore": before,
                "balanceAfter": before + move.points,
            }
            rows.append((move.at, row))
            before += move.points
        for number, (at, kopecks) in enumerate(member.more["orders"], start=1):
            row = {
                "id": self.uid(-1000 * member.id - number),
                "typeName": "CloseOrder",
                "orderNumber": number,
                "orderSum": Decimal(kopecks) / 100,
                "posOrderId": self.uid(-number),
            }
            rows.append((at, row))
        return rows


def _read(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
