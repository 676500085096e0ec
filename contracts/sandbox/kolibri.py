"""Stand-in for Kolibri, a CRM that nobody has: three calls, a session of its own kind, errors inside of 200.

It is what the guide "Connect your CRM" connects (``crm_backends/connector/README.md``). It may not know any
client.

Effects: ``points.credit``. The same ``doc`` again gives the first answer again, with another guest or sum an
error.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from contracts.sandbox.fields import Row
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin

LOGIN, PASSWORD = "koshelek", "kolibri-sandbox-password"
_SECONDS = 600


class Kolibri(Skin):
    """Guests are told by number or by ten digits; bonuses are text with two decimals."""

    name: ClassVar[str] = "kolibri"
    title: ClassVar[str] = "Kolibri (made up, for the guide)"
    invalid_status: ClassVar[int] = 200
    denied: ClassVar[tuple[int, str]] = (200, "SID")
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

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return self.tokens.find(headers.get("X-Sid", "")) is not None

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"ok": 0, "err": reason}, status)

    def session(self, call: Call) -> Reply:
        if (call.body["login"], call.body["password"]) != (LOGIN, PASSWORD):
            self.refuse(200, "LOGIN")
        return Reply({"ok": 1, "sid": self.new_token("sid", "", _SECONDS), "min": _SECONDS // 60})

    def guest(self, call: Call) -> Reply:
        tel, number = call.query["tel"], call.query["id"]
        found = self.shop.first(lambda member: tel == member.digits[-10:] or number == str(member.id))
        return Reply({"ok": 1, "guest": self._told(found)}) if found else self.failure(200, "NO_GUEST")

    def bonus(self, call: Call) -> Reply:
        member, key = self.shop.by_id(call.body["guest"]), call.body["doc"]
        if member is None:
            self.refuse(200, "NO_GUEST")
        amount = Decimal(call.body["sum"])
        for owner, move in self.shop.moves_under(key):
            if (owner.id, move.points) != (member.id, amount):
                self.refuse(200, "DOC_OTHER")
            return Reply({"ok": 1, "bonus": move.id})
        return Reply({"ok": 1, "bonus": self.give_points(call, member, amount, "bonus", key).id})

    @staticmethod
    def _told(member: Member) -> Row:
        return {
            "id": member.id,
            "tel": member.digits[-10:],
            "fio": member.full_name("last_name", "first_name"),
            "born": f"{member.birth_date:%d.%m.%Y}" if member.birth_date else "",
            "bal": f"{member.points:.2f}",
        }


application = Kolibri.application
