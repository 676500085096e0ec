"""The UDS connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from contracts.sandbox import uds
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-key"


class UdsRig(SkinRig):
    spec = registry.load("uds")
    path = "/partner/v2"
    secrets = (uds.API_KEY, WRONG)
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {"company_id": uds.COMPANY, "api_key": uds.API_KEY}
    refused: ClassVar[Mapping[str, object]] = {"api_key": WRONG}
    calls: ClassVar[Mapping[str, str]] = {"points.credit": "reward"}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(UdsRig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U3": "UDS cannot be asked for an e-mail",
        "U4": "UDS cannot be asked for an e-mail",
    }


class TestPoints(BasePoints):
    pass
