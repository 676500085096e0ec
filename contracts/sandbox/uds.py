"""Stand-in for UDS: customers of a company and their points, Partner API v2.

Facts: the library ``uds_lib_test`` 0.1.9 by UDS and its text (2022-01). It may not know any client.

Effects: ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from contracts.crm import Operation
from contracts.sandbox.fields import BIRTH_DATE, Row
from contracts.sandbox.server import Call, Refused, Reply, basic
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin, to_be_shown

COMPANY, API_KEY = "549755819292", "uds-sandbox-key"
BASE = "/partner/v2"
SETTINGS = {"uds": {"path": BASE, "company_id": COMPANY, "api_key": API_KEY}}
"""See ``contracts.sandbox.CONNECTORS``."""
_MOST, _FURTHEST = 50, 10_000


class Uds(Skin):
    """Customers are told by the number they have in the company."""

    name = "uds"
    title = "UDS (points)"
    base = BASE
    not_found = (404, "notFound")
    sent: ClassVar[Mapping[str, str]] = {"Authorization": basic(COMPANY, API_KEY)}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
        "settings": Route("GET /settings"),
        "customer_find": Route("GET /customers/find", "code phone uid total skipLoyaltyTotal exchangeCode"),
        "customers": Route("GET /customers", "max offset"),
        "customer": Route("GET /customers/{id}"),
        "reward": Route("POST /operations/reward", json="points! participants! comment silent"),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        super().authorize(operation, headers)
        if not headers.get("X-Origin-Request-Id") or not headers.get("X-Timestamp"):
            missing = "X-Origin-Request-Id or X-Timestamp is missing"
            raise Refused(self.failure(400, "badRequest"), invalid=missing)

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"errorCode": reason, "message": reason}, status)

    def settings(self, call: Call) -> Reply:
        return Reply({"id": int(COMPANY), "name": "Shop", "currency": "RUB", "purchaseByPhone": True})

    def customer_find(self, call: Call) -> Reply:
        phone = call.query["phone"]
        member = self.only(lambda one: phone is not None and one.phone == phone, *self.not_found)
        return Reply({"user": self.told(member), "code": None})

    def customers(self, call: Call) -> Reply:
        most, offset = call.number("max", 10), call.number("offset", 0)
        if most > _MOST or offset > _FURTHEST:
            self.refuse(400, "badRequest")
        rows = [self.told(member) for member in self.shop.members.values()]
        return Reply({"rows": rows[offset : offset + most], "total": len(rows)})

    def reward(self, call: Call) -> Reply:
        members = [self.shop.by_id(number) for number in call.body["participants"]]
        points = Decimal(str(call.body["points"]))
        if points != round(points, 2):
            self.refuse(400, "badRequest")
        there = [member for member in members if member is not None]
        for member in there:
            self.give_points(call, member, points, call.body.get("comment") or "")
        return Reply({"accepted": len(there)}, 202)

    def told(self, member: Member) -> Row:
        return {
            "uid": f"uid-{member.id}",
            "displayName": member.full_name("first_name", "last_name"),
            **member.told({"phone": "phone", "birthDate": BIRTH_DATE}),
            "participant": {"id": member.id, "points": member.points, "dateCreated": member.since},
        }


application = Uds.application
