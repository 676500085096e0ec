"""The bare INSERT with what a receipt needs besides: who asks, is the receipt one, a log line, metrics.

It shows how much of the adapter's distance from the bare INSERT any service with these duties has, written as
tersely as it can be. Each duty is done by the adapter's own part, once; there is no queue, no card's state,
no idempotency, no answer to any error. With ``--card`` the card is looked up, too.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import structlog
import uvloop
from aiohttp import web

from adapter.api import answers, requests
from adapter.api.auth import Authenticator, Credential
from adapter.api.server import new_request_id
from adapter.loyalty import earning, fiscal
from adapter.ops.metrics import Metrics
from adapter.process import logs
from adapter.process.serving import spare_the_collector
from adapter.settings import read_settings
from tests.bench.services import common
from tests.bench.services.bare_insert import INSERT, POOL, TABLE

CARD = "SELECT state FROM koshelek.cards WHERE number = $1"
ACCEPTED = {"status": "accepted", "description": "Запрос принят, результат будет позже"}


class Checked:
    """Answers receipts."""

    def __init__(self, *, card: bool) -> None:
        self._settings = read_settings()
        self._authenticator = Authenticator([Credential(common.LOGIN, common.PASSWORD)])
        self._card = card
        nobody: Any = None  # what waits, and which CRM is away, is never asked for here
        self._metrics = Metrics(nobody, nobody, nobody)
        logs.configure(self._settings.log)
        self._lines = structlog.get_logger("api").bind()

    async def register_receipt(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        if not await self._authenticator.accepts(request.headers.get("Authorization"), 1.0):
            raise web.HTTPUnauthorized
        body = requests.read_object(await request.read())
        zone, rule = self._settings.zone, self._settings.receipts
        values, now = fiscal.read_qr(body["qrCode"]), datetime.now(zone)
        receipt = fiscal.parse_receipt(values, zone, now)
        earning.admit(receipt, rule, now)
        earning.points_for(receipt, rule)
        pool = request.app[POOL]
        number = body["cardNumber"]
        async with pool.acquire() as connection:
            if self._card and await connection.fetchval(CARD, number) != "active":
                raise web.HTTPUnprocessableEntity
            await connection.execute(
                INSERT,
                receipt.fiscal_drive,
                receipt.document,
                receipt.sign,
                number,
                values["t"],
                values["s"],
                values["n"],
            )
        request_id = new_request_id()
        response = web.Response(
            body=answers.encode(ACCEPTED),
            headers={"Content-Type": answers.CONTENT_TYPE, "X-Request-ID": request_id},
        )
        seconds = time.perf_counter() - began
        self._metrics.answered("register_receipt", 200, None, seconds)
        self._lines.info(
            "request",
            call="register_receipt",
            verb=request.method,
            status=200,
            code=None,
            ms=round(seconds * 1000, 2),
            remote=request.remote,
            request_id=request_id,
        )
        return response


async def _leave(_connection: object) -> None:
    """Not reset, as the adapter's are not: that is a round trip."""


def application(url: str, *, card: bool) -> web.Application:
    async def with_pool(application: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, max_size=common.POOL_SIZE, reset=_leave) as pool:
            await pool.execute(TABLE)
            application[POOL] = pool
            spare_the_collector()
            yield

    made = web.Application()
    made.cleanup_ctx.append(with_pool)
    made.router.add_post("/v1/promo/qrCode", Checked(card=card).register_receipt)
    return made


def main() -> None:
    parser = common.parser("one INSERT with the duties of a receipt on aiohttp and asyncpg")
    parser.add_argument("--card", action="store_true", help="look the card up, by a statement of its own")
    options = parser.parse_args()
    web.run_app(
        application(options.database, card=options.card),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
