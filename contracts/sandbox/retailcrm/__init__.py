"""Stand-in for RetailCRM: customers and loyalty accounts, API v5, as its official clients speak it.

Facts: the clients `retailcrm` for Python 5.3.0, PHP and Go (2026-04) and what their tests show of answers. It
may not know any client.

Effects: ``users.register`` (a customer was made), ``users.update``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.people import PHONES
from contracts.sandbox.retailcrm.customers import well
from contracts.sandbox.retailcrm.loyalty import Loyalty
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.skin import Route

API_KEY = "retailcrm-sandbox-key"
SITE = "shop-1"
SETTINGS = {"retailcrm": {"api_key": API_KEY, "site": SITE}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PAGE = "limit page"


class RetailCrm(Loyalty):
    """API v5, for whoever has the key."""

    name: ClassVar[str] = "retailcrm"
    title: ClassVar[str] = "RetailCRM (customers and loyalty accounts)"
    base: ClassVar[str] = "/api"
    denied: ClassVar[tuple[int, str]] = (403, 'Wrong "apiKey" value.')
    credentials: ClassVar[Mapping[str, str]] = {"api key": API_KEY, "site": SITE, "customers": PHONES}
    routes: ClassVar[Mapping[str, Route]] = {
        "credentials_of_key": Route("GET /credentials"),
        "accounts": Route(
            "GET /v5/loyalty/accounts",
            f"filter[phoneNumber] filter[customerId] filter[cardNumber] filter[status] {_PAGE}",
        ),
        "account": Route("GET /v5/loyalty/account/{id}"),
        "account_create": Route("POST /v5/loyalty/account/create", form="site! loyaltyAccount!"),
        "account_activate": Route("POST /v5/loyalty/account/{id}/activate", form=""),
        "bonus_credit": Route(
            "POST /v5/loyalty/account/{id}/bonus/credit", form="amount! activationDate expireDate comment"
        ),
        "bonus_operations": Route(
            "GET /v5/loyalty/account/{id}/bonus/operations",
            f"filter[createdAtFrom] filter[createdAtTo] {_PAGE}",
        ),
        "customers": Route("GET /v5/customers", f"filter[email] filter[ids][] {_PAGE}"),
        "customer": Route("GET /v5/customers/{id}", "by site"),
        "customer_create": Route("POST /v5/customers/create", form="customer! site"),
        "customer_edit": Route("POST /v5/customers/{id}/edit", form="customer! by site"),
    }

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return headers.get("X-Api-Key") == API_KEY

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"success": False, "errorMsg": reason}, status)

    def credentials_of_key(self, call: Call) -> Reply:
        return well(credentials=list(self.routes), siteAccess="access_full")


application = RetailCrm.application
