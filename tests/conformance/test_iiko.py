"""The iiko connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from contracts.sandbox import iiko
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, NoSuchState
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.model import CrmCardState, Holder
from tests.conformance.skins import SkinRig, rig_of


class IikoRig(SkinRig[iiko.Iiko]):
    connector = "iiko"
    nobody = "00000000-0000-4000-8000-000000000000"
    own: ClassVar[Mapping[str, object]] = {
        "api_key": iiko.API_KEY,
        "organization": iiko.ORGANIZATION,
        "wallet": iiko.WALLET,
    }
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "create_or_update",
        "users.set_card": "card_add",
        "points.credit": "topup",
    }

    async def purchase(self, account: str, at: datetime, amount_kopecks: int) -> None:
        self.member(account).more["orders"].append((at, amount_kopecks))

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        card = {"id": number, "track": f"B{number}", "number": number, "validToDate": None}
        self.member(holder.users_reference).more["cards"].append(card)
        return number

    async def plastic(self) -> str | None:
        return None

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in ("active", "inactive"):
            raise NoSuchState
        cards = [card for member in self.crm.shop.members.values() for card in member.more["cards"]]
        (card,) = [card for card in cards if card["number"] == number]
        card["validToDate"] = "2020-01-01 00:00:00.000" if state == "inactive" else None
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        cards = self.member(customer).more["cards"]
        return (cards[-1]["number"], cards[-1]["track"]) if cards else (None, None)


rig = rig_of(IikoRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {"U11": "iiko keeps no town"}


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P16": "iiko tells transactions guest by guest, so our key is not seen with another",
    }
