"""What Koshelek really sends that no setting names, and the setting that would take it in. Names alone."""

from __future__ import annotations

from aiohttp import web

from adapter.loyalty.observed import advice
from adapter.ops.console.pages import Pages


class Sends(Pages):
    def routes(self) -> list[web.RouteDef]:
        return [web.get("/sends", self.sends)]

    async def sends(self, request: web.Request) -> web.Response:
        settings = self.parts.settings
        found = await self.parts.observed()
        told = [(one, advice(one.seen, settings.koshelek, settings.server.base_path)) for one in found]
        return self.page(request, "sends", shapes=told)
