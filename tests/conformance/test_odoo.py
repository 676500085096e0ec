"""The run of the conformance kit of the connector for Odoo 18, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from contracts.sandbox import odoo
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
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
