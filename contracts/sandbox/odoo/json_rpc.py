"""JSON-RPC of Odoo 18: one address for all calls; model, method and credentials are in the body."""

from __future__ import annotations

import dataclasses
from typing import Any

from contracts.crm import Operation
from contracts.sandbox.fields import Row
from contracts.sandbox.odoo.records import API_KEY, DATABASE, USER, Records
from contracts.sandbox.server import Call, Refused, Reply


class JsonRpc(Records):
    """Does what the operation of ``/json/2`` for the same method of the same model does."""

    def meant(self, operation: Operation, body: Any) -> str:
        if operation.id == "json_rpc" and isinstance(body, dict):
            model, method = ([*body["params"].get("args", []), *[""] * 5])[3:5]
            return self._operation_for(str(model), str(method)) or operation.id
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
        given = call.body["params"]
        if given["service"] == "common" and given["method"] in ("login", "authenticate"):
            return USER if given["args"][0] == DATABASE and given["args"][2] == API_KEY else False
        database, user, key, model, method, args, *named = given["args"]
        if database != DATABASE:
            self.raise_error("psycopg2.OperationalError", f'database "{database}" does not exist')
        if user != USER:
            self.missing("res.users", user)
        if key != API_KEY:
            raise Refused(self.unauthorized())
        name = self._operation_for(model, method)
        if name is None:
            self.raise_error("odoo.exceptions.UserError", f"Object {model} doesn't exist")
        parameters = [word.rstrip("!") for word in (self.routes[name].json or "").split()]
        body = {**dict(zip(parameters, args, strict=False)), **(named[0] if named else {})}
        operation = self.specification.operations[name]
        return self.handlers[name](dataclasses.replace(call, operation=operation, body=body)).body
