"""The JSON schema of connectors' files, for editors: it refuses nothing that the engine takes.

A file that ``extends`` another says only what differs, so nothing is needed in it, and ``null`` takes
something away. It may not know what a value means.
"""

from __future__ import annotations

from typing import Any

from crm_backends.connector.language import Connector

_DEFINED = "#/$defs/"
_CHANGED = "Change of "


def json_schema() -> dict[str, Any]:
    """The schema, as plain JSON."""
    whole = Connector.model_json_schema(by_alias=True)
    defined = whole.pop("$defs")
    defined["Change"] = _loose(whole)
    changed = {_CHANGED + name: _loose(part) for name, part in defined.items() if name != "Change"}
    needed = whole.pop("required")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A connector of koshelek-adapter",
        "type": "object",
        "properties": dict.fromkeys(whole["properties"], True),
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"$ref": f"{_DEFINED}Change"},
        "else": {**whole, "required": needed},
        "$defs": {**defined, **changed},
    }


def _loose(part: Any) -> Any:
    """A part of the schema in which nothing is needed, and each member may be ``null``."""
    if isinstance(part, list):
        return [_loose(one) for one in part]
    if not isinstance(part, dict):
        return part
    loose = {}
    for name, value in part.items():
        if name == "properties":
            loose[name] = {member: _or_null(_loose(inner)) for member, inner in value.items()}
        elif name == "patternProperties":
            loose[name] = {pattern: _or_null(_loose(inner)) for pattern, inner in value.items()}
        elif name == "additionalProperties" and isinstance(value, dict):
            loose[name] = _or_null(_loose(value))
        elif name == "$ref":
            loose[name] = value.replace(_DEFINED, _DEFINED + _CHANGED)
        elif name != "required":
            loose[name] = _loose(value)
    return loose


def _or_null(part: Any) -> dict[str, Any]:
    return {"anyOf": [part, {"type": "null"}]}
