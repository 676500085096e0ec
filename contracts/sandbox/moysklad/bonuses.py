"""The bonus programme of МойСклад and its operations; the same ``externalCode`` again moves points again."""

from __future__ import annotations

from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.moysklad.counterparties import Counterparties
from contracts.sandbox.moysklad.lists import ENTITIES, meta_of
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import MOSCOW, Member, Move

PROGRAM = "fc2666ba-5d39-4a60-8105-4b678180b059"


class Bonuses(Counterparties):
    """Given and listed."""

    def program(self, call: Call) -> Reply:
        if call.path["id"] != PROGRAM:
            return self.failure(404, "1021")
        return Reply({"meta": meta_of("bonusprogram", PROGRAM), "id": PROGRAM})

    def movements(self, call: Call) -> Reply:
        rows = [self._movement(member, move) for member, move in self.shop.moves()]
        return self.listed(call, "bonustransaction", rows, {"agent", "externalCode"})

    def movement_create(self, call: Call) -> Reply:
        agent, program = (call.body[name]["meta"]["href"] for name in ("agent", "bonusProgram"))
        member = self.named(agent.removeprefix(f"{ENTITIES}/counterparty/"))
        points = call.body.get("bonusValue")
        if program != f"{ENTITIES}/bonusprogram/{PROGRAM}" or not isinstance(points, int):
            self.refuse(400, "1022")
        text, key = call.body.get("description", ""), call.body.get("externalCode")
        return Reply(self._movement(member, self.give_points(call, member, Decimal(points), text, key)))

    def _movement(self, member: Member, move: Move) -> Row:
        return {
            "meta": meta_of("bonustransaction", self.uid(move.id)),
            "id": self.uid(move.id),
            "agent": {"meta": meta_of("counterparty", self.uid(member.id))},
            "bonusProgram": {"meta": meta_of("bonusprogram", PROGRAM)},
            "applicable": True,
            "bonusValue": abs(move.points),
            "transactionType": "EARNING" if move.points >= 0 else "SPENDING",
            "transactionStatus": "COMPLETED",
            "moment": local_time(move.at, MOSCOW),
            "externalCode": move.key or f"{move.id}",
            "description": move.text,
        }
