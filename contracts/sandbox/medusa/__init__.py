"""Stand-in for Medusa 2 with the loyalty plugin: customers and store-credit accounts, by the admin API.

Facts: what Medusa 2.21.1 itself answers, recorded in ``tests/medusa/answers.json`` (2026-11-26), and the
plugin's code. It may not know any client.

Effects: ``users.register``, ``users.update``, ``points.credit``, ``account`` (one was opened).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.medusa.store_credit import CURRENCY, StoreCredit
from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Reply, basic
from contracts.sandbox.skin import Route

API_KEY = "sk_medusa-sandbox-key"
SETTINGS = {"medusa": {"api_key": API_KEY}}
"""See ``contracts.sandbox.CONNECTORS``."""
_CUSTOMER = "email first_name last_name phone metadata"
_LIST = "fields offset limit order"
_ACCOUNTS = "/store-credit-accounts"


class Medusa(StoreCredit):
    """The admin API, for whoever has its secret key."""

    name: ClassVar[str] = "medusa"
    title: ClassVar[str] = "Medusa 2 with the loyalty plugin (customers and store credit)"
    base: ClassVar[str] = "/admin"
    credentials: ClassVar[Mapping[str, str]] = {
        "api key": API_KEY,
        "currency": CURRENCY,
        "customers": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "customers": Route("GET /customers", f"q email id {_LIST}"),
        "customer": Route("GET /customers/{id}", "fields"),
        "customer_create": Route("POST /customers", json=_CUSTOMER),
        "customer_edit": Route("POST /customers/{id}", json=_CUSTOMER),
        "accounts": Route(f"GET {_ACCOUNTS}", f"customer_id currency_code id {_LIST}"),
        "account_open": Route(f"POST {_ACCOUNTS}", json="currency_code! customer_id metadata"),
        "transactions": Route(f"GET {_ACCOUNTS}/{{id}}/transactions", f"id created_at {_LIST}"),
        "credit": Route(f"POST {_ACCOUNTS}/{{id}}/credit", json="amount! note"),
    }

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") == basic(API_KEY, "")

    def unauthorized(self) -> Reply:
        return Reply({"message": "Unauthorized"}, 401)

    def failure(self, status: int, reason: str) -> Reply:
        kind = {400: "invalid_data", 404: "not_found"}.get(status, "unknown_error")
        return Reply({"type": kind, "message": reason}, status)


application = Medusa.application
