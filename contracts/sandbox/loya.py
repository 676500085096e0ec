"""Stand-in for Loya: clients, cards and bonus accounts, API 1.0.

Facts: the client ``loya-client`` 0.2.23 (2026-10), what it sends and what it makes of answers. Chosen, for it
does not show them: the texts of errors but for the words it looks for, what calls answer whose answer it does
not read, how long a session lasts. It may not know any client.

Effects: ``users.register``, ``users.update`` (a client was written), ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import date, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, Switches, now
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

EMAIL, PASSWORD, API_KEY = "koshelek@example.org", "loya-sandbox-password", "loya-sandbox-key"
PLASTIC = "5510000000017"
PRINTED = "2900"
SETTINGS = {"loya": {"email": EMAIL, "password": PASSWORD, "api_key": API_KEY, "card_prefix": PRINTED}}
"""See ``contracts.sandbox.CONNECTORS``."""
_COOKIE = "PLAY2AUTH_SESS_ID"
_BASE = "/api/1.0"
_SECONDS = 8 * 3600
_MOSCOW = timezone(timedelta(hours=3))
_PAGE = "pager.limit pager.drop sorting.field sorting.order"
_CLIENT = (
    "id accountId segmentId surname name patronymic phone phoneConfirmed email getEmail getSms getPush"
    " preferChannelType birthday locality street login password refusePaperCheck systemParams SystemParams"
    " wallet state"
)
_KEPT = {"surname": "last_name", "name": "first_name", "patronymic": "patronymic", "locality": "city"}
_MORE = ("getSms", "getEmail", "getPush", "preferChannelType", "segmentId", "street", "refusePaperCheck")


class LoyaSwitches(Switches):
    """What a retailer of Loya decides."""

    batch: str = PRINTED
    """Cards whose number begins so have all been printed, in no certain order."""


class Loya(Skin):
    """Cards and accounts have numbers of their own; a card may belong to nobody."""

    name: ClassVar[str] = "loya"
    title: ClassVar[str] = "Loya (clients, cards and bonus accounts)"
    takes: ClassVar[type[Switches]] = LoyaSwitches
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "e-mail": EMAIL,
        "password": PASSWORD,
        "api key": API_KEY,
        "card that nobody has": PLASTIC,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "login": Route(f"POST {_BASE}/login", json="email! password! apikey!", open=True),
        "locations": Route(f"GET {_BASE}/location", "limit drop"),
        "clients": Route(f"GET {_BASE}/client", "limit drop"),
        "clients_by_phone": Route(f"GET {_BASE}/clientbyphone", "phone!"),
        "client": Route(f"GET {_BASE}/client/{{id}}"),
        "client_write": Route(f"POST {_BASE}/client/{{id}}", json=_CLIENT),
        "client_express": Route(
            f"PUT {_BASE}/client/express",
            json="surname! name! patronymic phone! phoneConfirmed email getSms getEmail getPush birthday"
            " segmentId refusePaperCheck preferChannelType state",
        ),
        "account_create": Route(f"PUT {_BASE}/account", json="awardAmount salesAmount burntAmount state!"),
        "account_attach": Route(f"PUT {_BASE}/client/attach/{{client}}/{{account}}"),
        "account": Route(f"GET {_BASE}/account/{{id}}", _PAGE),
        "account_change": Route(
            f"POST {_BASE}/account/{{id}}",
            json="amount! description! operType! partnerId! bonusValiditySettings!",
        ),
        "card": Route(f"GET {_BASE}/card/number/{{number}}"),
        "card_attach": Route(f"PUT {_BASE}/card/attach/{{card}}/{{client}}"),
        "card_status": Route(f"PUT {_BASE}/card/status/{{card}}/{{state}}"),
    }

    def __init__(self, switches: LoyaSwitches) -> None:
        self.batch = switches.batch
        super().__init__(switches)

    def populate(self) -> None:
        self.cards: dict[str, dict[str, Any]] = {}
        super().populate()
        self.put_card(PLASTIC)

    def joined(self, member: Member) -> None:
        member.more.setdefault("account", self.shop.number())

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        name, _, session = headers.get("Cookie", "").partition("=")
        token = session.partition("---")[2]
        if operation.security and (name != _COOKIE or self.tokens.find(token) is None):
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "Требуется авторизация")

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "message": reason}, status)

    def login(self, call: Call) -> Reply:
        if (call.body["email"], call.body["password"], call.body["apikey"]) != (EMAIL, PASSWORD, API_KEY):
            return self.failure(401, "Ошибка: авторизация не пройдена")
        self.ledger.tokens_issued["session"] += 1
        told = {"lastUsedDateTime": f"{now().isoformat()}[UTC]", "cookieMaxAge": _SECONDS}
        readable = base64.b64encode(json.dumps(told).encode()).decode().rstrip("=")
        session = f"{readable}---{self.tokens.issue('session', EMAIL, _SECONDS)}"
        return Reply("login success", headers={"Set-Cookie": f"{_COOKIE}={session}; Path=/; HTTPOnly"})

    def locations(self, call: Call) -> Reply:
        return Reply([{"id": 1, "partnerId": 1, "name": "Shop", "code": "1"}])

    # -- clients ---------------------------------------------------------------------------------------

    def clients(self, call: Call) -> Reply:
        rows = [self._raw(member) for member in self.shop.members.values()]
        limit, drop = int(call.query["limit"] or 10), int(call.query["drop"] or 0)
        return Reply(rows[drop : drop + limit])

    def clients_by_phone(self, call: Call) -> Reply:
        phone = call.query["phone"]
        return Reply([member.id for member in self.shop.find(lambda member: _digits(member) == phone)])

    def client(self, call: Call) -> Reply:
        return Reply(self._raw(self._client(call.path["id"])))

    def client_write(self, call: Call) -> Reply:
        member = self._client(call.path["id"])
        self._set(member, call.body)
        self.record(call, "users.update", customer=str(member.id))
        return Reply(self._raw(member))

    def client_express(self, call: Call) -> Reply:
        member = self.shop.add()
        self._set(member, call.body)
        self.record(call, "users.register", customer=str(member.id))
        return Reply(self._told(member))

    def _client(self, text: str) -> Member:
        member = self.shop.by_id(text)
        return member if member is not None else self.refuse(404, "Клиент не найден")

    @staticmethod
    def _set(member: Member, given: Mapping[str, Any]) -> None:
        for name, attribute in _KEPT.items():
            if name in given:
                setattr(member, attribute, given[name] or None)
        member.phone = f"+{given['phone']}" if given.get("phone") else None
        member.email = given.get("email") or None
        birthday = given.get("birthday")
        member.birth_date = date.fromisoformat(birthday) if birthday else None
        member.more |= {name: given[name] for name in _MORE if name in given}

    @staticmethod
    def _told(member: Member) -> dict[str, Any]:
        return {
            "id": member.id,
            "accountId": member.more.get("account", 0),
            **{name: getattr(member, attribute) or "" for name, attribute in _KEPT.items()},
            "phone": _digits(member),
            "phoneConfirmed": False,
            "email": member.email or "",
            "birthday": member.birth_date.isoformat() if member.birth_date else None,
            **{name: member.more.get(name, False) for name in _MORE if name.startswith(("get", "refuse"))},
            "preferChannelType": member.more.get("preferChannelType", "check"),
            "segmentId": member.more.get("segmentId", 0),
            "street": member.more.get("street", ""),
            "login": "",
            "password": "",
            "state": "active",
            "createdAt": f"{member.since.astimezone(_MOSCOW):%Y-%m-%d %H:%M:%S}",
            "updatedAt": f"{member.since.astimezone(_MOSCOW):%Y-%m-%d %H:%M:%S}",
            "retailId": "1",
        }

    def _raw(self, member: Member) -> dict[str, Any]:
        cards = [card for card in self.cards.values() if card["clientId"] == member.id]
        return {"client": self._told(member), "cards": cards, "details": {"merchantName": "Shop"}}

    # -- cards -----------------------------------------------------------------------------------------

    def put_card(self, number: str, owner: Member | None = None) -> dict[str, Any]:
        """A card of this number, in use where it is somebody's."""
        client, state = (0, "nonactive") if owner is None else (owner.id, "active")
        self.cards[number] = {"id": self.shop.number(), "number": number, "clientId": client, "state": state}
        return self.cards[number]

    def card(self, call: Call) -> Reply:
        number = call.path["number"]
        if self.batch and number.startswith(self.batch) and number not in self.cards:
            self.put_card(number)
        return Reply(self.cards[number]) if number in self.cards else self.failure(404, "Карта не найдена")

    def card_attach(self, call: Call) -> Reply:
        card, member = self._card(call.path["card"]), self._client(call.path["client"])
        card["clientId"] = member.id
        self.record(call, "users.set_card", customer=str(member.id), reference=card["number"])
        return Reply("attached")

    def card_status(self, call: Call) -> Reply:
        card, state = self._card(call.path["card"]), call.path["state"]
        if state not in ("active", "nonactive", "blocked", "archive"):
            self.refuse(400, "Неизвестный статус")
        card["state"] = state
        return Reply("changed")

    def _card(self, text: str) -> dict[str, Any]:
        found = [card for card in self.cards.values() if str(card["id"]) == text]
        return found[0] if found else self.refuse(404, "Карта не найдена")

    # -- accounts --------------------------------------------------------------------------------------

    def account_create(self, call: Call) -> Reply:
        return Reply({"id": self.shop.number(), "balance": 0, "balanceInactive": 0, "state": "active"})

    def account_attach(self, call: Call) -> Reply:
        self._client(call.path["client"]).more["account"] = int(call.path["account"])
        return Reply("attached")

    def account(self, call: Call) -> Reply:
        return self._account(self._owner(call.path["id"]), call.query)

    def account_change(self, call: Call) -> Reply:
        member, given = self._owner(call.path["id"]), call.body
        amount = Decimal(str(given["amount"]))
        if given["operType"] not in ("credit", "debit") or amount <= 0:
            self.refuse(400, "Неверная операция")
        text = given["description"]
        key = text.partition(" ")[0] or None
        self.shop.give(member, amount if given["operType"] == "credit" else -amount, text, key)
        self.record(call, "points.credit", customer=str(member.id), amount=amount, reference=key)
        return self._account(member, {})

    def _owner(self, text: str) -> Member:
        return self.only(lambda member: str(member.more.get("account")) == text, 404, "Счет не найден")

    def _account(self, member: Member, asked: Mapping[str, Any]) -> Reply:
        limit, drop = int(asked.get("pager.limit") or 10), int(asked.get("pager.drop") or 0)
        number = member.more["account"]
        moves = list(reversed(member.moves))[drop : drop + limit]
        account = {"id": number, "balance": member.points, "balanceInactive": 0, "state": "active"}
        return Reply({"account": account, "history": [{"record": _record(number, move)} for move in moves]})


def _digits(member: Member) -> str:
    return (member.phone or "").lstrip("+")


def _record(account: int, move: Move) -> dict[str, Any]:
    return {
        "id": move.id,
        "accountId": account,
        "date": f"{move.at.astimezone(_MOSCOW):%Y-%m-%d %H:%M:%S}",
        "amount": abs(move.points),
        "operType": "credit" if move.points >= 0 else "debit",
        "recType": "manual",
        "description": move.text,
        "bonusEndDate": None,
    }


application = Loya.application
