"""Stand-in for iiko: guests of one organisation and the wallet of its bonus programme, iikoCloud API.

Facts: the client ``iikocloudapi`` 1.0.0 (2026-10), made from the vendor's OpenAPI description. That nobody is
an error with the text "There is no user with", and that purchases are ``CloseOrder``, is told by programs
that work with the API. Nothing tells in which order transactions come (here oldest first), nor how long a
page may be (here shorter than what is asked for). It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, bearer
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin

API_KEY, APP_ID, CLIENT_SECRET = "iiko-sandbox-key", "5c1f0b7e-app", "iiko-sandbox-client-secret"
ORGANIZATION, WALLET = "7bc05553-4b68-44e8-b7bc-37be63c6d9e9", "01330000-6bec-ac1f-0000-000000000001"
SETTINGS = {"iiko": {"api_key": API_KEY, "organization": ORGANIZATION, "wallet": WALLET}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PROGRAM = "01330000-6bec-ac1f-0000-000000000002"
_BASE = "/api/1/loyalty/iiko"
_SECONDS, _LONGEST_PAGE = 3600, 5
_FIELDS = "id phone name middleName surName birthday email sex shouldReceivePromoActionsInfo"
_PLAIN = {
    "phone": "phone",
    "name": "first_name",
    "middleName": "patronymic",
    "surName": "last_name",
    "email": "email",
}


def uid(number: int) -> str:
    """The identifier of what has this number in the shop."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"iiko-sandbox:{number}"))


