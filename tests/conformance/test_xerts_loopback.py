"""The Xerts driver's run of the conformance kit against a LoopBack, of version 2 and of version 3."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from crm_backends.conformance import BaseCoupons, BaseGeneral
from crm_backends.model import Holder, Profile
from crm_backends.ports import Refusal
from crm_backends.xerts import BACKEND, XertsBackend

from .. import loopback
from ..loopback import LoopBack
from .servers import ServerRig
from .test_xerts import ASKS_NOBODY, WRONG_KEY, a_driver, new_holder

pytestmark = [pytest.mark.programs, pytest.mark.timeout(400)]
"""The first test installs both, where they are not installed yet."""


class LoopBackRig(ServerRig):
    """A LoopBack, filled and read behind the driver's back."""

    spec = BACKEND
    writes: ClassVar[Mapping[str, re.Pattern[bytes]]] = {
        "coupons.issue": re.compile(rb"POST /api/siteOffers/"),
        "coupons.redeem": re.compile(rb"PUT /api/coupons/.*/redeem/"),
    }
    nobody = "00000000-0000-4000-8000-000000000000"

    def __init__(self, server: LoopBack) -> None:
        super().__init__(server.url)
        self.server = server
        self.secrets = (server.key, WRONG_KEY, server.email, server.password)

    def build(self, *, credentials: bool = True) -> XertsBackend:
        server, key = self.server, self.server.key if credentials else WRONG_KEY
        return a_driver(self.relay.port, key, server.email, server.password, server.site, server.site)

    async def new_customer(self, profile: Profile) -> Holder:
        return new_holder(profile)

    async def ledger(self) -> Counter[str]:
        held = await self.server.seen("models")
        return Counter(
            {
                "coupons.issue": len(held["Coupon"]),
                "coupons.redeem": sum(bool(coupon.get("redeemedOn")) for coupon in held["Coupon"]),
                "device": len(held["Device"]),
                "offer": len(held["Offer"]) + len(held["SiteOffer"]) + len(held["Site"]),
                "member": len(held["Member"]) + len(held["Vendor"]),
            }
        )

    async def offer(self, account: str) -> str:
        return str((await self.server.seen("coupon", device=account))["title"])

    async def occasion(self) -> str:
        return "visit"

    async def code(self, account: str) -> str:
        return str((await self.server.seen("coupon", device=account))["code"])

    async def refused_codes(self, account: str) -> Mapping[str, Refusal]:
        expired = await self.server.seen("coupon", device=account, expired="1")
        return {expired["code"]: Refusal.CODE_EXPIRED}


@pytest.fixture(scope="module", params=loopback.VERSIONS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[LoopBack]:
    try:
        async with loopback.running(request.param) as running:
            yield running
    except loopback.Missing as missing:
        pytest.skip(f"no LoopBack: {missing}")


@pytest.fixture
async def rig(server: LoopBack) -> AsyncIterator[LoopBackRig]:
    rig = LoopBackRig(server)
    async with rig.relay:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestCoupons(BaseCoupons):
    divergences = ASKS_NOBODY
