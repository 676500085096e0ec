"""The Talon.One connector's run of the conformance kit, over a relay to its stand-in.

Once with a number of points in every receipt, once by the rules of the application.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from contracts.sandbox import talonone
from crm_backends.conformance import BaseGeneral, BasePoints
from tests.conformance.skins import FIVE_FOR_1250, SkinRig, rig_of


class TalonOneRig(SkinRig[talonone.TalonOne]):
    connector = "talonone"
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {
        "api_key": talonone.API_KEY,
        "program": talonone.PROGRAM,
        "points_attribute": talonone.POINTS_ATTRIBUTE,
    }
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {"points.credit": "session_update"}


class ByRulesRig(TalonOneRig):
    takes_points = False
    own: ClassVar[Mapping[str, object]] = {
        name: value for name, value in TalonOneRig.own.items() if name != "points_attribute"
    }

    def prepare(self, test: pytest.FixtureRequest) -> None:
        self.crm.rate = FIVE_FOR_1250


rig = rig_of(TalonOneRig, ByRulesRig)


class TestGeneral(BaseGeneral):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P3": "the account is the number that the users CRM has for the holder",
        "P9": "a profile that is not there comes with its first session",
        "P17": "a session is there once: closed, it cannot be modified",
    }
