"""The calls of a vendor's client and of our connector, as one stand-in after the other hears them.

It may not know any CRM: what the two do and how far their calls are alike is said in each vendor's test.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.sandbox import Sandbox, running
from contracts.sandbox.server import Call, Handler, Reply, StandIn
from crm_backends import registry
from crm_backends.conformance import context

Heard = tuple[str, Mapping[str, Any], Mapping[str, Any], Any]
"""Operation, path, query, body; what was not given is left out, JSON texts in forms are read."""


@dataclass(frozen=True)
class Recording:
    """What one caller has asked of a stand-in; the stand-in does not answer any more."""

    heard: list[Heard]
    sandbox: Sandbox


async def both(
    crm: str,
    settings: Mapping[str, object],
    theirs: Callable[[str], Awaitable[object]],
    ours: Callable[[Any], Awaitable[object]],
    *,
    path: str = "",
    prepare: Callable[[Any], object] = lambda stand_in: None,
) -> tuple[Recording, Recording]:
    """Recordings of the vendor's client and of our connector, each before a stand-in of its own.

    ``theirs`` is given the stand-in's address, ``ours`` the open connector, whose settings are ``settings``
    and the address with ``path`` below it. ``prepare`` is given each stand-in before anybody calls. Nobody
    makes a call that the CRM's description forbids.
    """

    async def through_the_connector(address: str) -> None:
        spec = registry.load(crm)
        given = spec.settings.model_validate({"base_url": address + path, **settings})
        backend: Any = spec.build(given, context())
        await backend.open()
        try:
            await ours(backend)
        finally:
            await backend.close()

    async def recorded(act: Callable[[str], Awaitable[object]]) -> Recording:
        async with running(crm) as sandbox:
            prepare(sandbox.stand_in)
            recording = Recording(_listening(sandbox.stand_in), sandbox)
            await act(sandbox.base_url)
        assert sandbox.ledger().invalid_calls == []
        return recording

    return await recorded(theirs), await recorded(through_the_connector)


def _listening(stand_in: StandIn) -> list[Heard]:
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
