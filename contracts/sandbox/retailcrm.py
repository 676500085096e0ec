"""Stand-in for RetailCRM: customers and loyalty accounts, API v5, as its official clients speak it.

Facts: the clients `retailcrm` for Python 5.3.0, PHP and Go (2026-04) and what their tests show of answers. It
may not know any client.

Effects: ``users.register`` (a customer was made), ``users.update``, ``points.credit``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.sandbox.fields import BIRTH_DATE, Field, Fields, Row, alone_in_object, sex
from contracts.sandbox.server import Call, Reply, local_time
from contracts.sandbox.shop import MOSCOW, Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

API_KEY = "retailcrm-sandbox-key"
SITE = "shop-1"
SETTINGS = {"retailcrm": {"api_key": API_KEY, "site": SITE}}
"""See ``contracts.sandbox.CONNECTORS``."""
_LOYALTY = 2
_FILTERS: Mapping[str, Callable[[Row], object]] = {
    "filter[phoneNumber]": lambda account: account["phoneNumber"],
    "filter[customerId]": lambda account: str(account["customer"]["id"]),
    "filter[status]": lambda account: account["status"],
}
_PAGE = "limit page"
_ACCOUNT = "/v5/loyalty/account"


class RetailCrm(Skin):
    """Loyalty accounts have numbers of their own; an object comes as JSON text in a field of a form."""

    name = "retailcrm"
    title = "RetailCRM (customers and loyalty accounts)"
    base = "/api"
    denied = (403, 'Wrong "apiKey" value.')
    not_found = (404, "Not found")
    sent: ClassVar[Mapping[str, str]] = {"X-Api-Key": API_KEY}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
        "accounts": Route("GET /v5/loyalty/accounts", f"{' '.join(_FILTERS)} {_PAGE}"),
        "account": Route(f"GET {_ACCOUNT}/{{id}}"),
        "account_create": Route(f"POST {_ACCOUNT}/create", form="site! loyaltyAccount!"),
        "account_activate": Route(f"POST {_ACCOUNT}/{{id}}/activate", form=""),
        "bonus_credit": Route(f"POST {_ACCOUNT}/{{id}}/bonus/credit", form="amount! comment"),
        "bonus_operations": Route(f"GET {_ACCOUNT}/{{id}}/bonus/operations", _PAGE),
        "customers": Route("GET /v5/customers", f"filter[email] {_PAGE}"),
        "customer": Route("GET /v5/customers/{id}", "by site"),
        "customer_create": Route("POST /v5/customers/create", form="customer! site"),
        "customer_edit": Route("POST /v5/customers/{id}/edit", form="customer! by site"),
    }
    fields: ClassVar[Fields] = {
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

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"success": False, "errorMsg": reason}, status)

    def _entity(self, call: Call, name: str, known: set[str]) -> Row:
        """The JSON text in a form's field."""
        try:
            entity = json.loads(call.body[name])
        except ValueError:
            entity = None
        if not isinstance(entity, dict) or set(entity) - known:
            self.refuse(400, "Errors in the entity format")
        return entity

    # -- customers -------------------------------------------------------------------------------------

    def customers(self, call: Call) -> Reply:
        email = (call.query["filter[email]"] or "").lower()
        found = self.shop.find(lambda one: not email or (one.email or "").lower() == email)
        return _page(call, "customers", [self.told(member) for member in found])

    def customer(self, call: Call) -> Reply:
        return _well(customer=self.told(self._customer(call, call.query["by"])))

    def customer_create(self, call: Call) -> Reply:
        given = self._entity(call, "customer", set(self.fields))
        key = given.get("externalId")
        if key is not None and self.shop.first(lambda member: member.key == key):
            self.refuse(400, "Customer already exists.")
        return _well(201, id=self.register(call, given, key).id)

    def customer_edit(self, call: Call) -> Reply:
        member = self._customer(call, call.body.get("by"))
        return _well(id=self.edit(call, member, self._entity(call, "customer", set(self.fields))).id)

    def _customer(self, call: Call, by: str | None) -> Member:
        """By RetailCRM's number, or by the one that a caller gave."""
        wanted = call.path["id"]
        if by == "id":
            return self.named(wanted)
        return self.only(lambda member: member.key == wanted, *self.not_found)

    def told(self, member: Member) -> Row:
        created = local_time(member.since)
        return {"phones": [], **super().told(member), "id": member.id, "createdAt": created}

    # -- loyalty accounts ------------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        member.more.setdefault("account", self.shop.number())

    def accounts(self, call: Call) -> Reply:
        rows = [_account(member) for member in self.shop.find(lambda one: "account" in one.more)]
        for name, tell in _FILTERS.items():
            rows = [row for row in rows if call.query[name] in (None, tell(row))]
        return _page(call, "loyaltyAccounts", rows)

    def account(self, call: Call) -> Reply:
        return _well(loyaltyAccount=_account(self._owner(call)))

    def account_create(self, call: Call) -> Reply:
        made = self._entity(call, "loyaltyAccount", {"phoneNumber", "customer", "cardNumber"})
        member = self.shop.by_id(made.get("customer", {}).get("id"))
        if member is None or "phoneNumber" not in made:
            self.refuse(400, "Errors in the entity format")
        if "account" in member.more:
            self.refuse(400, "Loyalty account already exists")
        member.more |= {"account": self.shop.number(), "active": False}
        return _well(201, loyaltyAccount=_account(member), warnings=[])

    def account_activate(self, call: Call) -> Reply:
        member = self._owner(call)
        member.more["active"] = True
        return _well(loyaltyAccount=_account(member))

    def bonus_credit(self, call: Call) -> Reply:
        try:
            amount = Decimal(call.body["amount"])
        except ArithmeticError:
            self.refuse(400, "Errors in the entity format")
        self.give_points(call, self._owner(call), amount)
        return _well(loyaltyBonus={"amount": amount})

    def bonus_operations(self, call: Call) -> Reply:
        return _page(call, "bonusOperations", [_operation(one) for one in reversed(self._owner(call).moves)])

    def _owner(self, call: Call) -> Member:
        wanted = call.path["id"]
        return self.only(lambda member: str(member.more.get("account")) == wanted, *self.not_found)


def _well(status: int = 200, **told: Any) -> Reply:
    return Reply({"success": True, **told}, status)


def _page(call: Call, name: str, rows: list[Row]) -> Reply:
    limit, page = call.number("limit", 20), call.number("page", 1)
    pages = {"totalPageCount": max(1, -(-len(rows) // limit)), "currentPage": page}
    pagination = {"limit": limit, "totalCount": len(rows), **pages}
    part = rows[(page - 1) * limit : page * limit]
    return Reply({"success": True, "pagination": pagination, name: part})


def _account(member: Member) -> Row:
    active = member.more.get("active", True)
    return {
        "active": active,
        "id": member.more["account"],
        "loyalty": {"id": _LOYALTY},
        "customer": {"id": member.id, "firstName": member.first_name, "lastName": member.last_name},
        "phoneNumber": member.digits,
        "amount": member.points,
        "createdAt": local_time(member.since, MOSCOW),
        "status": "activated" if active else "not_confirmed",
    }


def _operation(move: Move) -> Row:
    kind = "credit_manual" if move.points >= 0 else "charge_manual"
    return {"type": kind, "createdAt": local_time(move.at, MOSCOW), "amount": move.points}


application = RetailCrm.application
