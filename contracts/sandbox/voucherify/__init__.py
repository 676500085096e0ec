"""Stand-in for Voucherify: customers, loyalty cards of one campaign, vouchers of others, API v1.

Facts: the vendor's description (``voucherifyio/voucherify-openapi``, 2026-08-21) and its client
``voucherify`` 6.1.1. Whether one ``source_id`` in two balance operations is refused is not told, so here
it is not. It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_card`` (a loyalty card was given),
``points.credit``, ``coupons.issue`` (a coupon was given).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.people import ANNA, PHONES
from contracts.sandbox.server import Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route
from contracts.sandbox.voucherify.loyalty import Loyalty
from contracts.sandbox.voucherify.vouchers import CAMPAIGN, COUPONS

__all__ = ["APP_ID", "APP_TOKEN", "CAMPAIGN", "CARD_OF_ANNA", "COUPONS", "SETTINGS", "Voucherify"]

APP_ID, APP_TOKEN = "3f2c1d9e-voucherify-app", "voucherify-sandbox-token"
SETTINGS = {"voucherify": {"app_id": APP_ID, "app_token": APP_TOKEN, "campaign": CAMPAIGN}}
"""See ``contracts.sandbox.CONNECTORS``."""
CARD_OF_ANNA = "2900000000018"
_CUSTOMER = "name description email phone birthday birthdate address metadata"


class Voucherify(Loyalty):
    """Customers are told by their identifier or their source_id, vouchers by their code."""

    name: ClassVar[str] = "voucherify"
    title: ClassVar[str] = "Voucherify (customers, loyalty cards and vouchers)"
    base: ClassVar[str] = "/v1"
    credentials: ClassVar[Mapping[str, str]] = {
        "application id": APP_ID,
        "secret key": APP_TOKEN,
        "loyalty campaign": CAMPAIGN,
        "coupon campaigns": ", ".join(COUPONS),
        "customers": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "campaign": Route("GET /loyalties/{campaign}"),
        "customers": Route("GET /customers", "limit page email order starting_after"),
        "customer": Route("GET /customers/{id}"),
        "customer_create": Route("POST /customers", json=f"id source_id {_CUSTOMER}"),
        "customer_edit": Route("PUT /customers/{id}", json=_CUSTOMER),
        "redeemables": Route("GET /customers/{id}/redeemables", "limit order starting_after_id"),
        "voucher": Route("GET /vouchers/{code}"),
        "voucher_create": Route(
            "POST /campaigns/{campaign}/vouchers/{code}",
            json="category category_id redemption active start_date expiration_date additional_info metadata",
        ),
        "members": Route("GET /loyalties/{campaign}/members", "limit page customer"),
        "member_add": Route(
            "POST /loyalties/{campaign}/members", json="voucher customer! source_id metadata channel"
        ),
        "member": Route("GET /loyalties/members/{code}"),
        "balance": Route(
            "POST /loyalties/{campaign}/members/{code}/balance",
            json="points! reason source_id expiration_type expiration_date",
        ),
        "transactions": Route("GET /loyalties/members/{code}/transactions", "limit order starting_after_id"),
        "publications": Route("GET /publications", "limit page campaign customer voucher source_id"),
        "publication_create": Route(
            "POST /publications", "join_once", json="campaign voucher customer! source_id metadata channel"
        ),
    }
    cards_at_once: bool = True
    """Whether who joins has a loyalty card from the beginning."""

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return (headers.get("X-App-Id"), headers.get("X-App-Token")) == (APP_ID, APP_TOKEN)

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "key": reason, "message": reason, "details": reason}, status)

    def joined(self, member: Member) -> None:
        super().joined(member)
        if self.cards_at_once:
            code = CARD_OF_ANNA if member.phone == ANNA.phone else f"LOYALTY-{member.id}"
            self.print_voucher(code, CAMPAIGN, member)


application = Voucherify.application
