"""Vouchers of Voucherify, cards of the loyalty campaign or coupons of another, and who was given them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Reply, stamp
from contracts.sandbox.shop import Member
from contracts.sandbox.voucherify.customers import Customers, after_cursor, listed

CAMPAIGN = "camp_LoyaltySandbox"
COUPONS: Mapping[str, str] = {"visit": "camp_Visit", "receipt": "camp_Receipt"}
"""Campaigns that give coupons, by their names."""


class Vouchers(Customers):
    """Printed, shown, published."""

    vouchers: dict[str, Row]
    """By their codes, as Voucherify tells them."""
    _published: list[Row]

    def populate(self) -> None:
        self.vouchers, self._published = {}, []
        super().populate()

    def print_voucher(self, code: str, campaign: str, member: Member | None = None) -> Row:
        """A voucher of this code, given to somebody or to nobody yet."""
        self.vouchers[code] = {
            "id": f"v_{self.shop.number()}",
            "code": code,
            "campaign": next((name for name, one in COUPONS.items() if one == campaign), "Loyalty"),
            "campaign_id": campaign,
            "type": "LOYALTY_CARD" if campaign == CAMPAIGN else "DISCOUNT_VOUCHER",
            "active": True,
            "holder_id": None if member is None else self.customer_id(member),
            "object": "voucher",
        }
        return self.vouchers[code]

    def voucher(self, call: Call) -> Reply:
        return Reply(self.shown(self.coded(call.path["code"])))

    def voucher_create(self, call: Call) -> Reply:
        self.of_campaign(call)
        if call.path["code"] in self.vouchers:
            self.refuse(409, "duplicate_found")
        return Reply(self.shown(self.print_voucher(call.path["code"], CAMPAIGN)))

    def of_campaign(self, call: Call) -> None:
        """Refuse a call about another campaign than that of the loyalty cards."""
        if call.path["campaign"] != CAMPAIGN:
            self.refuse(404, "not_found")

    def coded(self, code: str | None) -> Row:
        """The voucher of this code."""
        return self.vouchers[code] if code in self.vouchers else self.refuse(404, "not_found")

    def shown(self, voucher: Row) -> Row:
        """A voucher with the points of its holder, if it is a loyalty card."""
        if voucher["type"] != "LOYALTY_CARD":
            return voucher
        points = self.named(voucher["holder_id"]).points if voucher["holder_id"] else Decimal(0)
        return {**voucher, "loyalty_card": {"points": points, "balance": points}}

    def redeemables(self, call: Call) -> Reply:
        customer = self.customer_id(self.named(call.path["id"]))
        rows = [
            {
                "id": f"rh_{voucher['id']}",
                "redeemable_id": voucher["id"],
                "redeemable_object": "voucher",
                "customer_id": customer,
                "holder_role": "OWNER",
                "campaign_id": voucher["campaign_id"],
                "voucher_type": voucher["type"],
                "redeemable": {"type": "voucher", "voucher": self.shown(voucher), "status": "ACTIVE"},
            }
            for voucher in reversed(self.vouchers.values())
            if voucher["holder_id"] == customer
        ]
        return after_cursor(call, rows, total=len(rows))

    # -- publications ----------------------------------------------------------------------------------

    def publications(self, call: Call) -> Reply:
        key = call.query["source_id"]
        return listed("publications", [one for one in self._published if key in (None, one["source_id"])])

    def publication_create(self, call: Call) -> Reply:
        member = self.asked_customer(call.body)
        campaign = str((call.body.get("campaign") or {}).get("name"))
        if campaign not in COUPONS:
            self.refuse(404, "not_found")
        key = self.new_key(call)
        voucher = self.print_voucher(f"{campaign}-{self.shop.number()}", COUPONS[campaign], member)
        self.changed(call, "coupons.issue", member, key)
        return Reply(self.publish(member, voucher, key))

    def new_key(self, call: Call) -> str | None:
        """The caller's key, under which nothing was published yet."""
        key: str | None = call.body.get("source_id")
        if key is not None and any(one["source_id"] == key for one in self._published):
            self.refuse(400, "duplicate_source_id")
        return key

    def publish(self, member: Member, voucher: Row, key: str | None) -> Row:
        """Note that a voucher was given to somebody."""
        publication = {
            "id": f"pub_{self.shop.number()}",
            "object": "publication",
            "created_at": stamp(datetime.now(UTC)),
            "customer_id": self.customer_id(member),
            "source_id": key,
            "channel": "API",
            "result": "SUCCESS",
            "vouchers_id": [voucher["id"]],
            "voucher": {"code": voucher["code"], "object": "voucher", "campaign": voucher["campaign"]},
        }
        self._published.append(publication)
        return publication
