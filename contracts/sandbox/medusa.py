"""Stand-in for Medusa 2 with the loyalty plugin: customers and store-credit accounts, by the admin API.

Facts: what Medusa 2.21.1 itself answers, recorded in ``tests/medusa/answers.json`` (2026-11-26), and the
plugin's code. It may not know any client.

Effects: ``users.register``, ``users.update``, ``points.credit``, ``account`` (one was opened).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

API_KEY = "sk_medusa-sandbox-key"
CURRENCY = "rub"
SETTINGS = {"medusa": {"api_key": API_KEY}}
"""See ``contracts.sandbox.CONNECTORS``."""
_CUSTOMER = "email first_name last_name phone metadata"
_LIST = "fields offset limit order"
_PLAIN = {name: name for name in ("email", "first_name", "last_name", "phone")}
_ACCOUNTS = "/admin/store-credit-accounts"


class Medusa(Skin):
    """Nothing but an e-mail is unique; store-credit accounts are opened when somebody asks for one."""

    name: ClassVar[str] = "medusa"
    title: ClassVar[str] = "Medusa 2 with the loyalty plugin (customers and store credit)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "api key": API_KEY,
        "currency": CURRENCY,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "customers": Route("GET /admin/customers", f"q email id {_LIST}"),
        "customer": Route("GET /admin/customers/{id}", "fields"),
        "customer_create": Route("POST /admin/customers", json=_CUSTOMER),
        "customer_edit": Route("POST /admin/customers/{id}", json=_CUSTOMER),
        "accounts": Route(f"GET {_ACCOUNTS}", f"customer_id currency_code id {_LIST}"),
        "account_open": Route(f"POST {_ACCOUNTS}", json="currency_code! customer_id metadata"),
        "transactions": Route(f"GET {_ACCOUNTS}/{{id}}/transactions", f"id created_at {_LIST}"),
        "credit": Route(f"POST {_ACCOUNTS}/{{id}}/credit", json="amount! note"),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("Authorization") != f"Basic {base64.b64encode(f'{API_KEY}:'.encode()).decode()}":
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return Reply({"message": "Unauthorized"}, 401)

    def failure(self, status: int, reason: str) -> Reply:
        kind = {400: "invalid_data", 404: "not_found"}.get(status, "unknown_error")
        return Reply({"type": kind, "message": reason}, status)

    # -- customers -------------------------------------------------------------------------------------

    def customers(self, call: Call) -> Reply:
        q, email, number = (call.query[name] for name in ("q", "email", "id"))
        found = self.shop.find(
            lambda one: (
                (not q or any(_holds(one, word) for word in q.split()))
                and email in (None, one.email)
                and number in (None, customer_id(one))
            )
        )
        return self._page(call, "customers", [self._customer(one) for one in found], limit=50)

    def customer(self, call: Call) -> Reply:
        text = call.path["id"]
        return self._only(call, "customer", self._customer(self._named(text, f"id: {text}")))

    def customer_create(self, call: Call) -> Reply:
        self._free(call.body.get("email"), None)
        member = self.shop.add()
        self._set(member, call.body)
        key = member.more["metadata"].get("koshelek_key")
        self.record(call, "users.register", customer=str(member.id), reference=key)
        return self._only(call, "customer", self._customer(member))

    def customer_edit(self, call: Call) -> Reply:
        text = call.path["id"]
        member = self._named(text, f'id "{text}"')
        self._free(call.body.get("email"), member)
        self._set(member, call.body)
        self.record(call, "users.update", customer=str(member.id))
        return self._only(call, "customer", self._customer(member))

    def _named(self, text: str, told: str) -> Member:
        return self.only(lambda one: customer_id(one) == text, 404, f"Customer with {told} not found")

    def _free(self, email: str | None, owner: Member | None) -> None:
        if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
            self.refuse(400, "Invalid request: Invalid email address")
        if email is not None and self.shop.find(lambda one: one.email == email and one is not owner):
            self.refuse(400, f"Customer with email: {email}, has_account: false, already exists.")

    @staticmethod
    def _set(member: Member, given: Mapping[str, Any]) -> None:
        member.take(given, _PLAIN)
        metadata = {**metadata_of(member), **given.get("metadata", {})}
        member.more["metadata"] = {name: value for name, value in metadata.items() if value != ""}

    @staticmethod
    def _customer(member: Member) -> dict[str, Any]:
        return {
            "id": customer_id(member),
            "company_name": None,
            **member.told(_PLAIN),
            "metadata": metadata_of(member) or None,
            "has_account": False,
            "created_by": "apk_1",
            "created_at": member.since,
            "updated_at": member.since,
            "deleted_at": None,
        }

    # -- store credit ----------------------------------------------------------------------------------

    def accounts(self, call: Call) -> Reply:
        asked = {name: call.query[name] for name in ("customer_id", "currency_code", "id")}
        rows = [self._account(one) for one in self.shop.members.values() if has_account(one)]
        rows = [row for row in rows if all(value in (None, row[name]) for name, value in asked.items())]
        return self._page(call, "store_credit_accounts", rows, limit=15, always=_SUMS)

    def account_open(self, call: Call) -> Reply:
        customer, currency = call.body.get("customer_id"), call.body["currency_code"]
        found = self.shop.find(lambda one: customer_id(one) == customer)
        if currency != CURRENCY or not found:
            # Medusa opens it all the same; nobody here would find it again.
            account = {"id": "sc_acc_other", "currency_code": currency, "customer_id": customer}
            self.record(call, "account")
            return self._only(call, "store_credit_account", {**account, **dict.fromkeys(_SUMS, 0)})
        (member,) = found
        if has_account(member):
            message = f"customer_id: {customer}, currency_code: {currency}, already exists."
            self.refuse(400, f"Store credit account with {message}")
        member.more["account"] = True
        self.record(call, "account", customer=str(member.id))
        return self._only(call, "store_credit_account", self._account(member))

    def credit(self, call: Call) -> Reply:
        amount, note = call.body["amount"], call.body.get("note", "")
        if not isinstance(amount, int | Decimal):
            told = f"Expected type: 'number' for field 'amount', got: '{amount}'"
            self.refuse(400, f"Invalid request: {told}")
        if amount <= 0:
            self.refuse(400, "Amount must be greater than 0")
        member = self._of_account(call.path["id"])
        points = Decimal(amount)
        self.shop.give(member, points, note)
        self.record(call, "points.credit", customer=str(member.id), amount=points, reference=note)
        return self._only(call, "store_credit_account", self._account(member))

    def transactions(self, call: Call) -> Reply:
        found = self.shop.find(lambda one: has_account(one) and account_id(one) == call.path["id"])
        rows = [_transaction(move) for one in found for move in one.moves]
        return self._page(call, "transactions", rows, limit=15)

    def _of_account(self, text: str) -> Member:
        reason = f"StoreCreditAccount id not found: {text}"
        return self.only(lambda one: has_account(one) and account_id(one) == text, 404, reason)

    def _account(self, member: Member) -> dict[str, Any]:
        moves = [move.points for move in member.moves]
        return {
            "id": account_id(member),
            "currency_code": CURRENCY,
            "customer_id": customer_id(member),
            "code": f"SC-{member.id}",
            "credits": sum((one for one in moves if one > 0), Decimal(0)),
            "debits": -sum((one for one in moves if one < 0), Decimal(0)),
            "balance": member.points,
            "updated_at": member.since,
            "created_at": member.since,
            "metadata": None,
            "customer": self._customer(member),
        }

    # -- fields, order and pages -----------------------------------------------------------------------

    def _page(
        self, call: Call, name: str, rows: list[dict[str, Any]], *, limit: int, always: tuple[str, ...] = ()
    ) -> Reply:
        order = call.query["order"] or "created_at"
        by: Callable[[dict[str, Any]], Any] = lambda row: row[order.lstrip("-")]  # noqa: E731
        rows = sorted(rows, key=by, reverse=order[0] == "-")
        first, most = int(call.query["offset"] or 0), int(call.query["limit"] or limit)
        part = [_chosen(call, row, always) for row in rows[first : first + most]]
        return Reply({name: part, "count": len(rows), "offset": first, "limit": most})

    def _only(self, call: Call, name: str, row: dict[str, Any]) -> Reply:
        return Reply({name: _chosen(call, row, ())})


_SUMS = ("balance", "debits", "credits")
"""A list of accounts tells them whatever fields it is asked for."""


def _chosen(call: Call, row: dict[str, Any], always: tuple[str, ...]) -> dict[str, Any]:
    fields = call.query.get("fields")
    return {name: row[name] for name in (*fields.split(","), *always)} if fields else row


def customer_id(member: Member) -> str:
    return f"cus_{member.id:026d}"


def account_id(member: Member) -> str:
    return f"sc_acc_{member.id:026d}"


def has_account(member: Member) -> bool:
    return bool(member.moves) or bool(member.more.get("account"))


def metadata_of(member: Member) -> dict[str, Any]:
    """The customer's metadata; what the shop knows of a person beside Medusa's own fields is there."""
    told: dict[str, Any] = {
        "patronymic": member.patronymic,
        "birth_date": member.birth_date.isoformat() if member.birth_date else None,
        "sex": member.sex,
        "locality": member.city,
    }
    given = {name: value for name, value in told.items() if value is not None}
    return {**given, **member.more.get("metadata", {})}


def _holds(member: Member, word: str) -> bool:
    return any(word.lower() in (getattr(member, name) or "").lower() for name in _PLAIN)


def _transaction(move: Move) -> dict[str, Any]:
    return {
        "id": f"sc_trx_{move.id:026d}",
        "amount": abs(move.points),
        "type": "credit" if move.points > 0 else "debit",
        "reference": "api-key",
        "reference_id": "apk_1",
        "note": move.text,
        "updated_at": move.at,
        "created_at": move.at,
        "metadata": None,
    }


application = Medusa.application
