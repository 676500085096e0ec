"""Members of Square's loyalty programme and their points; phone and account are one to one."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.square.customers import Customers, page

PROGRAM = "d619f755-2d17-41f3-990d-c04ecedd64dd"
LOCATION = "P034NEENMD09F"


class Loyalty(Customers):
    """Everybody in the shop is a member; what is done once under a key is not done again."""

    _answered: dict[str, tuple[str, Reply]]
    """By idempotency key: what was asked, and the answer."""

    def populate(self) -> None:
        super().populate()
        self._answered = {}

    def program(self, call: Call) -> Reply:
        if call.path["id"] not in ("main", PROGRAM):
            self.refuse(404, "NOT_FOUND")
        return Reply({"program": {"id": PROGRAM, "status": "ACTIVE", "location_ids": [LOCATION]}})

    def accounts(self, call: Call) -> Reply:
        query = call.body.get("query") or {}
        phones = [mapping["phone_number"] for mapping in query.get("mappings", [])]
        customers = query.get("customer_ids", [])
        found = self.shop.find(
            lambda one: not query or one.phone in phones or self.customer_id(one) in customers
        )
        return page(call, "loyalty_accounts", [self._account(one) for one in found])

    def account_create(self, call: Call) -> Reply:
        return self._once(call, self._enrol)

    def _enrol(self, call: Call) -> Reply:
        wanted, key = call.body["loyalty_account"], call.body["idempotency_key"]
        phone = wanted.get("mapping", {}).get("phone_number", "")
        if wanted.get("program_id") != PROGRAM:
            self.refuse(404, "NOT_FOUND")
        if not phone.removeprefix("+").isdecimal():
            self.refuse(400, "INVALID_PHONE_NUMBER")
        if self.shop.first(lambda one: one.phone == phone):
            self.refuse(400, "BAD_REQUEST")
        member = self.shop.add(phone=phone, key=key)
        self.changed(call, "users.register", member, key)
        return Reply({"loyalty_account": self._account(member)})

    def account(self, call: Call) -> Reply:
        return Reply({"loyalty_account": self._account(self._owner(call))})

    def accumulate(self, call: Call) -> Reply:
        return self._once(call, self._give)

    def _give(self, call: Call) -> Reply:
        member, key = self._owner(call), call.body["idempotency_key"]
        points = call.body["accumulate_points"].get("points")
        if not isinstance(points, int) or points < 1 or call.body["location_id"] != LOCATION:
            self.refuse(400, "BAD_REQUEST")
        move = self.give_points(call, member, Decimal(points), key=key)
        return Reply({"events": [self._event(member, move)]})

    def _once(self, call: Call, work: Callable[[Call], Reply]) -> Reply:
        """The same key again gives the first answer again; with another request it is an error."""
        asked = json.dumps([call.operation.id, call.path, call.body], sort_keys=True, default=str)
        before = self._answered.get(call.body["idempotency_key"])
        if before is None:
            before = self._answered[call.body["idempotency_key"]] = (asked, work(call))
        return before[1] if before[0] == asked else self.failure(400, "IDEMPOTENCY_KEY_REUSED")

    def events(self, call: Call) -> Reply:
        query = (call.body.get("query") or {}).get("filter", {})
        wanted = query.get("loyalty_account_filter", {}).get("loyalty_account_id")
        moves = [
            (member, move) for member, move in self.shop.moves() if wanted in (None, self.uid(member.id))
        ]
        moves.sort(key=lambda one: one[1].at, reverse=True)
        return page(call, "events", [self._event(*one) for one in moves])

    def _owner(self, call: Call) -> Member:
        return self.only(lambda member: self.uid(member.id) == call.path["id"], *self.not_found)

    def _account(self, member: Member) -> Row:
        return {
            "id": self.uid(member.id),
            "program_id": PROGRAM,
            "balance": member.points,
            "lifetime_points": sum(max(move.points, Decimal(0)) for move in member.moves),
            "customer_id": self.customer_id(member),
            "created_at": member.since,
            "updated_at": member.since,
            "mapping": {"id": f"m{member.id}", "phone_number": member.phone, "created_at": member.since},
        }

    def _event(self, member: Member, move: Move) -> Row:
        kind = "accumulate_points" if move.points > 0 else "adjust_points"
        return {
            "id": f"e{move.id}",
            "type": kind.upper(),
            "created_at": move.at,
            kind: {"loyalty_program_id": PROGRAM, "points": move.points},
            "loyalty_account_id": self.uid(member.id),
            "source": "LOYALTY_API",
        }
