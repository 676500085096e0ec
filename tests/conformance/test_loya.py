"""The Loya connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import pytest

from contracts.sandbox import loya
from contracts.sandbox.shop import Member
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import Channel, CrmCardState
from tests.conformance.skins import ONE_ACCOUNT_ALONE, CardsInStock, refuses_to_give, rig_of


class LoyaRig(CardsInStock[loya.Loya]):
    connector = "loya"
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {
        "email": loya.EMAIL,
        "password": loya.PASSWORD,
        "api_key": loya.API_KEY,
    }
    secret_settings = ("password", "api_key")
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "client_express",
        "users.set_card": "card_attach",
        "points.credit": "account_change",
    }
    states: ClassVar[Mapping[CrmCardState, str]] = {
        "active": "active",
        "inactive": "nonactive",
        "blocked": "blocked",
    }

    def account_id(self, member: Member) -> str:
        return str(member.more["account"])

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        kept = self.customer(customer).more
        return {"sms": kept["getSms"], "email": kept["getEmail"], "push": kept["getPush"]}

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        cards = [card for card in self.crm.cards.values() if card["owner"] == int(customer)]
        return next((card["number"] for card in cards if card["state"] == "active"), None), None


rig = rig_of(LoyaRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U3": "what is public of Loya's API cannot be asked for an e-mail",
        "U4": "what is public of Loya's API cannot be asked for an e-mail",
        "U13": "Loya has no answer for calls",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P16": ONE_ACCOUNT_ALONE}


@pytest.mark.parametrize("made", ["blocked", "archive"])
async def test_a_card_that_is_blocked_is_not_given(rig: Rig, made: str) -> None:
    shop = cast(LoyaRig, rig).crm
    number = await rig.plastic()
    assert number is not None
    shop.cards[number]["state"] = made
    await refuses_to_give(rig, number)


async def test_a_number_that_loya_did_not_make_is_refused(rig: Rig) -> None:
    cast(LoyaRig, rig).crm.batch = ""
    await refuses_to_give(rig, new_card_number())
