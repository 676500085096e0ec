"""The Voucherify connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

import pytest

from contracts.sandbox import voucherify
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseCoupons, BaseGeneral, BasePoints, BaseUsers, NoSuchState, Rig
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import CrmCardState, Holder
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-token"


class VoucherifyRig(SkinRig):
    spec = registry.load("voucherify")
    secrets = (voucherify.APP_TOKEN, WRONG)
    nobody = "cust_99999999"
    own: ClassVar[Mapping[str, object]] = {
        "app_id": voucherify.APP_ID,
        "app_token": voucherify.APP_TOKEN,
        "campaign": voucherify.CAMPAIGN,
    }
    refused: ClassVar[Mapping[str, object]] = {"app_token": WRONG}
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "customer_create",
        "users.set_card": "member_add",
        "points.credit": "balance",
        "coupons.issue": "publication_create",
    }

    @property
    def project(self) -> voucherify.Voucherify:
        return cast(voucherify.Voucherify, self.crm)

    def customer_id(self, member: Member) -> str:
        return f"cust_{member.id}"

    def member(self, account: str) -> Member:
        """By the code of a card, or by the customer's own id."""
        customer = (
            self.project.vouchers[account]["holder_id"] if account in self.project.vouchers else account
        )
        (found,) = self.crm.shop.find(lambda member: self.customer_id(member) == customer)
        return found

    def _cards(self, customer: str) -> list[dict[str, Any]]:
        vouchers = self.project.vouchers.values()
        cards = [one for one in vouchers if one["campaign_id"] == voucherify.CAMPAIGN]
        return [one for one in cards if one["holder_id"] == customer]

    async def give_card(self, holder: Holder) -> str:
        for card in self._cards(holder.users_reference):
            return str(card["code"])
        number = new_card_number()
        self.project.print_voucher(number, voucherify.CAMPAIGN, self.member(holder.users_reference))
        return number

    async def plastic(self) -> str | None:
        number = new_card_number()
        self.project.print_voucher(number, voucherify.CAMPAIGN)
        return number

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state == "replaced":
            raise NoSuchState
        card = self.project.vouchers[number]
        card["active"] = state != "blocked"
        card["expiration_date"] = f"{datetime(2026, 1, 1, tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}"
        if state != "inactive":
            del card["expiration_date"]
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        return next((str(card["code"]) for card in self._cards(customer)), None), None

    async def offer(self, account: str) -> str:
        voucher = self.project.print_voucher(
            new_card_number(), voucherify.COUPONS["visit"], self.member(account)
        )
        voucher["campaign"] = title = f"Offer {voucher['code']}"
        return title

    async def occasion(self) -> str:
        return "visit"


@pytest.fixture
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with skin_rig(VoucherifyRig) as rig:
        # A loyalty card is the account and the card in one: who is to be given a card has none yet.
        whole = request.node.originalname == "test_it_does_what_it_declares_and_refuses_the_rest"
        cast(VoucherifyRig, rig).project.cards_at_once = whole or request.cls is not TestUsers
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U11": "names are one text in Voucherify and are not told",
        "U27": "another card would need the points of the first one moved to it",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P16": "transactions are listed by card, so that our key with another account is not seen"
    }


class TestCoupons(BaseCoupons):
    pass
