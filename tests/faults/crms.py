"""One CRM for each way of reconciling a doubt, with a ledger of what was really done and ways to fall ill.

The CRM is always reached over a bad line (``proxy``). It may not know what the adapter believes.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from contracts.sandbox import MODULES, Sandbox, pegke, perx, serving
from contracts.sandbox.faults import FaultKind
from contracts.sandbox.perx import Perx
from crm_backends.postgres.database import SCHEMA
from tests.faults.proxy import FAULTS, Proxy, lain

Rating = Literal["own", "key", "probe", "compare", "manual"]
"""Ways of reconciling; ``own`` is by key, too, in the adapter's own database."""
RATINGS: tuple[Rating, ...] = ("own", "key", "probe", "compare", "manual")

_PATIENCE = "connect_timeout = 0.5\nread_timeout = {}\nbreaker_pause = 0.3\nqueue_timeout = 0.5\nattempts = 2"
"""Of every HTTP driver here: seconds, short, so that faults are over soon."""
_ON_THE_LINE, _AT_THE_DOOR = 0.7, 0.5
"""Seconds after which a request to a stand-in is given up where it lies. Together less than
``reconcile_after``: what has not been done when its doubt is reconciled will never be."""


class Crm(ABC):
    """A CRM with ``people`` accounts, numbered from 1."""

    rating: Rating

    def __init__(self, people: int) -> None:
        self.people = people
        self.line = Proxy(0)
        self.read_timeout = 1.0
        """Seconds an HTTP driver waits for an answer."""

    @abstractmethod
    def toml(self) -> str:
        """Sections of the settings file that bind the points to it."""

    @abstractmethod
    def account(self, person: int) -> str:
        """What the CRM calls the person."""

    @abstractmethod
    def key(self, reference: str, account: str, points: Decimal) -> Hashable:
        """What an effect of this operation is known by in ``effects``; several may share one."""

    @abstractmethod
    async def effects(self) -> Counter[Hashable]:
        """How often points were really credited, by ``key``."""

    def disturb(self, chance: random.Random) -> str | None:
        """Have one more fault on the CRM's own side; tells which."""
        return None

    def calm(self) -> None:
        """Have no more faults, on the line neither."""
        self.line.calm()

    @abstractmethod
    async def prepare(self) -> None:
        """Make the accounts."""

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Crm]:
        async with self._serving():
            await self.prepare()
            async with self.line.running():
                yield self


class KeyCrm(Crm):
    """A PostgreSQL of its own: a reference that comes again is credited once."""

    rating: Rating = "key"

    def __init__(self, people: int, url: str) -> None:
        super().__init__(people)
        self._url = url
        folder = parse_qs(urlsplit(url).query)["host"][0]
        self.line.target = Path(folder) / ".s.PGSQL.5432"

    async def prepare(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(SCHEMA.read_text(encoding="utf-8"))
            await connection.execute(
                "INSERT INTO crm.customers (phone) "
                "SELECT '+' || 79160000000 + n FROM generate_series(1, $1::int) AS n",
                self.people,
            )
        finally:
            await connection.close()

    def toml(self) -> str:
        name = urlsplit(self._url).path.removeprefix("/")
        url = f"postgresql://postgres@127.0.0.1:{self.line.port}/{name}?sslmode=disable"
        return f'[crm.points]\ndriver = "postgres"\nurl = "{url}"\nstatement_timeout = 1.0\n'

    def account(self, person: int) -> str:
        return str(person)

    def key(self, reference: str, account: str, points: Decimal) -> Hashable:
        return reference

    async def effects(self) -> Counter[Hashable]:
        connection = await asyncpg.connect(self._url)
        try:
            return Counter(
                {row[0]: 1 for row in await connection.fetch("SELECT reference FROM crm.points_ledger")}
            )
        finally:
            await connection.close()


class OwnCrm(KeyCrm):
    """The schema ``crm`` in the adapter's own database: what is credited together goes in one statement.

    Its line is the database's; there is none of its own.
    """

    rating: Rating = "own"

    def toml(self) -> str:
        return ""


@web.middleware
async def _in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.transport is not None and lain(request.transport) > _AT_THE_DOOR:
        request.transport.abort()
        return web.Response(status=503)
    return await handler(request)


class SandboxCrm(Crm):
    """One of the stand-in servers, in this process."""

    name: str
    credit: str
    """The operation that credits points, by its operationId."""
    faults: Sequence[FaultKind] = (
        "late",
        "hang_up_before",
        "hang_up_after",
        "error_before",
        "error_after",
        "too_many",
        "garbage",
        "expire_token",
    )
    switches: Mapping[str, Any] = MappingProxyType({})
    is_looked_at = True
    """Whether doubts are reconciled by looking at it. Then it does nothing that was asked long ago."""
    sandbox: Sandbox

    def __init__(self, people: int, *, punctual: bool = True, **switches: Any) -> None:
        """``punctual=False``: it may do what was asked long ago; ``switches``: of the stand-in."""
        super().__init__(people)
        self.is_looked_at = self.is_looked_at and punctual
        self.switches = {**self.switches, **switches}

    def switch(self, **switches: Any) -> None:
        """Let the stand-in behave otherwise from now on."""
        stand_in = self.sandbox.stand_in
        stand_in.switches = stand_in.switches.model_copy(update=switches)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        application: web.Application = MODULES[self.name].application(**self.switches)
        if self.is_looked_at:
            application.middlewares.append(_in_time)
            self.line.patience = _ON_THE_LINE
        async with serving(application) as self.sandbox:
            port = urlsplit(self.sandbox.base_url).port
            assert port is not None
            self.line.target = port
            yield

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.line.port}"

    def disturb(self, chance: random.Random) -> str | None:
        fault = chance.choice(self.faults)
        operation = self.credit if chance.random() < 0.8 else "*"
        times = 10 if fault == "too_many" else 1
        seconds = 1.4 if fault == "late" else 0
        self.sandbox.fault(fault, operation, times=times, seconds=seconds, status=chance.choice((500, 503)))
        return fault

    def calm(self) -> None:
        super().calm()
        self.sandbox.clear_faults()

    async def effects(self) -> Counter[Hashable]:
        await asyncio.sleep(0)
        found = self.sandbox.ledger().select("points_credited")
        return Counter(self._key_of(effect.customer, effect.amount, effect.reference) for effect in found)

    @abstractmethod
    def _key_of(self, customer: str | None, amount: Decimal | None, reference: str | None) -> Hashable: ...


