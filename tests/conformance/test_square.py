"""The Square connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from contracts.sandbox import square
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-token"


class SquareRig(SkinRig):
    spec = registry.load("square")
    path = "/v2"
    secrets = (square.TOKEN, WRONG)
    nobody = "00000000-0000-4000-8000-000000000000"
    own: ClassVar[Mapping[str, object]] = {
        "token": square.TOKEN,
        "program": square.PROGRAM,
        "location": square.LOCATION,
    }
    refused: ClassVar[Mapping[str, object]] = {"token": WRONG}
    calls: ClassVar[Mapping[str, str]] = {"users.register": "account_create", "points.credit": "accumulate"}

    def customer_id(self, member: Member) -> str:
        return square.customer_id(member)

    def member(self, account: str) -> Member:
        (found,) = self.crm.shop.find(lambda member: square.account_id(member) == account)
        return found


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(SquareRig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    pass
