"""The run of the conformance kit of the connector for Odoo 19, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import ACCOUNT_IS_THE_NUMBER, rig_of
from tests.conformance.test_odoo import OdooRig, OfOdoo, OfRights


class Odoo19Rig(OdooRig):
    connector = "odoo19"
    own: ClassVar[Mapping[str, object]] = {
        name: value for name, value in OdooRig.own.items() if name != "user_id"
    }


rig = rig_of(Odoo19Rig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P3": ACCOUNT_IS_THE_NUMBER}


class TestOfOdoo(OfOdoo):
    pass


class TestRights(OfRights):
    pass
