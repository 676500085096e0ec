"""The Loya connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, cast

import pytest

from contracts.sandbox import loya
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, NoSuchState, Rig
from crm_backends.conformance.base import soon
from crm_backends.conformance.port_calls import new_card_number, new_person, set_card
from crm_backends.model import Channel, CrmCardState, Holder
from crm_backends.ports import Outcome
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-password"
_STATES: Mapping[CrmCardState, str] = {"active": "active", "inactive": "nonactive", "blocked": "blocked"}


class LoyaRig(SkinRig):
    spec = registry.load("loya")
    secrets = (loya.PASSWORD, loya.API_KEY, WRONG)
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {
        "email": loya.EMAIL,
        "password": loya.PASSWORD,
        "api_key": loya.API_KEY,
    }
    refused: ClassVar[Mapping[str, object]] = {"password": WRONG}
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "client_express",
        "users.set_card": "card_attach",
        "points.credit": "account_change",
    }

    @property
    def shop(self) -> loya.Loya:
        return cast(loya.Loya, self.crm)

    def member(self, account: str) -> Member:
        (found,) = self.crm.shop.find(lambda member: str(member.more["account"]) == account)
        return found

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        kept = self.crm.shop.members[int(customer)].more
        return {"sms": kept["getSms"], "email": kept["getEmail"], "push": kept["getPush"]}

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        self.shop.print_card(number, self.crm.shop.members[int(holder.users_reference)])
        return number

    async def plastic(self) -> str | None:
        number = new_card_number()
        self.shop.print_card(number)
        return number

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in _STATES:
            raise NoSuchState
        self.shop.cards[number]["state"] = _STATES[state]
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        cards = [card for card in self.shop.cards.values() if card["clientId"] == int(customer)]
        return next((card["number"] for card in cards if card["state"] == "active"), None), None


@pytest.fixture
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with skin_rig(LoyaRig) as rig:
        # Loya makes card numbers itself, so those of the kit are printed; but not where one is to be unknown.
        unknown = request.node.originalname == "test_a_number_the_crm_does_not_know_is_nothing"
        cast(LoyaRig, rig).shop.batch = "" if unknown else new_card_number()[:4]
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U3": "what is public of Loya's API cannot be asked for an e-mail",
        "U4": "what is public of Loya's API cannot be asked for an e-mail",
        "U13": "Loya has no answer for calls",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P16": "Loya shows the movements of one account alone, so that our key with another is not seen"
    }


@pytest.mark.parametrize("made", ["blocked", "archive"])
async def test_a_card_that_is_blocked_is_not_given(rig: Rig, made: str) -> None:
    shop = cast(LoyaRig, rig).shop
    number = await rig.plastic()
    assert number is not None
    shop.cards[number]["state"] = made
    await _refused(rig, number)


async def test_a_number_that_loya_did_not_make_is_refused(rig: Rig) -> None:
    cast(LoyaRig, rig).shop.batch = ""
    await _refused(rig, new_card_number())


async def _refused(rig: Rig, number: str) -> None:
    backend = rig.build()
    await backend.open()
    try:
        customer = (await rig.new_customer(new_person())).users_reference
        before = await rig.ledger()
        written = await set_card(backend, customer, number, soon())
        assert (written.outcome, await rig.ledger()) == (Outcome.REFUSED, before)
    finally:
        await backend.close()
