"""Stand-in for Voucherify: customers, loyalty cards of one campaign, vouchers of others, API v1.

Facts: the vendor's description (``voucherifyio/voucherify-openapi``, 2026-08-21) and its client
``voucherify`` 6.1.1. Whether one ``source_id`` in two balance operations is refused is not told, so here
it is not. It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_card`` (a loyalty card was given),
``points.credit``, ``coupons.issue`` (a coupon was given).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, alone_in_object, present
from contracts.sandbox.people import ANNA
from contracts.sandbox.server import Call, Reply, now, stamp
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

APP_ID, APP_TOKEN = "3f2c1d9e-voucherify-app", "voucherify-sandbox-token"
CAMPAIGN = "camp_LoyaltySandbox"
COUPONS: Mapping[str, str] = {"visit": "camp_Visit", "receipt": "camp_Receipt"}
"""Campaigns that give coupons, by their names."""
SETTINGS = {"voucherify": {"app_id": APP_ID, "app_token": APP_TOKEN, "campaign": CAMPAIGN}}
"""See ``contracts.sandbox.CONNECTORS``."""
CARD_OF_ANNA = "2900000000018"
_CUSTOMER = "name description email phone birthday birthdate address metadata"
_MEMBERS = f"/loyalties/{CAMPAIGN}/members"
_NEW_VOUCHER = "category category_id redemption active start_date expiration_date additional_info metadata"


class Voucherify(Skin):
    """Customers are told by their identifier or their source_id, vouchers by their code."""

    name = "voucherify"
    title = "Voucherify (customers, loyalty cards and vouchers)"
    base = "/v1"
    not_found = (404, "not_found")
    sent: ClassVar[Mapping[str, str]] = {"X-App-Id": APP_ID, "X-App-Token": APP_TOKEN}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS, coupons=", ".join(COUPONS))
    routes: ClassVar[Mapping[str, Route]] = {
        "campaign": Route(f"GET /loyalties/{CAMPAIGN}"),
        "customers": Route("GET /customers", "limit page email order starting_after"),
        "customer": Route("GET /customers/{id}"),
        "customer_create": Route("POST /customers", json=f"id source_id {_CUSTOMER}"),
        "customer_edit": Route("PUT /customers/{id}", json=_CUSTOMER),
        "redeemables": Route("GET /customers/{id}/redeemables", "limit order starting_after_id"),
        "voucher": Route("GET /vouchers/{code}"),
        "voucher_create": Route(f"POST /campaigns/{CAMPAIGN}/vouchers/{{code}}", json=_NEW_VOUCHER),
        "members": Route(f"GET {_MEMBERS}", "limit page customer"),
        "member_add": Route(f"POST {_MEMBERS}", json="voucher! customer! source_id metadata channel"),
        "member": Route("GET /loyalties/members/{code}"),
        "balance": Route(
            f"POST {_MEMBERS}/{{code}}/balance",
            json="points! reason source_id expiration_type expiration_date",
        ),
        "transactions": Route("GET /loyalties/members/{code}/transactions", "limit order starting_after_id"),
        "publications": Route("GET /publications", "limit page campaign customer voucher source_id"),
        "publication_create": Route(
            "POST /publications", "join_once", json="campaign! voucher customer! source_id metadata channel"
        ),
    }
    fields: ClassVar[Fields] = {
        "name": "first_name",
        "email": "email",
        "phone": "phone",
        "birthdate": BIRTH_DATE,
        "address": alone_in_object("city", "city"),
    }
    cards_at_once: bool = True
    """Whether who joins has a loyalty card from the beginning."""
    vouchers: dict[str, Row]
    """By their codes, as Voucherify tells them."""
    _published: list[Row]

    def populate(self) -> None:
        self.vouchers, self._published = {}, []
        super().populate()

    def joined(self, member: Member) -> None:
        member.more.setdefault("source_id", member.digits)
        if self.cards_at_once:
            code = CARD_OF_ANNA if member.phone == ANNA.phone else f"LOYALTY-{member.id}"
            self.print_voucher(code, CAMPAIGN, member)

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "key": reason, "message": reason, "details": reason}, status)

    # -- customers -------------------------------------------------------------------------------------

    def customer_id(self, member: Member) -> str:
        return f"cust_{member.id}"

    def named(self, wanted: str) -> Member:
        return self.only(
            lambda one: wanted in (self.customer_id(one), one.more["source_id"]), *self.not_found
        )

    def customers(self, call: Call) -> Reply:
        email, after = call.query["email"], call.query["starting_after"]
        found = self.shop.find(lambda member: email is None or member.email == email)
        rows = [self._told(one) for one in found if after is None or stamp(one.since) > after]
        limit = int(call.query["limit"] or 10)
        return _listed("customers", rows[:limit], total=len(found), has_more=len(rows) > limit)

    def customer(self, call: Call) -> Reply:
        return Reply(self._told(self.named(call.path["id"])))

    def customer_create(self, call: Call) -> Reply:
        given, source_id = present(call.body), call.body.get("source_id")
        known = self.shop.first(lambda one: source_id is not None and one.more["source_id"] == source_id)
        if known is not None:
            return Reply(self._told(self.edit(call, known, given)))
        return Reply(self._told(self.register(call, given, more={"source_id": source_id})))

    def customer_edit(self, call: Call) -> Reply:
        return Reply(self._told(self.edit(call, self.named(call.path["id"]), present(call.body))))

    def _asked_customer(self, call: Call) -> Member:
        asked = call.body["customer"]
        wanted = asked.get("id") or asked.get("source_id")
        return self.named(wanted) if wanted else self.refuse(400, "missing_customer")

    def _told(self, member: Member) -> Row:
        known = {"id": self.customer_id(member), "source_id": member.more["source_id"]}
        told = {"object": "customer", **known, "created_at": stamp(member.since)}
        return {**told, **present(member.told(self.fields))}

    # -- vouchers: loyalty cards and coupons -----------------------------------------------------------

    def print_voucher(self, code: str, campaign: str, member: Member | None = None) -> Row:
        """A voucher of this code, given to somebody or to nobody yet."""
        names = {identifier: name for name, identifier in COUPONS.items()}
        self.vouchers[code] = {
            "id": f"v_{self.shop.number()}",
            "code": code,
            "campaign": names.get(campaign, "Loyalty"),
            "campaign_id": campaign,
            "type": "LOYALTY_CARD" if campaign == CAMPAIGN else "DISCOUNT_VOUCHER",
            "active": True,
            "holder_id": None if member is None else self.customer_id(member),
            "object": "voucher",
        }
        return self.vouchers[code]

    def voucher(self, call: Call) -> Reply:
        return Reply(self._shown(self._coded(call.path["code"])))

    def voucher_create(self, call: Call) -> Reply:
        if call.path["code"] in self.vouchers:
            self.refuse(409, "duplicate_found")
        return Reply(self._shown(self.print_voucher(call.path["code"], CAMPAIGN)))

    def _coded(self, code: str) -> Row:
        return self.vouchers[code] if code in self.vouchers else self.refuse(*self.not_found)

    def _shown(self, voucher: Row) -> Row:
        """A voucher with the points of its holder, if it is a loyalty card."""
        if voucher["campaign_id"] != CAMPAIGN:
            return voucher
        points = self.named(voucher["holder_id"]).points if voucher["holder_id"] else 0
        return {**voucher, "loyalty_card": {"points": points, "balance": points}}

    def _held(self, customer: str | None) -> list[Row]:
        """What this customer, or anybody, was given: newest first."""
        return [
            self._shown(one)
            for one in reversed(self.vouchers.values())
            if one["holder_id"] and customer in (None, one["holder_id"])
        ]

    def redeemables(self, call: Call) -> Reply:
        customer = self.customer_id(self.named(call.path["id"]))
        rows = [
            {
                "id": f"rh_{voucher['id']}",
                "redeemable_id": voucher["id"],
                "customer_id": customer,
                "holder_role": "OWNER",
                "campaign_id": voucher["campaign_id"],
                "voucher_type": voucher["type"],
                "redeemable": {"type": "voucher", "voucher": voucher, "status": "ACTIVE"},
            }
            for voucher in self._held(customer)
        ]
        return _after_cursor(call, rows, total=len(rows))

    # -- the loyalty campaign --------------------------------------------------------------------------

    def campaign(self, call: Call) -> Reply:
        return Reply({"id": CAMPAIGN, "name": "Loyalty", "campaign_type": "LOYALTY_PROGRAM"})

    def members(self, call: Call) -> Reply:
        asked = call.query["customer"]
        held = self._held(self.customer_id(self.named(asked)) if asked else None)
        return _listed("vouchers", [one for one in held if one["campaign_id"] == CAMPAIGN])

    def member_add(self, call: Call) -> Reply:
        member, card = self._asked_customer(call), self._coded(call.body["voucher"])
        if card["holder_id"] is not None:
            self.refuse(400, "voucher_already_published")
        self._publish(call, "users.set_card", member, card)
        return Reply(self._shown(card))

    def member(self, call: Call) -> Reply:
        return Reply(self._shown(self._card(call)))

    def _card(self, call: Call) -> Row:
        card = self._coded(call.path["code"])
        return card if card["holder_id"] is not None else self.refuse(*self.not_found)

    def balance(self, call: Call) -> Reply:
        card, points = self._card(call), call.body["points"]
        if not isinstance(points, int) or points == 0:
            self.refuse(400, "invalid_add_balance_params")
        member, text = self.named(card["holder_id"]), call.body.get("reason") or ""
        self.give_points(call, member, Decimal(points), text, call.body.get("source_id"))
        return Reply(_balance(card, Decimal(points), member.points))

    def transactions(self, call: Call) -> Reply:
        card = self._card(call)
        history = reversed(self.named(card["holder_id"]).history)
        return _after_cursor(call, [_transaction(card, move, left) for move, left in history])

    # -- publications: what was given to whom ----------------------------------------------------------

    def publications(self, call: Call) -> Reply:
        key = call.query["source_id"]
        return _listed("publications", [one for one in self._published if key in (None, one["source_id"])])

    def publication_create(self, call: Call) -> Reply:
        member, campaign = self._asked_customer(call), str((call.body["campaign"] or {}).get("name"))
        if campaign not in COUPONS:
            self.refuse(*self.not_found)
        voucher = self.print_voucher(f"{campaign}-{self.shop.number()}", COUPONS[campaign])
        return Reply(self._publish(call, "coupons.issue", member, voucher))

    def _publish(self, call: Call, kind: str, member: Member, voucher: Row) -> Row:
        """Give somebody a voucher of nobody's, once under the caller's key."""
        key = call.body.get("source_id")
        if key is not None and any(one["source_id"] == key for one in self._published):
            self.refuse(400, "duplicate_source_id")
        voucher["holder_id"] = self.customer_id(member)
        self.changed(call, kind, member, key)
        publication = {
            "id": f"pub_{self.shop.number()}",
            "object": "publication",
            "created_at": stamp(now()),
            "customer_id": self.customer_id(member),
            "source_id": key,
            "result": "SUCCESS",
            "voucher": {"code": voucher["code"], "object": "voucher", "campaign": voucher["campaign"]},
        }
        self._published.append(publication)
        return publication


def _listed(name: str, rows: list[Row], **more: Any) -> Reply:
    return Reply({"object": "list", "data_ref": name, name: rows, "total": len(rows), **more})


def _after_cursor(call: Call, rows: list[Row], **more: Any) -> Reply:
    """The part of the rows that comes after the cursor."""
    limit, after = int(call.query["limit"] or 10), call.query["starting_after_id"]
    begin = 0 if after is None else [row["id"] for row in rows].index(after) + 1
    part, has_more = rows[begin : begin + limit], begin + limit < len(rows)
    cursor = {"more_starting_after": part[-1]["id"]} if has_more else {}
    return Reply({"object": "list", "data_ref": "data", "data": part, "has_more": has_more, **cursor, **more})


def _balance(card: Row, points: Decimal, left: Decimal) -> Row:
    of = {
        "type": "loyalty_card",
        "object": "balance",
        "related_object": {"type": "voucher", "id": card["id"]},
    }
    return {"points": points, "total": left, "balance": left, **of}


def _transaction(card: Row, move: Move, left: Decimal) -> Row:
    return {
        "id": f"vtx_{move.id}",
        "source_id": move.key,
        "voucher_id": card["id"],
        "campaign_id": CAMPAIGN,
        "source": "API",
        "reason": move.text,
        "type": "POINTS_ADDITION" if move.points >= 0 else "POINTS_REMOVAL",
        "details": {"balance": _balance(card, move.points, left)},
        "created_at": stamp(move.at),
    }


application = Voucherify.application
