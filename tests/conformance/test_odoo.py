"""The run of the conformance kit of the connector for Odoo 18, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import pytest

from contracts.sandbox import odoo
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from crm_backends.conformance.base import effects, opened, soon
from crm_backends.conformance.port_calls import FIVE, find, five, new_key, new_person, points, points_account
from crm_backends.ports import Outcome
from tests.conformance.skins import ACCOUNT_IS_THE_NUMBER, FIVE_FOR_1250, OneCardEach, rig_of


class OdooRig(OneCardEach[odoo.Odoo]):
    connector = "odoo"
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
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "contact_create",
        "users.set_card": "contact_write",
        "points.credit": "order_confirm",
    }

    def prepare(self, test: pytest.FixtureRequest) -> None:
        self.crm.rate = FIVE_FOR_1250

    async def double(self, account: str, idempotency_key: str) -> None:
        self.crm.repeat(idempotency_key)


rig = rig_of(OdooRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P3": ACCOUNT_IS_THE_NUMBER}


class OfOdoo:
    """What Odoo does beside the kit; seen on real servers."""

    async def test_a_credit_is_done_though_the_customer_has_points_for_a_reward(self, rig: Rig) -> None:
        """Odoo 19 confirms the order and answers with a notice in the place of true."""
        async with opened(rig.build()) as backend:
            account = await points_account(backend, await rig.new_customer(new_person()))
            await rig.move(account, Decimal(odoo.REWARD))
            async with effects(rig, "points.credit", 1):
                written = await points(backend).credit(
                    account, five(rig), idempotency_key=new_key(backend), deadline=soon()
                )
            assert (written.outcome, written.points) == (Outcome.DONE, FIVE)

    async def test_points_are_hundredths_though_odoo_adds_up_binary_fractions(self, rig: Rig) -> None:
        async with opened(rig.build()) as backend:
            account = await points_account(backend, await rig.new_customer(new_person()))
            for moved in ("494.52", "1.33"):
                await rig.move(account, Decimal(moved))
            assert (await points(backend).balance(account, deadline=soon())).total == Decimal("495.85")


class TestOfOdoo(OfOdoo):
    async def test_a_contact_with_a_mobile_number_is_found_by_its_phone_too(self, rig: OdooRig) -> None:
        """Odoo 18 alone: it keeps two numbers, and its own reading of the mobile one."""
        person, other = new_person(), new_person()
        holder = await rig.new_customer(person)
        rig.customer(holder.users_reference).more["mobile"] = other.phone
        async with opened(rig.build()) as backend:
            for phone in (person.phone, other.phone):
                assert list(await find(backend, phone=phone)) == [holder.users_reference]
