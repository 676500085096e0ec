"""The Square connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox import square
from contracts.sandbox.shop import Member
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import SkinRig, rig_of


class SquareRig(SkinRig[square.Square]):
    connector = "square"
    path = "/v2"
    nobody = "00000000-0000-4000-8000-000000000000"
    own: ClassVar[Mapping[str, object]] = {
        "token": square.TOKEN,
        "program": square.PROGRAM,
        "location": square.LOCATION,
    }
    secret_settings = ("token",)
    calls: ClassVar[Mapping[str, str]] = {"users.register": "account_create", "points.credit": "accumulate"}

    def account_id(self, member: Member) -> str:
        return self.crm.uid(member.id)


rig = rig_of(SquareRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    pass
