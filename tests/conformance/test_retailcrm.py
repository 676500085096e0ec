"""The RetailCRM connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox import retailcrm
from contracts.sandbox.shop import Member
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import SkinRig, rig_of


class RetailCrmRig(SkinRig[retailcrm.RetailCrm]):
    connector = "retailcrm"
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {"api_key": retailcrm.API_KEY, "site": retailcrm.SITE}
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "customer_create",
        "points.credit": "bonus_credit",
    }

    def account_id(self, member: Member) -> str:
        return str(member.more["account"])


rig = rig_of(RetailCrmRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    pass
