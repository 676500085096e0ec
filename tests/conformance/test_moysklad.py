"""The МойСклад connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox import moysklad
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers
from tests.conformance.skins import ACCOUNT_IS_THE_NUMBER, OneCardEach, rig_of


class MoySkladRig(OneCardEach[moysklad.MoySklad]):
    connector = "moysklad"
    path = "/api/remap/1.2"
    nobody = "00000000-0000-4000-8000-000000000000"
    own: ClassVar[Mapping[str, object]] = {"token": moysklad.TOKEN, "bonus_program": moysklad.PROGRAM}
    secret_settings = ("token",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "counterparty_create",
        "users.set_card": "counterparty_edit",
        "points.credit": "movement_create",
    }


rig = rig_of(MoySkladRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {"U11": "the town is part of an address that is not written"}


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P3": ACCOUNT_IS_THE_NUMBER,
        "P5": "times are whole seconds, and in which order those of one second come is not documented",
    }
