"""Card info read through a CRM and nothing else: what the programs on bare clients have in common.

No authentication, no database, no log. It may not know the adapter, nor which client asks.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from aiohttp import web

from tests.bench.services import common

HEADERS = {"Authorization": f"Bearer {common.CRM_CODE}.{common.CRM_SECRET}"}
_CARD_TO_PHONE = 2_900_000_000_000 - 9_000_000_000
"""The stage counts cards and phones alike."""


class Asking(Protocol):
    """The two calls of one card info, each giving the JSON that came."""

    async def balance(self, phone: str) -> Any: ...

    async def history(self, phone: str) -> Any: ...


def application(opened: Callable[[], AbstractAsyncContextManager[Asking]]) -> web.Application:
    """``opened``: the client, as long as the service runs."""
    client: web.AppKey[Any] = web.AppKey("client", object)

    async def card_info(request: web.Request) -> web.Response:
        asking: Asking = request.app[client]
        number = request.match_info["number"]
        phone = str(int(number) - _CARD_TO_PHONE)
        points = (await asking.balance(phone))["data"]["points"]
        history = (await asking.history(phone))["data"]["history"]
        bonuses = [{"description": entry["note"], "amount": str(entry["points"])} for entry in history]
        barcode = {"barcodeNumber": number, "barcodeType": "CODE_128"}
        bonus = {"total": str(points), "available": str(points), "bonuses": bonuses}
        card = {"cardNumber": number, "cardState": "active", "barcode": barcode, "bonus": bonus}
        return web.json_response({"card": card})

    async def with_client(application: web.Application) -> AsyncIterator[None]:
        async with opened() as asking:
            application[client] = asking
            yield

    made = web.Application()
    made.cleanup_ctx.append(with_client)
    made.router.add_get("/v1/card/{number}", card_info)
    return made


def options(description: str) -> argparse.Namespace:
    """Where the CRM is and which port to listen on."""
    parser = common.parser(description, database=False)
    parser.add_argument("--crm-url", required=True, help="base URL of the CRM")
    parser.add_argument("--at-once", type=int, required=True, help="most calls to it at once; 0: no limit")
    return parser.parse_args()
