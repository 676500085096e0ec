"""The RetailCRM connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from contracts.sandbox import retailcrm
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-key"


class RetailCrmRig(SkinRig):
    spec = registry.load("retailcrm")
    secrets = (retailcrm.API_KEY, WRONG)
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {"api_key": retailcrm.API_KEY, "site": retailcrm.SITE}
    refused: ClassVar[Mapping[str, object]] = {"api_key": WRONG}
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "customer_create",
        "points.credit": "bonus_credit",
    }

    def member(self, account: str) -> Member:
        (found,) = self.crm.shop.find(lambda member: str(member.more["account"]) == account)
        return found


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(RetailCrmRig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    pass
