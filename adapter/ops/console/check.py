"""Whether all that the running service needs is well, looked at by a click; and the settings in force."""

from __future__ import annotations

from itertools import groupby

from aiohttp import web

from adapter.ops.console.pages import Pages
from adapter.settings.text import in_force


class Check(Pages):
    def routes(self) -> list[web.RouteDef]:
        return [web.get("/check", self.show), web.post("/check", self.look)]

    async def show(self, request: web.Request) -> web.Response:
        return self._page(request, None)

    async def look(self, request: web.Request) -> web.Response:
        return self._page(request, await self.parts.findings())

    def _page(self, request: web.Request, findings: object) -> web.Response:
        lines = in_force(self.parts.settings).splitlines()
        pairs = [(key, value) for line in lines for key, _, value in (line.partition(" = "),)]
        sections = [
            (name, list(some)) for name, some in groupby(pairs, lambda pair: pair[0].rpartition(".")[0])
        ]
        return self.page(request, "check", findings=findings, settings=sections)
