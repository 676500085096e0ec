"""What all models of Odoo have in common: who may read and write, how they are searched, how they refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from contracts.crm import Operation
from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Refused, Reply, bearer
from contracts.sandbox.skin import Skin

DATABASE, USER, API_KEY = "shop", 7, "odoo-sandbox-key"
_STATUSES = {
    "odoo.exceptions.MissingError": 404,
    "odoo.exceptions.UserError": 422,
    "odoo.exceptions.ValidationError": 422,
    "odoo.exceptions.AccessDenied": 401,
    "psycopg2.OperationalError": 404,
    "builtins.ValueError": 500,
}
"""Of errors by ``/json/2``; by JSON-RPC all of them are 200."""


class Records(Skin):
    """Base of the models; an error is told by the name of an exception of Odoo's."""

    denied = (401, "odoo.exceptions.AccessDenied")

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return bearer(headers) == API_KEY

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("X-Odoo-Database", DATABASE) != DATABASE:
            raise Refused(Reply("<h1>Not Found</h1>", 404))
        super().authorize(operation, headers)

    def failure(self, status: int, reason: str) -> Reply:
        """``reason``: the name of an exception, and its text after a blank."""
        name, _, text = reason.partition(" ")
        return Reply({"name": name, "message": text, "arguments": [text], "context": {}}, status)

    def raise_error(self, name: str, text: str) -> NoReturn:
        """Refuse the call as this exception of Odoo's does."""
        self.refuse(_STATUSES[name], f"{name} {text}")

    def missing(self, model: str, number: object) -> NoReturn:
        """Refuse the call, for there is no such record."""
        text = "Record does not exist or has been deleted."
        self.raise_error(
            "odoo.exceptions.MissingError", f"{text}\n(Record: {model}({number},), User: {USER})"
        )

    def search(self, call: Call, rows: Sequence[Row]) -> Reply:
        """``search_read``: leaves of a domain hold together, or any of them after a "|".

        Relations are compared by number; what is archived is found only by who asks for it.
        """
        asked = call.body
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
        return Reply([{name: self._value(row, name) for name in fields} for row in part])

    def _holds(self, row: Row, name: str, how: str, value: Any) -> bool:
        kept = self._value(row, name)
        kept = kept[0] if isinstance(kept, list) else kept
        if how not in ("=", "!=", "in"):
            self.raise_error("builtins.ValueError", f"Invalid operator {how}")
        return kept in value if how == "in" else (kept == value) == (how == "=")

    def _value(self, row: Row, name: str) -> Any:
        if name not in row:
            self.raise_error("builtins.ValueError", f"Invalid field {name!r}")
        return row[name]
