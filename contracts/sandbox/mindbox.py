"""Stand-in for Mindbox: customers, discount cards and points, API v3, as one client may have set it up.

Facts: the vendor's description (developers.mindbox.ru, 2026-05), its modules ``mindbox-cloud/php-sdk``
(2026-04) and ``mindbox-cloud/bitrix-loyalty`` (2025-08), the client ``mindbox-sdk`` 1.0.3. In which order
movements come is not told, so here the newest is first. It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_consents``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.card_stock import PRINTED, CardStock
from contracts.sandbox.fields import BIRTH_DATE, DIGITS, Field, Fields, Row, alone_in_object, present, sex
from contracts.sandbox.server import Call, Refused, Reply, local_time
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, to_be_shown

ENDPOINT, SECRET_KEY = "shop.Koshelek", "mindbox-sandbox-key"
BALANCE = "Main"
_KEYS = {"endpoint": ENDPOINT, "secret_key": SECRET_KEY}
SETTINGS = {"mindbox": {**_KEYS, "balance": BALANCE, "card_prefix": PRINTED}}
"""See ``contracts.sandbox.CONNECTORS``."""


def _route(operation: str, members: str) -> Route:
    return Route(f"POST /v3/operations/sync?operation=Koshelek.{operation}", "endpointId!", json=members)


class Mindbox(CardStock):
    """Operations as one client has set them up; what an answer is about is told within a 200."""

    name = "mindbox"
    title = "Mindbox (customers, cards and points)"
    denied = (403, "the secret key")
    fresh, in_use = "NotIssued", "Activated"
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
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
    fields: ClassVar[Fields] = {
        "firstName": "first_name",
        "middleName": "patronymic",
        "lastName": "last_name",
        "email": "email",
        "mobilePhone": Field("phone", lambda phone: int(phone.lstrip("+")), DIGITS.taken),
        "birthDate": BIRTH_DATE,
        "sex": sex("male", "female"),
    }

    def may_call(self, headers: Mapping[str, str]) -> bool:
        known = (f"SecretKey {SECRET_KEY}", f'Mindbox secretKey="{SECRET_KEY}"')
        return headers.get("Authorization") in known

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if "Authorization" not in headers:
            raise Refused(self.failure(401, "the secret key"))
        super().authorize(operation, headers)

    def failure(self, status: int, reason: str) -> Reply:
        kind = "InternalServerError" if status >= 500 else "ProtocolError"
        return Reply({"status": kind, "errorMessage": reason, "httpStatusCode": status}, status)

    # -- customers: told by Mindbox's number, a card, a phone or an e-mail -----------------------------

    def _who(self, call: Call) -> Member | None:
        told = call.body["customer"]
        number = told.get("ids", {}).get("mindboxId")
        card = told.get("discountCard", {}).get("ids", {}).get("number")
        if number is not None:
            return self.shop.by_id(number)
        if card is not None:
            return self.shop.by_id(self.cards.get(str(card), {}).get("owner"))
        phone, email = str(told.get("mobilePhone", "")).lstrip("+"), told.get("email")
        found = self.shop.first(lambda member: phone != "" and member.digits == phone)
        return found or self.shop.first(lambda member: email is not None and member.email == email)

    def _known(self, call: Call) -> Member:
        """Whom the request is about; where that is nobody, the call is over."""
        member = self._who(call)
        if member is None:
            raise Refused(_well(customer={"processingStatus": "NotFound"}))
        return member

    def get_customer(self, call: Call) -> Reply:
        member = self._known(call)
        told = present(member.told({**self.fields, "area": alone_in_object("name", "city")}))
        return _well(customer={"processingStatus": "Found", "ids": {"mindboxId": member.id}, **told})

    def register_customer(self, call: Call) -> Reply:
        given = call.body["customer"]
        phone = str(given.get("mobilePhone") or "")
        if not phone or self.shop.first(lambda one: one.digits == phone):
            return _invalid("/customer/mobilePhone")
        self.register(call, given)
        return _well()

    def edit_customer(self, call: Call) -> Reply:
        self.edit(call, self._known(call), call.body["customer"])
        return _well(customer={"processingStatus": "Changed"})

    def subscribe_customer(self, call: Call) -> Reply:
        member = self._known(call)
        for one in call.body["customer"]["subscriptions"]:
            member.more[one["pointOfContact"]] = one["isSubscribed"]
        self.changed(call, "users.set_consents", member)
        return _well()

    # -- discount cards: a number is one customer's or nobody's ----------------------------------------

    def get_cards(self, call: Call) -> Reply:
        member = self._who(call)
        return _well(discountCards=[_card(card) for card in self.cards_of(member)] if member else [])

    def get_card(self, call: Call) -> Reply:
        card = self._asked_card(call)
        return _processed("Found", **_card(card)) if card else _processed("NotFound")

    def bind_card(self, call: Call) -> Reply:
        member, card = self._who(call), self._asked_card(call)
        if member is None:
            return _processed("NotProcessed")
        if card is None:
            return _processed("NotFound")
        if card["owner"] is not None:
            whose = "Current" if card["owner"] == member.id else "Another"
            return _processed(f"AlreadyBoundTo{whose}Customer")
        card.update(owner=member.id, state=self.in_use)
        self.changed(call, "users.set_card", member, card["number"])
        return _processed("Bound")

    def _asked_card(self, call: Call) -> Row | None:
        return self.card_numbered(str(call.body["discountCard"]["ids"]["number"]))

    # -- points, on one balance ------------------------------------------------------------------------

    def get_points(self, call: Call) -> Reply:
        points = self._known(call).points
        return _well(balances=[{"total": points, "available": points, "blocked": 0, "systemName": BALANCE}])

    def get_history(self, call: Call) -> Reply:
        moves, page = self._known(call).moves, call.body["page"]
        begin = (page["pageNumber"] - 1) * page["itemsPerPage"]
        part = moves[::-1][begin : begin + page["itemsPerPage"]]
        return _well(customerActions=[_action(move) for move in part], customerActionsCount=len(moves))

    def change_balance(self, call: Call) -> Reply:
        member = self._who(call)
        if member is None:
            return _invalid("/customer")
        for change in call.body["balanceChanges"]:
            comment = change.get("comment", "")
            key = comment.partition(" ")[0] or None
            self.give_points(call, member, Decimal(str(change["changeAmount"])), comment, key)
        return _well()


def _well(**told: Any) -> Reply:
    """What was asked for could be done, or it is told why not."""
    return Reply({"status": "Success", **told})


def _processed(how: str, **told: Any) -> Reply:
    return _well(discountCard={"processingStatus": how, **told})


def _invalid(location: str) -> Reply:
    """Something in the request, there, cannot be."""
    messages = [{"message": "Некорректное значение", "location": location}]
    return Reply({"status": "ValidationError", "validationMessages": messages})


def _card(card: Row) -> Row:
    return {"ids": {"number": card["number"]}, "status": {"ids": {"systemName": card["state"]}}}


def _action(move: Move) -> Row:
    change = {
        "changeAmount": move.points,
        "comment": move.text,
        "isAvailable": True,
        "balanceType": {"name": BALANCE},
        "balanceChangeKind": {"systemName": "Custom"},
    }
    when = local_time(move.at, milliseconds=True)
    return {"ids": {"mindboxId": move.id}, "dateTimeUtc": when, "customerBalanceChanges": [change]}


application = Mindbox.application
