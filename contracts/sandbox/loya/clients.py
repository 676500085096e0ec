"""Clients of Loya and their cards; one is written as a whole, so what is not sent is no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.sandbox.card_stock import CardStock
from contracts.sandbox.fields import BIRTH_DATE, DIGITS, Fields, Row
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import MOSCOW, Member

_TEXTS: Fields = {
    "surname": "last_name",
    "name": "first_name",
    "patronymic": "patronymic",
    "locality": "city",
    "phone": DIGITS,
    "email": "email",
}
_FIELDS: Fields = {**_TEXTS, "birthday": BIRTH_DATE}
_MORE = {
    "getSms": False,
    "getEmail": False,
    "getPush": False,
    "refusePaperCheck": False,
    "preferChannelType": "check",
    "segmentId": 0,
    "street": "",
}
"""What Loya keeps besides, with what it is for somebody new."""


class Clients(CardStock):
    """Found, made and written; given cards."""

    not_found = (404, "Клиент не найден")
    fresh, in_use = "nonactive", "active"

    def joined(self, member: Member) -> None:
        member.more = {"account": self.shop.number(), **_MORE, **member.more}

    def clients(self, call: Call) -> Reply:
        rows = [self._raw(member) for member in self.shop.members.values()]
        limit, drop = int(call.query["limit"] or 10), int(call.query["drop"] or 0)
        return Reply(rows[drop : drop + limit])

    def clients_by_phone(self, call: Call) -> Reply:
        phone = call.query["phone"]
        return Reply([member.id for member in self.shop.find(lambda member: member.digits == phone)])

    def client(self, call: Call) -> Reply:
        return Reply(self._raw(self.named(call.path["id"])))

    def client_write(self, call: Call) -> Reply:
        member = self.named(call.path["id"])
        _write(member, call.body)
        self.changed(call, "users.update", member)
        return Reply(self._raw(member))

    def client_express(self, call: Call) -> Reply:
        member = self.shop.add(more={"account": 0, **_MORE})
        _write(member, call.body)
        self.changed(call, "users.register", member)
        return Reply(_client(member))

    def _raw(self, member: Member) -> Row:
        cards = [_card(card) for card in self.cards_of(member)]
        return {"client": _client(member), "cards": cards, "details": {"merchantName": "Shop"}}

    # -- cards -----------------------------------------------------------------------------------------

    def card(self, call: Call) -> Reply:
        card = self.card_numbered(call.path["number"])
        return Reply(_card(card)) if card else self.failure(404, "Карта не найдена")

    def card_attach(self, call: Call) -> Reply:
        card, member = self._card(call.path["card"]), self.named(call.path["client"])
        card["owner"] = member.id
        self.changed(call, "users.set_card", member, card["number"])
        return Reply("attached")

    def card_status(self, call: Call) -> Reply:
        card, state = self._card(call.path["card"]), call.path["state"]
        if state not in ("active", "nonactive", "blocked", "archive"):
            self.refuse(400, "Неизвестный статус")
        card["state"] = state
        return Reply("changed")

    def _card(self, text: str) -> Row:
        found = [card for card in self.cards.values() if str(card["id"]) == text]
        return found[0] if found else self.refuse(404, "Карта не найдена")


def _write(member: Member, given: Mapping[str, Any]) -> None:
    """A client as a whole: an empty or missing text is none."""
    member.take({name: given.get(name) or None for name in _FIELDS}, _FIELDS)
    member.more |= {name: given[name] for name in _MORE if name in given}


def _client(member: Member) -> Row:
    return {
        "id": member.id,
        "accountId": member.more["account"],
        **{name: value or "" for name, value in member.told(_TEXTS).items()},
        **member.told({"birthday": BIRTH_DATE}),
        "phoneConfirmed": False,
        **{name: member.more[name] for name in _MORE},
        "login": "",
        "password": "",
        "state": "active",
        "createdAt": local_time(member.since, MOSCOW),
        "updatedAt": local_time(member.since, MOSCOW),
        "retailId": "1",
    }


def _card(card: Row) -> Row:
    kept = {name: card[name] for name in ("id", "number", "state")}
    return {**kept, "clientId": card["owner"] or 0}