class Iiko(Skin):
    """Guests are told by UUID; one phone is one guest's. Who is new is in no programme yet."""

    name: ClassVar[str] = "iiko"
    title: ClassVar[str] = "iiko (guests and a bonus wallet)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "API login, or API key": API_KEY,
        "application id and client secret": f"{APP_ID}, {CLIENT_SECRET}",
        "organisation": ORGANIZATION,
        "wallet": WALLET,
        "guests": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "login": Route("POST /api/1/access_token", json="apiLogin!", open=True),
        "app_login": Route("POST /api/v2/access_token", json="apiKey! appId! clientSecret!", open=True),
        "info": Route(f"POST {_BASE}/customer/info", json="organizationId! type! phone cardNumber email id"),
        "create_or_update": Route(
            f"POST {_BASE}/customer/create_or_update", json=f"organizationId! {_FIELDS}"
        ),
        "card_add": Route(
            f"POST {_BASE}/customer/card/add", json="customerId! cardTrack! cardNumber! organizationId!"
        ),
        "card_remove": Route(
            f"POST {_BASE}/customer/card/remove", json="customerId! cardTrack! organizationId!"
        ),
        "programmes": Route(f"POST {_BASE}/program", json="organizationId! withoutMarketingCampaigns"),
        "program_add": Route(
            f"POST {_BASE}/customer/program/add", json="customerId! programId! organizationId!"
        ),
        "topup": Route(
            f"POST {_BASE}/customer/wallet/topup", json="customerId! walletId! sum! comment organizationId!"
        ),
        "transactions": Route(
            f"POST {_BASE}/customer/transactions/by_date",
            json="customerId! dateFrom! dateTo! pageNumber! pageSize! organizationId!",
        ),
    }

    # -- who asks --------------------------------------------------------------------------------------

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        # A JWT, of which this server knows the last part.
        known = self.tokens.find((bearer(headers) or "").rpartition(".")[2])
        if operation.security and known is None:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "The token is invalid or has expired")

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"correlationId": str(uuid.uuid4()), "errorDescription": reason, "error": None}, status)

    def login(self, call: Call) -> Reply:
        return self._token(call.body["apiLogin"] == API_KEY)

    def app_login(self, call: Call) -> Reply:
        given = (call.body["apiKey"], call.body["appId"], call.body["clientSecret"])
        return self._token(given == (API_KEY, APP_ID, CLIENT_SECRET))

    def _token(self, right: bool) -> Reply:
        if not right:
            self.refuse(401, "Login is not authorized")
        self.ledger.tokens_issued["jwt"] += 1
        claims = json.dumps({"exp": int(time.time()) + _SECONDS}).encode()
        middle = base64.urlsafe_b64encode(claims).decode().rstrip("=")
        token = f"e30.{middle}.{self.tokens.issue('jwt', '', _SECONDS)}"
        return Reply({"correlationId": str(uuid.uuid4()), "token": token})

    # -- guests ----------------------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        member.more.setdefault("cards", [])
        member.more.setdefault("orders", [])
        member.more.setdefault("in_programme", True)

    def info(self, call: Call) -> Reply:
        kind = call.body["type"]
        wanted = call.body.get(kind)
        tell: Mapping[str, Callable[[Member], list[object]]] = {
            "phone": lambda member: [member.phone],
            "email": lambda member: [(member.email or "").lower()],
            "id": lambda member: [uid(member.id)],
            "cardNumber": lambda member: [card["number"] for card in member.more["cards"]],
        }
        if kind not in tell or not wanted:
            self.refuse(400, "The criterion is not filled in")
        found = self.shop.find(lambda member: wanted in tell[kind](member))
        return (
            Reply(self._told(found[0]))
            if found
            else self.failure(400, f"There is no user with {kind} {wanted}")
        )

    def create_or_update(self, call: Call) -> Reply:
        given = call.body
        found = self.shop.find(
            lambda member: (
                given["id"] == uid(member.id) if "id" in given else member.phone == given.get("phone")
            )
        )
        if not found and not given.get("phone"):
            self.refuse(400, "Phone, card or id is needed")
        member = found[0] if found else self.shop.add(more={"in_programme": False})
        self.joined(member)
        for name, attribute in _PLAIN.items():
            if given.get(name):
                setattr(member, attribute, given[name])
        if "birthday" in given:
            member.birth_date = date.fromisoformat(given["birthday"][:10])
        if "sex" in given:
            member.sex = {1: "m", 2: "f"}.get(given["sex"])
        self.record(call, "users.update" if found else "users.register", customer=uid(member.id))
        return Reply({"id": uid(member.id)})

    def card_add(self, call: Call) -> Reply:
        member, track = self._guest(call), call.body["cardTrack"]
        if self.shop.find(lambda one: track in [card["track"] for card in one.more["cards"]]):
            self.refuse(400, "The card is in use")
        card = {"id": uid(self.shop.number()), "track": track, "number": call.body["cardNumber"]}
        member.more["cards"].append({**card, "validToDate": None})
        self.record(call, "users.set_card", customer=uid(member.id))
        return Reply({})

    def card_remove(self, call: Call) -> Reply:
        cards = self._guest(call).more["cards"]
        cards[:] = [card for card in cards if card["track"] != call.body["cardTrack"]]
        return Reply({})

    def _guest(self, call: Call) -> Member:
        wanted = call.body["customerId"]
        return self.only(lambda member: uid(member.id) == wanted, 400, f"There is no user with id {wanted}")

    @staticmethod
    def _told(member: Member) -> dict[str, Any]:
        wallet = {"id": WALLET, "name": "Бонусы", "type": 1, "balance": member.points}
        return {
            "id": uid(member.id),
            "name": member.first_name,
            "surname": member.last_name,
            "middleName": member.patronymic,
            "phone": member.phone,
            "email": member.email,
            "birthday": f"{member.birth_date} 00:00:00.000" if member.birth_date else None,
            "sex": {"m": 1, "f": 2}.get(member.sex or "", 0),
            "consentStatus": 0,
            "cards": member.more["cards"],
            "walletBalances": [wallet] if member.more["in_programme"] else [],
            "isDeleted": False,
            "whenRegistered": _written(member.since),
        }

    # -- wallets ---------------------------------------------------------------------------------------

    def programmes(self, call: Call) -> Reply:
        told = {"id": _PROGRAM, "name": "Бонусы", "programType": 1, "isActive": True, "walletId": WALLET}
        return Reply({"Programs": [told]})

    def program_add(self, call: Call) -> Reply:
        member = self._guest(call)
        member.more["in_programme"] = True
        return Reply({"userWalletId": uid(-member.id), "walletId": WALLET})

    def topup(self, call: Call) -> Reply:
        member, points = self._guest(call), Decimal(str(call.body["sum"]))
        if call.body["walletId"] != WALLET or not member.more["in_programme"] or points <= 0:
            self.refuse(400, "The wallet cannot be refilled")
        comment = call.body.get("comment") or ""
        self.shop.give(member, points, comment)
        self.record(call, "points.credit", customer=uid(member.id), amount=points, reference=comment)
        return Reply({})

    def transactions(self, call: Call) -> Reply:
        member, rows = self._guest(call), []
        before = Decimal(0)
        for move in member.moves:
            row = {"id": uid(move.id), "walletId": WALLET, "sum": move.points, "comment": move.text or None}
            after = before + move.points
            kind = "RefillWalletFromApi" if move.points >= 0 else "PayFromWallet"
            rows.append((move.at, {**row, "typeName": kind, "balanceBefore": before, "balanceAfter": after}))
            before = after
        for number, (at, kopecks) in enumerate(member.more["orders"], start=1):
            row = {"id": uid(-1000 * member.id - number), "typeName": "CloseOrder", "orderNumber": number}
            rows.append((at, {**row, "orderSum": Decimal(kopecks) / 100, "posOrderId": uid(-number)}))
        rows.sort(key=lambda pair: pair[0])
        since, until = (_read(call.body[name]) for name in ("dateFrom", "dateTo"))
        told = [
            {**row, "whenCreated": _written(at), "revision": number, "isIgnored": False}
            for number, (at, row) in enumerate(rows)
            if since <= at <= until
        ]
        size, page = min(call.body["pageSize"], _LONGEST_PAGE), call.body["pageNumber"]
        part = told[page * size : (page + 1) * size]
        return Reply({"transactions": part, "pageSize": call.body["pageSize"], "pageNumber": page})


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _read(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


application = Iiko.application
