"""Rigs of connectors over the stand-ins that show one shop."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from contracts.sandbox import Sandbox, running
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin
from crm_backends.conformance import Relay, RelayedRig, context
from crm_backends.model import Holder, Profile
from crm_backends.ports import Backend


class SkinRig(RelayedRig):
    """A connector over its stand-in; a connector's test says what its settings are called."""

    path: ClassVar[str] = ""
    """Of the API below the server."""
    calls: ClassVar[Mapping[str, str]]
    """Operation -> the stand-in's call that does it."""
    own: ClassVar[Mapping[str, object]]
    """The connector's settings."""
    refused: ClassVar[Mapping[str, object]]
    """Those of them that a CRM refuses."""
    switches: ClassVar[Mapping[str, Any]] = {}
    """Of the stand-in."""
    keeps: ClassVar[frozenset[str]] = frozenset({"phone", "email", "birth_date", "sex"})

    def __init__(self, relay: Relay, sandbox: Sandbox) -> None:
        super().__init__(relay)
        self._sandbox = sandbox

    @property
    def crm(self) -> Skin:
        return cast(Skin, self._sandbox.stand_in)

    def build(self, *, credentials: bool = True) -> Backend:
        values = {
            "base_url": f"http://127.0.0.1:{self.relay.port}{self.path}",
            "breaker_pause": 0.1,
            **self.own,
            **({} if credentials else self.refused),
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
        return str(member.id)

    def member(self, account: str) -> Member:
        """Whose account this is."""
        found = self.crm.shop.by_id(account)
        assert found is not None
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


@asynccontextmanager
async def skin_rig(kind: type[SkinRig]) -> AsyncIterator[SkinRig]:
    """The rig; at its end no call may have been one that the API does not have."""
    async with running(kind.spec.name, **kind.switches) as sandbox:
        address = urlsplit(sandbox.base_url)
        async with Relay.to(address.hostname or "", address.port or 0) as relay:
            yield kind(relay, sandbox)
        assert _mistakes(sandbox) == []


def _mistakes(sandbox: Sandbox) -> list[Any]:
    return sandbox.ledger().invalid_calls
