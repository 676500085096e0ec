"""The connector of the guide "Connect your CRM": the text there is the file, and the file passes the kit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from contracts.sandbox import kolibri
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import ACCOUNT_IS_THE_NUMBER, SkinRig, rig_of

FILE = Path(__file__).parent.parent / "connectors" / "kolibri.yaml"


class KolibriRig(SkinRig[kolibri.Kolibri]):
    connector = str(FILE)
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {"login": kolibri.LOGIN, "password": kolibri.PASSWORD}
    secret_settings = ("password",)
    calls: ClassVar[Mapping[str, str]] = {"points.credit": "bonus"}


rig = rig_of(KolibriRig)


class TestGeneral(BaseGeneral):
    divergences: ClassVar[Mapping[str, str]] = {"G3": "it is a file of the guide, not a shipped connector"}


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U3": "Kolibri cannot be asked for an e-mail",
        "U4": "Kolibri cannot be asked for an e-mail",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P3": ACCOUNT_IS_THE_NUMBER}


def test_the_guide_shows_this_file() -> None:
    guide = files("crm_backends.connector").joinpath("README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert [block for block in blocks if "name: kolibri" in block] == [FILE.read_text(encoding="utf-8")]
