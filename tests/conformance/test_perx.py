"""The Perx driver's runs of the conformance kit, over a relay to the stand-in server.

Once with settings that let Perx know people, once with the default that tells it nothing, and once with
random tokens and the merchant search.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from contracts.sandbox import Sandbox, perx, running
from crm_backends.conformance import (
    BaseCoupons,
    BaseGeneral,
    BasePoints,
    BaseUsers,
    Relay,
    RelayedRig,
    context,
)
from crm_backends.conformance.port_calls import new_card_number
from crm_backends.conformance.rig import NoSuchState
from crm_backends.model import CHANNELS, Channel, CrmCardState, Holder, Profile
from crm_backends.perx import BACKEND, PerxBackend, PerxSettings
from crm_backends.ports import Refusal

KEY, WRONG_ID, WRONG_SECRET = "planted-identifier-key", "planted-stranger", "planted-wrong-secret"
KNOWN = {"properties": {field: f"koshelek_{field}" for field in Profile.__dataclass_fields__}}
BY_TOKEN = {
    "identifier": "token",
    "merchant_identifier": perx.MERCHANT_IDENTIFIER,
    "send_phone": True,
    "send_names": True,
    "properties": {"locality": "city"},
}
SOLD_OUT, SECOND_GIFT = 104, 105
BY_MEMBERSHIP = {
    "identifier": "membership",
    "find_by": "merchant_search",
    "merchant_identifier": perx.MERCHANT_IDENTIFIER,
    "send_phone": True,
    "send_names": True,
    "properties": {"locality": "city"},
}
CARDS = {"card_property": "koshelek_card", "barcode_property": "koshelek_barcode"}
OPERATIONS = {
    "users.register": "createUserAccount",
    "users.set_card": "updateCustomer",
    "points.credit": "submitLoyaltyTransaction",
    "coupons.issue": "issueReward",
    "coupons.redeem": "issueReward",
}
EFFECTS = {
    "createUserAccount": "users.register",
    "updateUserAccount": "users.update",
    "updateCustomer": "users.update",
    "submitLoyaltyTransaction": "points.credit",
    "submitTransaction": "points.credit",
}


class PerxRig(RelayedRig):
    """The stand-in, with a reward for an occasion, one for a code, and one that nobody gets any more."""

    spec = BACKEND
    secrets = (KEY, WRONG_ID, WRONG_SECRET, perx.CLIENT_SECRET, perx.MERCHANT_IDENTIFIER)
    nobody = "0" * 64

    def __init__(self, relay: Relay, sandbox: Sandbox, chosen: Mapping[str, object]) -> None:
        super().__init__(relay)
        self._sandbox = sandbox
        self._chosen = chosen
        self._codes = iter(("hello", "again"))

    @property
    def crm(self) -> perx.Perx:
        return cast(perx.Perx, self._sandbox.stand_in)

    def settings(self, *, credentials: bool = True) -> PerxSettings:
        fields: dict[str, object] = {
            "base_url": f"http://127.0.0.1:{self.relay.port}",
            "client_id": perx.CLIENT_ID if credentials else WRONG_ID,
            "client_secret": perx.CLIENT_SECRET if credentials else WRONG_SECRET,
            "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
            "identifier_secret": KEY,
            "occasions": {"visit": perx.COFFEE},
            "promo_codes": {
                "HELLO": {"reward": perx.GIFT},
                "AGAIN": {"reward": SECOND_GIFT},
                "GONE": {"reward": SOLD_OUT},
            },
            "breaker_pause": 0.2,
        }
        return PerxSettings.model_validate({**fields, **self._chosen})

    def build(self, *, credentials: bool = True) -> PerxBackend:
        return PerxBackend(self.settings(credentials=credentials), context())

    async def new_customer(self, profile: Profile) -> Holder:
        settings = self.settings()
        identifier = hmac.new(KEY.encode(), (profile.phone or "").encode(), hashlib.sha256).hexdigest()
        own: dict[str, str | None] = {}
        if settings.identifier == "token":
            identifier = f"theirs-{secrets.token_hex(6)}"
        if settings.identifier == "membership":
            identifier = new_card_number()
        if settings.send_phone:
            own = {
                "phone": profile.phone,
                "first_name": profile.first_name,
                "last_name": profile.surname,
            }
        given = profile.given()
        named = {name: str(given[field]) for field, name in settings.properties.items() if field in given}
        # Somebody else's property, which no change may lose.
        made = self._sandbox.add_customer(
            identifier=identifier, personal_properties={**named, "tier_points": 1.5, "till": ["4"]}, **own
        )
        number = identifier if settings.identifier == "membership" else f"29{made['id']:011d}"
        return Holder(card_number=number, users_reference=identifier, profile=profile)

    async def ledger(self) -> Counter[str]:
        counted: Counter[str] = Counter()
        for effect in self._sandbox.ledger().effects:
            operation = EFFECTS.get(effect.operation, effect.operation)
            if operation == "issueReward":
                reward = self.crm.vouchers[int(effect.reference or "")].reward.id
                operation = "coupons.issue" if reward == perx.COFFEE else "coupons.redeem"
            counted[operation] += 1
            if effect.operation == "updateCustomer":  # the map of properties is one, whatever changed in it
                counted["users.set_card"] += 1
        return counted

    async def lose_request(self, operation: str) -> None:
        self._sandbox.fault("hang_up_before", OPERATIONS[operation])

    async def lose_reply(self, operation: str) -> None:
        self._sandbox.fault("hang_up_after", OPERATIONS[operation])

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        kept = self._account(customer).personal_properties
        return {channel: kept[f"may_{channel}"] for channel in CHANNELS if f"may_{channel}" in kept}

    async def give_card(self, holder: Holder) -> str:
        return holder.users_reference

    async def plastic(self) -> str | None:
        return None

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in ("active", "inactive"):
            raise NoSuchState
        self._account(number).membership_state = state
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        kept = self._account(customer).personal_properties
        return kept.get("koshelek_card"), kept.get("koshelek_barcode")

    async def move(self, account: str, points: Decimal) -> None:
        owner = self._account(account)
        owner.points += points
        self.crm._move(owner, points, "till", None)

    async def double(self, account: str, key: str) -> None:
        owner = self._account(account)
        (row,) = [row for row in self.crm.movements if row.reference == key]
        owner.points += row.amount
        self.crm._move(owner, row.amount, row.name, key)

    async def purchase(self, account: str, at: datetime, amount_kopecks: int) -> None:
        self.crm._move(
            self._account(account),
            Decimal(1),
            "Purchase",
            None,
            ago=datetime.now(UTC) - at,
            money=Decimal(amount_kopecks) / 100,
        )
        row = self.crm.movements[-1]
        self.crm.movements[-1] = perx.Movement(row.id, row.account, row.amount, row.name, at, None, row.money)

    async def offer(self, account: str) -> str:
        title = f"Offer {secrets.token_hex(6)}"
        self.crm._give(self._account(account), perx.Reward(900, title, "For you"))
        return title

    async def occasion(self) -> str:
        return "visit"

    async def code(self, account: str) -> str:
        return next(self._codes)

    async def refused_codes(self, account: str) -> Mapping[str, Refusal]:
        return {"gone": Refusal.CODE_EXHAUSTED}

    def _account(self, identifier: str) -> perx.Account:
        account = self.crm._by_identifier(identifier)
        assert account is not None
        return account


async def a_rig(monkeypatch: pytest.MonkeyPatch, chosen: Mapping[str, object]) -> AsyncIterator[PerxRig]:
    for number, most in ((SOLD_OUT, 0), (SECOND_GIFT, 1)):
        reward = perx.Reward(number, f"Reward {number}", "", per_customer=most)
        monkeypatch.setitem(cast(dict[int, Any], perx.REWARDS), number, reward)
    async with running("perx") as sandbox:
        address = urlsplit(sandbox.base_url)
        async with Relay.to(address.hostname or "", address.port or 0) as relay:
            yield PerxRig(relay, sandbox, chosen)
        assert sandbox.ledger().invalid_calls == []


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PerxRig]:
    async for rig in a_rig(monkeypatch, {**KNOWN, **CARDS, "consent_prefix": "may_"}):
        yield rig


NO_EMAIL = {
    "U3": "Perx has no search by e-mail",
    "U4": "Perx has no search by e-mail",
}
NOT_TOLD = {
    "U6": "a phone that Perx was not told is known only to who asks by it",
    "U8": "the same: the registered customer is known by its id, and told without the phone",
    "U11": "a field the settings do not name is not sent, so it is not told back",
}
OTHERS_UNSEEN = {
    "P16": "Perx shows each customer's history alone: nobody can ask whether another one has a key",
}


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    divergences = NO_EMAIL | {"U25": "Perx cannot be asked who has a number among the properties"}


class TestPoints(BasePoints):
    divergences = OTHERS_UNSEEN


class TestCoupons(BaseCoupons):
    pass


class TestUsersThatPerxIsToldNothingOf(BaseUsers):
    divergences = NO_EMAIL | NOT_TOLD

    @pytest.fixture
    async def rig(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PerxRig]:
        async for rig in a_rig(monkeypatch, {}):
            yield rig


class TestUsersByTokenAndMerchantSearch(BaseUsers):
    divergences = NO_EMAIL

    @pytest.fixture
    async def rig(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PerxRig]:
        async for rig in a_rig(monkeypatch, BY_TOKEN):
            yield rig


class TestUsersByMembership(BaseUsers):
    divergences = NO_EMAIL

    @pytest.fixture
    async def rig(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PerxRig]:
        async for rig in a_rig(monkeypatch, BY_MEMBERSHIP):
            yield rig
