"""The Medusa connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from contracts.sandbox import medusa, running
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import ONE_ACCOUNT_ALONE, SkinRig, rig_of
from tests.medusa import Medusa, answers

DIVERGENCES: Mapping[str, str] = {
    "P3": "the account is the customer's id, which is not asked for again",
    "P16": ONE_ACCOUNT_ALONE,
}


class MedusaRig(SkinRig[medusa.Medusa]):
    connector = "medusa"
    nobody = "cus_00000000000000000000000000"
    own: ClassVar[Mapping[str, object]] = {"api_key": medusa.API_KEY}
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {"users.register": "customer_create", "points.credit": "credit"}

    async def move(self, account: str, points: Decimal) -> None:
        self.member(account).more["account"] = True
        await super().move(account, points)


rig = rig_of(MedusaRig)


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
