"""Stand-in for Odoo: contacts, sales orders and the points of one loyalty programme.

It answers JSON-RPC as Odoo 18 does, and ``/json/2`` as Odoo 19 does. Facts: both versions, seen running
from their public source on 2026-11-26 (texts of errors, statuses, what an order gives). It may not know any
client.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit`` (an order was confirmed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.odoo.contacts import BIRTH_DATE
from contracts.sandbox.odoo.json_rpc import JsonRpc
from contracts.sandbox.odoo.orders import PRODUCT, PROGRAM, REWARD, Orders
from contracts.sandbox.odoo.records import API_KEY, DATABASE, USER
from contracts.sandbox.people import PHONES
from contracts.sandbox.skin import Route

__all__ = ["API_KEY", "BIRTH_DATE", "DATABASE", "PRODUCT", "PROGRAM", "REWARD", "SETTINGS", "USER", "Odoo"]

_ODOO19 = {
    "database": DATABASE,
    "api_key": API_KEY,
    "program": PROGRAM,
    "product": PRODUCT,
    "birth_date_field": BIRTH_DATE,
}
SETTINGS = {"odoo": {**_ODOO19, "user_id": USER}, "odoo19": _ODOO19}
"""See ``contracts.sandbox.CONNECTORS``."""
_SEARCH = "domain fields offset limit order"


class Odoo(Orders, JsonRpc):
    """Each operation is a method of a model by ``/json/2``; JSON-RPC names the two in its body."""

    name: ClassVar[str] = "odoo"
    title: ClassVar[str] = "Odoo 18 and 19 (contacts and a loyalty programme)"
    invalid_status: ClassVar[int] = 422
    credentials: ClassVar[Mapping[str, str]] = {
        "database": DATABASE,
        "user": str(USER),
        "api key": API_KEY,
        "programme": str(PROGRAM),
        "product": str(PRODUCT),
        "customers": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "json_rpc": Route("POST /jsonrpc", json="jsonrpc method! params! id", open=True),
        "contacts": Route("POST /json/2/res.partner/search_read", json=_SEARCH),
        "contact_create": Route("POST /json/2/res.partner/create", json="vals_list!"),
        "contact_write": Route("POST /json/2/res.partner/write", json="ids! vals!"),
        "orders": Route("POST /json/2/sale.order/search_read", json=_SEARCH),
        "order_create": Route("POST /json/2/sale.order/create", json="vals_list!"),
        "order_confirm": Route("POST /json/2/sale.order/action_confirm", json="ids!"),
        "cards": Route("POST /json/2/loyalty.card/search_read", json=_SEARCH),
        "history": Route("POST /json/2/loyalty.history/search_read", json=_SEARCH),
        "programs": Route("POST /json/2/loyalty.program/search_read", json=_SEARCH),
        "products": Route("POST /json/2/product.product/search_read", json=_SEARCH),
    }


application = Odoo.application
