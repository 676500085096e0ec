"""The Mindbox connector's run of the conformance kit, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from contracts.sandbox import mindbox
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, NoSuchState, Rig, context
from crm_backends.conformance.base import soon
from crm_backends.conformance.port_calls import new_card_number, new_person, set_card
from crm_backends.model import Channel, CrmCardState, Holder
from crm_backends.ports import BackendMisconfigured, Outcome
from tests.conformance.skins import SkinRig, skin_rig

WRONG = "planted-wrong-key"
_STATES: Mapping[CrmCardState, str] = {"active": "Activated", "inactive": "Inactive", "blocked": "Blocked"}


class MindboxRig(SkinRig):
    spec = registry.load("mindbox")
    secrets = (mindbox.SECRET_KEY, WRONG)
    nobody = "99999999"
    own: ClassVar[Mapping[str, object]] = {
        "endpoint": mindbox.ENDPOINT,
        "secret_key": mindbox.SECRET_KEY,
        "balance": mindbox.BALANCE,
    }
    refused: ClassVar[Mapping[str, object]] = {"secret_key": WRONG}
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "register_customer",
        "users.set_card": "bind_card",
        "points.credit": "change_balance",
    }

    @property
    def shop(self) -> mindbox.Mindbox:
        return cast(mindbox.Mindbox, self.crm)

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        kept = self.crm.shop.members[int(customer)].more
        return {"sms": kept.get("Sms", False), "email": kept.get("Email", False)}

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        self.shop.put_card(number, self.crm.shop.members[int(holder.users_reference)])
        return number

    async def plastic(self) -> str | None:
        number = new_card_number()
        self.shop.put_card(number)
        return number

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in _STATES:
            raise NoSuchState
        self.shop.cards[number]["state"] = _STATES[state]
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        own = [card["number"] for card in self.shop.cards.values() if card["owner"] == int(customer)]
        return (own[-1] if own else None), None


@pytest.fixture
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with skin_rig(MindboxRig) as rig:
        # Numbers are put into Mindbox beforehand, so those of the kit are; but not one that is to be unknown.
        unknown = request.node.originalname == "test_a_number_the_crm_does_not_know_is_nothing"
        cast(MindboxRig, rig).shop.batch = "" if unknown else new_card_number()[:4]
        yield rig


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences: ClassVar[Mapping[str, str]] = {
        "U11": "a town is an entry of Mindbox's own list of areas",
        "U13": "Mindbox has no channel for calls by people",
    }


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {
        "P16": "Mindbox shows the movements of one customer alone, so that our key with another is not seen"
    }


@pytest.mark.parametrize("made", ["Blocked", None])
async def test_a_card_that_is_blocked_or_not_there_is_not_given(rig: Rig, made: str | None) -> None:
    shop = cast(MindboxRig, rig).shop
    shop.batch, number = "", new_card_number()
    if made is not None:
        shop.put_card(number)["state"] = made
    backend = rig.build()
    await backend.open()
    try:
        customer = (await rig.new_customer(new_person())).users_reference
        before = await rig.ledger()
        written = await set_card(backend, customer, number, soon())
        assert (written.outcome, await rig.ledger()) == (Outcome.REFUSED, before)
    finally:
        await backend.close()


async def test_a_balance_that_is_called_otherwise_is_told(rig: Rig) -> None:
    mine = cast(MindboxRig, rig)
    values = {"base_url": f"http://127.0.0.1:{mine.relay.port}", **mine.own, "balance": "Mian"}
    backend: Any = mine.spec.build(mine.spec.settings.model_validate(values), context())
    await backend.open()
    try:
        account = await backend.points_account(await rig.new_customer(new_person()), deadline=soon())
        with pytest.raises(BackendMisconfigured):
            await backend.balance(account, deadline=soon())
    finally:
        await backend.close()


def test_the_readmes_connector_of_your_own_is_one(tmp_path: Path) -> None:
    text = Path(str(resources.files("crm_backends.mindbox") / "README.md")).read_text(encoding="utf-8")
    file = tmp_path / "shop.yaml"
    file.write_text(text.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    spec = registry.load(str(file))
    assert spec.name == "shop_mindbox"
    assert spec.capabilities["users.set_card"].note == "no cards in our Mindbox"
    assert spec.capabilities["points.credit"] == registry.load("mindbox").capabilities["points.credit"]
