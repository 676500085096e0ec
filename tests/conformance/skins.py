"""Rigs of connectors over the stand-ins that show one shop.

A connector's test says what is its own: names, settings, and where its CRM keeps what. This module may not
know any CRM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import pytest

from contracts.sandbox import Sandbox, running
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin
from crm_backends import registry
from crm_backends.conformance import NoSuchState, Relay, RelayedRig, Rig, context
from crm_backends.conformance.base import opened, soon
from crm_backends.conformance.port_calls import new_card_number, new_person, set_card
from crm_backends.model import CrmCardState, Holder, Profile
from crm_backends.ports import Backend, Outcome

WRONG = "planted-wrong-secret"
FIVE_FOR_1250 = Decimal("0.004")
"""Points per rouble, where a CRM's own rules give them."""
UNKNOWN_NUMBER = "test_a_number_the_crm_does_not_know_is_nothing"
"""The scenario that needs a card number nobody knows."""
ACCOUNT_IS_THE_NUMBER = "the account is the customer's number, which is not asked for again"
ONE_ACCOUNT_ALONE = "movements can be asked of one account alone, so our key is not seen with another"

Kind = TypeVar("Kind", bound=Skin)


class SkinRig(RelayedRig, Generic[Kind]):
    """A connector over its stand-in; a connector's test says what its settings are called."""

    connector: ClassVar[str]
    """Its name, or its file; read when a test needs it, since every process imports all tests."""
    path: ClassVar[str] = ""
    """Of the API below the server."""
    calls: ClassVar[Mapping[str, str]]
    """Operation -> the stand-in's call that does it."""
    own: ClassVar[Mapping[str, object]]
    """The connector's settings."""
    secret_settings: ClassVar[tuple[str, ...]]
    """Those of them that are secrets; a CRM refuses another value of the first one."""
    switches: ClassVar[Mapping[str, Any]] = {}
    """Of the stand-in."""
    keeps: ClassVar[frozenset[str]] = frozenset({"phone", "email", "birth_date", "sex"})

    def __init__(self, relay: Relay, sandbox: Sandbox) -> None:
        super().__init__(relay)
        self.spec = registry.load(self.connector)
        self._sandbox = sandbox
        self.secrets = (*(str(self.own[name]) for name in self.secret_settings), WRONG)

    @property
    def crm(self) -> Kind:
        return cast(Kind, self._sandbox.stand_in)

    def prepare(self, test: pytest.FixtureRequest) -> None:
        """Make the stand-in ready for this test."""

    def build(self, *, credentials: bool = True) -> Backend:
        values = {
            "base_url": f"http://127.0.0.1:{self.relay.port}{self.path}",
            "breaker_pause": 0.1,
            **self.own,
            **({} if credentials else {self.secret_settings[0]: WRONG}),
        }
        return self.spec.build(self.spec.settings.model_validate(values), context())

    async def new_customer(self, profile: Profile) -> Holder:
        names = {"surname": "last_name", "locality": "city"}
        given = {
            names.get(name, name): value for name, value in profile.given().items() if name != "country_code"
        }
        made = self._sandbox.add_customer(**given)
        member = self.crm.shop.members[made["id"]]
        return Holder(f"29{member.id:011d}", self.customer_id(member), profile)

    def customer_id(self, member: Member) -> str:
        return self.crm.customer_id(member)

    def account_id(self, member: Member) -> str:
        return self.customer_id(member)

    def customer(self, customer_id: str) -> Member:
        """Who is called so."""
        (found,) = self.crm.shop.find(lambda member: self.customer_id(member) == customer_id)
        return found

    def member(self, account: str) -> Member:
        """Whose account this is."""
        (found,) = self.crm.shop.find(lambda member: self.account_id(member) == account)
        return found

    async def ledger(self) -> Counter[str]:
        return Counter(effect.kind for effect in self._sandbox.ledger().effects)

    async def lose_request(self, operation: str) -> None:
        self._sandbox.fault("hang_up_before", self.calls[operation])

    async def lose_reply(self, operation: str) -> None:
        self._sandbox.fault("hang_up_after", self.calls[operation])

    async def move(self, account: str, points: Decimal) -> None:
        self.crm.shop.give(self.member(account), points, "till")

    async def double(self, account: str, idempotency_key: str) -> None:
        member = self.member(account)
        last = member.moves[-1]
        self.crm.shop.give(member, last.points, last.text, last.key)


class OneCardEach(SkinRig[Kind]):
    """A CRM that keeps a card number as a field of its customer."""

    closing: ClassVar[tuple[CrmCardState, str]] = ("inactive", "archived")
    """The state of a card that is not active, and the customer's field that makes it so."""

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        self.customer(holder.users_reference).more["card"] = number
        return number

    async def plastic(self) -> str | None:
        return None

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        closed, field = self.closing
        if state not in ("active", closed):
            raise NoSuchState
        (owner,) = self.crm.shop.find(lambda member: member.more.get("card") == number)
        owner.more[field] = state == closed
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        return self.customer(customer).more.get("card"), None


class Stock(Protocol):
    """A stand-in of such a CRM."""

    batch: str
    """Numbers that begin so are made when they are first asked for."""
    cards: dict[str, dict[str, Any]]
    """By their numbers, as the CRM tells them."""

    def put_card(self, number: str, owner: Member | None = None) -> dict[str, Any]:
        """Make a card."""


class CardsInStock(SkinRig[Kind]):
    """A CRM in which card numbers are made beforehand: those of the kit are, but for one to be unknown."""

    states: ClassVar[Mapping[CrmCardState, str]]
    """What this CRM calls the states that it has."""

    def prepare(self, test: pytest.FixtureRequest) -> None:
        self.stock.batch = "" if test.node.originalname == UNKNOWN_NUMBER else new_card_number()[:4]

    @property
    def stock(self) -> Stock:
        return cast(Stock, self.crm)

    async def give_card(self, holder: Holder) -> str:
        number = new_card_number()
        self.stock.put_card(number, self.customer(holder.users_reference))
        return number

    async def plastic(self) -> str | None:
        number = new_card_number()
        self.stock.put_card(number)
        return number

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state not in self.states:
            raise NoSuchState
        self.stock.cards[number]["state"] = self.states[state]
        return None


@asynccontextmanager
async def skin_rig(kind: type[SkinRig[Any]]) -> AsyncIterator[SkinRig[Any]]:
    """The rig; at its end no call may have been one that the API does not have."""
    async with running(Path(kind.connector).stem, **kind.switches) as sandbox:
        address = urlsplit(sandbox.base_url)
        async with Relay.to(address.hostname or "", address.port or 0) as relay:
            yield kind(relay, sandbox)
        assert _mistakes(sandbox) == []


def _mistakes(sandbox: Sandbox) -> list[Any]:
    return sandbox.ledger().invalid_calls


def rig_of(*kinds: type[SkinRig[Any]]) -> Any:
    """The fixture ``rig`` of a connector's test; every test runs with each of the kinds."""

    @pytest.fixture(name="rig", params=kinds, ids=[kind.__name__ for kind in kinds])
    async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
        async with skin_rig(request.param) as rig:
            rig.prepare(request)
            yield rig

    return rig


async def refuses_to_give(rig: Rig, number: str) -> None:
    """The CRM lets no customer have this card number, and nothing changes in it."""
    async with opened(rig.build()) as backend:
        customer = (await rig.new_customer(new_person())).users_reference
        before = await rig.ledger()
        written = await set_card(backend, customer, number, soon())
        assert (written.outcome, await rig.ledger()) == (Outcome.REFUSED, before)
