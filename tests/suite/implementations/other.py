"""The contract on another stack, with every choice made the other way that it leaves open.

Starlette and uvicorn under a base path; bad credentials 422; a reserved number bare; a promo code and a
receipt repeated are refused or answered again; no list of all users, no offers; several matches: the one with
the phone; blocked cards need a new one; JSON in ASCII with spaces, keys in another order, more fields than
documented; chunked answers; numbers of cards with letters, drawn as QR codes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.suite.implementations.clean import LOGIN, PASSWORD
from tests.suite.implementations.shop import Card, Person, Refusal, Shop, with_people

BASE_PATH = "/loyalty/koshelek"
HEADERS = {"content-type": 'application/json;charset="UTF-8"'}


class OtherShop(Shop):
    """A programme with other rules."""

    def new_card(self, *, reserved: bool = False) -> Card:
        number = f"RU{next(self._numbers):08}K"
        self.cards[number] = Card(number, reserved=reserved)
        return self.cards[number]

    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        found = super().matches(msisdn, email, birth_date)
        return found[:1] if birth_date is None else found

    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        if (code, card.number) in self.used_codes:
            return {"result": "accepted before"}
        return super().redeem(code, card)


def shop_of(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


def spoken(value: Any = None) -> Response:
    """An answer 200; nothing is an empty body."""
    if value is None:
        return Response(b"", headers=HEADERS)

    async def pieces() -> AsyncIterator[bytes]:
        text = json.dumps(value, indent=1)
        for start in range(0, len(text), 100):
            yield text[start : start + 100].encode()

    return StreamingResponse(pieces(), headers=HEADERS)


def refused(code: str, description: str) -> Response:
    body = json.dumps({"description": description, "code": code, "support": "8 800 000-00-00"})
    return Response(body.encode(), 422, HEADERS)


def shown(card: Card) -> dict[str, Any]:
    return {
        "barcode": {"barcodeType": "QR_CODE", "barcodeNumber": f"https://example.org/c/{card.number}"},
        "cardState": "active" if card.owner and not card.blocked else "inactive",
        "cardNumber": card.number,
        "design": "gold",
    }


async def given(request: Request) -> dict[str, Any]:
    try:
        value = json.loads((await request.body()).decode())
    except (ValueError, RecursionError):
        raise Refusal("1001", "Не удалось разобрать запрос") from None
    if not isinstance(value, dict):
        raise Refusal("1002", "Ожидался объект")
    return value


async def find(request: Request) -> Response:
    query = request.query_params
    card = shop_of(request).find(query.get("msisdn"), query.get("email"), query.get("birthDate"))
    return spoken() if card is None else spoken({"card": shown(card)})


async def card(request: Request) -> Response:
    found = shop_of(request).card(request.path_params["number"])
    points = f"{found.points}.00"
    return spoken({"card": shown(found) | {"bonus": {"total": points, "available": points, "bonuses": []}}})


async def update(request: Request) -> Response:
    shop_of(request).update(request.path_params["number"], await given(request))
    return spoken()


async def consents(request: Request) -> Response:
    lists = await given(request)
    named = [[str(channel) for channel in lists.get(name) or []] for name in ("allow", "deny")]
    shop_of(request).set_consents(request.path_params["number"], *named)
    return spoken()


async def reserve(request: Request) -> Response:
    return Response(shop_of(request).reserve().number.join('""').encode(), headers=HEADERS)


async def issue_reserved(request: Request) -> Response:
    shop_of(request).issue_reserved(request.path_params["number"], await given(request))
    return spoken()


async def purchases(request: Request) -> Response:
    query = request.query_params
    bought = shop_of(request).bought(
        request.path_params["number"], query.get("startDate"), query.get("endDate")
    )
    return spoken(
        [
            {"date": f"{one.day}T12:00:00", "item": one.item, "amount": str(one.kopecks),
             "quantity": f"{one.quantity}.000", "location": "", "bonuses": str(one.bonuses)}
            for one in bought
        ]
    )  # fmt: skip


async def receipt(request: Request) -> Response:
    answer = await shop_of(request).register(await given(request))
    return spoken({"message": f"Начислено баллов: {answer['points']}", "details": {"queue": "none"}})


async def issue(request: Request) -> Response:
    return spoken({"card": shown(await shop_of(request).issue(await given(request)))})


async def promo_code(request: Request) -> Response:
    return spoken({key: str(value) for key, value in shop_of(request).use_code(await given(request)).items()})


async def on_refusal(request: Request, error: Exception) -> Response:
    return refused(getattr(error, "code", "1000"), str(error))


async def on_unknown(request: Request, error: Exception) -> Response:
    return refused("1003", "Неизвестный метод")


Endpoint = Callable[[Request], Awaitable[Response]]


def _route(path: str, **by_verb: Endpoint) -> Route:
    """One path; a verb it does not serve, also OPTIONS and HEAD, is refused like an unknown path."""

    async def serve(request: Request) -> Response:
        endpoint = by_verb.get(request.method)
        if endpoint is None:
            raise HTTPException(405)
        return await endpoint(request)

    return Route(path, serve, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


class BasicAuth:
    """Lets nobody in without the agreed pair."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.agreed = b"basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent = [value for name, value in scope.get("headers", []) if name == b"authorization"]
        scheme, _, pair = (sent[0] if len(sent) == 1 else b"").partition(b" ")
        if scope["type"] == "http" and scheme.lower() + b" " + pair != self.agreed:
            await refused("1004", "Доступ запрещён")(scope, receive, send)
        else:
            await self.inner(scope, receive, send)


def application() -> Any:
    """The service, with people of its own."""
    routes = [
        _route("/card", GET=find),
        _route("/card/anonymous", GET=reserve, POST=issue),
        *[_route(f"/card/{name}") for name in ("getAllUsers", "getAllUsersExtended")],
        _route("/card/anonymous/{number}", POST=issue_reserved),
        _route("/card/{number}", GET=card, POST=update, PUT=update, PATCH=update),
        _route("/card/{number}/communication", PUT=consents),
        _route("/card/{number}/purchases", GET=purchases),
        _route("/promo/qrCode", POST=receipt),
        _route("/promo/code", POST=promo_code),
    ]
    made = Starlette(
        routes=[Mount(f"{BASE_PATH}/v1", routes=routes)],
        exception_handlers={Refusal: on_refusal, HTTPException: on_unknown},
    )
    made.router.redirect_slashes = False
    made.state.shop = with_people(OtherShop())
    return BasicAuth(made)


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Serve it on a free port in a thread of its own; the base URL."""
    config = uvicorn.Config(application(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="other implementation")
    thread.start()
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{BASE_PATH}"
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)
