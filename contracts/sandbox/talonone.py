"""Stand-in for Talon.One: sessions of customers and the points of one loyalty programme, Integration API.

Facts: the vendor's client ``talon-one-sdk`` 26.2 (2026-01) and its page on customer sessions. What they do
not say, such as the status for a session that is not there, is made up. It may not know any client.

Its application has two rules: as many points as ``POINTS_ATTRIBUTE`` says, else ``rate`` for each rouble.

Effects: ``points.credit`` (a session was closed).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

API_KEY = "talonone-sandbox-key"
PROGRAM = 5
POINTS_ATTRIBUTE = "koshelek_points"
SETTINGS = {"talonone": {"api_key": API_KEY, "program": PROGRAM, "points_attribute": POINTS_ATTRIBUTE}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PROFILE = "/v1/loyalty_programs/{program}/profile/{id}"


class TalonOne(Skin):
    """Profiles have the numbers that others gave them; one that is not there is made by its first session."""

    name = "talonone"
    title = "Talon.One (sessions and points)"
    denied = (401, "Unauthorized")
    sent: ClassVar[Mapping[str, str]] = {"Authorization": f"ApiKey-v1 {API_KEY}"}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
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
        self._sessions: dict[str, Row] = {}
        super().populate()

    def joined(self, member: Member) -> None:
        member.more.setdefault("profile", str(member.id))

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"message": reason, "StatusCode": status}, status)

    def customer_id(self, member: Member) -> str:
        return str(member.more["profile"])

    # -- loyalty ---------------------------------------------------------------------------------------

    def _profile(self, call: Call) -> Member:
        if call.path["program"] != str(PROGRAM):
            self.refuse(404, "not found")
        return self.named(call.path["id"])

    def balances(self, call: Call) -> Reply:
        member = self._profile(call)
        active = max(member.points, Decimal(0))
        balance = {
            "activePoints": active,
            "pendingPoints": 0,
            "spentPoints": sum(move.taken for move in member.moves),
            "expiredPoints": 0,
            "negativePoints": active - member.points,
        }
        return Reply({"balance": balance, "subledgerBalances": {}})

    def transactions(self, call: Call) -> Reply:
        member = self._profile(call)
        start, size = call.number("skip", 0), call.number("pageSize", 50)
        rows = [self._transaction(move) for move in reversed(member.moves)]
        return Reply({"hasMore": len(rows) > start + size, "data": rows[start : start + size]})

    def _transaction(self, move: Move) -> Row:
        return {
            "id": move.id,
            "transactionUUID": self.uid(move.id),
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
        if unknown := set(attributes) - {POINTS_ATTRIBUTE}:
            self.refuse(400, f"attribute {min(unknown)} does not exist")
        if given.get("state") != "closed" or not (profile := given.get("profileId")):
            self.refuse(400, "this stand-in takes closed sessions of a profile alone")
        member = self.shop.first(lambda one: self.customer_id(one) == profile)
        member = member or self.join(more={"profile": profile})
        items = given.get("cartItems") or []
        total = sum((Decimal(str(item["price"])) * item["quantity"] for item in items), Decimal(0))
        points = Decimal(str(attributes.get(POINTS_ATTRIBUTE, total * self.rate)))
        move = self.give_points(call, member, points, "Points for a purchase", key)
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
        told = {"customerSession": session, "effects": [self._effect(member, move)]}
        self._sessions[key] = told
        if "customerSession" not in call.body.get("responseContent", ()):
            told = {"effects": told["effects"]}
        return Reply({**told, "createdCoupons": [], "createdReferrals": []})

    def _effect(self, member: Member, move: Move) -> Row:
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
                "transactionUUID": self.uid(move.id),
            },
        }


application = TalonOne.application
