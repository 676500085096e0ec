"""Xerts as a connector: the same stand-in, the same LoopBacks and the same kit as the driver in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from contracts.sandbox import running
from contracts.sandbox import xerts as stand_in
from crm_backends.conformance import BaseCoupons, BaseGeneral, Relay, Rig, context
from crm_backends.connector import spec_of
from crm_backends.ports import Backend
from tests.conformance.test_xerts import ASKS_NOBODY, WRONG_KEY, XertsRig
from tests.conformance.test_xerts_loopback import LoopBackRig
from tests.conformance.test_xerts_loopback import server as server
from tests.loopback import LoopBack

SPEC = spec_of(Path(__file__).parent.parent / "connectors" / "xerts.yaml")
NO_SUCH_NAME = {"G3": "it is a file of the tests, not a shipped one, so the registry knows no such name"}

OVER_LOOPBACK = [pytest.mark.programs, pytest.mark.timeout(400)]
"""The first test installs both, where they are not installed yet."""


def build(port: int, key: str, site: str, visit_site: str) -> Backend:
    values = {
        "base_url": f"http://127.0.0.1:{port}",
        "api_key": key,
        "site": site,
        "visit_site": visit_site,
        "device_namespace": "of-the-tests",
        "breaker_pause": 0.2,
    }
    return SPEC.build(SPEC.settings.model_validate(values), context())


class StandInRig(XertsRig):
    spec = SPEC

    def build(self, *, credentials: bool = True) -> Backend:  # type: ignore[override]
        key = stand_in.API_KEY if credentials else WRONG_KEY
        return build(self.relay.port, key, stand_in.SITE_ID, stand_in.OTHER_SITE_ID)


class OtherLoopBackRig(LoopBackRig):
    spec = SPEC

    def build(self, *, credentials: bool = True) -> Backend:  # type: ignore[override]
        key = self.server.key if credentials else WRONG_KEY
        return build(self.relay.port, key, self.server.site, self.server.site)


class OverStandIn:
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with running("xerts") as sandbox:
            port = urlsplit(sandbox.base_url).port or 0
            async with Relay.to("127.0.0.1", port) as relay:
                yield StandInRig(relay, sandbox)


class OverLoopBack:
    @pytest.fixture
    async def rig(self, server: LoopBack) -> AsyncIterator[Rig]:
        rig = OtherLoopBackRig(server)
        async with rig.relay:
            yield rig


class TestGeneral(OverStandIn, BaseGeneral):
    divergences: ClassVar[Mapping[str, str]] = NO_SUCH_NAME


class TestCoupons(OverStandIn, BaseCoupons):
    divergences: ClassVar[Mapping[str, str]] = ASKS_NOBODY


class TestGeneralOverLoopBack(OverLoopBack, BaseGeneral):
    pytestmark = OVER_LOOPBACK
    divergences: ClassVar[Mapping[str, str]] = NO_SUCH_NAME


class TestCouponsOverLoopBack(OverLoopBack, BaseCoupons):
    pytestmark = OVER_LOOPBACK
    divergences: ClassVar[Mapping[str, str]] = ASKS_NOBODY
