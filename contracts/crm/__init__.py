"""What is known of each CRM's API, as OpenAPI 3.1 files, and the reading of them.

``Specification`` finds the operations of a file and judges requests and replies by it. It may not know any
CRM, any web server and anything of the adapter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from contracts.kit import yaml_files

NAMES = ("perx", "pegke", "xerts")
METHODS = ("get", "put", "post", "patch", "delete")

_FORMATS = FormatChecker(formats=("uuid", "email"))
_INTEGER = re.compile(r"-?\d+")


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value and bool(datetime.fromisoformat(value)))


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@dataclass(frozen=True)
class Parameter:
    """A parameter in the path or the query of an operation."""

    name: str
    place: str
    required: bool
    schema: Mapping[str, Any]
    validator: Draft202012Validator

    def read(self, text: str | None) -> tuple[Any, str | None]:
        """The value that ``text`` stands for, and what is wrong with it, if anything is."""
        if text is None:
            missing = f"{self.place} parameter {self.name} is missing" if self.required else None
            return self.schema.get("default"), missing
        value = _typed(text, self.schema.get("type"))
        return value, _problem(self.validator, value, f"{self.place} parameter {self.name}")


@dataclass(frozen=True)
class Operation:
    """One operation of a CRM's API."""

    id: str
    method: str
    """In capitals."""
    path: str
    """Without a query string."""
    fixed_query: Mapping[str, str]
    """What the query must say for the request to be this operation; for APIs that dispatch by query."""
    evidence: str
    summary: str
    security: tuple[frozenset[str], ...]
    """Alternatives; each is a set of schemes needed together. Empty: no credentials are needed."""
    parameters: tuple[Parameter, ...]
    body_required: bool
    bodies: Mapping[str, Draft202012Validator]
    """Content type to what the body must be."""
    replies: Mapping[str, Draft202012Validator | None]
    """Status (or ``default``) to what a JSON reply must be; ``None``: nothing is said of the body."""
    variants: Mapping[str, Mapping[str, Mapping[str, str]]]
    """Per switch and per value of it: the ``path`` or ``method`` to use instead, or the end of the path to
    leave out (``without``)."""

    closed: bool = False
    """Whether a query parameter that is not named here is a mistake."""

    def served_at(self, switches: Mapping[str, Any]) -> tuple[str, str]:
        """Method and path under the given switches."""
        method, path = self.method, self.path
        for switch, values in self.variants.items():
            change = values.get(str(switches.get(switch)), {})
            method, path = change.get("method", method).upper(), change.get("path", path)
            path = path.removesuffix(change.get("without", ""))
        return method, path

    def read_parameters(
        self, path: Mapping[str, str], query: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Values from the path and from the query, converted, and what is wrong with them."""
        values: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
        texts = {"path": path, "query": query}
        problems = []
        for parameter in self.parameters:
            value, problem = parameter.read(texts[parameter.place].get(parameter.name))
            values[parameter.place][parameter.name] = value
            if problem:
                problems.append(problem)
        if self.closed:
            unknown = sorted(set(query) - set(values["query"]))
            problems += [f"query parameter {name} is not known" for name in unknown]
        return values["path"], values["query"], problems

    def body_problem(self, content_type: str, body: Any) -> str | None:
        """What is wrong with a request body that was read as ``content_type``."""
        validator = self.bodies.get(content_type)
        if validator is None:
            return f"content type {content_type or 'absent'}, expected {' or '.join(self.bodies)}"
        return _problem(validator, body, "body")

    def reply_problem(self, status: int, body: Any) -> str | None:
        """What is wrong with a JSON reply by the file; for tests of a server, or of made-up replies."""
        key = str(status) if str(status) in self.replies else "default"
        if key not in self.replies or (key == "default" and status < 400):
            return f"{self.id}: status {status} is not in the file"
        validator = self.replies[key]
        return None if validator is None else _problem(validator, body, f"{self.id} reply {status}")


@dataclass(frozen=True)
class Specification:
    """One file: its document and its operations by id."""

    name: str
    document: Mapping[str, Any]
    operations: Mapping[str, Operation] = field(repr=False)


@cache
def load(name: str) -> Specification:
    """The file of one CRM; raises ``KeyError`` for a name that is not in ``NAMES``."""
    if name not in NAMES:
        raise KeyError(name)
    document = yaml_files.read(Path(__file__).with_name(f"{name}.yaml"))
    operations = {operation.id: operation for operation in _Reader(name, document).operations()}
    return Specification(name, document, operations)


class _Reader:
    """Turns a document into operations; each schema stays where it is and is named by its place."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self._uri = f"urn:crm:{name}"
        self._document = document
        resource: Resource[Any] = DRAFT202012.create_resource(document)
        self._registry: Registry[Any] = Registry().with_resource(self._uri, resource)

    def operations(self) -> Iterator[Operation]:
        for path, item in self._document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield self._operation(path, method, item)

    def _operation(self, key: str, method: str, item: Mapping[str, Any]) -> Operation:
        node, here = item[method], ("paths", key, method)
        path, _, query = key.partition("?")
        shared = [
            self._parameter(("paths", key, "parameters", str(n)))
            for n in range(len(item.get("parameters", ())))
        ]
        own = [self._parameter((*here, "parameters", str(n))) for n in range(len(node.get("parameters", ())))]
        bodies: dict[str, Draft202012Validator] = {}
        body_required = False
        if "requestBody" in node:
            body, place = self._follow((*here, "requestBody"))
            body_required = bool(body.get("required", False))
            bodies = {kind: self._validator((*place, "content", kind, "schema")) for kind in body["content"]}
        return Operation(
            id=node["operationId"],
            method=method.upper(),
            path=path,
            fixed_query=dict(parse_qsl(query)),
            evidence=node["x-evidence"],
            summary=node["summary"],
            security=tuple(frozenset(schemes) for schemes in node["security"]),
            parameters=(*shared, *own),
            body_required=body_required,
            bodies=bodies,
            replies={status: self._reply((*here, "responses", status)) for status in node["responses"]},
            variants=node.get("x-variants", {}),
        )

    def _parameter(self, place: tuple[str, ...]) -> Parameter:
        node, place = self._follow(place)
        schema, schema_place = self._follow((*place, "schema"))
        return Parameter(
            node["name"], node["in"], node.get("required", False), schema, self._validator(schema_place)
        )

    def _reply(self, place: tuple[str, ...]) -> Draft202012Validator | None:
        node, place = self._follow(place)
        if "content" not in node:
            return None
        return self._validator((*place, "content", "application/json", "schema"))

    def _follow(self, place: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
        """The node at ``place``, or the one that it refers to, and where that is."""
        node: Any = self._document
        for step in place:
            node = node[int(step)] if isinstance(node, list) else node[step]
        if isinstance(node, Mapping) and "$ref" in node:
            return self._follow(tuple(node["$ref"].removeprefix("#/").split("/")))
        return node, place

    def _validator(self, place: tuple[str, ...]) -> Draft202012Validator:
        pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in place)
        reference = {"$ref": f"{self._uri}#{quote(pointer, safe='/~')}"}
        return Draft202012Validator(reference, registry=self._registry, format_checker=_FORMATS)


def _typed(text: str, kind: Any) -> Any:
    """A query or path value as the type its schema names; left as text where it is not one."""
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "number":
        try:
            return Decimal(text)
        except InvalidOperation:
            return text
    return text


def _problem(validator: Draft202012Validator, value: Any, what: str) -> str | None:
    error = best_match(validator.iter_errors(value))
    if error is None:
        return None
    where = "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in error.absolute_path)
    return f"{what}{where}: {error.message}"
