"""Stand-in for Loya: clients, cards and bonus accounts, API 1.0.

Facts: the client ``loya-client`` 0.2.23 (2026-10), what it sends and what it makes of answers. Chosen, for it
does not show them: the texts of errors but for the words it looks for, what calls answer whose answer it does
not read, how long a session lasts. It may not know any client.

Effects: ``users.register``, ``users.update`` (a client was written), ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.sandbox.card_stock import PRINTED, CardStock
from contracts.sandbox.fields import BIRTH_DATE, DIGITS, Fields, Row
from contracts.sandbox.server import Call, Reply, in_base64, local_time, now
from contracts.sandbox.shop import MOSCOW, Member, Move
from contracts.sandbox.skin import Route, to_be_shown

EMAIL, PASSWORD, API_KEY = "koshelek@example.org", "loya-sandbox-password", "loya-sandbox-key"
PLASTIC = "5510000000017"
SETTINGS = {"loya": {"email": EMAIL, "password": PASSWORD, "api_key": API_KEY, "card_prefix": PRINTED}}
"""See ``contracts.sandbox.CONNECTORS``."""
_COOKIE = "PLAY2AUTH_SESS_ID"
_SECONDS = 8 * 3600
_PAGE = "pager.limit pager.drop sorting.field sorting.order"
_NEW = (
    "surname! name! patronymic phone! phoneConfirmed email getSms getEmail getPush birthday segmentId"
    " refusePaperCheck preferChannelType state"
)
_WRITTEN = f"{_NEW} id accountId locality street login password systemParams SystemParams wallet"
_CHANGE = "amount! description! operType! partnerId! bonusValiditySettings!"
_TEXTS: Fields = {
    "surname": "last_name",
    "name": "first_name",
    "patronymic": "patronymic",
    "locality": "city",
    "phone": DIGITS,
    "email": "email",
}
_MORE: Row = {
    **dict.fromkeys(("getSms", "getEmail", "getPush", "phoneConfirmed", "refusePaperCheck"), False),
    **dict.fromkeys(("street", "login", "password"), ""),
    "preferChannelType": "check",
    "segmentId": 0,
    "state": "active",
}
"""What Loya keeps besides, with what it is for somebody new."""
_REST: Fields = {"birthday": BIRTH_DATE, **{name: name for name in _MORE}}


class Loya(CardStock):
    """Everything needs a session, which a cookie carries."""

    name = "loya"
    title = "Loya (clients, cards and bonus accounts)"
    base = "/api/1.0"
    denied = (401, "Требуется авторизация")
    not_found = (404, "Клиент не найден")
    fresh, in_use = "nonactive", "active"
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS, plastic=PLASTIC)
    routes: ClassVar[Mapping[str, Route]] = {
        "login": Route("POST /login", json="email! password! apikey!", open=True),
        "locations": Route("GET /location", "limit drop"),
        "clients": Route("GET /client", "limit drop"),
        "clients_by_phone": Route("GET /clientbyphone", "phone!"),
        "client": Route("GET /client/{id}"),
        "client_write": Route("POST /client/{id}", json=_WRITTEN.replace("!", "")),
        "client_express": Route("PUT /client/express", json=_NEW),
        "account_create": Route("PUT /account", json="awardAmount salesAmount burntAmount state!"),
        "account_attach": Route("PUT /client/attach/{client}/{account}"),
        "account": Route("GET /account/{id}", _PAGE),
        "account_change": Route("POST /account/{id}", json=_CHANGE),
        "card": Route("GET /card/number/{number}"),
        "card_attach": Route("PUT /card/attach/{card}/{client}"),
        "card_status": Route("PUT /card/status/{card}/{state}"),
    }
    fields: ClassVar[Fields] = {**_TEXTS, **_REST}

    def populate(self) -> None:
        super().populate()
        self.put_card(PLASTIC)

    def joined(self, member: Member) -> None:
        member.more = {"account": self.shop.number(), **_MORE, **member.more}

    def may_call(self, headers: Mapping[str, str]) -> bool:
        name, _, session = headers.get("Cookie", "").partition("=")
        return name == _COOKIE and self.tokens.find(session.partition("---")[2]) is not None

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "message": reason}, status)

    def login(self, call: Call) -> Reply:
        if (call.body["email"], call.body["password"], call.body["apikey"]) != (EMAIL, PASSWORD, API_KEY):
            return self.failure(401, "Ошибка: авторизация не пройдена")
        told = {"lastUsedDateTime": f"{now().isoformat()}[UTC]", "cookieMaxAge": _SECONDS}
        session = f"{in_base64(told)}---{self.new_token('session', EMAIL, _SECONDS)}"
        return Reply("login success", headers={"Set-Cookie": f"{_COOKIE}={session}; Path=/; HTTPOnly"})

    def locations(self, call: Call) -> Reply:
        return Reply([{"id": 1, "partnerId": 1, "name": "Shop", "code": "1"}])

    # -- clients: one is written as a whole, so what is not sent is no more ----------------------------

    def clients(self, call: Call) -> Reply:
        limit, drop = call.number("limit", 10), call.number("drop", 0)
        return Reply([self.told(member) for member in [*self.shop.members.values()][drop : drop + limit]])

    def clients_by_phone(self, call: Call) -> Reply:
        phone = call.query["phone"]
        return Reply([member.id for member in self.shop.find(lambda member: member.digits == phone)])

    client = CardStock.customer

    def client_write(self, call: Call) -> Reply:
        return Reply(self.told(self.edit(call, self.named(call.path["id"]), _whole(call.body))))

    def client_express(self, call: Call) -> Reply:
        return Reply(_client(self.register(call, _whole(call.body), more={"account": 0, **_MORE})))

    def told(self, member: Member) -> Row:
        cards = [_card(card) for card in self.cards_of(member)]
        return {"client": _client(member), "cards": cards}

    # -- cards -----------------------------------------------------------------------------------------

    def card(self, call: Call) -> Reply:
        card = self.card_numbered(call.path["number"])
        return Reply(_card(card)) if card else self.failure(404, "Карта не найдена")

    def card_attach(self, call: Call) -> Reply:
        card, member = self._card(call), self.named(call.path["client"])
        card["owner"] = member.id
        self.changed(call, "users.set_card", member, card["number"])
        return Reply("attached")

    def card_status(self, call: Call) -> Reply:
        card, state = self._card(call), call.path["state"]
        if state not in ("active", "nonactive", "blocked", "archive"):
            self.refuse(400, "Неизвестный статус")
        card["state"] = state
        return Reply("changed")

    def _card(self, call: Call) -> Row:
        found = [card for card in self.cards.values() if str(card["id"]) == call.path["card"]]
        return found[0] if found else self.refuse(404, "Карта не найдена")

    # -- bonus accounts, which have numbers of their own -----------------------------------------------

    def account_create(self, call: Call) -> Reply:
        return Reply(_account(self.shop.number()))

    def account_attach(self, call: Call) -> Reply:
        self.named(call.path["client"]).more["account"] = int(call.path["account"])
        return Reply("attached")

    def account(self, call: Call) -> Reply:
        limit, drop = call.number("pager.limit", 10), call.number("pager.drop", 0)
        return _history(self._owner(call), limit, drop)

    def account_change(self, call: Call) -> Reply:
        member, amount, text = self._owner(call), Decimal(call.body["amount"]), call.body["description"]
        if call.body["operType"] != "credit" or amount <= 0:
            self.refuse(400, "Неверная операция")
        self.give_points(call, member, amount, text, text.partition(" ")[0] or None)
        return _history(member)

    def _owner(self, call: Call) -> Member:
        wanted = call.path["id"]
        return self.only(lambda member: str(member.more["account"]) == wanted, 404, "Счет не найден")


def _whole(given: Mapping[str, Any]) -> Row:
    """A client as a whole: an empty or missing text is none."""
    return {**given, **{name: given.get(name) or None for name in (*_TEXTS, "birthday")}}


def _client(member: Member) -> Row:
    return {
        "id": member.id,
        "accountId": member.more["account"],
        **{name: value or "" for name, value in member.told(_TEXTS).items()},
        **member.told(_REST),
        "createdAt": local_time(member.since, MOSCOW),
        "updatedAt": local_time(member.since, MOSCOW),
        "retailId": "1",
    }


def _card(card: Row) -> Row:
    told = {name: card[name] for name in ("id", "number", "state")}
    return {**told, "clientId": card["owner"] or 0}


def _account(number: int, points: Decimal = Decimal(0)) -> Row:
    return {"id": number, "balance": points, "balanceInactive": 0, "state": "active"}


def _history(member: Member, limit: int = 10, drop: int = 0) -> Reply:
    number, moves = member.more["account"], member.moves[::-1][drop : drop + limit]
    history = [{"record": _record(number, move)} for move in moves]
    return Reply({"account": _account(number, member.points), "history": history})


def _record(account: int, move: Move) -> Row:
    return {
        "id": move.id,
        "accountId": account,
        "date": local_time(move.at, MOSCOW),
        "amount": abs(move.points),
        "operType": "credit" if move.points >= 0 else "debit",
        "description": move.text,
    }


application = Loya.application
