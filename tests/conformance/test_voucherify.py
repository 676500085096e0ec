"""The Voucherify connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from contracts.sandbox import voucherify
from contracts.sandbox.shop import Member
from crm_backends.conformance import BaseCoupons, BaseGeneral, BasePoints, BaseUsers, NoSuchState
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import CrmCardState, Holder
from tests.conformance.skins import ONE_ACCOUNT_ALONE, SkinRig, rig_of


class VoucherifyRig(SkinRig[voucherify.Voucherify]):
    connector = "voucherify"
    nobody = "cust_99999999"
    own: ClassVar[Mapping[str, object]] = {
        "app_id": voucherify.APP_ID,
        "app_token": voucherify.APP_TOKEN,
        "campaign": voucherify.CAMPAIGN,
    }
    secret_settings = ("app_token",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "customer_create",
        "users.set_card": "member_add",
        "points.credit": "balance",
        "coupons.issue": "publication_create",
    }

    def prepare(self, test: pytest.FixtureRequest) -> None:
        # A loyalty card is the account and the card in one: who is to be given a card has none yet.
        whole = test.node.originalname == "test_it_does_what_it_declares_and_refuses_the_rest"
        self.crm.cards_at_once = whole or test.cls is not TestUsers

    def member(self, account: str) -> Member:
        """By the code of a card, or by the customer's own id."""
        customer = self.crm.vouchers[account]["holder_id"] if account in self.crm.vouchers else account
        return self.customer(customer)

    def _cards(self, customer: str) -> list[dict[str, Any]]:
        vouchers = self.crm.vouchers.values()
        cards = [one for one in vouchers if one["campaign_id"] == voucherify.CAMPAIGN]
        return [one for one in cards if one["holder_id"] == customer]

    async def give_card(self, holder: Holder) -> str:
        for card in self._cards(holder.users_reference):
            return str(card["code"])
        number = new_card_number()
        self.crm.print_voucher(number, self.member(holder.users_reference))
        return number

    async def plastic(self) -> str | None:
        number = new_card_number()
        self.crm.print_voucher(number)
        return number

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state == "replaced":
            raise NoSuchState
        card = self.crm.vouchers[number]
        card["active"] = state != "blocked"
        card["expiration_date"] = f"{datetime(2026, 1, 1, tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}"
        if state != "inactive":
            del card["expiration_date"]
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        return next((str(card["code"]) for card in self._cards(customer)), None), None

    async def offer(self, account: str) -> str:
        voucher = self.crm.print_voucher(new_card_number(), self.member(account), "visit")
        voucher["campaign"] = title = f"Offer {voucher['code']}"
        return title

    async def occasion(self) -> str:
        return "visit"


rig = rig_of(VoucherifyRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U11": "names are one text in Voucherify and are not told",
        "U27": "another card would need the points of the first one moved to it",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P16": ONE_ACCOUNT_ALONE}


class TestCoupons(BaseCoupons):
    pass
