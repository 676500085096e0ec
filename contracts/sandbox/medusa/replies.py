"""How Medusa answers: with the fields that are asked for, in the order and on the page that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Reply


def page(
    call: Call,
    name: str,
    rows: list[Row],
    keys: tuple[str, ...] = (),
    *,
    limit: int,
    always: tuple[str, ...] = (),
) -> Reply:
    """The rows that agree with these parameters of the query, as many as it wants and in its order."""
    rows = [row for row in rows if all(call.query[key] in (None, row[key]) for key in keys)]
    order = call.query["order"] or "created_at"
    by: Callable[[Row], Any] = lambda row: row[order.lstrip("-")]  # noqa: E731
    rows = sorted(rows, key=by, reverse=order[0] == "-")
    first, most = int(call.query["offset"] or 0), int(call.query["limit"] or limit)
    part = [_chosen(call, row, always) for row in rows[first : first + most]]
    return Reply({name: part, "count": len(rows), "offset": first, "limit": most})


def only(call: Call, name: str, row: Row) -> Reply:
    """One row."""
    return Reply({name: _chosen(call, row, ())})


def _chosen(call: Call, row: Row, always: tuple[str, ...]) -> Row:
    fields = call.query.get("fields")
    return {name: row[name] for name in (*fields.split(","), *always)} if fields else row
