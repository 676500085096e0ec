"""The Premium Bonus connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from contracts.sandbox import premiumbonus
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import OneCardEach, rig_of


class PremiumBonusRig(OneCardEach[premiumbonus.PremiumBonus]):
    connector = "premiumbonus"
    nobody = "79000000000"
    takes_points = False
    closing = ("blocked", "blocked")
    switches: ClassVar[Mapping[str, Any]] = {"percent": "0.4"}
    own: ClassVar[Mapping[str, object]] = {"token": premiumbonus.TOKEN}
    secret_settings = ("token",)
    calls: ClassVar[Mapping[str, str]] = {"users.register": "buyer_register", "points.credit": "purchase"}


rig = rig_of(PremiumBonusRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {"U11": "towns are those of a list of theirs; none is written"}


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P15": "which field of a purchase tells its sum is not public, so it is not compared",
    }
