"""Stand-in for Odoo: contacts, sales orders and the points of one loyalty programme.

It answers JSON-RPC as Odoo 18 does, and ``/json/2`` as Odoo 19 does. Facts: both versions, seen running from
their public source on 2026-11-26 (texts of errors, statuses, what an order gives). It may know no client.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit`` (an order was confirmed).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, bearer
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, Skin

DATABASE, USER, API_KEY = "shop", 7, "odoo-sandbox-key"
PROGRAM, PRODUCT = 2, 4
BIRTH_DATE = "x_birth_date"
"""A field that a shop has added to its contacts; Odoo itself has none."""
_ODOO19 = {
    "database": DATABASE,
    "api_key": API_KEY,
    "program": PROGRAM,
    "product": PRODUCT,
    "birth_date_field": BIRTH_DATE,
}
SETTINGS = {"odoo": {**_ODOO19, "user_id": USER}, "odoo19": _ODOO19}
"""See ``contracts.sandbox.CONNECTORS``."""
_STATUSES = {
    "odoo.exceptions.MissingError": 404,
    "odoo.exceptions.UserError": 422,
    "odoo.exceptions.AccessDenied": 401,
    "psycopg2.OperationalError": 404,
}
"""Of errors by ``/json/2``; by JSON-RPC all of them are 200."""
_SEARCH = "domain fields offset limit order"
_FIELDS = {"phone": "phone", "email": "email", "city": "city", BIRTH_DATE: "birth_date"}
Row = dict[str, Any]


class Odoo(Skin):
    """Contacts are told by number; a name is one text, surname first."""

    name: ClassVar[str] = "odoo"
    title: ClassVar[str] = "Odoo 18 and 19 (contacts and a loyalty programme)"
    invalid_status: ClassVar[int] = 422
    credentials: ClassVar[Mapping[str, str]] = {
        "database": DATABASE,
        "user": str(USER),
        "api key": API_KEY,
        "programme": str(PROGRAM),
        "product": str(PRODUCT),
        "customers": ", ".join(person.phone for person in PEOPLE),
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
    rate = Decimal("0.05")
    """Points for a rouble, by the programme's rule."""

    def populate(self) -> None:
        self._orders: list[Row] = []
        super().populate()

    # -- the two ways to ask ---------------------------------------------------------------------------

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if operation.security:
            if headers.get("X-Odoo-Database", DATABASE) != DATABASE:
                raise Refused(Reply("<h1>Not Found</h1>", 404))
            if bearer(headers) != API_KEY:
                raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "odoo.exceptions.AccessDenied")

    def failure(self, status: int, reason: str) -> Reply:
        """``reason``: the name of an exception, and its text after a blank."""
        name, _, text = reason.partition(" ")
        return Reply({"name": name, "message": text, "arguments": [text], "context": {}}, status)

    def _raise(self, name: str, text: str) -> Any:
        self.refuse(_STATUSES[name], f"{name} {text}")

    def _missing(self, model: str, number: object) -> Any:
        text = "Record does not exist or has been deleted."
        self._raise("odoo.exceptions.MissingError", f"{text}\n(Record: {model}({number},), User: {USER})")

    def meant(self, operation: Operation, body: Any) -> str:
        if operation.id == "json_rpc" and isinstance(body, dict):
            model, method = ([*body["params"].get("args", []), *[""] * 5])[3:5]
            return self._called(str(model), str(method)) or operation.id
        return operation.id

    def _called(self, model: str, method: str) -> str | None:
        at = f"POST /json/2/{model}/{method}"
        return next((name for name, route in self.routes.items() if route.at == at), None)

    def json_rpc(self, call: Call) -> Reply:
        try:
            told: Row = {"result": self._execute(call)}
        except Refused as refused:
            told = {"error": {"code": 200, "message": "Odoo Server Error", "data": refused.reply.body}}
        return Reply({"jsonrpc": "2.0", "id": call.body.get("id"), **told})

    def _execute(self, call: Call) -> Any:
        given = call.body["params"]
        if given["service"] == "common" and given["method"] in ("login", "authenticate"):
            return USER if given["args"][0] == DATABASE and given["args"][2] == API_KEY else False
        database, user, key, model, method, args, *named = given["args"]
        if database != DATABASE:
            self._raise("psycopg2.OperationalError", f'database "{database}" does not exist')
        if user != USER:
            self._missing("res.users", user)
        if key != API_KEY:
            raise Refused(self.unauthorized())
        name = self._called(model, method)
        if name is None:
            self._raise("odoo.exceptions.UserError", f"Object {model} doesn't exist")
        operation = self.specification.operations[str(name)]
        parameters = [word.rstrip("!") for word in (self.routes[str(name)].json or "").split()]
        body = {**dict(zip(parameters, args, strict=False)), **(named[0] if named else {})}
        answer = self.handlers[operation.id](dataclasses.replace(call, operation=operation, body=body))
        return answer.body

    # -- contacts --------------------------------------------------------------------------------------

    def contacts(self, call: Call) -> Reply:
        return self._search(call.body, [self._contact(member) for member in self.shop.members.values()])

    def contact_create(self, call: Call) -> Reply:
        made = []
        for values in call.body["vals_list"]:
            member = self.shop.add()
            self._set(member, values)
            self.record(call, "users.register", customer=str(member.id))
            made.append(member.id)
        return Reply(made)

    def contact_write(self, call: Call) -> Reply:
        for number in call.body["ids"]:
            member = self.shop.by_id(number) or self._missing("res.partner", number)
            self._set(member, call.body["vals"])
            kind = "users.set_card" if "barcode" in call.body["vals"] else "users.update"
            self.record(call, kind, customer=str(number))
        return Reply(True)

    def _set(self, member: Member, values: Row) -> None:
        if unknown := set(values) - {*_FIELDS, "name", "barcode"}:
            self.refuse(500, f"builtins.ValueError Invalid field {unknown.pop()!r} on model 'res.partner'")
        member.take(values, _FIELDS)
        if "name" in values:
            words = [*str(values["name"]).split(" ", 2), None, None, None]
            member.last_name, member.first_name, member.patronymic = words[:3]
        if "barcode" in values:
            others = self.shop.find(
                lambda one: one is not member and one.more.get("card") == values["barcode"]
            )
            if others:
                text = "Another partner already has this barcode"
                self.refuse(422, f"odoo.exceptions.ValidationError {text}")
            member.more["card"] = values["barcode"]

    @staticmethod
    def _contact(member: Member) -> Row:
        return {
            "id": member.id,
            "name": " ".join(filter(None, (member.last_name, member.first_name, member.patronymic))) or False,
            **{name: value or False for name, value in member.told(_FIELDS).items()},
            "phone_sanitized": member.phone or False,
            "email_normalized": (member.email or "").lower() or False,
            "barcode": member.more.get("card", False),
            "active": not member.more.get("archived", False),
        }

    # -- orders and points -----------------------------------------------------------------------------

    def orders(self, call: Call) -> Reply:
        return self._search(call.body, self._orders)

    def order_create(self, call: Call) -> Reply:
        made = []
        for values in call.body["vals_list"]:
            contact, lines = values["partner_id"], [line for _, _, line in values["order_line"]]
            member = self.shop.by_id(contact) or self._missing("res.partner", contact)
            for line in lines:
                if line["product_id"] != PRODUCT:
                    self._missing("product.product", line["product_id"])
            total = sum(Decimal(str(line["price_unit"])) * line["product_uom_qty"] for line in lines)
            order = {
                "id": self.shop.number(),
                "client_order_ref": values.get("client_order_ref", False),
                "state": "draft",
                "partner_id": [contact, self._contact(member)["name"]],
                "amount_total": total,
            }
            self._orders.append(order)
            made.append(order["id"])
        return Reply(made)

    def order_confirm(self, call: Call) -> Reply:
        orders = [order for order in self._orders if order["id"] in call.body["ids"]]
        if any(order["state"] != "draft" for order in orders):
            text = "Some orders are not in a state requiring confirmation."
            self._raise("odoo.exceptions.UserError", text)
        for order in orders:
            self.confirm(order)
            key, member = order["client_order_ref"], order["partner_id"][0]
            points = order["issued"]
            self.record(call, "points.credit", customer=str(member), amount=points, reference=key or None)
        return Reply(True)

    def confirm(self, order: Row) -> None:
        """Confirm an order: the programme gives its points."""
        points = (order["amount_total"] * self.rate).quantize(Decimal("0.01"), ROUND_DOWN)
        order |= {"state": "sale", "issued": points}
        member = self.shop.members[order["partner_id"][0]]
        self.shop.give(member, points, f"Order S{order['id']:05d}", str(order["id"]))

    def repeat(self, key: str) -> None:
        """The order under this key once more, as if a second one had been made and confirmed."""
        order = next(one for one in self._orders if one["client_order_ref"] == key)
        self._orders.append(again := {**order, "id": self.shop.number()})
        self.confirm(again)

    def cards(self, call: Call) -> Reply:
        rows = [
            {"id": member.id, "partner_id": member.id, "program_id": PROGRAM, "points": member.points}
            for member in self.shop.members.values()
            if member.moves
        ]
        return self._search(call.body, rows)

    def history(self, call: Call) -> Reply:
        rows = [
            {
                "id": move.id,
                "card_id.partner_id": member.id,
                "card_id.program_id": PROGRAM,
                "order_model": "sale.order" if move.key else False,
                "order_id": int(move.key) if move.key else False,
                "issued": max(move.points, Decimal(0)),
                "used": max(-move.points, Decimal(0)),
                "description": move.text,
                "create_date": f"{move.at:%Y-%m-%d %H:%M:%S}",
            }
            for member in self.shop.members.values()
            for move in member.moves
        ]
        return self._search(call.body, rows)

    def programs(self, call: Call) -> Reply:
        return self._search(call.body, [{"id": PROGRAM, "program_type": "loyalty"}])

    def products(self, call: Call) -> Reply:
        return self._search(call.body, [{"id": PRODUCT, "type": "service"}])

    # -- search_read -----------------------------------------------------------------------------------

    def _search(self, asked: Row, rows: Sequence[Row]) -> Reply:
        """Leaves of a domain hold together, or any of them after a "|"; relations are compared by number."""
        domain = list(asked.get("domain") or [])
        join: Callable[[Any], bool] = any if domain[:1] == ["|"] else all
        leaves = [leaf for leaf in domain if leaf != "|"]
        if not any(leaf[0] == "active" for leaf in leaves):
            rows = [row for row in rows if row.get("active", True)]
        found = [row for row in rows if not leaves or join(self._holds(row, *leaf) for leaf in leaves)]
        word, _, way = (asked.get("order") or "id").partition(" ")
        found.sort(key=lambda row: row[word], reverse=way == "desc")
        start, limit = int(asked.get("offset") or 0), asked.get("limit")
        part = found[start : None if limit is None else start + int(limit)]
        fields = ["id", *(asked.get("fields") or [])]
        return Reply([{name: self._member(row, name) for name in fields} for row in part])

    def _holds(self, row: Row, name: str, how: str, value: Any) -> bool:
        kept = self._member(row, name)
        kept = kept[0] if isinstance(kept, list) else kept
        if how not in ("=", "!=", "in"):
            self.refuse(500, f"builtins.ValueError Invalid operator {how}")
        return kept in value if how == "in" else (kept == value) == (how == "=")

    def _member(self, row: Row, name: str) -> Any:
        if name not in row:
            self.refuse(500, f"builtins.ValueError Invalid field {name!r}")
        return row[name]


application = Odoo.application
