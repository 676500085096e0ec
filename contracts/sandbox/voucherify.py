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
from typing import ClassVar

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, alone_in_object, present
from contracts.sandbox.people import ANNA
from contracts.sandbox.server import Call, Reply, stamp
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

APP_ID, APP_TOKEN = "3f2c1d9e-voucherify-app", "voucherify-sandbox-token"
LOYALTY, COUPONS = "Loyalty", ("visit", "receipt")
"""Campaigns: that of the loyalty cards, and those that give coupons."""
CAMPAIGN = f"camp_{LOYALTY}"
SETTINGS = {"voucherify": {"app_id": APP_ID, "app_token": APP_TOKEN, "campaign": CAMPAIGN}}
"""See ``contracts.sandbox.CONNECTORS``."""
CARDS: Mapping[str | None, str] = {ANNA.phone: "2900000000018"}
"""Loyalty cards that have numbers of their own, by the phones of their holders."""
_CUSTOMER = "name description email phone birthday birthdate address metadata"
_VOUCHER = "category category_id redemption active start_date expiration_date additional_info metadata"
_MEMBERS = f"/loyalties/{CAMPAIGN}/members"
_BALANCE = "points! reason source_id expiration_type expiration_date"
_TO_WHOM = "voucher customer! source_id! metadata channel"
_CURSOR = "limit order starting_after_id"


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
        "customers": Route("GET /customers", "limit email order starting_after"),
        "customer": Route("GET /customers/{id}"),
        "customer_create": Route("POST /customers", json=f"id source_id {_CUSTOMER}"),
        "customer_edit": Route("PUT /customers/{id}", json=_CUSTOMER),
        "redeemables": Route("GET /customers/{id}/redeemables", _CURSOR),
        "voucher": Route("GET /vouchers/{code}"),
        "voucher_create": Route(f"POST /campaigns/{CAMPAIGN}/vouchers/{{code}}", json=_VOUCHER),
        "members": Route(f"GET {_MEMBERS}", "limit customer!"),
        "member_add": Route(f"POST {_MEMBERS}", json=_TO_WHOM),
        "member": Route("GET /loyalties/members/{code}"),
        "balance": Route(f"POST {_MEMBERS}/{{code}}/balance", json=_BALANCE),
        "transactions": Route("GET /loyalties/members/{code}/transactions", _CURSOR),
        "publications": Route("GET /publications", "limit source_id!"),
        "publication_create": Route("POST /publications", "join_once", json=f"campaign! {_TO_WHOM}"),
    }
    fields: ClassVar[Fields] = {
        "source_id": "key",
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
    _published: dict[str, Row]
    """By the keys of callers."""

    def populate(self) -> None:
        self.vouchers, self._published = {}, {}
        super().populate()

    def joined(self, member: Member) -> None:
        member.key = member.digits or None
        if self.cards_at_once:
            self.print_voucher(CARDS.get(member.phone, f"LOYALTY-{member.id}"), member)

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "key": reason, "message": reason, "details": reason}, status)

    # -- customers -------------------------------------------------------------------------------------

    def customer_id(self, member: Member) -> str:
        return f"cust_{member.id}"

    def named(self, wanted: str) -> Member:
        return self.only(lambda one: wanted in (self.customer_id(one), one.key), *self.not_found)

    def customers(self, call: Call) -> Reply:
        email, after = call.query["email"], call.query["starting_after"] or ""
        found = self.shop.find(lambda one: email in (None, one.email) and stamp(one.since) > after)
        return _listed(call, "customers", [self.told(one) for one in found])

    def customer_create(self, call: Call) -> Reply:
        given, source_id = present(call.body), call.body.get("source_id")
        known = self.shop.first(lambda one: source_id is not None and one.key == source_id)
        return Reply(self.told(self.edit(call, known, given) if known else self.register(call, given)))

    def customer_edit(self, call: Call) -> Reply:
        return Reply(self.told(self.edit(call, self.named(call.path["id"]), present(call.body))))

    def told(self, member: Member) -> Row:
        return {"id": self.customer_id(member), "created_at": stamp(member.since), **super().told(member)}

    # -- vouchers: loyalty cards and coupons -----------------------------------------------------------

    def print_voucher(self, code: str, member: Member | None = None, campaign: str = LOYALTY) -> Row:
        """A voucher of this code, given to somebody or to nobody yet."""
        self.vouchers[code] = {
            "id": f"v_{self.shop.number()}",
            "code": code,
            "campaign": campaign,
            "campaign_id": f"camp_{campaign}",
            "type": "LOYALTY_CARD" if campaign == LOYALTY else "DISCOUNT_VOUCHER",
            "active": True,
            "holder_id": member and self.customer_id(member),
        }
        return self.vouchers[code]

    def voucher(self, call: Call) -> Reply:
        return Reply(self._shown(self._coded(call.path["code"])))

    def voucher_create(self, call: Call) -> Reply:
        if call.path["code"] in self.vouchers:
            self.refuse(409, "duplicate_found")
        return Reply(self._shown(self.print_voucher(call.path["code"])))

    def _coded(self, code: str) -> Row:
        return self.vouchers[code] if code in self.vouchers else self.refuse(*self.not_found)

    def _shown(self, voucher: Row) -> Row:
        """A voucher with the points of its holder, if it is a loyalty card."""
        if voucher["type"] != "LOYALTY_CARD":
            return voucher
        points = self.named(voucher["holder_id"]).points if voucher["holder_id"] else 0
        return {**voucher, "loyalty_card": {"points": points, "balance": points}}

    def _held(self, customer: str) -> list[Row]:
        """What this customer was given: newest first."""
        holder = self.customer_id(self.named(customer))
        return [self._shown(one) for one in reversed(self.vouchers.values()) if one["holder_id"] == holder]

    def redeemables(self, call: Call) -> Reply:
        return _after_cursor(call, [_redeemable(voucher) for voucher in self._held(call.path["id"])])

    # -- the loyalty campaign --------------------------------------------------------------------------

    def campaign(self, call: Call) -> Reply:
        return Reply({"id": CAMPAIGN, "name": LOYALTY, "campaign_type": "LOYALTY_PROGRAM"})

    def members(self, call: Call) -> Reply:
        cards = [one for one in self._held(call.query["customer"]) if one["type"] == "LOYALTY_CARD"]
        return _listed(call, "vouchers", cards)

    def member_add(self, call: Call) -> Reply:
        card = self._coded(call.body["voucher"])
        if card["holder_id"] is not None:
            self.refuse(400, "voucher_already_published")
        self._publish(call, "users.set_card", card)
        return Reply(self._shown(card))

    member = voucher

    def _holder(self, call: Call) -> Member:
        holder = self._coded(call.path["code"])["holder_id"]
        return self.named(holder) if holder else self.refuse(*self.not_found)

    def balance(self, call: Call) -> Reply:
        member, points = self._holder(call), call.body["points"]
        if not isinstance(points, int) or points == 0:
            self.refuse(400, "invalid_add_balance_params")
        text = call.body.get("reason") or ""
        move = self.give_points(call, member, Decimal(points), text, call.body.get("source_id"))
        return Reply(_balance(move, member.points))

    def transactions(self, call: Call) -> Reply:
        return _after_cursor(call, [_transaction(*one) for one in reversed(self._holder(call).history)])

    # -- publications: what was given to whom ----------------------------------------------------------

    def publications(self, call: Call) -> Reply:
        found = [one for key, one in self._published.items() if key == call.query["source_id"]]
        return _listed(call, "publications", found)

    def publication_create(self, call: Call) -> Reply:
        campaign = call.body["campaign"].get("name")
        if campaign not in COUPONS:
            self.refuse(*self.not_found)
        voucher = self.print_voucher(f"{campaign}-{self.shop.number()}", campaign=campaign)
        return Reply(self._publish(call, "coupons.issue", voucher))

    def _publish(self, call: Call, kind: str, voucher: Row) -> Row:
        """Give the customer in the body a voucher of nobody's, once under the caller's key."""
        member, key = self.named(call.body["customer"].get("id", "")), call.body["source_id"]
        if key in self._published:
            self.refuse(400, "duplicate_source_id")
        voucher["holder_id"] = customer = self.customer_id(member)
        self.changed(call, kind, member, key)
        told = {"id": f"pub_{self.shop.number()}", "customer_id": customer, "result": "SUCCESS"}
        return self._published.setdefault(key, told)


