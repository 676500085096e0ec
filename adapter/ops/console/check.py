"""Whether all that the running service needs is well, looked at by a click; and the settings in force.

It may not know what is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from aiohttp import web

from adapter.ops.console.pages import Pages
from adapter.ops.console.ports import Parts
from adapter.settings.text import in_force
from crm_backends.ports import Finding


class Check(Pages):
    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._one_at_a_time = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/check", self.show), web.post("/check", self.look)]

    async def show(self, request: web.Request) -> web.Response:
        return self._page(request, None)

    async def look(self, request: web.Request) -> web.Response:
        asked = (await request.post()).get("do")
        looks = self.parts.looks
        if looks is None:
            raise web.HTTPNotFound
        async with self._one_at_a_time:  # many who click must not be a load for the CRMs
            found = [await looks.contract()] if asked == "contract" else await looks.findings()
        return self._page(request, found)

    def _page(self, request: web.Request, findings: Sequence[Finding] | None) -> web.Response:
        lines = in_force(self.parts.settings).splitlines()
        pairs = [(key, value) for line in lines for key, _, value in (line.partition(" = "),)]
        sections = [
            (name, list(some)) for name, some in groupby(pairs, lambda pair: pair[0].rpartition(".")[0])
        ]
        return self.page(request, "check", findings=findings, settings=sections)
