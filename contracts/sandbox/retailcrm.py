"""Stand-in for RetailCRM: customers and loyalty accounts, API v5, as its official clients speak it.

Facts: the clients `retailcrm` for Python 5.3.0, PHP and Go (2026-04) and what their tests show of answers. It
may not know any client.

Effects: ``users.register`` (a customer was made), ``users.update``, ``points.credit``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

API_KEY = "retailcrm-sandbox-key"
SITE = "shop-1"
SETTINGS = {"retailcrm": {"api_key": API_KEY, "site": SITE}}
"""See ``contracts.sandbox.CONNECTORS``."""
LOYALTY = 2
ZONE = timezone(timedelta(hours=3))
_BASE = "/api/v5"
_PAGE = "limit page"


class RetailCrm(Skin):
    """Loyalty accounts have numbers of their own, beside those of the customers."""

    name: ClassVar[str] = "retailcrm"
    title: ClassVar[str] = "RetailCRM (customers and loyalty accounts)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "api key": API_KEY,
        "site": SITE,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "credentials_of_key": Route("GET /api/credentials"),
        "accounts": Route(
            f"GET {_BASE}/loyalty/accounts",
            f"filter[phoneNumber] filter[customerId] filter[cardNumber] filter[status] {_PAGE}",
        ),
        "account": Route(f"GET {_BASE}/loyalty/account/{{id}}"),
        "account_create": Route(f"POST {_BASE}/loyalty/account/create", form="site! loyaltyAccount!"),
        "account_activate": Route(f"POST {_BASE}/loyalty/account/{{id}}/activate", form=""),
        "bonus_credit": Route(
            f"POST {_BASE}/loyalty/account/{{id}}/bonus/credit",
            form="amount! activationDate expireDate comment",
        ),
        "bonus_operations": Route(
            f"GET {_BASE}/loyalty/account/{{id}}/bonus/operations",
            f"filter[createdAtFrom] filter[createdAtTo] {_PAGE}",
        ),
        "customers": Route(f"GET {_BASE}/customers", f"filter[email] filter[ids][] {_PAGE}"),
        "customer": Route(f"GET {_BASE}/customers/{{id}}", "by site"),
        "customer_create": Route(f"POST {_BASE}/customers/create", form="customer! site"),
        "customer_edit": Route(f"POST {_BASE}/customers/{{id}}/edit", form="customer! by site"),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("X-Api-Key") != API_KEY:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(403, 'Wrong "apiKey" value.')

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"success": False, "errorMsg": reason}, status)

    def joined(self, member: Member) -> None:
        member.more.setdefault("account", self.shop.number())

    # -- loyalty ---------------------------------------------------------------------------------------

    def credentials_of_key(self, call: Call) -> Reply:
        return Reply({"success": True, "credentials": list(self.routes), "siteAccess": "access_full"})

    def accounts(self, call: Call) -> Reply:
        asked = {name: value for name, value in call.query.items() if value is not None}
        wanted: dict[str, Callable[[Member], str]] = {
            "filter[phoneNumber]": lambda member: (member.phone or "").lstrip("+"),
            "filter[customerId]": lambda member: str(member.id),
            "filter[status]": lambda member: "activated" if member.more.get("active", True) else "x",
        }
        found = [member for member in self.shop.members.values() if "account" in member.more]
        for name, told in wanted.items():
            if name in asked:
                found = [member for member in found if told(member) == asked[name]]
        return self._page("loyaltyAccounts", [self._account(member) for member in found], asked)

    def account(self, call: Call) -> Reply:
        return Reply({"success": True, "loyaltyAccount": self._account(self._of_account(call))})

    def account_create(self, call: Call) -> Reply:
        made = self._entity(call, "loyaltyAccount", {"phoneNumber", "customer", "cardNumber"})
        member = self.shop.by_id(made.get("customer", {}).get("id"))
        if member is None or "phoneNumber" not in made:
            self.refuse(400, "Errors in the entity format")
        if "account" in member.more:
            self.refuse(400, "Loyalty account already exists")
        member.more |= {"account": self.shop.number(), "active": False}
        return Reply({"success": True, "loyaltyAccount": self._account(member), "warnings": []}, 201)

    def account_activate(self, call: Call) -> Reply:
        member = self._of_account(call)
        member.more["active"] = True
        return Reply({"success": True, "loyaltyAccount": self._account(member)})

    def bonus_credit(self, call: Call) -> Reply:
        member = self._of_account(call)
        try:
            amount = Decimal(call.body["amount"])
        except ArithmeticError:
            self.refuse(400, "Errors in the entity format")
        self.shop.give(member, amount, "credit_manual")
        self.record(call, "points.credit", customer=str(member.id), amount=amount)
        return Reply({"success": True, "loyaltyBonus": {"amount": amount}})

    def bonus_operations(self, call: Call) -> Reply:
        rows = [self._operation(move) for move in reversed(self._of_account(call).moves)]
        return self._page("bonusOperations", rows, call.query)

    def _of_account(self, call: Call) -> Member:
        wanted = str(call.path["id"])
        return self.only(lambda member: str(member.more.get("account")) == wanted, 404, "Not found")

    def _account(self, member: Member) -> dict[str, Any]:
        return {
            "active": member.more.get("active", True),
            "id": member.more["account"],
            "loyalty": {"id": LOYALTY},
            "customer": {"id": member.id, "firstName": member.first_name, "lastName": member.last_name},
            "phoneNumber": (member.phone or "").lstrip("+"),
            "amount": member.points,
            "createdAt": f"{member.since.astimezone(ZONE):%Y-%m-%d %H:%M:%S}",
            "status": "activated" if member.more.get("active", True) else "not_confirmed",
        }

    @staticmethod
    def _operation(move: Move) -> dict[str, Any]:
        kind = "credit_manual" if move.points >= 0 else "charge_manual"
        at = f"{move.at.astimezone(ZONE):%Y-%m-%d %H:%M:%S}"
        return {"type": kind, "createdAt": at, "amount": move.points}

    # -- customers -------------------------------------------------------------------------------------

    def customers(self, call: Call) -> Reply:
        email = call.query["filter[email]"]
        rows = [
            self._customer(member)
            for member in self.shop.members.values()
            if email is None or (member.email or "").lower() == email.lower()
        ]
        return self._page("customers", rows, call.query)

    def customer(self, call: Call) -> Reply:
        member = self._named(call.path["id"], call.query["by"])
        return Reply({"success": True, "customer": self._customer(member)})

    def customer_create(self, call: Call) -> Reply:
        given = self._entity(call, "customer", set(_FIELDS))
        key = given.get("externalId")
        if key is not None and self.shop.find(lambda member: member.key == key):
            self.refuse(400, "Customer already exists.")
        member = self.shop.add(key=key)
        self._set(member, given)
        self.record(call, "users.register", customer=str(member.id), reference=key)
        return Reply({"success": True, "id": member.id}, 201)

    def customer_edit(self, call: Call) -> Reply:
        member = self._named(call.path["id"], call.body.get("by"))
        self._set(member, self._entity(call, "customer", set(_FIELDS)))
        self.record(call, "users.update", customer=str(member.id))
        return Reply({"success": True, "id": member.id})

    def _named(self, text: str, by: str | None) -> Member:
        if by == "id":
            member = self.shop.by_id(text)
        else:
            member = next(iter(self.shop.find(lambda member: member.key == text)), None)
        return member if member is not None else self.refuse(404, "Not found")

    def _entity(self, call: Call, name: str, known: set[str]) -> dict[str, Any]:
        """The JSON text in a form's field."""
        try:
            entity = json.loads(call.body[name])
        except ValueError:
            entity = None
        if not isinstance(entity, dict) or set(entity) - known:
            self.refuse(400, "Errors in the entity format")
        return entity

    @staticmethod
    def _set(member: Member, given: Mapping[str, Any]) -> None:
        names = {name: attribute for name, attribute in _FIELDS.items() if attribute}
        member.take(given, {**names, "birthday": "birth_date"})
        if "phones" in given:
            member.phone = "+" + str(given["phones"][0]["number"]).lstrip("+")
        if "sex" in given:
            member.sex = {"male": "m", "female": "f"}[given["sex"]]
        if "address" in given:
            member.city = given["address"].get("city", member.city)

    @staticmethod
    def _customer(member: Member) -> dict[str, Any]:
        told = {
            "id": member.id,
            "externalId": member.key,
            "firstName": member.first_name,
            "lastName": member.last_name,
            "patronymic": member.patronymic,
            "email": member.email,
            "phones": [{"number": member.phone}] if member.phone else [],
            "birthday": member.birth_date.isoformat() if member.birth_date else None,
            "sex": {"m": "male", "f": "female"}.get(member.sex or ""),
            "address": {"city": member.city} if member.city else None,
            "createdAt": f"{member.since.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        }
        return {name: value for name, value in told.items() if value is not None}

    @staticmethod
    def _page(name: str, rows: list[dict[str, Any]], asked: Mapping[str, Any]) -> Reply:
        limit, page = int(asked.get("limit") or 20), int(asked.get("page") or 1)
        pages = max(1, -(-len(rows) // limit))
        pagination = {
            "limit": limit,
            "totalCount": len(rows),
            "currentPage": page,
            "totalPageCount": pages,
        }
        part = rows[(page - 1) * limit : page * limit]
        return Reply({"success": True, "pagination": pagination, name: part})


_FIELDS = {
    "externalId": "key",
    "firstName": "first_name",
    "lastName": "last_name",
    "patronymic": "patronymic",
    "email": "email",
    "phones": "",
    "birthday": "",
    "sex": "",
    "address": "",
}


application = RetailCrm.application
