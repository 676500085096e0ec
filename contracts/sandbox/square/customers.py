"""Customers of Square, found by a search and written."""

from __future__ import annotations

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, alone_in_object, present
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin

PROFILE: Fields = {
    "given_name": "first_name",
    "family_name": "last_name",
    "email_address": "email",
    "birthday": BIRTH_DATE,
    "address": alone_in_object("locality", "city"),
}
_PAGE = 30


class Customers(Skin):
    """Their phone is that of the loyalty account, which is not written here."""

    not_found = (404, "NOT_FOUND")

    def customer_id(self, member: Member) -> str:
        return f"CUSTOMER{member.id}"

    def customers(self, call: Call) -> Reply:
        query = (call.body.get("query") or {}).get("filter", {})
        email = query.get("email_address", {}).get("exact", "").lower()
        phone = query.get("phone_number", {}).get("exact")
        found = self.shop.find(
            lambda one: email in ("", (one.email or "").lower()) and phone in (None, one.phone)
        )
        return page(call, "customers", [self._customer(one) for one in found])

    def customer(self, call: Call) -> Reply:
        return Reply({"customer": self._customer(self.named(call.path["id"]))})

    def customer_edit(self, call: Call) -> Reply:
        member, email = self.named(call.path["id"]), call.body.get("email_address")
        if email is not None and "@" not in email:
            self.refuse(400, "INVALID_EMAIL_ADDRESS")
        member.take(call.body, PROFILE)
        self.changed(call, "users.update", member)
        return Reply({"customer": self._customer(member)})

    def _customer(self, member: Member) -> Row:
        return {
            "id": self.customer_id(member),
            **present(member.told({**PROFILE, "phone_number": "phone"})),
            "created_at": member.since,
            "updated_at": member.since,
            "version": 0,
        }


def page(call: Call, name: str, rows: list[Row]) -> Reply:
    """A list: what comes after the cursor; a list that is empty is left out, as Square does."""
    first, limit = int(call.body.get("cursor") or 0), int(call.body.get("limit") or _PAGE)
    part = {name: rows[first : first + limit]} if rows[first : first + limit] else {}
    return Reply({**part, **({"cursor": str(first + limit)} if len(rows) > first + limit else {})})
