"""The JSON schema for editors: what the engine takes is right by it, what is wrong is found by it."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crm_backends.connector import shipped, source
from crm_backends.connector.schema import json_schema

HERE = Path(__file__).parent
FILES = [
    *shipped().values(),
    *sorted(HERE.glob("*.yaml")),
    HERE.parents[1] / "crm_backends/connector/beginning.yaml",
]


@cache
def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def values(text: str, file: str = "crm.yaml") -> Any:
    return _as_json(source.read(text, file).values)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_json(member) for member in value]
    return float(value) if isinstance(value, Decimal) else value


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_schema_takes_what_the_engine_takes(file: Path) -> None:
    found = [
        f"{list(one.absolute_path)}: {one.message[:300]}"
        for one in validator().iter_errors(values(file.read_text(encoding="utf-8")))
    ]
    assert not found


def test_a_change_of_a_connector_needs_nothing_and_may_take_away() -> None:
    text = (
        "connector: 1\nextends: retailcrm\nsettings: {site: null}\noperations: {users.get: {partial: some}}\n"
    )
    assert validator().is_valid(values(text))
    assert not validator().is_valid(values(text.replace("partial", "partal")))
    assert not validator().is_valid(values(text.replace("extends: retailcrm\n", "")))


@pytest.mark.parametrize(
    ("old", "new"),
    [("auth:", "auht:"), ("doubts: probe", "doubts: prob"), ("title:", "titel:"), ("{header:", "{haeder:")],
)
def test_the_schema_finds_mistakes(old: str, new: str) -> None:
    text = FILES[-1].read_text(encoding="utf-8")
    assert old in text
    assert not validator().is_valid(values(text.replace(old, new, 1)))
