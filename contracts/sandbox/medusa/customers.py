"""Customers of Medusa: nothing but an e-mail is unique; what it has no field for is in the metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, present
from contracts.sandbox.medusa.replies import only, page
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin

_PLAIN = {name: name for name in ("email", "first_name", "last_name", "phone")}
_METADATA: Fields = {
    "patronymic": "patronymic",
    "birth_date": BIRTH_DATE,
    "sex": "sex",
    "locality": "city",
}
"""What the shop knows of a person from the start beside Medusa's own fields."""


class Customers(Skin):
    """Found, made and written."""

    def customer_id(self, member: Member) -> str:
        return f"cus_{member.id:026d}"

    def joined(self, member: Member) -> None:
        metadata = present(member.told(_METADATA))
        member.more = {"metadata": metadata, "account": bool(member.moves), **member.more}

    def customers(self, call: Call) -> Reply:
        words = (call.query["q"] or "").split()
        rows = [
            self.customer_row(one)
            for one in self.shop.members.values()
            if not words or any(_holds(one, word) for word in words)
        ]
        return page(call, "customers", rows, ("email", "id"), limit=50)

    def customer(self, call: Call) -> Reply:
        text = call.path["id"]
        return only(call, "customer", self.customer_row(self._called(text, f"id: {text}")))

    def customer_create(self, call: Call) -> Reply:
        self._free(call.body.get("email"), None)
        member = self.join()
        self._set(member, call.body)
        self.changed(call, "users.register", member, member.more["metadata"].get("koshelek_key"))
        return only(call, "customer", self.customer_row(member))

    def customer_edit(self, call: Call) -> Reply:
        text = call.path["id"]
        member = self._called(text, f'id "{text}"')
        self._free(call.body.get("email"), member)
        self._set(member, call.body)
        self.changed(call, "users.update", member)
        return only(call, "customer", self.customer_row(member))

    def _called(self, text: str, told: str) -> Member:
        return self.only(lambda one: self.customer_id(one) == text, 404, f"Customer with {told} not found")

    def _free(self, email: str | None, owner: Member | None) -> None:
        if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
            self.refuse(400, "Invalid request: Invalid email address")
        if email is not None and self.shop.first(lambda one: one.email == email and one is not owner):
            self.refuse(400, f"Customer with email: {email}, has_account: false, already exists.")

    @staticmethod
    def _set(member: Member, given: Mapping[str, Any]) -> None:
        member.take(given, _PLAIN)
        metadata = {**member.more["metadata"], **given.get("metadata", {})}
        member.more["metadata"] = {name: value for name, value in metadata.items() if value != ""}

    def customer_row(self, member: Member) -> Row:
        """A customer as Medusa tells one."""
        return {
            "id": self.customer_id(member),
            "company_name": None,
            **member.told(_PLAIN),
            "metadata": member.more["metadata"] or None,
            "has_account": False,
            "created_by": "apk_1",
            "created_at": member.since,
            "updated_at": member.since,
            "deleted_at": None,
        }


def _holds(member: Member, word: str) -> bool:
    return any(word.lower() in (getattr(member, name) or "").lower() for name in _PLAIN)
