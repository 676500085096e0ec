"""The run of the conformance kit of the connector for Odoo 18, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import ClassVar, cast

import pytest

from contracts.sandbox import Sandbox, odoo
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, NoSuchState, Relay, Rig
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import CrmCardState, Holder
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-key"
FIVE_FOR_1250 = Decimal("0.004")


class OdooRig(SkinRig):
    spec = registry.load("odoo")
    secrets = (odoo.API_KEY, WRONG)
    nobody = "99999999"
    takes_points = False
    own: ClassVar[Mapping[str, object]] = {
        "database": odoo.DATABASE,
        "user_id": odoo.USER,
        "api_key": odoo.API_KEY,
        "program": odoo.PROGRAM,
        "product": odoo.PRODUCT,
        "birth_date_field": odoo.BIRTH_DATE,
    }
    refused: ClassVar[Mapping[str, object]] = {"api_key": WRONG}
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "contact_create",
        "users.set_card": "contact_write",
        "points.credit": "order_confirm",
    }

    def __init__(self, relay: Relay, sandbox: Sandbox) -> None:
        super().__init__(relay, sandbox)
        self.odoo.rate = FIVE_FOR_1250

    @property
    def odoo(self) -> odoo.Odoo:
        return cast(odoo.Odoo, self.crm)

    async def double(self, account: str, idempotency_key: str) -> None:
        self.odoo.repeat(idempotency_key)

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
    async with skin_rig(OdooRig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P3": "the account is the contact's number, which is not asked for again",
    }
