"""Stand-in for Mindbox: customers, discount cards and points, API v3, as one client may have set it up.

Facts: the vendor's description (developers.mindbox.ru, 2026-05), its modules ``mindbox-cloud/php-sdk``
(2026-04) and ``mindbox-cloud/bitrix-loyalty`` (2025-08), the client ``mindbox-sdk`` 1.0.3. In which order
movements come is not told, so here the newest is first. It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_consents``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.crm import Operation
from contracts.sandbox.card_stock import PRINTED
from contracts.sandbox.mindbox.points import BALANCE, Points
from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Refused, Reply
from contracts.sandbox.skin import Route

__all__ = ["BALANCE", "ENDPOINT", "SECRET_KEY", "SETTINGS", "Mindbox"]

ENDPOINT, SECRET_KEY = "shop.Koshelek", "mindbox-sandbox-key"
SETTINGS = {
    "mindbox": {"endpoint": ENDPOINT, "secret_key": SECRET_KEY, "balance": BALANCE, "card_prefix": PRINTED}
}
"""See ``contracts.sandbox.CONNECTORS``."""


def _route(operation: str, members: str) -> Route:
    return Route(f"POST /v3/operations/sync?operation=Koshelek.{operation}", "endpointId!", json=members)


class Mindbox(Points):
    """Operations as one client has set them up, for whoever has the secret key of its end point."""

    name: ClassVar[str] = "mindbox"
    title: ClassVar[str] = "Mindbox (customers, cards and points)"
    denied: ClassVar[tuple[int, str]] = (403, "the secret key")
    credentials: ClassVar[Mapping[str, str]] = {
        "endpointId": ENDPOINT,
        "secret key": SECRET_KEY,
        "balance": BALANCE,
        "customers": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "get_customer": _route("GetCustomer", "customer!"),
        "register_customer": _route("RegisterCustomer", "customer!"),
        "edit_customer": _route("EditCustomer", "customer!"),
        "subscribe_customer": _route("SubscribeCustomer", "customer!"),
        "get_cards": _route("GetCustomerDiscountCards", "customer!"),
        "get_card": _route("GetDiscountCard", "discountCard!"),
        "bind_card": _route("BindDiscountCard", "customer! discountCard!"),
        "get_points": _route("GetCustomerPoints", "customer!"),
        "get_history": _route("GetCustomerBalanceHistory", "customer! page!"),
        "change_balance": _route("ChangeCustomerBalance", "customer! balanceChanges!"),
    }

    def may_call(self, headers: Mapping[str, str]) -> bool:
        known = (f"SecretKey {SECRET_KEY}", f'Mindbox secretKey="{SECRET_KEY}"')
        return headers.get("Authorization") in known

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if "Authorization" not in headers:
            raise Refused(self.failure(401, "the secret key"))
        super().authorize(operation, headers)

    def failure(self, status: int, reason: str) -> Reply:
        kind = "InternalServerError" if status >= 500 else "ProtocolError"
        return Reply({"status": kind, "errorMessage": reason, "httpStatusCode": status}, status)


application = Mindbox.application
