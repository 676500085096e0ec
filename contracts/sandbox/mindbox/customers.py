"""Customers of Mindbox: told by its number, a card, a phone or an e-mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.sandbox.card_stock import CardStock
from contracts.sandbox.fields import BIRTH_DATE, DIGITS, Fields, present, sex
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member

_FIELDS: Fields = {
    "firstName": "first_name",
    "middleName": "patronymic",
    "lastName": "last_name",
    "email": "email",
    "mobilePhone": DIGITS,
    "birthDate": BIRTH_DATE,
    "sex": sex("male", "female"),
}


class Customers(CardStock):
    """Found, made and written; what an answer is about is told within a 200."""

    def get_customer(self, call: Call) -> Reply:
        member = self.known(call)
        only = present(member.told(_FIELDS))
        if member.phone:
            only["mobilePhone"] = int(member.digits)
        if member.city:
            only["area"] = {"name": member.city}
        return well(customer={"processingStatus": "Found", "ids": {"mindboxId": member.id}, **only})

    def register_customer(self, call: Call) -> Reply:
        given = call.body["customer"]
        phone = str(given.get("mobilePhone") or "")
        if not phone or self.shop.first(lambda one: one.digits == phone):
            return invalid("/customer/mobilePhone")
        member = self.shop.add()
        member.take(given, _FIELDS)
        self.changed(call, "users.register", member)
        return well()

    def edit_customer(self, call: Call) -> Reply:
        member = self.known(call)
        member.take(call.body["customer"], _FIELDS)
        self.changed(call, "users.update", member)
        return well(customer={"processingStatus": "Changed"})

    def subscribe_customer(self, call: Call) -> Reply:
        member = self.known(call)
        for one in call.body["customer"]["subscriptions"]:
            member.more[one["pointOfContact"]] = one["isSubscribed"]
        self.changed(call, "users.set_consents", member)
        return well()

    def known(self, call: Call) -> Member:
        """Whom the request is about; where that is nobody, the call is over."""
        member = self.who(call.body["customer"])
        if member is None:
            raise Refused(well(customer={"processingStatus": "NotFound"}))
        return member

    def who(self, told: Mapping[str, Any]) -> Member | None:
        """Whom a customer in a request is: by Mindbox's number, a card, a phone or an e-mail."""
        number = told.get("ids", {}).get("mindboxId")
        card = told.get("discountCard", {}).get("ids", {}).get("number")
        if number is not None:
            return self.shop.by_id(number)
        if card is not None:
            return self.shop.by_id(self.cards.get(str(card), {}).get("owner"))
        phone, email = str(told.get("mobilePhone", "")).lstrip("+"), told.get("email")
        found = self.shop.first(lambda member: phone != "" and member.digits == phone)
        return found or self.shop.first(lambda member: email is not None and member.email == email)


def well(**told: Any) -> Reply:
    """What was asked for could be done, or it is told why not."""
    return Reply({"status": "Success", **told})


def invalid(location: str) -> Reply:
    """Something in the request, there, cannot be."""
    messages = [{"message": "Некорректное значение", "location": location}]
    return Reply({"status": "ValidationError", "validationMessages": messages})
