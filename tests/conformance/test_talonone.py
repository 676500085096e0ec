"""The Talon.One connector's run of the conformance kit, over a relay to its stand-in.

Once with a number of points in every receipt, once by the rules of the application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import ClassVar, cast

import pytest

from contracts.sandbox import Sandbox, talonone
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, Relay, Rig
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-key"
FIVE_FOR_1250 = Decimal("0.004")


class TalonOneRig(SkinRig):
    spec = registry.load("talonone")
    secrets = (talonone.API_KEY, WRONG)
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {
        "api_key": talonone.API_KEY,
        "program": talonone.PROGRAM,
        "points_attribute": talonone.POINTS_ATTRIBUTE,
    }
    refused: ClassVar[Mapping[str, object]] = {"api_key": WRONG}
    calls: ClassVar[Mapping[str, str]] = {"points.credit": "session_update"}


class ByRulesRig(TalonOneRig):
    takes_points = False
    own: ClassVar[Mapping[str, object]] = {
        name: value for name, value in TalonOneRig.own.items() if name != "points_attribute"
    }

    def __init__(self, relay: Relay, sandbox: Sandbox) -> None:
        super().__init__(relay, sandbox)
        cast(talonone.TalonOne, self.crm).rate = FIVE_FOR_1250


@pytest.fixture(params=[TalonOneRig, ByRulesRig], ids=["by number", "by rules"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with skin_rig(request.param) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P3": "the account is the number that the users CRM has for the holder",
        "P9": "a profile that is not there comes with its first session",
        "P17": "a session is there once: closed, it cannot be modified",
    }
