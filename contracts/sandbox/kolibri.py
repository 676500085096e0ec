"""Stand-in for Kolibri, a CRM that nobody has: three calls, a session of its own kind, errors inside of 200.

It is what the guide "Connect your CRM" connects (``crm_backends/connector/README.md``). It may not know any
client.

Effects: ``points.credit``. The same ``doc`` again gives the first answer again, with another guest or sum an
error.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin

LOGIN, PASSWORD = "koshelek", "kolibri-sandbox-password"
_SECONDS = 600


class Kolibri(Skin):
    """Guests are told by number or by ten digits; bonuses are text with two decimals."""

    name: ClassVar[str] = "kolibri"
    title: ClassVar[str] = "Kolibri (made up, for the guide)"
    invalid_status: ClassVar[int] = 200
    credentials: ClassVar[Mapping[str, str]] = {
        "login": LOGIN,
        "password": PASSWORD,
        "guests": ", ".join(person.local_phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "session": Route("POST /auth", json="login! password!", open=True),
        "guest": Route("GET /guest", "tel id"),
        "bonus": Route("POST /bonus", json="guest! sum! doc!"),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if operation.security and self.tokens.find(headers.get("X-Sid", "")) is None:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(200, "SID")

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"ok": 0, "err": reason}, status)

    def session(self, call: Call) -> Reply:
        if (call.body["login"], call.body["password"]) != (LOGIN, PASSWORD):
            self.refuse(200, "LOGIN")
        self.ledger.tokens_issued["sid"] += 1
        return Reply({"ok": 1, "sid": self.tokens.issue("sid", "", _SECONDS), "min": _SECONDS // 60})

    def guest(self, call: Call) -> Reply:
        tel, number = call.query["tel"], call.query["id"]
        found = self.shop.find(lambda member: (member.phone or "")[-10:] == tel or str(member.id) == number)
        return Reply({"ok": 1, "guest": self._told(found[0])}) if found else self.failure(200, "NO_GUEST")

    def bonus(self, call: Call) -> Reply:
        member, key = self.shop.by_id(call.body["guest"]), call.body["doc"]
        if member is None:
            self.refuse(200, "NO_GUEST")
        amount = Decimal(call.body["sum"])
        for owner, move in self.shop.moves_under(key):
            if (owner.id, move.points) != (member.id, amount):
                self.refuse(200, "DOC_OTHER")
            return Reply({"ok": 1, "bonus": move.id})
        move = self.shop.give(member, amount, "bonus", key)
        self.record(call, "points.credit", customer=str(member.id), amount=amount, reference=key)
        return Reply({"ok": 1, "bonus": move.id})

    @staticmethod
    def _told(member: Member) -> dict[str, Any]:
        return {
            "id": member.id,
            "tel": (member.phone or "")[-10:],
            "fio": " ".join(filter(None, (member.last_name, member.first_name))),
            "born": f"{member.birth_date:%d.%m.%Y}" if member.birth_date else "",
            "bal": f"{member.points:.2f}",
        }


application = Kolibri.application
