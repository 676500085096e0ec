"""Stand-in for Odoo 19: contacts, sales orders and the points of one loyalty programme, by ``/json/2``.

Facts: Odoo 18 and 19, seen running from their public source on 2026-11-26 (texts of errors, statuses, what an
order gives). It may not know any client, nor how other versions are called.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit`` (an order was confirmed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from itertools import accumulate
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.fields import BIRTH_DATE as ISO_DATE
from contracts.sandbox.fields import Fields, Row
from contracts.sandbox.odoo_search import search_read
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
_RECORDS = {"program": PROGRAM, "product": PRODUCT, "birth_date_field": BIRTH_DATE}
SETTINGS = {"odoo19": {"database": DATABASE, "api_key": API_KEY, **_RECORDS}}
"""See ``contracts.sandbox.CONNECTORS``."""
_CONTACT: Fields = {"name": "name", "phone": "phone", "email": "email", "city": "city", "barcode": "card"}
_SEARCH = "domain fields offset limit order"
_NOTICE = {"type": "ir.actions.client", "tag": "display_notification"}
"""What is answered in the place of true where an order is confirmed and there are points for a reward."""


class Odoo(Skin):
    """Each operation is a method of a model; what makes or changes records is asked for one at a time."""

    name = "odoo"
    title = "Odoo 19 (contacts and a loyalty programme)"
    invalid_status = 422
    denied = (401, "werkzeug.exceptions.Unauthorized Invalid apikey")
    sent: ClassVar[Mapping[str, str]] = {"Authorization": f"Bearer {API_KEY}"}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
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
    fields: ClassVar[Fields] = {**_CONTACT, BIRTH_DATE: ISO_DATE}
    rate = Decimal("0.05")
    """Points for a rouble, by the programme's rule."""

    def populate(self) -> None:
        self.orders_kept: list[Row] = []
        self.rights = {ALL_DOCUMENTS, CONTACT_CREATION}
        super().populate()

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("X-Odoo-Database", DATABASE) != DATABASE:
            raise Refused(Reply("<h1>Not Found</h1>", 404))
        super().authorize(operation, headers)

    def failure(self, status: int, reason: str) -> Reply:
        """``reason``: the name of an exception, and its text after a blank."""
        name, _, text = reason.partition(" ")
        return Reply({"name": name, "message": text, "arguments": [text], "context": {}}, status)

    def existing(self, model: str, kept: Mapping[int, Any], number: int) -> Any:
        """What has this number; where there is nothing the call is refused."""
        if number in kept:
            return kept[number]
        record = f"(Record: {model}({number},), User: {USER})"
        self.refuse(404, f"odoo.exceptions.MissingError Record does not exist or has been deleted.\n{record}")

    def _search(self, call: Call, rows: Sequence[Row]) -> Reply:
        try:
            return Reply(search_read(rows, call.body))
        except ValueError as error:
            self.refuse(500, f"builtins.ValueError {error}")

    # -- contacts: a name is one text, surname first ---------------------------------------------------

    def contacts(self, call: Call) -> Reply:
        return self._search(call, [self.contact(member) for member in self.shop.members.values()])

    def contact(self, member: Member) -> Row:
        """A customer as Odoo's record; what is not known is ``False``."""
        told = {
            "id": member.id,
            **member.told(self.fields),
            "name": member.more.get("name") or member.full_name("last_name", "first_name", "patronymic"),
            "phone_sanitized": member.phone,
            "email_normalized": (member.email or "").lower(),
            "active": not member.more.get("archived"),
        }
        return {name: value or False for name, value in told.items()}

    def contact_create(self, call: Call) -> Reply:
        (values,) = call.body["vals_list"]
        if not values.get("name"):
            self.refuse(422, "odoo.exceptions.ValidationError Contacts require a name")
        return Reply([self._write(call, self.shop.add(), values, "users.register").id])

    def contact_write(self, call: Call) -> Reply:
        (number,), values = call.body["ids"], call.body["vals"]
        member = self.existing("res.partner", self.shop.members, number)
        self._write(call, member, values, "users.set_card" if "barcode" in values else "users.update")
        return Reply(True)

    def _write(self, call: Call, member: Member, values: Row, kind: str) -> Member:
        card = values.get("barcode")
        if card and self.shop.first(lambda one: one is not member and one.more.get("card") == card):
            self.refuse(422, "odoo.exceptions.ValidationError Another partner already has this barcode")
        if unknown := set(values) - set(self.fields):
            self.refuse(500, f"builtins.ValueError Invalid field {unknown.pop()!r} on model 'res.partner'")
        try:
            return self.edit(call, member, {name: value or None for name, value in values.items()}, kind)
        except ValueError as error:  # of a birth date that no calendar has
            self.refuse(500, f"builtins.ValueError {error}")

    # -- orders: a draft gives nothing; confirmed, it gives once ---------------------------------------

    def orders(self, call: Call) -> Reply:
        """Somebody without the right to all documents sees their own, and those of nobody."""
        everybodys, own = ALL_DOCUMENTS in self.rights, (False, USER)
        return self._search(call, [one for one in self.orders_kept if everybodys or one["user_id"] in own])

    def order_create(self, call: Call) -> Reply:
        (values,) = call.body["vals_list"]
        member = self.existing("res.partner", self.shop.members, values["partner_id"])
        lines = [line for _, _, line in values["order_line"]]
        for line in lines:
            self.existing("product.product", {PRODUCT: line}, line["product_id"])
        order = {
            "id": self.shop.number(),
            "client_order_ref": values.get("client_order_ref", False),
            "state": "draft",
            "user_id": values.get("user_id", USER),
            "partner_id": [member.id, self.contact(member)["name"]],
            "amount_total": sum(Decimal(str(line["price_unit"])) * line["product_uom_qty"] for line in lines),
        }
        self.orders_kept.append(order)
        return Reply([order["id"]])

    def order_confirm(self, call: Call) -> Reply:
        (number,) = call.body["ids"]
        order = self.existing("sale.order", {one["id"]: one for one in self.orders_kept}, number)
        if order["state"] != "draft":
            text = "Some orders are not in a state requiring confirmation."
            self.refuse(422, f"odoo.exceptions.UserError {text}")
        order["state"] = "sale"
        member, key = self.shop.members[order["partner_id"][0]], order["client_order_ref"] or None
        points = (order["amount_total"] * self.rate).quantize(Decimal("0.01"), ROUND_DOWN)
        self.shop.give(member, points, f"Order S{number:05d}", str(number))
        self.record(call, "points.credit", customer=str(member.id), amount=points, reference=key)
        return Reply(_NOTICE if member.points >= REWARD else True)

    # -- the programme, and the user -------------------------------------------------------------------

    def cards(self, call: Call) -> Reply:
        """Points are added up one after the other in binary fractions, as Odoo keeps them."""
        rows = [
            {"id": one.id, "partner_id": one.id, "program_id": PROGRAM, "points": held}
            for one in self.shop.members.values()
            for held in [*accumulate(float(move.points) for move in one.moves)][-1:]
        ]
        return self._search(call, rows)

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
