"""Stand-in for Medusa 2 with the loyalty plugin: customers and store-credit accounts, by the admin API.

Facts: what Medusa 2.21.1 itself answers, recorded in ``tests/medusa/answers.json`` (2026-11-26), and the
plugin's code. It may not know any client.

Effects: ``users.register``, ``users.update``, ``points.credit``, ``account`` (one was opened).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, present
from contracts.sandbox.server import Call, Reply, basic
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

API_KEY = "sk_medusa-sandbox-key"
CURRENCY = "rub"
SETTINGS = {"medusa": {"api_key": API_KEY}}
"""See ``contracts.sandbox.CONNECTORS``."""
_CUSTOMER = "email first_name last_name phone metadata"
_LIST = "fields offset limit order"
_ACCOUNTS = "/store-credit-accounts"
_METADATA: Fields = {"patronymic": "patronymic", "birth_date": BIRTH_DATE, "sex": "sex", "locality": "city"}
"""What the shop knows of a person from the start beside Medusa's own fields."""
_THE_SAME: Row = {"company_name": None, "has_account": False, "created_by": "apk_1", "deleted_at": None}
"""What Medusa tells of every customer here."""
_SUMS = ("balance", "debits", "credits")
"""A list of accounts tells them whatever fields it is asked for."""


class Medusa(Skin):
    """The admin API: only an e-mail is unique; an account is opened when somebody asks for it."""

    name = "medusa"
    title = "Medusa 2 with the loyalty plugin (customers and store credit)"
    base = "/admin"
    sent: ClassVar[Mapping[str, str]] = {"Authorization": basic(API_KEY, "")}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS, currency=CURRENCY)
    routes: ClassVar[Mapping[str, Route]] = {
        "customers": Route("GET /customers", f"q email id {_LIST}"),
        "customer": Route("GET /customers/{id}", "fields"),
        "customer_create": Route("POST /customers", json=_CUSTOMER),
        "customer_edit": Route("POST /customers/{id}", json=_CUSTOMER),
        "accounts": Route(f"GET {_ACCOUNTS}", f"customer_id currency_code id {_LIST}"),
        "account_open": Route(f"POST {_ACCOUNTS}", json="currency_code! customer_id metadata"),
        "transactions": Route(f"GET {_ACCOUNTS}/{{id}}/transactions", _LIST),
        "credit": Route(f"POST {_ACCOUNTS}/{{id}}/credit", json="amount! note"),
    }
    fields: ClassVar[Fields] = {name: name for name in ("email", "first_name", "last_name", "phone")}

    def unauthorized(self) -> Reply:
        return Reply({"message": "Unauthorized"}, 401)

    def failure(self, status: int, reason: str) -> Reply:
        kind = {400: "invalid_data", 404: "not_found"}.get(status, "unknown_error")
        return Reply({"type": kind, "message": reason}, status)

    # -- customers: what Medusa has no field for is in the metadata ------------------------------------

    def customer_id(self, member: Member) -> str:
        return f"cus_{member.id:026d}"

    def joined(self, member: Member) -> None:
        member.more = {"metadata": present(member.told(_METADATA)), "account": False, **member.more}

    def customers(self, call: Call) -> Reply:
        words = (call.query["q"] or "").lower().split()
        found = self.shop.find(lambda one: not words or any(word in self._text(one) for word in words))
        return _page(call, "customers", [self.told(member) for member in found], 50)

    def _text(self, member: Member) -> str:
        """What a search looks through."""
        return "\n".join(map(str, present(member.told(self.fields)).values())).lower()

    def customer(self, call: Call) -> Reply:
        return _only(call, "customer", self.told(self._called(call, "id: {}")))

    def customer_create(self, call: Call) -> Reply:
        self._free(call.body.get("email"), None)
        member = self._write(self.join(), call.body)
        self.changed(call, "users.register", member, member.more["metadata"].get("koshelek_key"))
        return _only(call, "customer", self.told(member))

    def customer_edit(self, call: Call) -> Reply:
        member = self._called(call, 'id "{}"')
        self._free(call.body.get("email"), member)
        self.changed(call, "users.update", self._write(member, call.body))
        return _only(call, "customer", self.told(member))

    def _called(self, call: Call, told: str) -> Member:
        wanted = call.path["id"]
        reason = f"Customer with {told.format(wanted)} not found"
        return self.only(lambda one: self.customer_id(one) == wanted, 404, reason)

    def _free(self, email: str | None, owner: Member | None) -> None:
        """Refuse an e-mail that is none, or another customer's."""
        if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
            self.refuse(400, "Invalid request: Invalid email address")
        if email is not None and self.shop.first(lambda one: one.email == email and one is not owner):
            self.refuse(400, f"Customer with email: {email}, has_account: false, already exists.")

    def _write(self, member: Member, given: Mapping[str, Any]) -> Member:
        member.take(given, self.fields)
        metadata = {**member.more["metadata"], **given.get("metadata", {})}
        member.more["metadata"] = {name: value for name, value in metadata.items() if value != ""}
        return member

    def told(self, member: Member) -> Row:
        own = {"id": self.customer_id(member), "metadata": member.more["metadata"] or None}
        return {**own, **member.told(self.fields), **_times(member.since), **_THE_SAME}

    # -- store-credit accounts -------------------------------------------------------------------------

    def accounts(self, call: Call) -> Reply:
        rows = [self._account(one) for one in self.shop.find(_has_account)]
        return _page(call, "store_credit_accounts", rows, 15, _SUMS)

    def account_open(self, call: Call) -> Reply:
        customer, currency = call.body.get("customer_id"), call.body["currency_code"]
        member = self.shop.first(lambda one: self.customer_id(one) == customer)
        if currency != CURRENCY or member is None:
            # Medusa opens it all the same; nobody here would find it again.
            account = {"id": "sc_acc_other", "currency_code": currency, "customer_id": customer}
            self.record(call, "account")
            return _only(call, "store_credit_account", {**account, **dict.fromkeys(_SUMS, 0)})
        if _has_account(member):
            message = f"customer_id: {customer}, currency_code: {currency}, already exists."
            self.refuse(400, f"Store credit account with {message}")
        member.more["account"] = True
        self.changed(call, "account", member)
        return _only(call, "store_credit_account", self._account(member))

    def credit(self, call: Call) -> Reply:
        amount, note, wanted = call.body["amount"], call.body.get("note", ""), call.path["id"]
        if not isinstance(amount, int | Decimal):
            told = f"Expected type: 'number' for field 'amount', got: '{amount}'"
            self.refuse(400, f"Invalid request: {told}")
        if amount <= 0:
            self.refuse(400, "Amount must be greater than 0")
        reason = f"StoreCreditAccount id not found: {wanted}"
        member = self.only(lambda one: _account_id(one) == wanted and _has_account(one), 404, reason)
        self.give_points(call, member, Decimal(amount), note, note)
        return _only(call, "store_credit_account", self._account(member))

    def transactions(self, call: Call) -> Reply:
        account = call.path["id"]
        rows = [_transaction(move) for member, move in self.shop.moves() if _account_id(member) == account]
        return _page(call, "transactions", rows, 15)

    def _account(self, member: Member) -> Row:
        return {
            "id": _account_id(member),
            "currency_code": CURRENCY,
            "customer_id": self.customer_id(member),
            "code": f"SC-{member.id}",
            "credits": sum(move.given for move in member.moves),
            "debits": sum(move.taken for move in member.moves),
            "balance": member.points,
            **_times(member.since),
            "metadata": None,
            "customer": self.told(member),
        }


