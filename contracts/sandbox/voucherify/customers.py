"""Customers of Voucherify; one ``source_id`` is one customer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, alone_in_object, present
from contracts.sandbox.server import Call, Reply, stamp
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin

_FIELDS: Fields = {
    "name": "first_name",
    "email": "email",
    "phone": "phone",
    "birthdate": BIRTH_DATE,
    "address": alone_in_object("city", "city"),
}


class Customers(Skin):
    """Listed, made and written."""

    not_found = (404, "not_found")

    def customer_id(self, member: Member) -> str:
        return f"cust_{member.id}"

    def joined(self, member: Member) -> None:
        member.more.setdefault("source_id", member.digits)

    def customers(self, call: Call) -> Reply:
        email, after = call.query["email"], call.query["starting_after"]
        found = self.shop.find(lambda member: email is None or member.email == email)
        rows = [self._told(one) for one in found if after is None or stamp(one.since) > after]
        limit = int(call.query["limit"] or 10)
        more = {"total": len(found), "has_more": len(rows) > limit}
        return listed("customers", rows[:limit], **more)

    def customer(self, call: Call) -> Reply:
        return Reply(self._told(self.named(call.path["id"])))

    def customer_create(self, call: Call) -> Reply:
        source_id = call.body.get("source_id")
        known = self.shop.first(lambda one: source_id is not None and one.more["source_id"] == source_id)
        member = known or self.shop.add(more={"source_id": source_id})
        return self._write(call, member, "users.update" if known else "users.register")

    def customer_edit(self, call: Call) -> Reply:
        return self._write(call, self.named(call.path["id"]), "users.update")

    def _write(self, call: Call, member: Member, kind: str) -> Reply:
        member.take(present(call.body), _FIELDS)
        self.changed(call, kind, member)
        return Reply(self._told(member))

    def named(self, wanted: str | None) -> Member:
        return self.only(
            lambda one: wanted in (self.customer_id(one), one.more["source_id"]), *self.not_found
        )

    def asked_customer(self, body: Mapping[str, Any]) -> Member:
        """The customer that a request names."""
        return self.named(body["customer"].get("id") or body["customer"].get("source_id"))

    def _told(self, member: Member) -> Row:
        return {
            "object": "customer",
            "id": self.customer_id(member),
            "source_id": member.more["source_id"],
            **present(member.told(_FIELDS)),
            "created_at": stamp(member.since),
        }


def listed(name: str, rows: list[Row], **more: Any) -> Reply:
    """A list as Voucherify tells it."""
    return Reply({"object": "list", "data_ref": name, name: rows, "total": len(rows), **more})


def after_cursor(call: Call, rows: list[Row], **more: Any) -> Reply:
    """The part of the rows that comes after the cursor."""
    limit, after = int(call.query["limit"] or 10), call.query["starting_after_id"]
    begin = 0 if after is None else [row["id"] for row in rows].index(after) + 1
    part, over = rows[begin : begin + limit], begin + limit >= len(rows)
    cursor = {} if over else {"more_starting_after": part[-1]["id"]}
    told = {"object": "list", "data_ref": "data", "data": part, "has_more": not over}
    return Reply({**told, **more, **cursor})
