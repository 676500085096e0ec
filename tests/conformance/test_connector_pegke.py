"""Pegke as a connector: the same stand-in, the same kit and the same divergences as the driver in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from contracts.sandbox import pegke as stand_in
from crm_backends.conformance import BaseGeneral, BasePoints, Rig, context
from crm_backends.connector import spec_of
from crm_backends.ports import Backend
from tests.conformance.test_pegke import MERCHANT, WRONG, PegkeRig, pegke_rig

FILE = Path(__file__).parent.parent / "connectors" / "pegke_merchant.yaml"


class ConnectorRig(PegkeRig):
    spec = spec_of(FILE)

    def build(self, *, credentials: bool = True) -> Backend:
        settings = self.spec.settings.model_validate(
            {
                "base_url": f"http://127.0.0.1:{self._relay.port}/apiv1",
                "consumer_code": stand_in.CONSUMER_CODE,
                "consumer_secret": stand_in.CONSUMER_SECRET if credentials else WRONG,
                "breaker_pause": 0.1,
            }
        )
        return self.spec.build(settings, context())


class OverConnector:
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with pegke_rig(ConnectorRig, **MERCHANT) as rig:
            yield rig


class TestGeneral(OverConnector, BaseGeneral):
    divergences: ClassVar[Mapping[str, str]] = {
        "G3": "it is a file of the tests, not a shipped one, so the registry knows no such name"
    }


class TestPoints(OverConnector, BasePoints):
    pass