def _redeemable(voucher: Row) -> Row:
    return {
        "id": f"rh_{voucher['id']}",
        "redeemable_id": voucher["id"],
        "holder_role": "OWNER",
        "voucher_type": voucher["type"],
        "redeemable": {"type": "voucher", "voucher": voucher, "status": "ACTIVE"},
    }


def _listed(call: Call, name: str, rows: list[Row]) -> Reply:
    return Reply({"object": "list", "data_ref": name, name: rows[: call.number("limit", 10)]})


def _after_cursor(call: Call, rows: list[Row]) -> Reply:
    """The part of the rows that comes after the cursor."""
    limit, after = call.number("limit", 10), call.query["starting_after_id"]
    begin = 0 if after is None else [row["id"] for row in rows].index(after) + 1
    part, has_more = rows[begin : begin + limit], begin + limit < len(rows)
    more = {"has_more": has_more, "more_starting_after": part[-1]["id"] if has_more else None}
    return Reply({"object": "list", "data_ref": "data", "data": part, **more})


def _balance(move: Move, left: Decimal) -> Row:
    return {"points": move.points, "balance": left, "type": "loyalty_card", "object": "balance"}


def _transaction(move: Move, left: Decimal) -> Row:
    return {
        "id": f"vtx_{move.id}",
        "source_id": move.key,
        "type": "POINTS_ADDITION" if move.points >= 0 else "POINTS_REMOVAL",
        "details": {"balance": _balance(move, left)},
        "created_at": stamp(move.at),
    }


application = Voucherify.application
