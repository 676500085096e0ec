"""Small connectors for the tests, and drivers over prepared answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from crm_backends.conformance import context
from crm_backends.connector.reading import Loaded, read_text
from crm_backends.connector.recorded import Replay, answer_of
from crm_backends.connector.spec import make_spec
from crm_backends.http.wire import Answer
from crm_backends.ports import Deadline

FILE = "crm.yaml"
HEAD = """\
connector: 1
name: crm
title: "A CRM of the tests"
doubts: {doubts}
check:
  steps: [{{get: /ping}}]
"""
NOTHING = {
    "users": '  users: {unsupported: "no people here"}\n',
    "points": '  points: {unsupported: "no points here"}\n',
    "coupons": '  coupons: {unsupported: "no coupons here"}\n',
}
REST = {
    "users.find": "",
    "users.get": "",
    "users.register": "",
    "users.update": "",
    "users.set_consents": "",
    "users.list_phones": "",
    "points.account": "  points.account: {result: {id: input.customer}}\n",
    "points.balance": "",
    "points.entries": "",
    "points.purchases": "",
    "points.credit": "",
    "coupons.account": "  coupons.account: {result: {id: input.customer}}\n",
    "coupons.offers": "",
    "coupons.issue": "",
    "coupons.redeem": "",
}


def connector(operations: str, more: str = "", *, doubts: str = "manual") -> str:
    """The text of a connector with these operations; the rest of their ports cannot be done."""
    text = HEAD.format(doubts=doubts) + more + "operations:\n" + operations
    for port, nothing in NOTHING.items():
        if f"  {port}." not in operations:
            text += nothing
            continue
        for name, otherwise in REST.items():
            if name.startswith(port) and f"  {name}:" not in operations:
                text += otherwise or f'  {name}: {{unsupported: "not in this test"}}\n'
    return text


def loaded(operations: str, more: str = "", *, doubts: str = "manual") -> Loaded:
    return read_text(connector(operations, more, doubts=doubts), FILE)


def answer(value: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return answer_of(status, value, None, headers or {})


@dataclass
class Played:
    """A driver, and what it sent."""

    backend: Any
    replay: Replay

    @property
    def sent(self) -> list[str]:
        """Method and path of each call."""
        return [f"{one.method} {one.path}" for one in self.replay.sent]


@asynccontextmanager
async def played(
    operations: str, *answers: Answer, more: str = "", doubts: str = "manual", **settings: Any
) -> AsyncIterator[Played]:
    """A connector's driver over these answers."""
    spec = make_spec(loaded(operations, more, doubts=doubts))
    values = {"base_url": "https://crm.example", "attempts": 1, **settings}
    backend: Any = spec.build(spec.settings.model_validate(values), context())
    replay = Replay(answers)
    backend.replace_wire(lambda settings: replay)
    await backend.open()
    try:
        yield Played(backend, replay)
    finally:
        await backend.close()


def soon() -> Deadline:
    return Deadline.after(5)
