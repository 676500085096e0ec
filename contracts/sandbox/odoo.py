"""Stand-in for Odoo: contacts, sales orders and the points of one loyalty programme.

It answers JSON-RPC as Odoo 18 does, and ``/json/2`` as Odoo 19 does. Facts: both versions, seen running
from their public source on 2026-11-26 (texts of errors, statuses, what an order gives). It may not know any
client.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit`` (an order was confirmed).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from functools import reduce
from operator import add
from typing import Any, ClassVar, NoReturn

from contracts.crm import Operation
from contracts.sandbox.fields import BIRTH_DATE as ISO_DATE
from contracts.sandbox.fields import Fields, Row
from contracts.sandbox.server import Call, Refused, Reply, local_time
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin, to_be_shown

DATABASE, USER, API_KEY = "shop", 7, "odoo-sandbox-key"
PROGRAM, PRODUCT = 2, 4
ALL_DOCUMENTS, CONTACT_CREATION = "sales_team.group_sale_salesman_all_leads", "base.group_partner_manager"
"""What the integration's user has to have; a test takes one out of ``Odoo.rights``."""
REWARD = 100
"""Points for which the programme has a reward."""
BIRTH_DATE = "x_birth_date"
"""A field that a shop has added to its contacts; Odoo itself has none."""
_KEYS = {"database": DATABASE, "api_key": API_KEY}
_ODOO19 = {**_KEYS, "program": PROGRAM, "product": PRODUCT, "birth_date_field": BIRTH_DATE}
SETTINGS = {"odoo": {**_ODOO19, "user_id": USER}, "odoo19": _ODOO19}
"""See ``contracts.sandbox.CONNECTORS``."""
_SEARCH = "domain fields offset limit order"
_STATUSES = {
    "odoo.exceptions.MissingError": 404,
    "odoo.exceptions.UserError": 422,
    "odoo.exceptions.ValidationError": 422,
    "psycopg2.OperationalError": 404,
    "builtins.ValueError": 500,
}
"""Of errors by ``/json/2``; by JSON-RPC all of them are 200."""
_NOTICE: Row = {
    "type": "ir.actions.client",
    "tag": "display_notification",
    "params": {"type": "info", "title": "Rewards Available", "next": {"type": "ir.actions.act_window_close"}},
}
"""What Odoo 19 answers in the place of true where the customer has points for a reward."""


