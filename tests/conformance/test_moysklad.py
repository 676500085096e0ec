"""The МойСклад connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from contracts.sandbox import moysklad
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, NoSuchState, Rig
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import CrmCardState, Holder
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-token"


class MoySkladRig(SkinRig):
    spec = registry.load("moysklad")
    path = "/api/remap/1.2"
    secrets = (moysklad.TOKEN, WRONG)
    nobody = "00000000-0000-4000-8000-000000000000"
    own: ClassVar[Mapping[str, object]] = {"token": moysklad.TOKEN, "bonus_program": moysklad.PROGRAM}
    refused: ClassVar[Mapping[str, object]] = {"token": WRONG}
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "counterparty_create",
        "users.set_card": "counterparty_edit",
        "points.credit": "movement_create",
    }

    def customer_id(self, member: Member) -> str:
        return moysklad.uid(member.id)

    def member(self, account: str) -> Member:
        (found,) = self.crm.shop.find(lambda member: moysklad.uid(member.id) == account)
        return found

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        self.member(holder.users_reference).more["card"] = number
        return number

    async def plastic(self) -> str | None:
        return None

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in ("active", "inactive"):
            raise NoSuchState
        (owner,) = self.crm.shop.find(lambda member: member.more.get("card") == number)
        owner.more["archived"] = state == "inactive"
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        return self.member(customer).more.get("card"), None


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(MoySkladRig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {"U11": "the town is part of an address that is not written"}


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P3": "the account is the customer's number, which is not asked for again",
        "P5": "times are whole seconds, and in which order those of one second come is not documented",
    }
