"""The card look-up written by hand on aiohttp and asyncpg: one join, and nothing else.

No authentication, no log, no validation. It may not know the adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import asyncpg
import uvloop
from aiohttp import web

from tests.bench.services import common

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]

POOL: web.AppKey[Any] = web.AppKey("pool", object)

FIND = """
    SELECT card.number, card.state, card.barcode_number, card.barcode_type
      FROM crm.customers AS customer
      JOIN koshelek.cards AS card ON card.users_reference = customer.id::text
     WHERE customer.phone = $1
"""


async def find_card(request: web.Request) -> web.Response:
    pool: Pool = request.app[POOL]
    async with pool.acquire() as connection:
        row = await connection.fetchrow(FIND, "+" + request.query["msisdn"])
    if row is None:
        return web.Response()
    barcode = {"barcodeNumber": row["barcode_number"], "barcodeType": row["barcode_type"]}
    card = {"cardNumber": row["number"], "cardState": row["state"], "barcode": barcode}
    return web.json_response({"card": card})


async def _keep(_connection: object) -> None:
    """Instead of asyncpg's reset, which is a round trip each time a connection goes back."""


def application(url: str, *, reset: bool) -> web.Application:
    """``reset``: leave the pool's reset on, as it is by default."""

    async def with_pool(application: web.Application) -> AsyncIterator[None]:
        keep: dict[str, Any] = {} if reset else {"reset": _keep}
        async with asyncpg.create_pool(url, max_size=common.POOL_SIZE, **keep) as pool:
            application[POOL] = pool
            yield

    made = web.Application()
    made.cleanup_ctx.append(with_pool)
    made.router.add_get("/v1/card", find_card)
    return made


def main() -> None:
    parser = common.parser("aiohttp and asyncpg by hand")
    parser.add_argument("--no-reset", action="store_true", help="do without the reset of pooled connections")
    options = parser.parse_args()
    web.run_app(
        application(options.database, reset=not options.no_reset),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
