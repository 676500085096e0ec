"""The run of the conformance kit of the connector for Odoo 19, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from tests.conformance.skins import skin_rig
from tests.conformance.test_odoo import OdooRig


class Odoo19Rig(OdooRig):
    spec = registry.load("odoo19")
    own: ClassVar[Mapping[str, object]] = {
        name: value for name, value in OdooRig.own.items() if name != "user_id"
    }


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(Odoo19Rig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P3": "the account is the contact's number, which is not asked for again",
    }
