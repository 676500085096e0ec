"""Stand-in for iiko: guests of one organisation and the wallet of its bonus programme, iikoCloud API.

Facts: the client ``iikocloudapi`` 1.0.0 (2026-10), made from the vendor's OpenAPI description. That nobody is
an error with the text "There is no user with", and that purchases are ``CloseOrder``, is told by programs
that work with the API. Nothing tells in which order transactions come (here oldest first), nor how long a
page may be (here shorter than what is asked for). It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from contracts.sandbox.fields import BIRTH_DATE, Field, Fields, Row, sex
from contracts.sandbox.server import Call, Reply, bearer, in_base64, local_time
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin, to_be_shown

API_KEY, APP_ID, CLIENT_SECRET = "iiko-sandbox-key", "5c1f0b7e-app", "iiko-sandbox-client-secret"
ORGANIZATION = "7bc05553-4b68-44e8-b7bc-37be63c6d9e9"
WALLET = "01330000-6bec-ac1f-0000-000000000001"
_PROGRAM = "01330000-6bec-ac1f-0000-000000000002"
SETTINGS = {"iiko": {"api_key": API_KEY, "organization": ORGANIZATION, "wallet": WALLET}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PORTAL = {"app_id": APP_ID, "client_secret": CLIENT_SECRET}
"""What belongs to a key of the developer's portal."""
_SECONDS = 3600
_LONGEST_PAGE = 5
_LOYALTY = "POST /1/loyalty/iiko"
_CUSTOMER = f"{_LOYALTY}/customer"
_CRITERIA = ("phone", "email", "id", "cardNumber")
_WHO = "organizationId! customerId!"
_PART = "dateFrom! dateTo! pageNumber! pageSize!"
_TAKEN = "id phone name middleName surName birthday email sex shouldReceivePromoActionsInfo"
_FIELDS: Fields = {
    "phone": "phone",
    "name": "first_name",
    "middleName": "patronymic",
    "email": "email",
    "birthday": Field("birth_date", lambda day: f"{day} 00:00:00.000", BIRTH_DATE.taken),
    "sex": sex(1, 2),
}


