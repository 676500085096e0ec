"""The adapter on a real socket over a real database, for tests of what it answers."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import aiohttp
import pytest
from pydantic import SecretStr

from adapter.bootstrap import Service
from adapter.loyalty.numbers import range_number
from adapter.process.embedded import EmbeddedServer
from adapter.process.serving import serve_until_stopped
from adapter.settings import Cards, Crm, NumberRange, Settings, with_overrides
from adapter.store.importing import ImportReport, import_rows
from crm_backends.model import Profile
from crm_backends.ports import Deadline

from ..conftest import create_database

LOGIN, PASSWORD = "koshelek", "correct horse battery staple"
RANGE = NumberRange(prefix="2900", length=13, check_digit="ean", first=1, order="counting")
"""Counted, so that a test knows which number comes next."""

_people = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of one answer; the body was checked to be what the contract allows."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """Code of the error envelope."""
        assert self.status == 422, self
        return str(self.body["code"])


def basic(login: str, password: str) -> str:
    """The Authorization header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def all_strings(value: Any) -> bool:
    """Whether every elementary field is a string."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and all_strings(item) for key, item in value.items())
    if isinstance(value, list):
        return all(all_strings(item) for item in value)
    return isinstance(value, str)


class Adapter:
    """A running adapter and a caller with Koshelek's credentials."""

    def __init__(self, service: Service, port: int, session: aiohttp.ClientSession) -> None:
        self.service = service
        self.port = port
        self.session = session
        self.base = f"http://127.0.0.1:{port}"

    async def call(self, verb: str, path: str, body: Any = None, **options: Any) -> Answer:
        """One call; every answer is held against the rules that are common to all."""
        if body is not None:
            options["data"] = (
                body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            )
        options["headers"] = {"Authorization": basic(LOGIN, PASSWORD)} | options.get("headers", {})
        async with self.session.request(verb, self.base + path, **options) as response:
            raw = await response.read()
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"
            assert response.status in (200, 401, 422)
            parsed = json.loads(raw.decode("utf-8")) if raw else None
            assert parsed is None or all_strings(parsed), parsed
            if response.status != 200 and verb != "HEAD":
                assert set(parsed or ()) == {"code", "description"}
            return Answer(response.status, response.headers, parsed)

    async def get(self, path: str, **query: str) -> Answer:
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.call("POST", path, body, **options)

    async def issue(self, **profile: str) -> str:
        """A new card; returns its number."""
        answer = await self.post("/v1/card/anonymous", profile)
        assert answer.status == 200, answer
        return str(answer.body["card"]["cardNumber"])

    async def reserve(self) -> str:
        """A reserved number."""
        return str((await self.get("/v1/card/anonymous")).body["card"]["cardNumber"])

    async def register(self, **fields: Any) -> str:
        """A customer in the CRM, without a card; returns the CRM's reference."""
        written = await self.service.programme.users.register(
            Profile(**fields), idempotency_key=f"test-{next(_people)}", deadline=Deadline.after(5)
        )
        assert written.crm_reference is not None
        return written.crm_reference

    async def plastic(self, value: int, state: str = "ownerless", customer: str | None = None) -> str:
        """A card entered beforehand."""
        number = range_number(RANGE, value)
        row = (number, number, "CODE_128", state, customer)
        await import_rows(self.service.gateway, [row], ImportReport(), lambda done: None)
        return number

    async def sql(self, statement: str, *arguments: Any) -> Any:
        """First value of a statement, straight from the database."""
        return await self.service.pool.fetchval(statement, *arguments)

    def qr(self, total: str = "1250.00", document: int | None = None, changed: Any = ()) -> str:
        """QR text of a receipt of an hour ago; ``changed`` replaces values by key."""
        moment: datetime = self.service.programme.now() - timedelta(hours=1)
        values = {
            "t": f"{moment:%Y%m%dT%H%M}",
            "s": total,
            "fn": "8710000101125654",
            "i": str(document or next(_people)),
            "fp": "1250448795",
            "n": "1",
        } | dict(changed)
        return "&".join(f"{key}={value}" for key, value in values.items())


class StartAdapter(Protocol):
    """Starts an adapter with settings overridden by section."""

    def __call__(self, **sections: Mapping[str, Any]) -> Awaitable[Adapter]: ...


def new_phone() -> str:
    """A phone nobody has, in the wire form."""
    return f"7916{next(_people):07d}"


def settings_for_tests(**sections: Mapping[str, Any]) -> Settings:
    """Settings for tests, over the built-in defaults.

    On a machine that is busy with other tests nothing is given up early: those that are about that say when.
    """
    settings = Settings(cards=Cards(ranges=[RANGE]), crm=Crm(**sections.pop("crm", {})))
    base: dict[str, dict[str, Any]] = {
        "koshelek": {"login": LOGIN, "password": SecretStr(PASSWORD)},
        "server": {"port": 0, "deadline": 15.0},
        "management": {"enabled": False},
        "database": {"acquire_timeout": 10.0, "statement_timeout": 10.0},
    }
    for section, values in sections.items():
        base.setdefault(section, {}).update(values)
    return with_overrides(settings, base)


@asynccontextmanager
async def running(settings: Settings, url: str) -> AsyncIterator[Adapter]:
    """The adapter, serving on a free port."""
    stop = asyncio.Event()
    ready: asyncio.Future[tuple[Service, int]] = asyncio.get_running_loop().create_future()

    async def on_ready(service: Service, port: int) -> None:
        ready.set_result((service, port))

    task = asyncio.create_task(serve_until_stopped(settings, url, ready=on_ready, stop=stop))
    try:
        either: set[asyncio.Future[Any]] = {task, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        service, port = ready.result()
        connector = aiohttp.TCPConnector(limit=100)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Adapter(service, port, session)
    finally:
        stop.set()
        await task


@pytest.fixture
async def start(database: str) -> AsyncIterator[Callable[..., Awaitable[Adapter]]]:
    """Starts adapters over this test's database."""
    async with AsyncExitStack() as stack:

        async def start_one(**sections: Mapping[str, Any]) -> Adapter:
            return await stack.enter_async_context(running(settings_for_tests(**sections), database))

        yield start_one


@pytest.fixture(scope="session")
async def common(postgresql: EmbeddedServer, template: str) -> AsyncIterator[Adapter]:
    """One adapter for all tests that do not mind what others leave in its database."""
    url = await create_database(postgresql, template)
    async with running(settings_for_tests(), url) as adapter:
        yield adapter


@pytest.fixture
async def adapter(start: StartAdapter) -> Adapter:
    """An adapter with the settings of the tests."""
    return await start()
