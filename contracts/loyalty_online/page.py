"""The contract as one readable HTML page for each version; it needs no script and no network.

Everything on it comes from the OpenAPI document and the clauses. It may not know where it is shown.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from contracts.loyalty_online import openapi
from contracts.loyalty_online.clauses import VERSIONS, clauses, untested
from contracts.suite.results import Clause, Evidence

SCENARIOS = 100
MEANING: Mapping[Evidence, str] = {
    Evidence.OFFICIAL: "Koshelek's own text",
    Evidence.TWO: "seen in two or more independent partner implementations",
    Evidence.ONE: "seen in one partner implementation",
    Evidence.INFERRED: "our deduction, to be agreed on with Koshelek",
}
_METHODS = {
    0: "Common rules", 1: "Find", 2: "Consents", 3: "Card and balance", 4: "Profile", 5: "Reserve",
    6: "Issue the reserved number", 7: "Purchases", 8: "Offers", 9: "Lists of users", 10: "Receipts",
    11: "Issue without reserving", 12: "Promo codes", SCENARIOS: "Scenarios",
}  # fmt: skip
_CODE = re.compile("`([^`]*)`")


@dataclass(frozen=True, slots=True)
class Field:
    """A row of a table of parameters or fields."""

    name: str
    """Dotted path; ``[]`` follows what repeats."""
    form: str
    required: bool
    description: str
    evidence: str
    clauses: Sequence[str]


@dataclass(frozen=True, slots=True)
class Example:
    """A request or an answer, as it goes over the wire."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Method:
    """One operation as the page shows it."""

    id: str
    number: int
    verb: str
    more_verbs: Sequence[str]
    """Verbs that mean the same."""
    path: str
    since: str
    summary: str
    description: str
    evidence: Mapping[str, str]
    parameters: Sequence[Field]
    body: Sequence[Field]
    body_description: str
    answer: Sequence[Field]
    answer_description: str
    answer_evidence: str
    requests: Sequence[Example]
    answers: Sequence[Example]


