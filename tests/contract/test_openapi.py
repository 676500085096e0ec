"""The OpenAPI documents: valid, fresh, complete, with examples that keep their own schemas."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from contracts.loyalty_online import VERSIONS, clauses, openapi
from contracts.loyalty_online.clauses import versions_until
from contracts.suite.results import Evidence

from ..integration.conftest import all_strings
from .documents import nodes, schemas_with_examples, validator

CALLS = {
    "1.0.0": {
        ("get", "/v1/card"),
        ("put", "/v1/card/{cardNumber}/communication"),
        ("get", "/v1/card/{cardNumber}"),
        ("post", "/v1/card/{cardNumber}"),
        ("put", "/v1/card/{cardNumber}"),
        ("patch", "/v1/card/{cardNumber}"),
        ("get", "/v1/card/anonymous"),
        ("post", "/v1/card/anonymous/{cardNumber}"),
        ("get", "/v1/card/{cardNumber}/purchases"),
        ("get", "/v1/card/{cardNumber}/offers"),
        ("get", "/v1/card/getAllUsers"),
        ("get", "/v1/card/getAllUsersExtended"),
    },
    "1.1.0": {("post", "/v1/promo/qrCode")},
    "1.2.0": {("post", "/v1/card/anonymous")},
    "1.3.0": {("post", "/v1/promo/code")},
}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def document(version: str) -> dict[str, Any]:
    return openapi.document(version)


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_the_kept_file_is_what_the_source_builds(version: str) -> None:
    kept = openapi.file(version).read_text(encoding="utf-8")
    assert kept == openapi.text(version), "run: python -m contracts.loyalty_online"


def test_a_version_has_its_methods_and_those_of_the_older_ones(
    version: str, document: dict[str, Any]
) -> None:
    expected = set().union(*(CALLS[each] for each in versions_until(version)))
    assert {(operation.verb, operation.path) for operation in openapi.operations(document)} == expected


def test_nothing_newer_is_left_in_a_document(version: str, document: dict[str, Any]) -> None:
    since = {node["x-since"] for node in nodes(document) if "x-since" in node}
    assert since == set(versions_until(version))


def test_every_example_keeps_its_schema(document: dict[str, Any]) -> None:
    count = 0
    for place, schema, example in schemas_with_examples(document):
        errors = [error.message for error in validator(document, schema).iter_errors(example)]
        assert not errors, f"{place}: {errors}"
        count += 1
    assert count > 40


def test_every_operation_has_examples_of_requests_and_of_all_answers(document: dict[str, Any]) -> None:
    for operation in openapi.operations(document):
        node = operation.node
        assert set(node["responses"]) == {"200", "401", "422"}, operation
        media = list(openapi.follow(document, node.get("requestBody", {})).get("content", {}).values())
        for response in node["responses"].values():
            followed = openapi.follow(document, response)
            assert "content" in followed or followed["x-empty-body"] == "always", operation
            media += followed.get("content", {}).values()
        assert all(each["examples"] for each in media), operation


def test_answers_hold_nothing_but_strings(document: dict[str, Any]) -> None:
    """KLO-0-34: a number, a boolean or a null anywhere in an answer breaks its schema."""
    count = 0
    for operation in openapi.operations(document):
        for response in operation.node["responses"].values():
            for media in openapi.follow(document, response).get("content", {}).values():
                judge = validator(document, media["schema"])
                for key in media["examples"]:
                    example = openapi.follow(document, media["examples"][key])["value"]
                    assert all_strings(example)
                    for changed in _with_an_untyped_leaf(example):
                        assert not judge.is_valid(changed), (operation, changed)
                        count += 1
    assert count > 100


def _with_an_untyped_leaf(value: Any) -> list[Any]:
    """Copies of a value in which one elementary field is no string; one more field, too."""
    if isinstance(value, str):
        return [1, True, None]
    if isinstance(value, list):
        return [
            [*value[:index], changed, *value[index + 1 :]]
            for index, item in enumerate(value)
            for changed in _with_an_untyped_leaf(item)
        ]
    changes = [{**value, key: changed} for key in value for changed in _with_an_untyped_leaf(value[key])]
    return [*changes, {**value, "another": 1}, {**value, "another": {"deeper": [1.5]}}]


def test_every_operation_parameter_and_field_is_marked(document: dict[str, Any]) -> None:
    evidence = {str(each) for each in Evidence}
    for operation in openapi.operations(document):
        assert set(operation.node["x-evidence"]) == {"path", "verb", "request", "answer"}
        assert set(operation.node["x-evidence"].values()) <= evidence
        marked = [*operation.parameters]
        marked += (openapi.follow(document, each) for each in operation.node["responses"].values())
        for node in marked:
            assert node["x-evidence"] in evidence, (operation, node)
    for name, schema in document["components"]["schemas"].items():
        for key, field in schema.get("properties", {}).items():
            assert field["x-evidence"] in evidence, (name, key)


def test_the_clauses_named_exist_in_that_version(version: str, document: dict[str, Any]) -> None:
    named = {each for node in nodes(document) for each in node.get("x-clauses", ())}
    assert {each for each in named if each not in clauses()} == set()
    assert {each for each in named if version not in clauses()[each].versions} == set()


def test_every_clause_of_a_method_is_named_by_its_operation(version: str, document: dict[str, Any]) -> None:
    named = {each for operation in openapi.operations(document) for each in operation.node["x-clauses"]}
    expected = {
        clause.id for clause in clauses().values() if 1 <= clause.method <= 12 and version in clause.versions
    }
    assert named == expected


def test_every_request_needs_the_credentials(document: dict[str, Any]) -> None:
    assert document["security"] == [{"basic": []}]
    assert document["components"]["securitySchemes"]["basic"]["scheme"] == "basic"
    assert not [operation for operation in openapi.operations(document) if "security" in operation.node]


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.4\.0"):
        openapi.document("1.4.0")
