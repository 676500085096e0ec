"""A stand-in that shows the shop in one CRM's words: a table of its calls, and a method for each.

A call with a query parameter, a form field or a JSON member that the table does not name is a mistake, as is
one without what it needs. It may not know any CRM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from aiohttp import web
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict

from contracts.crm import Operation, Parameter, Specification
from contracts.sandbox.server import Handler, Server, StandIn, Switches
from contracts.sandbox.shop import Member, Shop

_KINDS = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. Names end in ! where they have to be there."""

    at: str
    """``GET /customers/{id}``; after a question mark a part of the query that tells this call from others."""
    query: str = ""
    form: str | None = None
    json: str | None = None
    about: str = ""
    open: bool = field(default=False)
    """Whether it needs no credentials."""

    def operation(self, name: str) -> Operation:
        method, address = self.at.split(" ")
        path, _, fixed = address.partition("?")
        told = dict(parse_qsl(fixed))
        parameters = [_parameter(one, "query") for one in (*told, *self.query.split())]
        parameters += [_parameter(f"{one}!", "path") for one in _in_braces(path)]
        bodies = {
            _KINDS[kind]: Draft202012Validator(_members(names))
            for kind, names in (("form", self.form), ("json", self.json))
            if names is not None
        }
        return Operation(
            id=name,
            method=method,
            path=path,
            fixed_query=told,
            evidence="documentation",
            summary=self.about,
            security=() if self.open else (frozenset({"key"}),),
            parameters=tuple(parameters),
            body_required=any("!" in (names or "") for names in (self.form, self.json)),
            bodies=bodies,
            replies={},
            variants={},
            closed=True,
        )


def _parameter(name: str, place: str) -> Parameter:
    schema: dict[str, Any] = {"type": "string"}
    return Parameter(name.rstrip("!"), place, name.endswith("!"), schema, Draft202012Validator(schema))


def _in_braces(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _members(names: str) -> dict[str, Any]:
    words = names.split()
    return {
        "type": "object",
        "properties": {word.rstrip("!"): True for word in words},
        "required": [word[:-1] for word in words if word.endswith("!")],
        "additionalProperties": False,
    }


class NewMember(BaseModel):
    """What ``add_customer`` takes: fields of ``Member``."""

    model_config = ConfigDict(extra="forbid")

    phone: str | None = None
    email: str | None = None
    first_name: str | None = None
    patronymic: str | None = None
    last_name: str | None = None
    birth_date: Any = None
    sex: str | None = None
    city: str | None = None
    more: dict[str, Any] = {}


class Skin(StandIn):
    """Base of the stand-ins over one shop."""

    routes: ClassVar[Mapping[str, Route]]
    """By the name of the method that answers."""
    takes: ClassVar[type[Switches]] = Switches
    """What it can be switched to; none by default."""
    shop: Shop

    def __init__(self, switches: Switches | None = None) -> None:
        super().__init__(switches or Switches())

    def describe(self) -> Specification:
        operations = {name: route.operation(name) for name, route in self.routes.items()}
        return Specification(self.name, {}, operations)

    def operations(self) -> Mapping[str, Handler]:
        return {name: getattr(self, name) for name in self.routes}

    def populate(self) -> None:
        self.shop = Shop()
        for member in self.shop.members.values():
            self.joined(member)

    def only(self, wanted: Callable[[Member], bool], status: int, reason: str) -> Member:
        """The oldest customer who fits; where there is none the call is refused."""
        found = self.shop.find(wanted)
        return found[0] if found else self.refuse(status, reason)

    @classmethod
    def application(cls, **switches: Any) -> web.Application:
        """The server; ``switches`` are those of ``takes``, a wrong one raises ``ValueError``."""
        return Server(cls(cls.takes(**switches))).application()

    def joined(self, member: Member) -> None:
        """What this CRM keeps of a customer besides; called for each."""

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer with the fields of ``NewMember``."""
        member = self.shop.add(**NewMember.model_validate(values).model_dump(exclude_none=True))
        self.joined(member)
        return {"id": member.id, "phone": member.phone}
