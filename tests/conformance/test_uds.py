"""The UDS connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox import uds
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import SkinRig, rig_of


class UdsRig(SkinRig[uds.Uds]):
    connector = "uds"
    path = "/partner/v2"
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {"company_id": uds.COMPANY, "api_key": uds.API_KEY}
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {"points.credit": "reward"}


rig = rig_of(UdsRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U3": "UDS cannot be asked for an e-mail",
        "U4": "UDS cannot be asked for an e-mail",
    }


class TestPoints(BasePoints):
    pass
