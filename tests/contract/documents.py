"""What the tests of the OpenAPI documents share: walking them, and schemas that can judge a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from contracts.loyalty_online import openapi


def validator(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Draft202012Validator:
    """Judges values by a schema of the document; its references lead into the document."""
    return Draft202012Validator({**schema, "components": document["components"]})


def nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def schemas_with_examples(
    document: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Where, the schema, and a value that is given as an example of it."""
    for operation in openapi.operations(document):
        name = operation.node["operationId"]
        for parameter in operation.parameters:
            yield f"{name} {parameter['name']}", parameter["schema"], parameter["example"]
        bodies = {"request": openapi.follow(document, operation.node.get("requestBody", {}))}
        for status, response in operation.node["responses"].items():
            bodies[status] = openapi.follow(document, response)
        for place, body in bodies.items():
            for media in body.get("content", {}).values():
                for key, example in media["examples"].items():
                    yield f"{name} {place} {key}", media["schema"], openapi.follow(document, example)["value"]
