"""The console of a running adapter on a real socket, and somebody who uses it without a browser."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from argon2 import PasswordHasher

from adapter.bootstrap import Service
from adapter.checking.looking import Looking

OLGA, RITA = "olga", "rita"
PASSWORDS = {OLGA: "planted-password-of-olga", RITA: "planted-password-of-rita"}
_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Its hashes are verified at once: many tests log somebody in."""
PEOPLE: list[dict[str, Any]] = [
    {"name": OLGA, "role": "operator", "password": _QUICK.hash(PASSWORDS[OLGA])},
    {"name": RITA, "role": "reader", "password": PASSWORDS[RITA]},
]
"""An operator with a hashed password, a reader with a plain one."""


@asynccontextmanager
async def management_port(service: Service) -> AsyncIterator[str]:
    """The management port of a service; its address, without a slash at the end."""
    runner = web.AppRunner(
        await service.management_application(Looking(service)), access_log=None, shutdown_timeout=0.5
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Page:
    """What a browser got."""

    status: int
    text: str
    url: str
    headers: Any

    @property
    def words(self) -> str:
        """Its text without the markup."""
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.text)).split())


@dataclass
class Person:
    """Somebody with a cookie jar."""

    base: str
    session: aiohttp.ClientSession
    csrf: str = field(default="", repr=False)

    async def get(self, path: str, **options: Any) -> Page:
        return await self._ask("GET", path, **options)

    async def post(self, path: str, fields: Any = None, **options: Any) -> Page:
        """Send a form of the page that was looked at last."""
        pairs = fields.items() if isinstance(fields, dict) else (fields or ())
        data = aiohttp.FormData([("csrf", self.csrf), *((name, str(value)) for name, value in pairs)])
        return await self._ask("POST", path, data=data, **options)

    async def log_in(self, name: str = OLGA, password: str | None = None) -> Page:
        await self.get("/console/login")
        return await self.post(
            "/console/login", {"name": name, "password": password or PASSWORDS.get(name, "nothing")}
        )

    async def _ask(self, verb: str, path: str, **options: Any) -> Page:
        async with self.session.request(verb, self.base + path, **options) as response:
            text = await response.text()
            if (found := re.search(r'name="csrf" value="([^"]+)"', text)) is not None:
                self.csrf = found[1]
            return Page(response.status, text, str(response.url), response.headers)


@asynccontextmanager
async def somebody(base: str) -> AsyncIterator[Person]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"Accept-Language": "en"}) as session:
        yield Person(base, session)
