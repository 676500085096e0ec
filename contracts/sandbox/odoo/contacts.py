"""Contacts of Odoo (``res.partner``): told by number; a name is one text, surname first."""

from __future__ import annotations

from contracts.sandbox.fields import BIRTH_DATE as ISO_DATE
from contracts.sandbox.fields import Fields, Row
from contracts.sandbox.odoo.records import Records
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member

BIRTH_DATE = "x_birth_date"
"""A field that a shop has added to its contacts; Odoo itself has none."""
_FIELDS: Fields = {
    "phone": "phone",
    "email": "email",
    "city": "city",
    "barcode": "card",
    BIRTH_DATE: ISO_DATE,
}


class Contacts(Records):
    """Found, made and written."""

    def contacts(self, call: Call) -> Reply:
        return self.search(call, [self.contact(member) for member in self.shop.members.values()])

    def contact_create(self, call: Call) -> Reply:
        made = []
        for values in call.body["vals_list"]:
            member = self.shop.add()
            self._write(member, values)
            self.changed(call, "users.register", member)
            made.append(member.id)
        return Reply(made)

    def contact_write(self, call: Call) -> Reply:
        values = call.body["vals"]
        for number in call.body["ids"]:
            member = self.shop.by_id(number) or self.missing("res.partner", number)
            self._write(member, values)
            self.changed(call, "users.set_card" if "barcode" in values else "users.update", member)
        return Reply(True)

    def _write(self, member: Member, values: Row) -> None:
        if unknown := set(values) - {*_FIELDS, "name"}:
            text = f"Invalid field {unknown.pop()!r} on model 'res.partner'"
            self.raise_error("builtins.ValueError", text)
        barcode = values.get("barcode")
        if barcode and self.shop.first(lambda one: one is not member and one.more.get("card") == barcode):
            self.raise_error("odoo.exceptions.ValidationError", "Another partner already has this barcode")
        member.take({name: value or None for name, value in values.items()}, _FIELDS)
        if "name" in values:
            words = [*str(values["name"]).split(" ", 2), None, None, None]
            member.last_name, member.first_name, member.patronymic = words[:3]

    @staticmethod
    def contact(member: Member) -> Row:
        """A customer as Odoo's record; what is not known is ``False``."""
        return {
            "id": member.id,
            "name": member.full_name("last_name", "first_name", "patronymic") or False,
            **{name: value or False for name, value in member.told(_FIELDS).items()},
            # Odoo 18 reads the mobile number first; Odoo 19 has none.
            "phone_sanitized": member.more.get("mobile") or member.phone or False,
            "email_normalized": (member.email or "").lower() or False,
            "active": not member.more.get("archived", False),
        }
