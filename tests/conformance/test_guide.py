"""The driver that ``ADDING_A_DRIVER.md`` shows, taken from the page as it stands, before the kit.

So what a newcomer copies is a driver that works. Its CRM is a small server of aiohttp.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import crm_backends
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, Relay, RelayedRig, context
from crm_backends.model import Holder, Profile
from crm_backends.ports import Backend
from crm_backends.registry import BackendSpec

GUIDE = Path(crm_backends.__file__).with_name("ADDING_A_DRIVER.md")
TOKEN, WRONG = "planted-secret", "planted-wrong"


def shown() -> dict[str, Any]:
    """The names of the first code block in Python, which is a whole module."""
    (block, *_) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "mycrm"}
    exec(compile(block, str(GUIDE), "exec", dont_inherit=True), names)
    return names


MYCRM = shown()


@dataclass
class MyCrm:
    """Points of members; a credit has a key, and the same key again changes nothing."""

    members: dict[str, Decimal] = field(default_factory=dict)
    credits: list[dict[str, str]] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)

    def application(self) -> web.Application:
        @web.middleware
        async def authorised(request: web.Request, handler: Any) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return web.json_response({}, status=401)
            answer: web.StreamResponse = await handler(request)
            return answer

        application = web.Application(middlewares=[authorised])
        application.router.add_get("/ping", self.ping)
        application.router.add_get("/members/{number}", self.member)
        application.router.add_post("/credits", self.give)
        application.router.add_get("/credits", self.given)
        return application

    async def ping(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def member(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        if number not in self.members:
            return web.json_response({}, status=404)
        return web.json_response({"points": str(self.members[number])})

    async def give(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["member"] not in self.members:
            return web.json_response({}, status=404)
        self.credit(asked["key"], asked["member"], Decimal(asked["points"]))
        return web.json_response({})

    async def given(self, request: web.Request) -> web.Response:
        return web.json_response([row for row in self.credits if row["key"] == request.query["key"]])

    def credit(self, key: str, member: str, points: Decimal) -> None:
        if all(row["key"] != key for row in self.credits):
            self.members[member] += points
            self.credits.append(
                {"id": f"c{len(self.credits)}", "key": key, "member": member, "points": str(points)}
            )
            self.effects["points.credit"] += 1


class MyRig(RelayedRig):
    spec: BackendSpec[Any] = MYCRM["BACKEND"]
    secrets = (TOKEN, WRONG)
    nobody = "no-such-member"

    def __init__(self, relay: Relay, crm: MyCrm) -> None:
        super().__init__(relay)
        self.crm = crm
        self._numbers = itertools.count(2900000000001)

    def build(self, *, credentials: bool = True) -> Backend:
        settings = MYCRM["MySettings"](
            base_url=f"http://127.0.0.1:{self.relay.port}",
            token=TOKEN if credentials else WRONG,
            breaker_pause=0.1,
        )
        backend: Backend = self.spec.build(settings, context())
        return backend

    async def new_customer(self, profile: Profile) -> Holder:
        number = str(next(self._numbers))
        self.crm.members[number] = Decimal(0)
        return Holder(number, number, profile)

    async def ledger(self) -> Counter[str]:
        return Counter(self.crm.effects)

    async def move(self, account: str, points: Decimal) -> None:
        self.crm.members[account] += points

    async def double(self, account: str, key: str) -> None:
        (row,) = [row for row in self.crm.credits if row["key"] == key]
        self.crm.members[account] += Decimal(row["points"])
        self.crm.credits.append({**row, "id": "again"})


def is_credit(data: bytes) -> bool:
    return data.startswith(b"POST /credits")


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MyRig]:
    installed = registry._installed()
    point = type("Installed", (), {"name": "mycrm", "load": staticmethod(lambda: MyRig.spec)})
    monkeypatch.setattr(registry, "_installed", lambda: {**installed, "mycrm": point})
    crm = MyCrm()
    server = TestServer(crm.application())
    await server.start_server()
    try:
        async with Relay.to("127.0.0.1", server.port or 0, is_credit) as relay:
            yield MyRig(relay, crm)
    finally:
        await server.close()


class TestGeneral(BaseGeneral):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {}


def test_the_guide_can_be_read_in_ten_minutes() -> None:
    assert len(GUIDE.read_text(encoding="utf-8").split()) < 1500
