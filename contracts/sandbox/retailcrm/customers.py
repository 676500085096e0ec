"""Customers of RetailCRM; an object comes as JSON text in a field of a form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from contracts.sandbox.fields import BIRTH_DATE, Field, Fields, Row, alone_in_object, present, sex
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin

_FIELDS: Fields = {
    "externalId": "key",
    "firstName": "first_name",
    "lastName": "last_name",
    "patronymic": "patronymic",
    "email": "email",
    "phones": Field(
        "phone",
        lambda phone: [{"number": phone}],
        lambda phones: "+" + str(phones[0]["number"]).lstrip("+"),
    ),
    "birthday": BIRTH_DATE,
    "sex": sex("male", "female"),
    "address": alone_in_object("city", "city"),
}


class Customers(Skin):
    """Found, made and written."""

    not_found = (404, "Not found")

    def customers(self, call: Call) -> Reply:
        email = (call.query["filter[email]"] or "").lower()
        found = self.shop.find(lambda one: not email or (one.email or "").lower() == email)
        return page("customers", [_customer(member) for member in found], call.query)

    def customer(self, call: Call) -> Reply:
        return well(customer=_customer(self._customer(call, call.query["by"])))

    def customer_create(self, call: Call) -> Reply:
        given = self.entity(call, "customer", set(_FIELDS))
        key = given.get("externalId")
        if key is not None and self.shop.first(lambda member: member.key == key):
            self.refuse(400, "Customer already exists.")
        member = self.shop.add()
        member.take(given, _FIELDS)
        self.changed(call, "users.register", member, key)
        return well(201, id=member.id)

    def customer_edit(self, call: Call) -> Reply:
        member = self._customer(call, call.body.get("by"))
        member.take(self.entity(call, "customer", set(_FIELDS)), _FIELDS)
        self.changed(call, "users.update", member)
        return well(id=member.id)

    def _customer(self, call: Call, by: str | None) -> Member:
        """By RetailCRM's number, or by the one that a caller gave."""
        wanted = call.path["id"]
        if by == "id":
            return self.named(wanted)
        return self.only(lambda member: member.key == wanted, *self.not_found)

    def entity(self, call: Call, name: str, known: set[str]) -> dict[str, Any]:
        """The JSON text in a form's field."""
        try:
            entity = json.loads(call.body[name])
        except ValueError:
            entity = None
        if not isinstance(entity, dict) or set(entity) - known:
            self.refuse(400, "Errors in the entity format")
        return entity


def well(status: int = 200, **told: Any) -> Reply:
    """A call that went well."""
    return Reply({"success": True, **told}, status)


def page(name: str, rows: list[Row], asked: Mapping[str, Any]) -> Reply:
    """A list."""
    limit, page = int(asked["limit"] or 20), int(asked["page"] or 1)
    pages = {"totalPageCount": max(1, -(-len(rows) // limit)), "currentPage": page}
    pagination = {"limit": limit, "totalCount": len(rows), **pages}
    return Reply({"success": True, "pagination": pagination, name: rows[(page - 1) * limit : page * limit]})


def _customer(member: Member) -> Row:
    told = present(member.told(_FIELDS))
    return {"phones": [], **told, "id": member.id, "createdAt": local_time(member.since)}
