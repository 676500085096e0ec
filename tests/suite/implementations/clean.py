"""The contract, spoken plainly for a ``Shop``: one handler, one table of methods.

Every choice that the contract leaves is made as our own adapter makes it: 401 for bad credentials, an object
for a reserved number, all users offered. A mutant overrides one method.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from tests.suite.implementations.shop import Card, Purchase, Refusal, Shop, with_people

LOGIN, PASSWORD = "koshelek", "секрет: Ёж-2026"
CONTENT_TYPE = "application/json; charset=utf-8"
LARGEST_BODY = 1_000_000
NOTHING = object()
"""The answer with an empty body."""


@dataclass(frozen=True)
class Call:
    """A request, read."""

    verb: str
    path: str
    query: dict[str, str]
    body: bytes
    number: str = ""

    def object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        if len(self.body) > LARGEST_BODY:
            raise Refusal("size", "The body is too large")
        try:
            value = json.loads(self.body.decode())
        except (ValueError, RecursionError):
            raise Refusal("json", "The body is no JSON") from None
        if not isinstance(value, dict):
            raise Refusal("json", "The body is no JSON object")
        return value


class Clean:
    """A service of one shop. ``version`` is that of the contract it was agreed to serve."""

    shop_class: ClassVar[type[Shop]] = Shop

    def __init__(self, version: str = "1.3.0") -> None:
        self.version = version
        self.shop = with_people(self.shop_class())

    # From HTTP and back

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        if not self.is_let_in(request.headers.get("Authorization", "")):
            return self.unauthorized()
        call = Call(request.method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), body)
        try:
            return self.answer(await self.process(call))
        except Refusal as refusal:
            return self.error(refusal, call)

    async def process(self, call: Call) -> Any:
        name, number = self.method(call.verb, call.path)
        return await getattr(self, name)(replace(call, number=number))

    def is_let_in(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        try:
            pair = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and self.is_right(pair)

    def is_right(self, pair: bytes) -> bool:
        return pair == f"{LOGIN}:{PASSWORD}".encode()

    def unauthorized(self) -> web.Response:
        refusal = Refusal("auth", "Login or password is wrong")
        return self.response(401, self.envelope(refusal), {"WWW-Authenticate": 'Basic realm="shop"'})

    def answer(self, value: Any) -> web.StreamResponse:
        return self.response(200, value)

    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        return self.response(422, self.envelope(refusal))

    def envelope(self, refusal: Refusal) -> Any:
        return {"code": refusal.code, "description": refusal.description}

    def response(self, status: int, value: Any, headers: dict[str, str] | None = None) -> web.Response:
        body = b"" if value is NOTHING else self.encoded(value)
        return web.Response(
            status=status, body=body, headers={"Content-Type": CONTENT_TYPE, **(headers or {})}
        )

    def encoded(self, value: Any) -> bytes:
        return json.dumps(self.strings(value), ensure_ascii=False).encode()

    def strings(self, value: Any) -> Any:
        """Numbers as strings, at any depth."""
        if isinstance(value, dict):
            return {key: self.strings(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.strings(each) for each in value]
        return str(value)

    # The methods

    def method(self, verb: str, path: str) -> tuple[str, str]:
        """Name of the method, and the card number in the path."""
        for verbs, pattern, since, name in METHODS:
            found = re.fullmatch(pattern, path)
            if found and verb in verbs.split() and self.version >= since:
                return name, found.groupdict().get("number", "")
        raise self.unknown_path()

    def unknown_path(self) -> Refusal:
        return Refusal("method", "There is no such method")

    def card_object(self, card: Card) -> dict[str, Any]:
        return {
            "cardNumber": card.number,
            "cardState": "active" if card.owner is not None and not card.blocked else "inactive",
            "barcode": {"barcodeNumber": card.number, "barcodeType": "EAN_13"},
        }

    async def find(self, call: Call) -> Any:
        query = call.query
        card = self.shop.find(query.get("msisdn"), query.get("email"), query.get("birthDate"))
        return NOTHING if card is None else {"card": self.card_object(card)}

    async def set_consents(self, call: Call) -> Any:
        given = call.object()
        lists = [given.get(name, []) for name in ("allow", "deny")]
        for each in lists:
            if not isinstance(each, list) or not all(isinstance(channel, str) for channel in each):
                raise Refusal("consents", "allow and deny are arrays of strings")
        self.shop.set_consents(call.number, *lists)
        return NOTHING

    async def card(self, call: Call) -> Any:
        card = self.shop.card(call.number)
        return {"card": self.card_object(card) | {"bonus": self.bonus(card)}}

    def bonus(self, card: Card) -> dict[str, Any]:
        bonuses = [
            {"description": why, "amount": points, "validUntil": "2099-12-31"}
            for why, points in card.movements
            if points
        ]
        return {"total": card.points, "available": card.points, "bonuses": bonuses}

    async def update(self, call: Call) -> Any:
        self.shop.update(call.number, call.object())
        return NOTHING

    async def reserve(self, call: Call) -> Any:
        return {"card": self.card_object(self.shop.reserve())}

    async def issue_reserved(self, call: Call) -> Any:
        self.shop.issue_reserved(call.number, call.object())
        return NOTHING

    async def purchases(self, call: Call) -> Any:
        bought = self.shop.bought(call.number, call.query.get("startDate"), call.query.get("endDate"))
        return [self.purchase(one) for one in bought]

    def purchase(self, one: Purchase) -> dict[str, Any]:
        return {
            "date": one.day.isoformat(),
            "item": one.item,
            "amount": one.kopecks,
            "quantity": one.quantity,
            "location": "Тверская, 1",
            "bonuses": one.bonuses,
        }

    async def offers(self, call: Call) -> Any:
        self.shop.card(call.number)
        return [{"title": "Кофе в подарок", "description": "К любой покупке", "validUntil": "2099-12-31"}]

    async def all_users(self, call: Call) -> Any:
        return [person.phone for person in self.shop.people if person.phone]

    async def all_users_extended(self, call: Call) -> Any:
        params = [{"name": "segment", "value": "all"}]
        return [{"phone": phone, "params": params} for phone in await self.all_users(call)]

    async def receipt(self, call: Call) -> Any:
        return await self.shop.register(call.object())

    async def issue(self, call: Call) -> Any:
        return {"card": self.card_object(await self.shop.issue(call.object()))}

    async def promo_code(self, call: Call) -> Any:
        return self.shop.use_code(call.object())


_CARD = r"/v1/card/(?!(?:anonymous|getAllUsers|getAllUsersExtended)$)(?P<number>[^/]+)"
METHODS = [
    ("GET", r"/v1/card", "1.0.0", "find"),
    ("PUT", _CARD + "/communication", "1.0.0", "set_consents"),
    ("GET", _CARD, "1.0.0", "card"),
    ("POST PUT PATCH", _CARD, "1.0.0", "update"),
    ("GET", r"/v1/card/anonymous", "1.0.0", "reserve"),
    ("POST", r"/v1/card/anonymous/(?P<number>[^/]+)", "1.0.0", "issue_reserved"),
    ("GET", _CARD + "/purchases", "1.0.0", "purchases"),
    ("GET", _CARD + "/offers", "1.0.0", "offers"),
    ("GET", r"/v1/card/getAllUsers", "1.0.0", "all_users"),
    ("GET", r"/v1/card/getAllUsersExtended", "1.0.0", "all_users_extended"),
    ("POST", r"/v1/promo/qrCode", "1.1.0", "receipt"),
    ("POST", r"/v1/card/anonymous", "1.2.0", "issue"),
    ("POST", r"/v1/promo/code", "1.3.0", "promo_code"),
]
"""Verbs, path, version that brought it, and the method of ``Clean``."""


@asynccontextmanager
async def serving(service: Clean) -> AsyncIterator[str]:
    """Serve it on a free port; the base URL."""
    application = web.Application(client_max_size=64 * LARGEST_BODY)
    application.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
