"""Stand-in for Mindbox: customers, discount cards and points, API v3, as one client may have set it up.

Facts: the vendor's description (developers.mindbox.ru, 2026-05), its modules ``mindbox-cloud/php-sdk``
(2026-04) and ``mindbox-cloud/bitrix-loyalty`` (2025-08), the client ``mindbox-sdk`` 1.0.3. In which order
movements come is not told, so here the newest is first. It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_consents``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, Switches
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

ENDPOINT, SECRET_KEY = "shop.Koshelek", "mindbox-sandbox-key"
BALANCE = "Main"
PRINTED = "2900"
SETTINGS = {
    "mindbox": {"endpoint": ENDPOINT, "secret_key": SECRET_KEY, "balance": BALANCE, "card_prefix": PRINTED}
}
"""See ``contracts.sandbox.CONNECTORS``."""
_NAMES = {"firstName": "first_name", "middleName": "patronymic", "lastName": "last_name", "email": "email"}


def _route(operation: str, members: str) -> Route:
    return Route(f"POST /v3/operations/sync?operation=Koshelek.{operation}", "endpointId!", json=members)


class MindboxSwitches(Switches):
    """What the client has put into Mindbox."""

    batch: str = PRINTED
    """Cards whose number begins so are all there and not issued."""


class Mindbox(Skin):
    """A customer is told by the number that Mindbox gives; a card belongs to one customer or to nobody."""

    name: ClassVar[str] = "mindbox"
    title: ClassVar[str] = "Mindbox (customers, cards and points)"
    takes: ClassVar[type[Switches]] = MindboxSwitches
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "endpointId": ENDPOINT,
        "secret key": SECRET_KEY,
        "balance": BALANCE,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "get_customer": _route("GetCustomer", "customer!"),
        "register_customer": _route("RegisterCustomer", "customer!"),
        "edit_customer": _route("EditCustomer", "customer!"),
        "subscribe_customer": _route("SubscribeCustomer", "customer!"),
        "get_cards": _route("GetCustomerDiscountCards", "customer!"),
        "get_card": _route("GetDiscountCard", "discountCard!"),
        "bind_card": _route("BindDiscountCard", "customer! discountCard!"),
        "get_points": _route("GetCustomerPoints", "customer!"),
        "get_history": _route("GetCustomerBalanceHistory", "customer! page!"),
        "change_balance": _route("ChangeCustomerBalance", "customer! balanceChanges!"),
    }

    def __init__(self, switches: MindboxSwitches) -> None:
        self.batch = switches.batch
        super().__init__(switches)

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        told = headers.get("Authorization")
        if told not in (f"SecretKey {SECRET_KEY}", f'Mindbox secretKey="{SECRET_KEY}"'):
            raise Refused(self.failure(403 if told else 401, "the secret key"))

    def unauthorized(self) -> Reply:
        return self.failure(403, "the secret key")

    def failure(self, status: int, reason: str) -> Reply:
        kind = "InternalServerError" if status >= 500 else "ProtocolError"
        return Reply({"status": kind, "errorMessage": reason, "httpStatusCode": status}, status)

    def populate(self) -> None:
        self.cards: dict[str, dict[str, Any]] = {}
        super().populate()

    # -- customers -------------------------------------------------------------------------------------

    def get_customer(self, call: Call) -> Reply:
        return self._about(self._who(call.body["customer"]))

    def register_customer(self, call: Call) -> Reply:
        given = call.body["customer"]
        phone = given.get("mobilePhone")
        if not phone or self.shop.find(lambda member: _digits(member) == str(phone)):
            return _invalid("/customer/mobilePhone")
        member = self.shop.add()
        self._set(member, given)
        self.record(call, "users.register", customer=str(member.id))
        return _well()

    def edit_customer(self, call: Call) -> Reply:
        member = self._who(call.body["customer"])
        if member is None:
            return self._about(None)
        self._set(member, call.body["customer"])
        self.record(call, "users.update", customer=str(member.id))
        return _well(customer={"processingStatus": "Changed"})

    def subscribe_customer(self, call: Call) -> Reply:
        member = self._who(call.body["customer"])
        if member is None:
            return self._about(None)
        for one in call.body["customer"]["subscriptions"]:
            member.more[one["pointOfContact"]] = one["isSubscribed"]
        self.record(call, "users.set_consents", customer=str(member.id))
        return _well()

    def _who(self, told: Mapping[str, Any]) -> Member | None:
        """Whom a customer in a request is: by Mindbox's number, a card, a phone or an e-mail."""
        number = told.get("ids", {}).get("mindboxId")
        card = told.get("discountCard", {}).get("ids", {}).get("number")
        if number is not None:
            return self.shop.by_id(number)
        if card is not None:
            return self.shop.by_id(self.cards.get(str(card), {}).get("owner"))
        phone, email = str(told.get("mobilePhone", "")).lstrip("+"), told.get("email")
        found = self.shop.find(lambda member: phone != "" and _digits(member) == phone)
        found = found or self.shop.find(lambda member: email is not None and member.email == email)
        return found[0] if found else None

    @staticmethod
    def _about(member: Member | None) -> Reply:
        if member is None:
            return _well(customer={"processingStatus": "NotFound"})
        told = {
            **member.told(_NAMES),
            "mobilePhone": int(_digits(member)) if member.phone else None,
            "birthDate": member.birth_date.isoformat() if member.birth_date else None,
            "sex": {"m": "male", "f": "female"}.get(member.sex or ""),
            "area": {"name": member.city} if member.city else None,
        }
        only = {name: value for name, value in told.items() if value is not None}
        return _well(customer={"processingStatus": "Found", "ids": {"mindboxId": member.id}, **only})

    @staticmethod
    def _set(member: Member, given: Mapping[str, Any]) -> None:
        member.take(given, {**_NAMES, "birthDate": "birth_date"})
        if "mobilePhone" in given:
            member.phone = f"+{given['mobilePhone']}"

    # -- cards -----------------------------------------------------------------------------------------

    def put_card(self, number: str, owner: Member | None = None) -> dict[str, Any]:
        """A card of this number, in use where it is somebody's."""
        state = "NotIssued" if owner is None else "Activated"
        self.cards[number] = {"number": number, "owner": owner and owner.id, "state": state}
        return self.cards[number]

    def get_cards(self, call: Call) -> Reply:
        member = self._who(call.body["customer"])
        own = [card for card in self.cards.values() if member is not None and card["owner"] == member.id]
        return _well(discountCards=[_card(card) for card in own])

    def get_card(self, call: Call) -> Reply:
        card = self._numbered(call)
        if card is None:
            return _well(discountCard={"processingStatus": "NotFound"})
        return _well(discountCard={"processingStatus": "Found", **_card(card)})

    def bind_card(self, call: Call) -> Reply:
        member, card = self._who(call.body["customer"]), self._numbered(call)
        if member is None:
            return _well(discountCard={"processingStatus": "NotProcessed"})
        if card is None:
            return _well(discountCard={"processingStatus": "NotFound"})
        if card["owner"] is not None:
            whose = "Current" if card["owner"] == member.id else "Another"
            return _well(discountCard={"processingStatus": f"AlreadyBoundTo{whose}Customer"})
        card.update(owner=member.id, state="Activated")
        self.record(call, "users.set_card", customer=str(member.id), reference=card["number"])
        return _well(discountCard={"processingStatus": "Bound"})

    def _numbered(self, call: Call) -> dict[str, Any] | None:
        number = str(call.body["discountCard"]["ids"]["number"])
        if self.batch and number.startswith(self.batch) and number not in self.cards:
            self.put_card(number)
        return self.cards.get(number)

    # -- points ----------------------------------------------------------------------------------------

    def get_points(self, call: Call) -> Reply:
        member = self._who(call.body["customer"])
        if member is None:
            return self._about(None)
        told = {"total": member.points, "available": member.points, "blocked": 0, "systemName": BALANCE}
        return _well(balances=[told])

    def get_history(self, call: Call) -> Reply:
        member, page = self._who(call.body["customer"]), call.body["page"]
        if member is None:
            return self._about(None)
        begin = (page["pageNumber"] - 1) * page["itemsPerPage"]
        part = member.moves[::-1][begin : begin + page["itemsPerPage"]]
        return _well(customerActions=[_action(move) for move in part], customerActionsCount=len(member.moves))

    def change_balance(self, call: Call) -> Reply:
        member = self._who(call.body["customer"])
        if member is None:
            return _invalid("/customer")
        for change in call.body["balanceChanges"]:
            amount, comment = Decimal(str(change["changeAmount"])), change.get("comment", "")
            key = comment.partition(" ")[0] or None
            self.shop.give(member, amount, comment, key)
            self.record(call, "points.credit", customer=str(member.id), amount=amount, reference=key)
        return _well()


def _digits(member: Member) -> str:
    return (member.phone or "").lstrip("+")


def _well(**told: Any) -> Reply:
    return Reply({"status": "Success", **told})


def _invalid(location: str) -> Reply:
    messages = [{"message": "Некорректное значение", "location": location}]
    return Reply({"status": "ValidationError", "validationMessages": messages})


def _card(card: Mapping[str, Any]) -> dict[str, Any]:
    return {"ids": {"number": card["number"]}, "status": {"ids": {"systemName": card["state"]}}}


def _action(move: Move) -> dict[str, Any]:
    return {
        "ids": {"mindboxId": move.id},
        "dateTimeUtc": f"{move.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3],
        "customerBalanceChanges": [
            {
                "changeAmount": move.points,
                "comment": move.text,
                "isAvailable": True,
                "balanceType": {"name": BALANCE},
                "balanceChangeKind": {"systemName": "Custom"},
            }
        ],
    }


application = Mindbox.application
