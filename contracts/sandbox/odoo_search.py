"""How Odoo searches among the records of a model. It may not know what models there are, nor who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq, ne
from typing import Any

from contracts.sandbox.fields import Row

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {"=": eq, "!=": ne, "in": lambda one, of: one in of}


def search_read(rows: Sequence[Row], asked: Mapping[str, Any]) -> list[Row]:
    """The records that fit, with the fields that are asked for; ``ValueError`` as Odoo raises it.

    All leaves of a domain have to hold; after a ``|`` one of its two is enough. What is in the archive is
    found where a leaf is about ``active``.
    """
    asked = {"domain": [], "fields": [], "order": "id", "offset": 0, "limit": None, **asked}
    leaves = [leaf for leaf in asked["domain"] if leaf != "|"]
    if not any(leaf[0] == "active" for leaf in leaves):
        rows = [row for row in rows if row.get("active", True)]
    join = any if "|" in asked["domain"] else all
    found = [row for row in rows if join(_holds(row, *leaf) for leaf in leaves)]
    word, _, way = asked["order"].partition(" ")
    found.sort(key=lambda row: _value(row, word), reverse=way == "desc")
    part = found[asked["offset"] :][: asked["limit"]]
    return [{name: _value(row, name) for name in ["id", *asked["fields"]]} for row in part]


def _holds(row: Row, name: str, how: str, wanted: Any) -> bool:
    if how not in _OPERATORS:
        raise ValueError(f"Invalid operator {how}")
    return _OPERATORS[how](_value(row, name), wanted)


def _value(row: Row, name: str) -> Any:
    if name not in row:
        raise ValueError(f"Invalid field {name!r}")
    return row[name]
