"""Stand-in for Talon.One: sessions of customers and the points of one loyalty programme, Integration API.

Facts: the vendor's client ``talon-one-sdk`` 26.2 (2026-01) and its page on customer sessions. What they do
not say, such as the status for a session that is not there, is made up. It may not know any client.

Its application has two rules: as many points as ``POINTS_ATTRIBUTE`` says, else ``rate`` for each rouble.

Effects: ``points.credit`` (a session was closed).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

API_KEY = "talonone-sandbox-key"
PROGRAM = 5
POINTS_ATTRIBUTE = "koshelek_points"
SETTINGS = {"talonone": {"api_key": API_KEY, "program": PROGRAM, "points_attribute": POINTS_ATTRIBUTE}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PROFILE = "/v1/loyalty_programs/{program}/profile/{id}"


class TalonOne(Skin):
    """Profiles have the numbers that others gave them; one that is not there is made by its first session."""

    name: ClassVar[str] = "talonone"
    title: ClassVar[str] = "Talon.One (sessions and points)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "api key": API_KEY,
        "programme": str(PROGRAM),
        "attribute of points": POINTS_ATTRIBUTE,
        "profiles": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "balances": Route(
            f"GET {_PROFILE}/balances", "endDate subledgerId includeTiers includeProjectedTier"
        ),
        "transactions": Route(
            f"GET {_PROFILE}/transactions",
            "customerSessionIDs subledgerId loyaltyTransactionType startDate endDate pageSize skip",
        ),
        "session": Route("GET /v2/customer_sessions/{id}"),
        "session_update": Route(
            "PUT /v2/customer_sessions/{id}", query="dry now", json="customerSession! responseContent"
        ),
    }
    rate = Decimal("0.05")

    def populate(self) -> None:
        self._sessions: dict[str, dict[str, Any]] = {}
        super().populate()

    def joined(self, member: Member) -> None:
        member.more.setdefault("profile", str(member.id))

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("Authorization") != f"ApiKey-v1 {API_KEY}":
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "Unauthorized")

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"message": reason, "StatusCode": status}, status)

    # -- loyalty ---------------------------------------------------------------------------------------

    def profile(self, text: str) -> Member | None:
        found = self.shop.find(lambda member: member.more["profile"] == text)
        return found[0] if found else None

    def _known(self, call: Call) -> Member:
        member = self.profile(call.path["id"])
        if member is None or call.path["program"] != str(PROGRAM):
            self.refuse(404, "not found")
        return member

    def balances(self, call: Call) -> Reply:
        member = self._known(call)
        spent = -sum(move.points for move in member.moves if move.points < 0)
        active = max(member.points, Decimal(0))
        balance = {
            "activePoints": active,
            "pendingPoints": 0,
            "spentPoints": spent,
            "expiredPoints": 0,
            "negativePoints": active - member.points,
        }
        return Reply({"balance": balance, "subledgerBalances": {}})

    def transactions(self, call: Call) -> Reply:
        member = self._known(call)
        start, size = int(call.query["skip"] or 0), int(call.query["pageSize"] or 50)
        rows = [self._transaction(move) for move in reversed(member.moves)]
        return Reply({"hasMore": len(rows) > start + size, "data": rows[start : start + size]})

    @staticmethod
    def _transaction(move: Move) -> dict[str, Any]:
        return {
            "id": move.id,
            "transactionUUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"talonone-sandbox:{move.id}")),
            "created": move.at.isoformat(),
            "programId": PROGRAM,
            "customerSessionId": move.key,
            "type": "addition" if move.points >= 0 else "subtraction",
            "name": move.text,
            "startDate": "immediate",
            "expiryDate": "unlimited",
            "subledgerId": "",
            "amount": abs(move.points),
        }

    # -- sessions --------------------------------------------------------------------------------------

    def session(self, call: Call) -> Reply:
        kept = self._sessions.get(call.path["id"])
        return Reply(kept) if kept else self.failure(404, "session not found")

    def session_update(self, call: Call) -> Reply:
        key, given = call.path["id"], call.body["customerSession"]
        if key in self._sessions:
            self.refuse(400, "a closed session cannot be modified")
        attributes = given.get("attributes") or {}
        if set(attributes) - {POINTS_ATTRIBUTE}:
            self.refuse(400, f"attribute {min(set(attributes) - {POINTS_ATTRIBUTE})} does not exist")
        if given.get("state") != "closed" or not given.get("profileId"):
            self.refuse(400, "this stand-in takes closed sessions of a profile alone")
        member = self.profile(given["profileId"]) or self.shop.add(more={"profile": given["profileId"]})
        items = given.get("cartItems") or []
        total = sum((Decimal(str(item["price"])) * item["quantity"] for item in items), Decimal(0))
        points = Decimal(str(attributes.get(POINTS_ATTRIBUTE, total * self.rate)))
        move = self.shop.give(member, points, "Points for a purchase", key)
        self.record(call, "points.credit", customer=str(member.id), amount=points, reference=key)
        session = {
            **given,
            "id": move.id,
            "created": move.at.isoformat(),
            "updated": move.at.isoformat(),
            "integrationId": key,
            "applicationId": 1,
            "firstSession": False,
            "updateCount": 1,
            "total": total,
            "cartItemTotal": total,
            "additionalCostTotal": 0,
        }
        self._sessions[key] = {"customerSession": session, "effects": [self._effect(member, move)]}
        asked = (
            {"customerSession": session} if "customerSession" in call.body.get("responseContent", ()) else {}
        )
        effects = self._sessions[key]["effects"]
        return Reply({**asked, "effects": effects, "createdCoupons": [], "createdReferrals": []})

    @staticmethod
    def _effect(member: Member, move: Move) -> dict[str, Any]:
        return {
            "campaignId": 1,
            "rulesetId": 1,
            "ruleIndex": 0,
            "ruleName": "Points for a purchase",
            "effectType": "addLoyaltyPoints",
            "props": {
                "name": move.text,
                "programId": PROGRAM,
                "subLedgerId": "",
                "value": move.points,
                "recipientIntegrationId": member.more["profile"],
                "transactionUUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"talonone-sandbox:{move.id}")),
            },
        }


application = TalonOne.application
