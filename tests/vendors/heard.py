"""What a stand-in has heard, call by call, whoever called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from contracts.sandbox.server import Call, Handler, Reply, StandIn

Heard = tuple[str, Mapping[str, Any], Mapping[str, Any], Any]
"""Operation, path, query, body; what was not given is left out, JSON texts in forms are read."""


def listening(stand_in: StandIn) -> list[Heard]:
    """A list to which each call is added from now on."""
    heard: list[Heard] = []

    def noting(handler: Handler) -> Handler:
        def noted(call: Call) -> Reply:
            query = {name: value for name, value in call.query.items() if value is not None}
            heard.append((call.operation.id, dict(call.path), query, _read(call.body)))
            return handler(call)

        return noted

    stand_in.handlers = {name: noting(handler) for name, handler in stand_in.handlers.items()}
    return heard


def _read(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {name: _json(value) for name, value in body.items()}


def _json(value: Any) -> Any:
    if isinstance(value, str) and value[:1] == "{":
        return json.loads(value)
    return value