def _account_id(member: Member) -> str:
    return f"sc_acc_{member.id:026d}"


def _has_account(member: Member) -> bool:
    return bool(member.moves or member.more["account"])


def _transaction(move: Move) -> Row:
    return {
        "id": f"sc_trx_{move.id:026d}",
        "amount": abs(move.points),
        "type": "credit" if move.points > 0 else "debit",
        "reference": "api-key",
        "reference_id": "apk_1",
        "note": move.text,
        **_times(move.at),
        "metadata": None,
    }


def _times(made: datetime) -> Row:
    return {"created_at": made, "updated_at": made}


def _page(call: Call, name: str, rows: list[Row], limit: int, always: tuple[str, ...] = ()) -> Reply:
    """The rows whose fields are as the query says, as many as it wants and in its order."""
    asked = present(call.query)
    rows = [row for row in rows if all(row.get(key, value) == value for key, value in asked.items())]
    order = call.query["order"] or "created_at"
    rows.sort(key=lambda row: row[order.lstrip("-")], reverse=order[0] == "-")
    first, most = call.number("offset", 0), call.number("limit", limit)
    part = [_chosen(call, row, always) for row in rows[first : first + most]]
    return Reply({name: part, "count": len(rows), "offset": first, "limit": most})


def _only(call: Call, name: str, row: Row) -> Reply:
    return Reply({name: _chosen(call, row)})


def _chosen(call: Call, row: Row, always: tuple[str, ...] = ()) -> Row:
    """The fields that are asked for."""
    fields = call.query.get("fields")
    return {name: row[name] for name in (*fields.split(","), *always)} if fields else row


application = Medusa.application