class Odoo(Skin):
    """Each operation is a method of a model by ``/json/2``; JSON-RPC names the two in its body."""

    name = "odoo"
    title = "Odoo 18 and 19 (contacts and a loyalty programme)"
    invalid_status = 422
    denied = (401, "werkzeug.exceptions.Unauthorized Invalid apikey")
    """An error is told by the name of an exception of Odoo's."""
    sent: ClassVar[Mapping[str, str]] = {"Authorization": f"Bearer {API_KEY}"}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
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
        "user_context": Route("POST /json/2/res.users/context_get", json=""),
        "user_has_group": Route("POST /json/2/res.users/has_group", json="ids! group_ext_id!"),
    }
    fields: ClassVar[Fields] = {name: name for name in ("phone", "email", "city")} | {
        "barcode": "card",
        BIRTH_DATE: ISO_DATE,
    }
    rate = Decimal("0.05")
    """Points for a rouble, by the programme's rule."""
    orders_kept: list[Row]
    rights: set[str]

    def populate(self) -> None:
        self.orders_kept, self.rights = [], {ALL_DOCUMENTS, CONTACT_CREATION}
        super().populate()

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("X-Odoo-Database", DATABASE) != DATABASE:
            raise Refused(Reply("<h1>Not Found</h1>", 404))
        super().authorize(operation, headers)

    # -- errors ----------------------------------------------------------------------------------------

    def failure(self, status: int, reason: str) -> Reply:
        """``reason``: the name of an exception, and its text after a blank."""
        name, _, text = reason.partition(" ")
        return Reply({"name": name, "message": text, "arguments": [text], "context": {}}, status)

    def _raise(self, name: str, text: str) -> NoReturn:
        self.refuse(_STATUSES[name], f"{name} {text}")

    def _missing(self, model: str, number: object) -> NoReturn:
        record = f"(Record: {model}({number},), User: {USER})"
        self._raise("odoo.exceptions.MissingError", f"Record does not exist or has been deleted.\n{record}")

    # -- JSON-RPC: model, method and credentials are in the body ---------------------------------------

    def meant(self, operation: Operation, body: Any) -> str:
        if operation.id == "json_rpc" and isinstance(body, dict):
            model, method = ([*body["params"].get("args", []), *[""] * 5])[3:5]
            return self._operation_for(model, method) or operation.id
        return operation.id

    def _operation_for(self, model: str, method: str) -> str | None:
        at = f"POST /json/2/{model}/{method}"
        return next((name for name, route in self.routes.items() if route.at == at), None)

    def json_rpc(self, call: Call) -> Reply:
        try:
            told: Row = {"result": self._execute(call)}
        except Refused as refused:
            told = {"error": {"code": 200, "message": "Odoo Server Error", "data": refused.reply.body}}
        return Reply({"jsonrpc": "2.0", "id": call.body.get("id"), **told})

    def _execute(self, call: Call) -> Any:
        """What the operation of ``/json/2`` for the same method of the same model does."""
        database, user, key, model, method, args, *named = call.body["params"]["args"]
        if database != DATABASE:
            self._raise("psycopg2.OperationalError", f'database "{database}" does not exist')
        if user != USER:
            self._missing("res.users", user)
        if key != API_KEY:
            raise Refused(self.failure(200, "odoo.exceptions.AccessDenied Access Denied"))
        if (name := self._operation_for(model, method)) is None:
            self._raise("odoo.exceptions.UserError", f"Object {model} doesn't exist")
        parameters = [word.rstrip("!") for word in (self.routes[name].json or "").split()]
        body = {**dict(zip(parameters, args, strict=False)), **(named[0] if named else {})}
        operation = self.specification.operations[name]
        told = self.handlers[name](dataclasses.replace(call, operation=operation, body=body)).body
        return True if told is _NOTICE else told  # Odoo 18 has none

    # -- search_read of every model --------------------------------------------------------------------

    def _search(self, call: Call, rows: Sequence[Row]) -> Reply:
        """Leaves of a domain hold together, or any of them after a "|"; what is archived is asked for."""
        asked = call.body
        domain = asked.get("domain") or []
        join: Callable[[Any], bool] = any if domain[:1] == ["|"] else all
        leaves = [leaf for leaf in domain if leaf != "|"]
        if not any(leaf[0] == "active" for leaf in leaves):
            rows = [row for row in rows if row.get("active", True)]
        found = [row for row in rows if not leaves or join(self._holds(row, *leaf) for leaf in leaves)]
        word, _, way = (asked.get("order") or "id").partition(" ")
        found.sort(key=lambda row: self._value(row, word), reverse=way == "desc")
        start = asked.get("offset") or 0
        part = found[start : start + (asked.get("limit") or len(found))]
        fields = ["id", *(asked.get("fields") or [])]
        return Reply([{name: self._value(row, name) for name in fields} for row in part])

    def _holds(self, row: Row, name: str, how: str, value: Any) -> bool:
        """Relations are compared by number."""
        kept = self._value(row, name)
        kept = kept[0] if isinstance(kept, list) else kept
        if how not in ("=", "!=", "in"):
            self._raise("builtins.ValueError", f"Invalid operator {how}")
        return kept in value if how == "in" else (kept == value) == (how == "=")

    def _value(self, row: Row, name: str) -> Any:
        return row[name] if name in row else self._raise("builtins.ValueError", f"Invalid field {name!r}")

    # -- contacts: a name is one text, surname first ---------------------------------------------------

    def contacts(self, call: Call) -> Reply:
        return self._search(call, [self._contact(member) for member in self.shop.members.values()])

    def _contact(self, member: Member) -> Row:
        """A customer as Odoo's record; what is not known is ``False``."""
        told = {
            **member.told(self.fields),
            "name": member.full_name("last_name", "first_name", "patronymic"),
            # Odoo 18 reads the mobile number first; Odoo 19 has none.
            "phone_sanitized": member.more.get("mobile") or member.phone,
            "email_normalized": (member.email or "").lower(),
            "active": not member.more.get("archived", False),
        }
        return {"id": member.id, **{name: value or False for name, value in told.items()}}

    def contact_create(self, call: Call) -> Reply:
        given = call.body["vals_list"]
        if not all(one.get("name") for one in given):
            self._raise("odoo.exceptions.ValidationError", "Contacts require a name")
        return Reply([self._write(call, self.shop.add(), one, "users.register").id for one in given])

    def contact_write(self, call: Call) -> Reply:
        values = call.body["vals"]
        for number in call.body["ids"]:
            member = self._partner(number)
            self._write(call, member, values, "users.set_card" if "barcode" in values else "users.update")
        return Reply(True)

    def _partner(self, number: object) -> Member:
        return self.shop.by_id(number) or self._missing("res.partner", number)

    def _write(self, call: Call, member: Member, values: Row, kind: str) -> Member:
        if unknown := set(values) - {*self.fields, "name"}:
            self._raise("builtins.ValueError", f"Invalid field {unknown.pop()!r} on model 'res.partner'")
        barcode = values.get("barcode")
        if barcode and self.shop.first(lambda one: one is not member and one.more.get("card") == barcode):
            self._raise("odoo.exceptions.ValidationError", "Another partner already has this barcode")
        if "name" in values:
            words = [*str(values["name"]).split(" ", 2), None, None, None]
            member.last_name, member.first_name, member.patronymic = words[:3]
        try:
            return self.edit(call, member, {name: value or None for name, value in values.items()}, kind)
        except ValueError as error:  # of a birth date that no calendar has
            self._raise("builtins.ValueError", str(error))

    # -- orders: a draft gives nothing; confirmed, it gives once ---------------------------------------

    def orders(self, call: Call) -> Reply:
        """Somebody without the right to all documents sees their own, and those of nobody."""
        everybodys, own = ALL_DOCUMENTS in self.rights, (False, USER)
        return self._search(call, [one for one in self.orders_kept if everybodys or one["user_id"] in own])

    def order_create(self, call: Call) -> Reply:
        return Reply([self._draft(values) for values in call.body["vals_list"]])

    def _draft(self, values: Row) -> Any:
        member, lines = self._partner(values["partner_id"]), [line for _, _, line in values["order_line"]]
        for line in lines:
            if line["product_id"] != PRODUCT:
                self._missing("product.product", line["product_id"])
        order = {
            "id": self.shop.number(),
            "client_order_ref": values.get("client_order_ref", False),
            "state": "draft",
            "user_id": values.get("user_id", USER),
            "partner_id": [member.id, self._contact(member)["name"]],
            "amount_total": sum(Decimal(str(line["price_unit"])) * line["product_uom_qty"] for line in lines),
        }
        self.orders_kept.append(order)
        return order["id"]

    def order_confirm(self, call: Call) -> Reply:
        by_id = {order["id"]: order for order in self.orders_kept}
        orders = [by_id.get(one) or self._missing("sale.order", one) for one in call.body["ids"]]
        if any(order["state"] != "draft" for order in orders):
            self._raise("odoo.exceptions.UserError", "Some orders are not in a state requiring confirmation.")
        for order in orders:
            points, member = self._confirm(order), str(order["partner_id"][0])
            key = order["client_order_ref"] or None
            self.record(call, "points.credit", customer=member, amount=points, reference=key)
        claimable = any(self.shop.members[order["partner_id"][0]].points >= REWARD for order in orders)
        return Reply(_NOTICE if claimable else True)

    def _confirm(self, order: Row) -> Decimal:
        points: Decimal = (order["amount_total"] * self.rate).quantize(Decimal("0.01"), ROUND_DOWN)
        order["state"] = "sale"
        member = self.shop.members[order["partner_id"][0]]
        self.shop.give(member, points, f"Order S{order['id']:05d}", str(order["id"]))
        return points

    def repeat(self, key: str) -> None:
        """The order under this key once more, as if a second one had been made and confirmed."""
        order = next(one for one in self.orders_kept if one["client_order_ref"] == key)
        self.orders_kept.append(again := {**order, "id": self.shop.number()})
        self._confirm(again)

    # -- the programme, and the user -------------------------------------------------------------------

    def cards(self, call: Call) -> Reply:
        """Points are added up one after the other in binary fractions, as Odoo keeps them."""
        holders = self.shop.find(lambda one: bool(one.moves))
        points = [reduce(add, (float(move.points) for move in one.moves), 0.0) for one in holders]
        rows = [{"id": one.id, "partner_id": one.id, "program_id": PROGRAM} for one in holders]
        return self._search(call, [{**row, "points": held} for row, held in zip(rows, points, strict=True)])

    def history(self, call: Call) -> Reply:
        rows = [
            {
                "id": move.id,
                "card_id.partner_id": member.id,
                "card_id.program_id": PROGRAM,
                "order_model": "sale.order" if move.key else False,
                "order_id": int(move.key) if move.key else False,
                "issued": float(move.given),
                "used": float(move.taken),
                "description": move.text,
                "create_date": local_time(move.at),
            }
            for member, move in self.shop.moves()
        ]
        return self._search(call, rows)

    def programs(self, call: Call) -> Reply:
        return self._search(call, [{"id": PROGRAM, "program_type": "loyalty"}])

    def products(self, call: Call) -> Reply:
        return self._search(call, [{"id": PRODUCT, "type": "service"}])

    def user_context(self, call: Call) -> Reply:
        return Reply({"lang": "en_US", "tz": False, "uid": USER})

    def user_has_group(self, call: Call) -> Reply:
        return Reply(call.body["ids"] == [USER] and call.body["group_ext_id"] in self.rights)


application = Odoo.application
