"""The Medusa connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import ClassVar

import pytest

from contracts.sandbox import medusa, running
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from tests.conformance.skins import SkinRig, skin_rig
from tests.medusa import Medusa, answers

WRONG = "planted-wrong-key"
DIVERGENCES: Mapping[str, str] = {
    "P3": "the account is the customer's id, which is not asked for again",
    "P16": "movements can be asked of one account alone, so a key is not found in another",
}


class MedusaRig(SkinRig):
    spec = registry.load("medusa")
    secrets = (medusa.API_KEY, WRONG)
    nobody = "cus_00000000000000000000000000"
    own: ClassVar[Mapping[str, object]] = {"api_key": medusa.API_KEY}
    refused: ClassVar[Mapping[str, object]] = {"api_key": WRONG}
    calls: ClassVar[Mapping[str, str]] = {"users.register": "customer_create", "points.credit": "credit"}

    def customer_id(self, member: Member) -> str:
        return medusa.customer_id(member)

    def member(self, account: str) -> Member:
        (found,) = self.crm.shop.find(lambda member: medusa.customer_id(member) == account)
        return found

    async def move(self, account: str, points: Decimal) -> None:
        self.member(account).more["account"] = True
        await super().move(account, points)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(MedusaRig) as rig:
        yield rig


async def test_the_stand_in_answers_as_medusa_does() -> None:
    """To what the connector asks, and beside it; ``test_medusa_server`` holds Medusa to the same."""
    async with running("medusa") as sandbox:
        server = Medusa(sandbox.base_url, medusa.API_KEY)
        assert list(answers.differences(await answers.asked(server.call))) == []
        assert sandbox.ledger().invalid_calls == []


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences = DIVERGENCES
