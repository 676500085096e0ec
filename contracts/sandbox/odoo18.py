"""Stand-in for Odoo 18: the same as ``odoo``, called by JSON-RPC.

All calls go to one address. Model, method and credentials are in the body, and an error is inside a 200.
It may not know any client.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox import odoo
from contracts.sandbox.fields import Row
from contracts.sandbox.odoo import API_KEY, DATABASE, USER, Odoo
from contracts.sandbox.server import Call, Refused, Reply
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Route, to_be_shown

SETTINGS = {"odoo": {**odoo.SETTINGS["odoo19"], "user_id": USER}}
"""See ``contracts.sandbox.CONNECTORS``."""


class Odoo18(Odoo):
    """What a call asks for is done by the operation for the same method of the same model."""

    title = "Odoo 18 (contacts and a loyalty programme)"
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
        "json_rpc": Route("POST /jsonrpc", json="jsonrpc method! params! id", open=True),
        **Odoo.routes,
    }

    def meant(self, operation: Operation, body: Any) -> str:
        if operation.id != "json_rpc" or not isinstance(body, dict):
            return operation.id
        model, method = ([*body["params"].get("args", []), *[""] * 5])[3:5]
        at = f"POST /json/2/{model}/{method}"
        return next((name for name, route in self.routes.items() if route.at == at), operation.id)

    def json_rpc(self, call: Call) -> Reply:
        try:
            told: Row = {"result": self._execute(call)}
        except Refused as refused:
            told = {"error": {"code": 200, "message": "Odoo Server Error", "data": refused.reply.body}}
        return Reply({"jsonrpc": "2.0", "id": call.body.get("id"), **told})

    def _execute(self, call: Call) -> Any:
        database, user, key, model, _, args, *named = call.body["params"]["args"]
        if database != DATABASE:
            self.refuse(404, f'psycopg2.OperationalError database "{database}" does not exist')
        self.existing("res.users", {USER: True}, user)
        if key != API_KEY:
            self.refuse(401, "odoo.exceptions.AccessDenied Access Denied")
        name = self.meant(call.operation, call.body)
        if name == call.operation.id:
            self.refuse(422, f"odoo.exceptions.UserError Object {model} doesn't exist")
        parameters = [word.rstrip("!") for word in (self.routes[name].json or "").split()]
        body = {**dict(zip(parameters, args, strict=False)), **(named[0] if named else {})}
        operation = self.specification.operations[name]
        return self.handlers[name](dataclasses.replace(call, operation=operation, body=body)).body

    # -- what Odoo 19 does otherwise -------------------------------------------------------------------

    def contact(self, member: Member) -> Row:
        """A mobile number, which Odoo 19 does not keep, is read first."""
        told = super().contact(member)
        return {**told, "phone_sanitized": member.more.get("mobile") or told["phone"]}

    def order_confirm(self, call: Call) -> Reply:
        """There is no notice."""
        super().order_confirm(call)
        return Reply(True)


application = Odoo18.application
