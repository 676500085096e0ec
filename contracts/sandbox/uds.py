"""Stand-in for UDS: customers of a company and their points, Partner API v2.

Facts: the library ``uds_lib_test`` 0.1.9 by UDS and its text (2022-01). It may not know any client.

Effects: ``points.credit``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin

COMPANY, API_KEY = "549755819292", "uds-sandbox-key"
_BASE = "/partner/v2"
SETTINGS = {"uds": {"path": "/partner/v2", "company_id": COMPANY, "api_key": API_KEY}}
"""See ``contracts.sandbox.CONNECTORS``."""
_MOST, _FURTHEST = 50, 10_000


class Uds(Skin):
    """Customers are told by the number they have in the company."""

    name: ClassVar[str] = "uds"
    title: ClassVar[str] = "UDS (points)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "base": _BASE,
        "company": COMPANY,
        "api key": API_KEY,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "settings": Route(f"GET {_BASE}/settings"),
        "customer_find": Route(
            f"GET {_BASE}/customers/find", "code phone uid total skipLoyaltyTotal exchangeCode"
        ),
        "customers": Route(f"GET {_BASE}/customers", "max offset"),
        "customer": Route(f"GET {_BASE}/customers/{{id}}"),
        "reward": Route(f"POST {_BASE}/operations/reward", json="points! participants! comment silent"),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        basic = base64.b64encode(f"{COMPANY}:{API_KEY}".encode()).decode()
        if headers.get("Authorization") != f"Basic {basic}":
            raise Refused(self.unauthorized())
        if not headers.get("X-Origin-Request-Id") or not headers.get("X-Timestamp"):
            raise Refused(
                self.failure(400, "badRequest"), invalid="X-Origin-Request-Id or X-Timestamp is missing"
            )

    def unauthorized(self) -> Reply:
        return self.failure(401, "unauthorized")

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"errorCode": reason, "message": reason}, status)

    def settings(self, call: Call) -> Reply:
        return Reply({"id": int(COMPANY), "name": "Shop", "currency": "RUB", "purchaseByPhone": True})

    def customer_find(self, call: Call) -> Reply:
        phone = call.query["phone"]
        found = self.shop.find(lambda member: phone is not None and member.phone == phone)
        if not found:
            self.refuse(404, "notFound")
        return Reply({"user": self._told(found[0]), "code": None})

    def customers(self, call: Call) -> Reply:
        most, offset = int(call.query["max"] or 10), int(call.query["offset"] or 0)
        if most > _MOST or offset > _FURTHEST:
            self.refuse(400, "badRequest")
        rows = [self._told(member) for member in self.shop.members.values()]
        return Reply({"rows": rows[offset : offset + most], "total": len(rows)})

    def customer(self, call: Call) -> Reply:
        member = self.shop.by_id(call.path["id"])
        return Reply(self._told(member)) if member else self.failure(404, "notFound")

    def reward(self, call: Call) -> Reply:
        members = [self.shop.by_id(number) for number in call.body["participants"]]
        points = Decimal(str(call.body["points"]))
        if points != round(points, 2):
            self.refuse(400, "badRequest")
        there = [member for member in members if member is not None]
        for member in there:
            self.shop.give(member, points, call.body.get("comment") or "")
            self.record(call, "points.credit", customer=str(member.id), amount=points)
        return Reply({"accepted": len(there)}, 202)

    @staticmethod
    def _told(member: Member) -> dict[str, Any]:
        return {
            "uid": f"uid-{member.id}",
            "displayName": " ".join(filter(None, (member.first_name, member.last_name))),
            "phone": member.phone,
            "birthDate": member.birth_date.isoformat() if member.birth_date else None,
            "participant": {"id": member.id, "points": member.points, "dateCreated": member.since},
        }


application = Uds.application