def render(version: str, *, alone: bool = False) -> str:
    """The page of ``version``; ``alone``: it holds the OpenAPI document and links to no other page."""
    built = openapi.document(version)
    name = openapi.file(version).name
    data = base64.b64encode(openapi.text(version).encode()).decode()
    inside = f"data:application/yaml;base64,{data}"
    held = [clause for clause in clauses().values() if version in clause.versions]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            version=version,
            versions=() if alone else VERSIONS,
            added=_added(built["info"]["description"]),
            introduction=built["info"]["description"].partition("\nVersions up to")[0],
            yaml_name=name,
            yaml_link=inside if alone else name,
            methods=[_method(built, operation) for operation in _in_order(built)],
            errors=_refusals(built),
            groups=_groups(held),
            total=len(held),
            counts={each: sum(clause.evidence is each for clause in held) for each in Evidence},
            meaning=MEANING,
            untested=untested(),
            kinds=_kinds,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(openapi.FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment


def prose(text: str) -> Markup:
    """Plain text with words between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before


def _added(description: str) -> list[str]:
    return [line.removeprefix("* ") for line in description.splitlines() if line.startswith("* ")]


def _in_order(built: Mapping[str, Any]) -> list[openapi.Operation]:
    shown = (each for each in openapi.operations(built) if "x-same-as" not in each.node)
    return sorted(shown, key=lambda operation: operation.method)


def _groups(held: Sequence[Clause]) -> list[tuple[int, str, list[Clause]]]:
    """Number and title of each method with its clauses; scenarios last."""
    groups = (
        (number, title, [clause for clause in held if clause.method == number])
        for number, title in _METHODS.items()
    )
    return [group for group in groups if group[2]]


def _kinds(held: Sequence[Clause]) -> list[str]:
    """What the clause table can be filtered by, of these clauses."""
    kinds = {str(clause.evidence) for clause in held} | {clause.level.lower() for clause in held}
    if any(clause.id in untested() for clause in held):
        kinds.add("untested")
    return sorted(kinds)


# --- one method ----------------------------------------------------------------------------------------


def _method(built: Mapping[str, Any], operation: openapi.Operation) -> Method:
    node = operation.node
    body = openapi.follow(built, node.get("requestBody", {}))
    body_media = _media(body)
    body_schema = openapi.follow(built, body_media.get("schema", {}))
    answer = node["responses"]["200"]
    answer_media = _media(answer)
    return Method(
        id=node["operationId"],
        number=operation.method,
        verb=operation.verb.upper(),
        more_verbs=[
            other.verb.upper()
            for other in openapi.operations(built)
            if other.node.get("x-same-as") == node["operationId"]
        ],
        path=operation.path,
        since=node["x-since"],
        summary=node["summary"],
        description=node.get("description", ""),
        evidence=node["x-evidence"],
        parameters=[_parameter(built, parameter) for parameter in operation.parameters],
        body=list(_fields(built, body_schema)),
        body_description=body_schema.get("description", ""),
        answer=list(_fields(built, answer_media.get("schema", {}))),
        answer_description=answer["description"],
        answer_evidence=answer["x-evidence"],
        requests=_requests(built, operation, body_media),
        answers=_answers(built, answer, 200),
    )


def _refusals(built: Mapping[str, Any]) -> list[Example]:
    responses = built["components"]["responses"]
    return [
        *_answers(built, responses["Refused"], 422),
        *_answers(built, responses["Unauthorized"], 401),
    ]


def _media(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(iter(node.get("content", {}).values()), {})


def _requests(
    built: Mapping[str, Any], operation: openapi.Operation, media: Mapping[str, Any]
) -> list[Example]:
    path, query = operation.path, {}
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(parameter["example"], safe=""))
        else:
            query[parameter["name"]] = parameter["example"]
    line = f"{operation.verb.upper()} {path}{'?' if query else ''}{urlencode(query)} HTTP/1.1"
    head = [line, "Host: loyalty.example.com", "Authorization: Basic …"]
    if not media:
        return [Example("Request", "\n".join(head))]
    head.append("Content-Type: application/json; charset=utf-8")
    return [
        Example(f"Request: {example['summary']}", "\n".join([*head, "", _pretty(example["value"])]))
        for example in _examples(built, media)
    ]


def _answers(built: Mapping[str, Any], response: Mapping[str, Any], status: int) -> list[Example]:
    head = [f"HTTP/1.1 {status} {_phrase(status)}", "Content-Type: application/json; charset=utf-8"]
    head += [f"{name}: {header['example']}" for name, header in response.get("headers", {}).items()]
    shown = [
        Example(f"Answer: {example['summary']}", "\n".join([*head, "", _pretty(example["value"])]))
        for example in _examples(built, _media(response))
    ]
    if "x-empty-body" in response:
        title = "nothing found" if response["x-empty-body"] == "nothing-found" else "an empty body"
        shown.append(Example(f"Answer: {title}", "\n".join([*head, "Content-Length: 0", ""])))
    return shown


def _phrase(status: int) -> str:
    # Named differently in later Pythons, and this way in Koshelek's text.
    return "Unprocessable Entity" if status == 422 else HTTPStatus(status).phrase


def _examples(built: Mapping[str, Any], media: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [openapi.follow(built, example) for example in media.get("examples", {}).values()]


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


# --- fields --------------------------------------------------------------------------------------------


def _parameter(built: Mapping[str, Any], parameter: Mapping[str, Any]) -> Field:
    schema = openapi.follow(built, parameter["schema"])
    notes = [schema.get("description", ""), parameter.get("description", "")]
    return Field(
        name=parameter["name"],
        form=f"{_form(built, schema)}, in the {parameter['in']}",
        required=parameter.get("required", False),
        description=" ".join(note for note in notes if note),
        evidence=parameter["x-evidence"],
        clauses=parameter.get("x-clauses", ()),
    )


def _fields(built: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterator[Field]:
    """The fields of an object, an array or alternatives, those of objects inside after them."""
    schema = openapi.follow(built, schema)
    if "items" in schema:
        yield from _fields(built, schema["items"], f"{prefix}[]")
        return
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ())):
        yield from _fields(built, part, prefix)
    for name, node in schema.get("properties", {}).items():
        field = openapi.follow(built, node)
        path = f"{prefix}.{name}" if prefix else name
        yield Field(
            name=path,
            form=_form(built, field),
            required=name in schema.get("required", ()),
            description=field.get("description", ""),
            evidence=field.get("x-evidence", ""),
            clauses=field.get("x-clauses", ()),
        )
        yield from _fields(built, node, path)


def _form(built: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a value has to be, in words."""
    schema = openapi.follow(built, schema)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" if value else "empty" for value in schema["enum"])
    if "items" in schema:
        item = openapi.follow(built, schema["items"])
        kind = "objects" if "properties" in item else "strings"
        return f"array of {kind}"
    if "properties" in schema or "allOf" in schema:
        return "object"
    form = "string"
    if "pattern" in schema:
        form += f" `{schema['pattern']}`"
    if "maxLength" in schema:
        form += f", at most {schema['maxLength']} characters"
    return form
