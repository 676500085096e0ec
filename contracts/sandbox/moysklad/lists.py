"""Lists of МойСклад, which filters narrow, and how its API refers to what is in them."""

from __future__ import annotations

import re
from typing import Any

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.skin import Skin

ENTITIES = "https://api.moysklad.ru/api/remap/1.2/entity"


def meta_of(kind: str, of: str | None = None) -> Row:
    """How the API refers to one entity, or to the list of a kind."""
    href = f"{ENTITIES}/{kind}" if of is None else f"{ENTITIES}/{kind}/{of}"
    return {"href": href, "type": kind, "mediaType": "application/json"}


class Lists(Skin):
    """Base of the kinds of entities."""

    def listed(self, call: Call, kind: str, rows: list[Row], keys: set[str]) -> Reply:
        """What ``filter`` asks for by these keys: equal, or ``~`` for a part of the text; ``;`` joins."""
        for part in filter(None, (call.query["filter"] or "").split(";")):
            match = re.fullmatch(r"(\w+)([~=])(.*)", part)
            if match is None or match[1] not in keys:
                self.refuse(412, "1034")
            key, how, text = match.groups()
            told = [(_in_filters(row.get(key, "")), row) for row in rows]
            rows = [row for value, row in told if value == text or (how == "~" and text in value)]
        limit, offset = int(call.query["limit"] or 1000), int(call.query["offset"] or 0)
        meta = {**meta_of(kind), "size": len(rows), "limit": limit, "offset": offset}
        return Reply({"meta": meta, "rows": rows[offset : offset + limit]})


def _in_filters(value: Any) -> str:
    """A value as filters write it; of an entity its address."""
    if isinstance(value, dict):
        return str(value["meta"]["href"])
    return str(value).lower() if isinstance(value, bool) else str(value)
