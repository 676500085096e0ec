"""The Mindbox connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import ClassVar, cast

import pytest

from contracts.sandbox import mindbox
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig, context
from crm_backends.conformance.base import opened, soon
from crm_backends.conformance.port_calls import new_card_number, new_person, points, points_account
from crm_backends.model import Channel, CrmCardState
from crm_backends.ports import BackendMisconfigured
from tests.conformance.skins import ONE_ACCOUNT_ALONE, CardsInStock, refuses_to_give, rig_of


class MindboxRig(CardsInStock[mindbox.Mindbox]):
    connector = "mindbox"
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {
        "endpoint": mindbox.ENDPOINT,
        "secret_key": mindbox.SECRET_KEY,
        "balance": mindbox.BALANCE,
    }
    secret_settings = ("secret_key",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "register_customer",
        "users.set_card": "bind_card",
        "points.credit": "change_balance",
    }

    states: ClassVar[Mapping[CrmCardState, str]] = {
        "active": "Activated",
        "inactive": "Inactive",
        "blocked": "Blocked",
    }

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        kept = self.customer(customer).more
        return {"sms": kept.get("Sms", False), "email": kept.get("Email", False)}

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        own = [card["number"] for card in self.crm.cards.values() if card["owner"] == int(customer)]
        return (own[-1] if own else None), None


rig = rig_of(MindboxRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U11": "a town is an entry of Mindbox's own list of areas",
        "U13": "Mindbox has no channel for calls by people",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P16": ONE_ACCOUNT_ALONE}


@pytest.mark.parametrize("made", ["Blocked", None])
async def test_a_card_that_is_blocked_or_not_there_is_not_given(rig: Rig, made: str | None) -> None:
    shop = cast(MindboxRig, rig).crm
    shop.batch, number = "", new_card_number()
    if made is not None:
        shop.put_card(number)["state"] = made
    await refuses_to_give(rig, number)


async def test_a_balance_that_is_called_otherwise_is_told(rig: Rig) -> None:
    mine = cast(MindboxRig, rig)
    values = {"base_url": f"http://127.0.0.1:{mine.relay.port}", **mine.own, "balance": "Mian"}
    async with opened(mine.spec.build(mine.spec.settings.model_validate(values), context())) as backend:
        account = await points_account(backend, await rig.new_customer(new_person()))
        with pytest.raises(BackendMisconfigured):
            await points(backend).balance(account, deadline=soon())


def test_the_readmes_connector_of_your_own_is_one(tmp_path: Path) -> None:
    text = Path(str(resources.files("crm_backends.mindbox") / "README.md")).read_text(encoding="utf-8")
    file = tmp_path / "shop.yaml"
    file.write_text(text.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    spec = registry.load(str(file))
    assert spec.name == "shop_mindbox"
    assert spec.capabilities["users.set_card"].note == "no cards in our Mindbox"
    assert spec.capabilities["points.credit"] == registry.load("mindbox").capabilities["points.credit"]
