"""A CRM that takes its time: two reads of Pegke's ``merchant_v1`` and one write of Perx, answered with canned
JSON after a pause.

Everybody's balance is the same and every credit is confirmed. It may not know who asks it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

from aiohttp import web

from tests.bench.services import common

BALANCE = b'{"status": "success", "data": {"phone": "9000000001", "points": 1250}}'
HISTORY = b"""{"status": "success", "data": {
    "customer": {"name": "\\u0410\\u043d\\u043d\\u0430", "phone": "9000000001", "points": 1250},
    "history": [
        {"date": "2026-03-03T12:00:00+00:00", "points": -50, "note": "Spent"},
        {"date": "2026-02-02T12:00:00+00:00", "points": 300, "note": "Earned"},
        {"date": "2026-01-01T12:00:00+00:00", "points": 1000, "note": "Welcome"}
    ],
    "page": 1, "pages": 1}}"""
KEY = f"Bearer {common.CRM_CODE}.{common.CRM_SECRET}"


def application(pause: float) -> web.Application:
    """``pause``: seconds every answer takes."""
    asked: deque[str] = deque(maxlen=10)
    ids = itertools.count(1)

    def seen(request: web.Request, account: bool) -> None:
        """Note the call. Anything but what the driver would send is refused, at once."""
        if request.headers.get("Authorization") != KEY or not account:
            raise web.HTTPForbidden
        asked.append(f"{request.method} {request.query['q']}")

    async def balance(request: web.Request) -> web.Response:
        seen(request, request.query["q"] == "check_points" and len(request.query["phone"]) == 10)
        await asyncio.sleep(pause)
        return web.Response(body=BALANCE, content_type="application/json")

    async def history(request: web.Request) -> web.Response:
        body = await request.read()
        is_form = request.content_type == "multipart/form-data" and body.find(b'name="phone"') > 0
        seen(request, request.query["q"] == "check_history" and is_form)
        await asyncio.sleep(pause)
        return web.Response(body=HISTORY, content_type="application/json")

    async def token(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": common.CRM_SECRET, "expires_in": 7200})

    async def credit(request: web.Request) -> web.Response:
        wanted = await request.json()
        await asyncio.sleep(pause)
        return web.json_response({"data": {"id": next(ids), "points": wanted["points"]}}, status=201)

    async def told(_request: web.Request) -> web.Response:
        """The last calls, oldest first; they are forgotten with that."""
        last = list(asked)
        asked.clear()
        return web.json_response(last)

    made = web.Application()
    made.router.add_get(common.CRM_PATH, balance)
    made.router.add_post(common.CRM_PATH, history)
    made.router.add_post("/v4/oauth/token", token)
    made.router.add_post("/v4/pos/loyalty_transactions", credit)
    made.router.add_get("/asked", told)
    return made


def main() -> None:
    parser = common.parser("a slow CRM", database=False)
    parser.add_argument("--pause", type=float, required=True, help="seconds every answer takes")
    options = parser.parse_args()
    common.serve(application(options.pause), options.port)


if __name__ == "__main__":
    main()
