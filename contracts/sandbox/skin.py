"""A stand-in that shows the shop in one CRM's words: a table of its calls, and a method for each.

A call with a query parameter, a form field or a JSON member that the table does not name is a mistake, as is
one without what it needs. It may not know any CRM.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict

from contracts.crm import Operation, Parameter, Specification
from contracts.sandbox.fields import Fields, Row, present
from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Call, Handler, Refused, Reply, StandIn
from contracts.sandbox.shop import Member, Move, Shop

_KINDS = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. Names end in ! where they have to be there."""

    at: str
    """``GET /customers/{id}``, below the skin's ``base``; after a question mark a part of the query that
    tells this call from others."""
    query: str = ""
    form: str | None = None
    json: str | None = None
    about: str = ""
    open: bool = field(default=False)
    """Whether it needs no credentials."""

    def operation(self, name: str, base: str) -> Operation:
        method, address = self.at.split(" ")
        path, _, fixed = f"{base}{address}".partition("?")
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
    base: ClassVar[str] = ""
    """What the path of each call begins with."""
    invalid_status: ClassVar[int] = 400
    denied: ClassVar[tuple[int, str]] = (401, "unauthorized")
    """Status and reason of the answer to whoever may not call."""
    not_found: ClassVar[tuple[int, str]] = (404, "not found")
    """Status and reason of the answer about a customer that is not there."""
    sent: ClassVar[Mapping[str, str]]
    """Headers that whoever may call sends; a skin has these, or a ``may_call`` of its own."""
    fields: ClassVar[Fields] = {}
    """What a customer's fields are called where one is written, or told."""
    shop: Shop

    def describe(self) -> Specification:
        operations = {name: route.operation(name, self.base) for name, route in self.routes.items()}
        return Specification(self.name, {}, operations)

    def operations(self) -> Mapping[str, Handler]:
        return {name: getattr(self, name) for name in self.routes}

    def populate(self) -> None:
        self.shop = Shop()
        for member in self.shop.members.values():
            self.joined(member)

    # -- who may call ----------------------------------------------------------------------------------

    def may_call(self, headers: Mapping[str, str]) -> bool:
        """Whether the credentials are right."""
        return all(headers.get(name) == value for name, value in self.sent.items())

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if operation.security and not self.may_call(headers):
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(*self.denied)

    # -- customers and points --------------------------------------------------------------------------

    @classmethod
    def uid(cls, number: int) -> str:
        """The UUID of what has this number in the shop."""
        return _uid(cls.name, number)

    def customer_id(self, member: Member) -> str:
        """What this CRM calls a customer."""
        return str(member.id)

    def named(self, wanted: str) -> Member:
        """Whom this CRM calls so; where there is nobody the call is refused."""
        return self.only(lambda member: self.customer_id(member) == wanted, *self.not_found)

    def only(self, wanted: Callable[[Member], bool], status: int, reason: str) -> Member:
        """The oldest customer who fits; where there is none the call is refused."""
        found = self.shop.first(wanted)
        return found if found is not None else self.refuse(status, reason)

    def told(self, member: Member) -> Row:
        """A customer as this CRM tells one."""
        return present(member.told(self.fields))

    def customer(self, call: Call) -> Reply:
        """Tell the customer whose number is in the path."""
        return Reply(self.told(self.named(call.path["id"])))

    def join(self, **values: Any) -> Member:
        """A new customer with these fields of ``Member``, and with all that this CRM keeps of one."""
        member = self.shop.add(**values)
        self.joined(member)
        return member

    def joined(self, member: Member) -> None:
        """What this CRM keeps of a customer besides; called for each that no caller has made."""

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer with the fields of ``NewMember``."""
        member = self.join(**NewMember.model_validate(values).model_dump(exclude_none=True))
        return {"id": member.id, "phone": member.phone}

    def register(self, call: Call, given: Mapping[str, Any], key: str | None = None, **values: Any) -> Member:
        """A customer whom a caller makes: told by ``fields``, with these fields of ``Member`` besides."""
        return self.edit(call, self.shop.add(**values), given, "users.register", key)

    def edit(
        self,
        call: Call,
        member: Member,
        given: Mapping[str, Any],
        kind: str = "users.update",
        key: str | None = None,
    ) -> Member:
        """Write what is given by ``fields``, and into the ledger that it was."""
        member.take(given, self.fields)
        self.changed(call, kind, member, key)
        return member

    def changed(self, call: Call, kind: str, member: Member, key: str | None = None) -> None:
        """Write into the ledger what has become of a customer."""
        self.record(call, kind, customer=self.customer_id(member), reference=key)

    def give_points(
        self, call: Call, member: Member, points: Decimal, text: str = "", key: str | None = None
    ) -> Move:
        """Give points, and write it into the ledger."""
        customer = self.customer_id(member)
        self.record(call, "points.credit", customer=customer, amount=points, reference=key)
        return self.shop.give(member, points, text, key)


def to_be_shown(settings: Mapping[str, Mapping[str, object]], **more: str) -> dict[str, str]:
    """What a person needs to call: the connector's settings, the customers, and what else there is."""
    told = {name: str(value) for each in settings.values() for name, value in each.items()}
    return {**told, "customers": PHONES, **more}


@lru_cache(maxsize=4096)  # everybody's are made to find one of them
def _uid(crm: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{crm}-sandbox:{number}"))
