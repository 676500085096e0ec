"""A receipt kept by one ``INSERT … ON CONFLICT DO NOTHING``, on aiohttp and asyncpg, and nothing else.

It takes the same JSON as the adapter and takes the QR text apart; it checks nothing, credits nothing and
looks no card up. It may not know the adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import asyncpg
import uvloop
from aiohttp import web

from tests.bench.services import common

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]

POOL: web.AppKey[Any] = web.AppKey("pool", object)

TABLE = """
    CREATE SCHEMA IF NOT EXISTS bare;
    CREATE TABLE IF NOT EXISTS bare.receipts (
        fn          text NOT NULL,
        i           text NOT NULL,
        fp          text NOT NULL,
        card_number text NOT NULL,
        t           text NOT NULL,
        s           text NOT NULL,
        n           text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (fn, i, fp)
    )
"""
INSERT = """
    INSERT INTO bare.receipts (fn, i, fp, card_number, t, s, n)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
"""


async def register_receipt(request: web.Request) -> web.Response:
    body = await request.json()
    receipt = dict(parse_qsl(body["qrCode"]))
    pool: Pool = request.app[POOL]
    async with pool.acquire() as connection:
        await connection.execute(
            INSERT,
            receipt["fn"],
            receipt["i"],
            receipt["fp"],
            body["cardNumber"],
            receipt["t"],
            receipt["s"],
            receipt["n"],
        )
    return web.json_response({"status": "accepted", "description": "Запрос принят, результат будет позже"})


def application(url: str) -> web.Application:
    async def with_pool(application: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, max_size=common.POOL_SIZE) as pool:
            await pool.execute(TABLE)
            application[POOL] = pool
            yield

    made = web.Application()
    made.cleanup_ctx.append(with_pool)
    made.router.add_post("/v1/promo/qrCode", register_receipt)
    return made


def main() -> None:
    options = common.parser("one INSERT on aiohttp and asyncpg").parse_args()
    web.run_app(
        application(options.database),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