class ProbeCrm(SandboxCrm):
    """Perx: our key can be looked up; sent twice it counts twice."""

    rating: Rating = "probe"
    name, credit = "perx", "submitLoyaltyTransaction"

    async def prepare(self) -> None:
        for person in range(1, self.people + 1):
            self.sandbox.add_customer(identifier=self.account(person))
        assert isinstance(self.sandbox.stand_in, Perx)

    def toml(self) -> str:
        return (
            f'[crm.points]\ndriver = "perx"\nbase_url = "{self.base_url}"\n'
            f'client_id = "{perx.CLIENT_ID}"\nclient_secret = "{perx.CLIENT_SECRET}"\n'
            f"loyalty_program_id = {perx.LOYALTY_PROGRAM_ID}\n"
            f'identifier_secret = "only for tests, and long enough"\n{_PATIENCE.format(self.read_timeout)}\n'
        )

    def account(self, person: int) -> str:
        return f"person-{person}"

    def key(self, reference: str, account: str, points: Decimal) -> Hashable:
        return reference

    def _key_of(self, customer: str | None, amount: Decimal | None, reference: str | None) -> Hashable:
        return reference


class CompareCrm(SandboxCrm):
    """Pegke, the merchants' dialect: nothing carries a reference, the balance tells."""

    rating: Rating = "compare"
    name, credit = "pegke", "merchantGivePoints"
    faults: Sequence[FaultKind] = tuple(kind for kind in SandboxCrm.faults if kind != "expire_token")

    async def prepare(self) -> None:
        for person in range(1, self.people + 1):
            self.sandbox.add_customer(phone=self.account(person))

    def toml(self) -> str:
        return (
            f'[crm.points]\ndriver = "pegke"\ndialect = "merchant_v1"\n'
            f'base_url = "{self.base_url}{pegke.MERCHANT_PATH}"\n'
            f'consumer_code = "{pegke.CONSUMER_CODE}"\nconsumer_secret = "{pegke.CONSUMER_SECRET}"\n'
            'country_prefix = "7"\nhistory_timezone = "UTC"\nhistory_pages = 20\nclock_slack = 1\n'
            f"{_PATIENCE.format(self.read_timeout)}\n"
        )

    def account(self, person: int) -> str:
        return str(9_160_000_000 + person)

    def key(self, reference: str, account: str, points: Decimal) -> Hashable:
        return account, points

    def _key_of(self, customer: str | None, amount: Decimal | None, reference: str | None) -> Hashable:
        return customer, amount


class ManualCrm(CompareCrm):
    """Pegke, the site's dialect without a balance: a doubt is a person's business."""

    rating: Rating = "manual"
    is_looked_at = False
    credit = "siteGivePoints"
    faults: Sequence[FaultKind] = SandboxCrm.faults
    switches: Mapping[str, Any] = MappingProxyType({"token_requests": 100_000})

    def toml(self) -> str:
        return (
            f'[crm.points]\ndriver = "pegke"\nbase_url = "{self.base_url}{pegke.SITE_PATH}"\n'
            f'client_id = "{pegke.CLIENT_ID}"\nclient_secret = "{pegke.CLIENT_SECRET}"\n'
            f'country_prefix = "7"\n{_PATIENCE.format(self.read_timeout)}\n'
        )


def make(rating: Rating, people: int, url: str) -> Crm:
    """The CRM of a rating; ``url`` is an empty database for one that is made of PostgreSQL."""
    match rating:
        case "own":
            return OwnCrm(people, url)
        case "key":
            return KeyCrm(people, url)
        case "probe":
            return ProbeCrm(people)
        case "compare":
            return CompareCrm(people)
        case "manual":
            return ManualCrm(people)


def draw_line_fault(chance: random.Random, rate: float) -> Any:
    """For ``Proxy.draw``: any fault of the line at this rate."""

    def draw(_data: bytes) -> Any:
        return chance.choice(FAULTS) if chance.random() < rate else None

    return draw
