"""Counterparties of МойСклад: told by UUID; several may have one phone."""

from __future__ import annotations

from contracts.sandbox.fields import BIRTH_DATE, Field, Fields, Row, present, sex
from contracts.sandbox.moysklad.lists import Lists, meta_of
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member

FIELDS: Fields = {
    "legalFirstName": "first_name",
    "legalMiddleName": "patronymic",
    "legalLastName": "last_name",
    "phone": "phone",
    "email": "email",
    "syncId": "key",
    "birthDate": Field("birth_date", lambda day: f"{day} 00:00:00", BIRTH_DATE.taken),
    "sex": sex("MALE", "FEMALE"),
    "discountCardNumber": "card",
}


class Counterparties(Lists):
    """Found, made and written; the same ``syncId`` again makes nobody."""

    not_found = (404, "1021")

    def customer_id(self, member: Member) -> str:
        return self.uid(member.id)

    def counterparties(self, call: Call) -> Reply:
        rows = [self._told(member) for member in self.shop.members.values()]
        keys = {"phone", "email", "syncId", "discountCardNumber", "companyType", "archived"}
        return self.listed(call, "counterparty", rows, keys)

    def counterparty(self, call: Call) -> Reply:
        return Reply(self._told(self.named(call.path["id"])))

    def counterparty_create(self, call: Call) -> Reply:
        key = call.body.get("syncId")
        member = self.shop.first(lambda one: key is not None and one.key == key)
        if member is None:
            member = self.shop.add()
            member.take(call.body, FIELDS)
            self.changed(call, "users.register", member, key)
        return Reply(self._told(member))

    def counterparty_edit(self, call: Call) -> Reply:
        member = self.named(call.path["id"])
        member.take(call.body, FIELDS)
        self.changed(call, "users.set_card" if "discountCardNumber" in call.body else "users.update", member)
        return Reply(self._told(member))

    def _told(self, member: Member) -> Row:
        return {
            **present(member.told(FIELDS)),
            "meta": meta_of("counterparty", self.uid(member.id)),
            "id": self.uid(member.id),
            "companyType": "individual",
            "archived": member.more.get("archived", False),
            "bonusPoints": member.points,
        }
