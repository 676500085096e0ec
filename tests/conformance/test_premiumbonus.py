"""The Premium Bonus connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest

from contracts.sandbox import premiumbonus
from contracts.sandbox.shop import Member
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, NoSuchState, Rig
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import CrmCardState, Holder
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-token"


class PremiumBonusRig(SkinRig):
    spec = registry.load("premiumbonus")
    secrets = (premiumbonus.TOKEN, WRONG)
    nobody = "79000000000"
    takes_points = False
    switches: ClassVar[Mapping[str, Any]] = {"percent": "0.4"}
    own: ClassVar[Mapping[str, object]] = {"token": premiumbonus.TOKEN}
    refused: ClassVar[Mapping[str, object]] = {"token": WRONG}
    calls: ClassVar[Mapping[str, str]] = {"users.register": "buyer_register", "points.credit": "purchase"}

    def customer_id(self, member: Member) -> str:
        return premiumbonus.digits(member.phone)

    def member(self, account: str) -> Member:
        (found,) = self.crm.shop.find(lambda member: premiumbonus.digits(member.phone) == account)
        return found

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        self.member(holder.users_reference).more["card"] = number
        return number

    async def plastic(self) -> str | None:
        return None

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in ("active", "blocked"):
            raise NoSuchState
        (owner,) = self.crm.shop.find(lambda member: member.more.get("card") == number)
        owner.more["blocked"] = state == "blocked"
        return None


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with skin_rig(PremiumBonusRig) as rig:
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {"U11": "towns are those of a list of theirs; none is written"}


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P15": "which field of a purchase tells its sum is not public, so it is not compared",
    }
