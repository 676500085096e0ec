"""Guests of iiko and their cards; one phone is one guest's, who is new is in no programme yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contracts.sandbox.fields import BIRTH_DATE, Field, Fields, Row
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin

WALLET = "01330000-6bec-ac1f-0000-000000000001"
_SEXES = {"m": 1, "f": 2}
_FIELDS: Fields = {
    "phone": "phone",
    "name": "first_name",
    "middleName": "patronymic",
    "email": "email",
    "birthday": Field("birth_date", lambda day: f"{day} 00:00:00.000", BIRTH_DATE.taken),
}


class Guests(Skin):
    """Found, made and written."""

    not_found = (400, "There is no user with this id")

    def customer_id(self, member: Member) -> str:
        return self.uid(member.id)

    def joined(self, member: Member) -> None:
        member.more = {"cards": [], "orders": [], "in_programme": True, **member.more}

    def info(self, call: Call) -> Reply:
        kind = call.body["type"]
        wanted = call.body.get(kind)
        tell: Mapping[str, Callable[[Member], list[object]]] = {
            "phone": lambda member: [member.phone],
            "email": lambda member: [(member.email or "").lower()],
            "id": lambda member: [self.uid(member.id)],
            "cardNumber": lambda member: [card["number"] for card in member.more["cards"]],
        }
        if kind not in tell or not wanted:
            self.refuse(400, "The criterion is not filled in")
        reason = f"There is no user with {kind} {wanted}"
        return Reply(self._told(self.only(lambda member: wanted in tell[kind](member), 400, reason)))

    def create_or_update(self, call: Call) -> Reply:
        number, phone = call.body.get("id"), call.body.get("phone")
        by_number = self.shop.first(lambda one: self.uid(one.id) == number)
        by_phone = self.shop.first(lambda one: phone is not None and one.phone == phone)
        known = by_number if number else by_phone
        if known is None and not phone:
            self.refuse(400, "Phone, card or id is needed")
        member = known or self.join(more={"in_programme": False})
        given = {name: value for name, value in call.body.items() if value}
        member.take(given, {**_FIELDS, "surName": "last_name"})
        if "sex" in call.body:
            member.sex = {number: sex for sex, number in _SEXES.items()}.get(call.body["sex"])
        self.changed(call, "users.update" if known else "users.register", member)
        return Reply({"id": self.uid(member.id)})

    def card_add(self, call: Call) -> Reply:
        member, track = self.guest(call), call.body["cardTrack"]
        if self.shop.first(lambda one: track in [card["track"] for card in one.more["cards"]]):
            self.refuse(400, "The card is in use")
        card = {"id": self.uid(self.shop.number()), "track": track, "number": call.body["cardNumber"]}
        member.more["cards"].append({**card, "validToDate": None})
        self.changed(call, "users.set_card", member)
        return Reply({})

    def card_remove(self, call: Call) -> Reply:
        cards = self.guest(call).more["cards"]
        cards[:] = [card for card in cards if card["track"] != call.body["cardTrack"]]
        return Reply({})

    def guest(self, call: Call) -> Member:
        """Whom the request names."""
        return self.named(call.body["customerId"])

    def _told(self, member: Member) -> Row:
        wallet = {"id": WALLET, "name": "Бонусы", "type": 1, "balance": member.points}
        return {
            "id": self.uid(member.id),
            **member.told({**_FIELDS, "surname": "last_name"}),
            "sex": _SEXES.get(member.sex or "", 0),
            "consentStatus": 0,
            "cards": member.more["cards"],
            "walletBalances": [wallet] if member.more["in_programme"] else [],
            "isDeleted": False,
            "whenRegistered": local_time(member.since, milliseconds=True),
        }
