"""Card info read through a CRM and nothing else: what the programs on bare clients have in common.

No authentication, no log; the card is read from PostgreSQL if there is a database. It may not know the
adapter, nor which client asks.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import asyncpg
from aiohttp import web

from tests.bench.services import common

HEADERS = {"Authorization": f"Bearer {common.CRM_CODE}.{common.CRM_SECRET}"}
_CARD_TO_PHONE = 2_900_000_000_000 - 9_000_000_000
"""The stage counts cards and phones alike."""


class Asking(Protocol):
    """The two calls of one card info, each giving the JSON that came."""

    async def balance(self, phone: str) -> Any: ...

    async def history(self, phone: str) -> Any: ...


_CARD = """
    SELECT state, barcode_number, barcode_type, points_reference FROM koshelek.cards WHERE number = $1
"""


def application(
    opened: Callable[[], AbstractAsyncContextManager[Asking]], database: str | None = None
) -> web.Application:
    """``opened``: the client, as long as the service runs."""
    client: web.AppKey[Any] = web.AppKey("client", object)
    cards: web.AppKey[Any] = web.AppKey("cards", object)

    async def card_info(request: web.Request) -> web.Response:
        asking: Asking = request.app[client]
        number = request.match_info["number"]
        row: Mapping[str, str] | None = {
            "state": "active",
            "barcode_number": number,
            "barcode_type": "CODE_128",
            "points_reference": str(int(number) - _CARD_TO_PHONE),
        }
        if database is not None:
            row = await request.app[cards].fetchrow(_CARD, number)
        if row is None:
            return web.json_response({"code": "202", "description": "no such card"}, status=422)
        phone = row["points_reference"]
        points = (await asking.balance(phone))["data"]["points"]
        history = (await asking.history(phone))["data"]["history"]
        bonuses = [{"description": entry["note"], "amount": str(entry["points"])} for entry in history]
        barcode = {"barcodeNumber": row["barcode_number"], "barcodeType": row["barcode_type"]}
        bonus = {"total": str(points), "available": str(points), "bonuses": bonuses}
        card = {"cardNumber": number, "cardState": row["state"], "barcode": barcode, "bonus": bonus}
        return web.json_response({"card": card})

    async def with_client(application: web.Application) -> AsyncIterator[None]:
        async with opened() as asking:
            application[client] = asking
            yield

    async def with_cards(application: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database, max_size=common.POOL_SIZE) as application[cards]:
            yield

    made = web.Application()
    made.cleanup_ctx.append(with_client)
    if database is not None:
        made.cleanup_ctx.append(with_cards)
    made.router.add_get("/v1/card/{number}", card_info)
    return made


def options(description: str) -> argparse.Namespace:
    """Where the CRM is, and the cards, and which port to listen on."""
    parser = common.parser(description, database=False)
    parser.add_argument("--database", help="PostgreSQL URL of the cards; none: they are made up")
    parser.add_argument("--crm-url", required=True, help="base URL of the CRM")
    parser.add_argument("--at-once", type=int, required=True, help="most calls to it at once; 0: no limit")
    return parser.parse_args()
