"""Stand-in for Voucherify: customers, loyalty cards of one campaign, vouchers of others, API v1.

Facts: the vendor's description (``voucherifyio/voucherify-openapi``, 2026-08-21) and its client
``voucherify`` 6.1.1. Whether one ``source_id`` in two balance operations is refused is not told, so here
it is not. It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_card`` (a loyalty card was given),
``points.credit``, ``coupons.issue`` (a coupon was given).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import ANNA, PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, stamp
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

APP_ID, APP_TOKEN = "3f2c1d9e-voucherify-app", "voucherify-sandbox-token"
CAMPAIGN = "camp_LoyaltySandbox"
SETTINGS = {"voucherify": {"app_id": APP_ID, "app_token": APP_TOKEN, "campaign": CAMPAIGN}}
"""See ``contracts.sandbox.CONNECTORS``."""
CARD_OF_ANNA = "2900000000018"
COUPONS: Mapping[str, str] = {"visit": "camp_Visit", "receipt": "camp_Receipt"}
"""Campaigns that give coupons, by their names."""
_CUSTOMER = "name description email phone birthday birthdate address metadata"


class Voucherify(Skin):
    """Customers are told by their identifier or their source_id, vouchers by their code."""

    name: ClassVar[str] = "voucherify"
    title: ClassVar[str] = "Voucherify (customers, loyalty cards and vouchers)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "application id": APP_ID,
        "secret key": APP_TOKEN,
        "loyalty campaign": CAMPAIGN,
        "coupon campaigns": ", ".join(COUPONS),
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "campaign": Route("GET /v1/loyalties/{campaign}"),
        "customers": Route("GET /v1/customers", "limit page email order starting_after"),
        "customer": Route("GET /v1/customers/{id}"),
        "customer_create": Route("POST /v1/customers", json=f"id source_id {_CUSTOMER}"),
        "customer_edit": Route("PUT /v1/customers/{id}", json=_CUSTOMER),
        "redeemables": Route("GET /v1/customers/{id}/redeemables", "limit order starting_after_id"),
        "voucher": Route("GET /v1/vouchers/{code}"),
        "voucher_create": Route(
            "POST /v1/campaigns/{campaign}/vouchers/{code}",
            json="category category_id redemption active start_date expiration_date additional_info metadata",
        ),
        "members": Route("GET /v1/loyalties/{campaign}/members", "limit page customer"),
        "member_add": Route(
            "POST /v1/loyalties/{campaign}/members", json="voucher customer! source_id metadata channel"
        ),
        "member": Route("GET /v1/loyalties/members/{code}"),
        "balance": Route(
            "POST /v1/loyalties/{campaign}/members/{code}/balance",
            json="points! reason source_id expiration_type expiration_date",
        ),
        "transactions": Route(
            "GET /v1/loyalties/members/{code}/transactions", "limit order starting_after_id"
        ),
        "publications": Route("GET /v1/publications", "limit page campaign customer voucher source_id"),
        "publication_create": Route(
            "POST /v1/publications", "join_once", json="campaign voucher customer! source_id metadata channel"
        ),
    }
    cards_at_once: bool = True
    """Whether who joins has a loyalty card from the beginning."""

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if (headers.get("X-App-Id"), headers.get("X-App-Token")) != (APP_ID, APP_TOKEN):
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "unauthorized")

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "key": reason, "message": reason, "details": reason}, status)

    def populate(self) -> None:
        self.vouchers: dict[str, dict[str, Any]] = {}
        self.published: list[dict[str, Any]] = []
        super().populate()

    def joined(self, member: Member) -> None:
        member.more.setdefault("source_id", (member.phone or "").lstrip("+"))
        if self.cards_at_once:
            code = CARD_OF_ANNA if member.phone == ANNA.phone else f"LOYALTY-{member.id}"
            self.print_voucher(code, CAMPAIGN, member)

    def campaign(self, call: Call) -> Reply:
        self._of_campaign(call)
        return Reply({"id": CAMPAIGN, "name": "Loyalty", "campaign_type": "LOYALTY_PROGRAM"})

    # -- customers -------------------------------------------------------------------------------------

    def customers(self, call: Call) -> Reply:
        email, after = call.query["email"], call.query["starting_after"]
        found = self.shop.find(lambda member: email is None or member.email == email)
        rows = [self._told(one) for one in found if after is None or stamp(one.since) > after]
        limit = int(call.query["limit"] or 10)
        body = {"object": "list", "data_ref": "customers", "customers": rows[:limit], "total": len(found)}
        return Reply({**body, "has_more": len(rows) > limit})

    def customer(self, call: Call) -> Reply:
        return Reply(self._told(self._named(call.path["id"])))

    def customer_create(self, call: Call) -> Reply:
        source_id = call.body.get("source_id")
        known = self.shop.find(lambda one: source_id is not None and one.more["source_id"] == source_id)
        member = known[0] if known else self.shop.add(more={"source_id": source_id})
        self._set(member, call.body)
        self.record(call, "users.update" if known else "users.register", customer=_cust(member))
        return Reply(self._told(member))

    def customer_edit(self, call: Call) -> Reply:
        member = self._named(call.path["id"])
        self._set(member, call.body)
        self.record(call, "users.update", customer=_cust(member))
        return Reply(self._told(member))

    def _named(self, text: str | None) -> Member:
        return self.only(lambda one: text in (_cust(one), one.more["source_id"]), 404, "not_found")

    @staticmethod
    def _set(member: Member, sent: Mapping[str, Any]) -> None:
        given = {name: value for name, value in sent.items() if value is not None}
        member.phone = given.get("phone", member.phone)
        member.email = given.get("email", member.email)
        member.first_name = given.get("name", member.first_name)
        if "birthdate" in given:
            member.birth_date = date.fromisoformat(given["birthdate"])
        if "address" in given:
            member.city = given["address"].get("city")

    @staticmethod
    def _told(member: Member) -> dict[str, Any]:
        told = {
            "id": _cust(member),
            "source_id": member.more["source_id"],
            "name": member.first_name,
            "email": member.email,
            "phone": member.phone,
            "birthdate": member.birth_date.isoformat() if member.birth_date else None,
            "address": {"city": member.city} if member.city else None,
            "created_at": stamp(member.since),
        }
        return {"object": "customer", **{name: value for name, value in told.items() if value is not None}}

    # -- vouchers --------------------------------------------------------------------------------------

    def print_voucher(self, code: str, campaign: str, member: Member | None = None) -> dict[str, Any]:
        """A voucher of this code, given to somebody or to nobody yet."""
        name = next((name for name, one in COUPONS.items() if one == campaign), "Loyalty")
        kind = "LOYALTY_CARD" if campaign == CAMPAIGN else "DISCOUNT_VOUCHER"
        self.vouchers[code] = {
            "id": f"v_{self.shop.number()}",
            "code": code,
            "campaign": name,
            "campaign_id": campaign,
            "type": kind,
            "active": True,
            "holder_id": None if member is None else _cust(member),
            "object": "voucher",
        }
        return self.vouchers[code]

    def voucher(self, call: Call) -> Reply:
        return Reply(self._shown(self._voucher(call.path["code"])))

    def voucher_create(self, call: Call) -> Reply:
        self._of_campaign(call)
        if call.path["code"] in self.vouchers:
            self.refuse(409, "duplicate_found")
        return Reply(self._shown(self.print_voucher(call.path["code"], CAMPAIGN)))

    def _voucher(self, code: str | None) -> dict[str, Any]:
        return self.vouchers[code] if code in self.vouchers else self.refuse(404, "not_found")

    def _shown(self, voucher: dict[str, Any]) -> dict[str, Any]:
        if voucher["type"] != "LOYALTY_CARD":
            return voucher
        points = self._named(voucher["holder_id"]).points if voucher["holder_id"] else Decimal(0)
        return {**voucher, "loyalty_card": {"points": points, "balance": points}}

    def redeemables(self, call: Call) -> Reply:
        customer = _cust(self._named(call.path["id"]))
        rows = [
            {
                "id": f"rh_{voucher['id']}",
                "redeemable_id": voucher["id"],
                "redeemable_object": "voucher",
                "customer_id": customer,
                "holder_role": "OWNER",
                "campaign_id": voucher["campaign_id"],
                "voucher_type": voucher["type"],
                "redeemable": {"type": "voucher", "voucher": self._shown(voucher), "status": "ACTIVE"},
            }
            for voucher in reversed(self.vouchers.values())
            if voucher["holder_id"] == customer
        ]
        return self._list(rows, call, {"total": len(rows)})

    # -- publications ----------------------------------------------------------------------------------

    def publications(self, call: Call) -> Reply:
        key = call.query["source_id"]
        rows = [one for one in self.published if key in (None, one["source_id"])]
        told = {"object": "list", "data_ref": "publications", "publications": rows, "total": len(rows)}
        return Reply(told)

    def publication_create(self, call: Call) -> Reply:
        member = self._named(_who(call.body))
        campaign = str((call.body.get("campaign") or {}).get("name"))
        if campaign not in COUPONS:
            self.refuse(404, "not_found")
        key = call.body.get("source_id")
        self._new_key(key)
        voucher = self.print_voucher(f"{campaign}-{self.shop.number()}", COUPONS[campaign], member)
        self.record(call, "coupons.issue", customer=_cust(member), reference=key)
        return Reply(self._publish(member, voucher, key))

    def _new_key(self, key: str | None) -> None:
        if key is not None and any(one["source_id"] == key for one in self.published):
            self.refuse(400, "duplicate_source_id")

    def _publish(self, member: Member, voucher: dict[str, Any], key: str | None) -> dict[str, Any]:
        publication = {
            "id": f"pub_{self.shop.number()}",
            "object": "publication",
            "created_at": stamp(datetime.now(UTC)),
            "customer_id": _cust(member),
            "source_id": key,
            "channel": "API",
            "result": "SUCCESS",
            "vouchers_id": [voucher["id"]],
            "voucher": {"code": voucher["code"], "object": "voucher", "campaign": voucher["campaign"]},
        }
        self.published.append(publication)
        return publication

    # -- loyalty ---------------------------------------------------------------------------------------

    def members(self, call: Call) -> Reply:
        self._of_campaign(call)
        customer = _cust(self._named(call.query["customer"])) if call.query["customer"] else None
        rows = [
            self._shown(one)
            for one in reversed(self.vouchers.values())
            if one["campaign_id"] == CAMPAIGN and one["holder_id"] and customer in (None, one["holder_id"])
        ]
        return Reply({"object": "list", "data_ref": "vouchers", "vouchers": rows, "total": len(rows)})

    def member_add(self, call: Call) -> Reply:
        self._of_campaign(call)
        member, code = self._named(_who(call.body)), call.body.get("voucher")
        voucher = (
            self.print_voucher(f"LOYALTY-{member.id}", CAMPAIGN) if code is None else self._voucher(code)
        )
        if voucher["holder_id"] is not None:
            self.refuse(400, "voucher_already_published")
        key = call.body.get("source_id")
        self._new_key(key)
        voucher["holder_id"] = _cust(member)
        self._publish(member, voucher, key)
        self.record(call, "users.set_card", customer=_cust(member), reference=key)
        return Reply(self._shown(voucher))

    def member(self, call: Call) -> Reply:
        return Reply(self._shown(self._card(call)))

    def balance(self, call: Call) -> Reply:
        self._of_campaign(call)
        voucher, points, key = self._card(call), call.body["points"], call.body.get("source_id")
        if not isinstance(points, int) or points == 0:
            self.refuse(400, "invalid_add_balance_params")
        member = self._named(voucher["holder_id"])
        self.shop.give(member, Decimal(points), call.body.get("reason") or "", key)
        self.record(call, "points.credit", customer=_cust(member), amount=Decimal(points), reference=key)
        return Reply(_balance(voucher, Decimal(points), member.points))

    def transactions(self, call: Call) -> Reply:
        voucher = self._card(call)
        moves, left = [], Decimal(0)
        for move in self._named(voucher["holder_id"]).moves:
            left += move.points
            moves.append(_transaction(voucher, move, left))
        return self._list(list(reversed(moves)), call, {})

    def _card(self, call: Call) -> dict[str, Any]:
        voucher = self._voucher(call.path["code"])
        return voucher if voucher["holder_id"] is not None else self.refuse(404, "not_found")

    def _of_campaign(self, call: Call) -> None:
        if call.path["campaign"] != CAMPAIGN:
            self.refuse(404, "not_found")

    @staticmethod
    def _list(rows: list[dict[str, Any]], call: Call, more: Mapping[str, Any]) -> Reply:
        limit, after = int(call.query["limit"] or 10), call.query["starting_after_id"]
        ids = [row["id"] for row in rows]
        begin = 0 if after is None else ids.index(after) + 1
        part, over = rows[begin : begin + limit], begin + limit >= len(rows)
        told = {"object": "list", "data_ref": "data", "data": part, "has_more": not over, **more}
        return Reply(told if over else {**told, "more_starting_after": part[-1]["id"]})


def _cust(member: Member) -> str:
    return f"cust_{member.id}"


def _who(body: Mapping[str, Any]) -> Any:
    return body["customer"].get("id") or body["customer"].get("source_id")


def _balance(voucher: Mapping[str, Any], points: Decimal, left: Decimal) -> dict[str, Any]:
    return {
        "points": points,
        "total": left,
        "balance": left,
        "type": "loyalty_card",
        "object": "balance",
        "related_object": {"type": "voucher", "id": voucher["id"]},
    }


def _transaction(voucher: Mapping[str, Any], move: Move, left: Decimal) -> dict[str, Any]:
    return {
        "id": f"vtx_{move.id}",
        "source_id": move.key,
        "voucher_id": voucher["id"],
        "campaign_id": voucher["campaign_id"],
        "source": "API",
        "reason": move.text,
        "type": "POINTS_ADDITION" if move.points >= 0 else "POINTS_REMOVAL",
        "details": {"balance": _balance(voucher, move.points, left)},
        "related_transaction_id": None,
        "created_at": stamp(move.at),
    }


application = Voucherify.application