class Iiko(Skin):
    """One phone is one guest's; who is new is in no programme yet, and there is one, with one wallet."""

    name = "iiko"
    title = "iiko (guests and a bonus wallet)"
    base = "/api"
    denied = (401, "The token is invalid or has expired")
    not_found = (400, "There is no user with this id")
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS, **_PORTAL)
    routes: ClassVar[Mapping[str, Route]] = {
        "login": Route("POST /1/access_token", json="apiLogin!", open=True),
        "app_login": Route("POST /v2/access_token", json="apiKey! appId! clientSecret!", open=True),
        "info": Route(f"{_CUSTOMER}/info", json=f"organizationId! type! {' '.join(_CRITERIA)}"),
        "create_or_update": Route(f"{_CUSTOMER}/create_or_update", json=f"organizationId! {_TAKEN}"),
        "card_add": Route(f"{_CUSTOMER}/card/add", json=f"{_WHO} cardTrack! cardNumber!"),
        "card_remove": Route(f"{_CUSTOMER}/card/remove", json=f"{_WHO} cardTrack!"),
        "programmes": Route(f"{_LOYALTY}/program", json="organizationId! withoutMarketingCampaigns"),
        "program_add": Route(f"{_CUSTOMER}/program/add", json=f"{_WHO} programId!"),
        "topup": Route(f"{_CUSTOMER}/wallet/topup", json=f"{_WHO} walletId! sum! comment"),
        "transactions": Route(f"{_CUSTOMER}/transactions/by_date", json=f"{_WHO} {_PART}"),
    }
    fields: ClassVar[Fields] = {**_FIELDS, "surName": "last_name"}

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"correlationId": str(uuid.uuid4()), "errorDescription": reason, "error": None}, status)

    # -- tokens ----------------------------------------------------------------------------------------

    def may_call(self, headers: Mapping[str, str]) -> bool:
        # A JWT, of which this server knows the last part.
        return self.tokens.find((bearer(headers) or "").rpartition(".")[2]) is not None

    def login(self, call: Call) -> Reply:
        return self._token(call.body["apiLogin"] == API_KEY)

    def app_login(self, call: Call) -> Reply:
        given = (call.body["apiKey"], call.body["appId"], call.body["clientSecret"])
        return self._token(given == (API_KEY, APP_ID, CLIENT_SECRET))

    def _token(self, right: bool) -> Reply:
        if not right:
            self.refuse(401, "Login is not authorized")
        claims = in_base64({"exp": int(time.time()) + _SECONDS})
        token = f"e30.{claims}.{self.new_token('jwt', '', _SECONDS)}"
        return Reply({"correlationId": str(uuid.uuid4()), "token": token})

    # -- guests and their cards ------------------------------------------------------------------------

    def customer_id(self, member: Member) -> str:
        return self.uid(member.id)

    def joined(self, member: Member) -> None:
        member.more = {"cards": [], "orders": [], "in_programme": True, **member.more}

    def _guest(self, call: Call) -> Member:
        return self.named(call.body["customerId"])

    def _called(self, kind: str, wanted: str | None) -> Member | None:
        return self.shop.first(lambda one: wanted is not None and wanted in self._names(one)[kind])

    def _names(self, member: Member) -> Mapping[str, list[Any]]:
        """What a guest can be asked for by."""
        cards = [card["number"] for card in member.more["cards"]]
        email = (member.email or "").lower()
        return {"phone": [member.phone], "email": [email], "id": [self.uid(member.id)], "cardNumber": cards}

    def info(self, call: Call) -> Reply:
        kind = call.body["type"]
        wanted = call.body.get(kind)
        if kind not in _CRITERIA or not wanted:
            self.refuse(400, "The criterion is not filled in")
        member = self._called(kind, wanted) or self.refuse(400, f"There is no user with {kind} {wanted}")
        wallet = {"id": WALLET, "name": "Бонусы", "type": 1, "balance": member.points}
        told = {
            "id": self.uid(member.id),
            **member.told({**_FIELDS, "surname": "last_name"}),
            "cards": member.more["cards"],
            "walletBalances": [wallet] if member.more["in_programme"] else [],
            "isDeleted": False,
        }
        return Reply({**told, "sex": told["sex"] or 0})

    def create_or_update(self, call: Call) -> Reply:
        kind = "id" if call.body.get("id") else "phone"
        known = self._called(kind, call.body.get(kind))
        if known is None and not call.body.get("phone"):
            self.refuse(400, "Phone, card or id is needed")
        member = known or self.join(more={"in_programme": False})
        given = {name: value for name, value in call.body.items() if value}
        self.edit(call, member, given, "users.update" if known else "users.register")
        return Reply({"id": self.uid(member.id)})

    def card_add(self, call: Call) -> Reply:
        member, track = self._guest(call), call.body["cardTrack"]
        if self.shop.first(lambda one: track in [card["track"] for card in one.more["cards"]]):
            self.refuse(400, "The card is in use")
        card = {"id": self.uid(self.shop.number()), "track": track, "number": call.body["cardNumber"]}
        member.more["cards"].append({**card, "validToDate": None})
        self.changed(call, "users.set_card", member)
        return Reply({})

    def card_remove(self, call: Call) -> Reply:
        cards = self._guest(call).more["cards"]
        cards[:] = [card for card in cards if card["track"] != call.body["cardTrack"]]
        return Reply({})

    # -- the wallet, and the movements in it beside the guest's receipts -------------------------------

    def programmes(self, call: Call) -> Reply:
        told = {"id": _PROGRAM, "name": "Бонусы", "programType": 1, "isActive": True, "walletId": WALLET}
        return Reply({"Programs": [told]})

    def program_add(self, call: Call) -> Reply:
        member = self._guest(call)
        member.more["in_programme"] = True
        return Reply({"userWalletId": self.uid(-member.id), "walletId": WALLET})

    def topup(self, call: Call) -> Reply:
        member, points = self._guest(call), Decimal(call.body["sum"])
        if call.body["walletId"] != WALLET or not member.more["in_programme"] or points <= 0:
            self.refuse(400, "The wallet cannot be refilled")
        comment = call.body.get("comment") or ""
        self.give_points(call, member, points, comment, comment)
        return Reply({})

    def transactions(self, call: Call) -> Reply:
        since, until = (_read(call.body[name]) for name in ("dateFrom", "dateTo"))
        rows = sorted(self._movements(self._guest(call)), key=lambda row: row["whenCreated"])
        told = [
            {**row, "whenCreated": local_time(row["whenCreated"], milliseconds=True), "revision": number}
            for number, row in enumerate(rows)
            if since <= row["whenCreated"] <= until
        ]
        size, page = min(call.body["pageSize"], _LONGEST_PAGE), call.body["pageNumber"]
        part = told[page * size : (page + 1) * size]
        return Reply({"transactions": part, "pageSize": call.body["pageSize"], "pageNumber": page})

    def _movements(self, member: Member) -> Iterator[Row]:
        """What moved points, and the receipts."""
        for move, after in member.history:
            yield {
                "id": self.uid(move.id),
                "whenCreated": move.at,
                "walletId": WALLET,
                "sum": move.points,
                "comment": move.text or None,
                "typeName": "RefillWalletFromApi" if move.points >= 0 else "PayFromWallet",
                "balanceBefore": after - move.points,
                "balanceAfter": after,
            }
        for number, (at, kopecks) in enumerate(member.more["orders"], start=1):
            yield {
                "id": self.uid(-1000 * member.id - number),
                "whenCreated": at,
                "typeName": "CloseOrder",
                "orderNumber": number,
                "orderSum": Decimal(kopecks) / 100,
                "posOrderId": self.uid(-number),
            }


def _read(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


application = Iiko.application
