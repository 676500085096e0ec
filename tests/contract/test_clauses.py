"""The clauses are complete rows with ids that say where they belong."""

from __future__ import annotations

import csv
import re
from collections import defaultdict

import pytest

from contracts.loyalty_online import VERSIONS, clauses, untested
from contracts.loyalty_online.clauses import FILE, versions_since
from contracts.suite.results import Evidence

_ID = re.compile(r"KLO-(S|0|[1-9]|1[0-2])-(\d\d)")


def test_every_row_is_one_clause_with_an_id_of_its_own() -> None:
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(clauses()) == len({row["text"].lower() + row["method"] for row in rows})
    assert all(None not in row.values() and None not in row for row in rows)


def test_ids_are_numbered_without_gaps_and_tell_the_method() -> None:
    numbers = defaultdict(list)
    for clause in clauses().values():
        match = _ID.fullmatch(clause.id)
        assert match is not None, clause.id
        assert clause.method == (100 if match[1] == "S" else int(match[1])), clause.id
        numbers[match[1]].append(int(match[2]))
    assert set(numbers) == {*(str(method) for method in range(13)), "S"}
    for method, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), method


def test_every_clause_is_a_sentence_with_level_evidence_and_source() -> None:
    for clause in clauses().values():
        assert re.fullmatch(r"[A-Z`].*\.", clause.text), clause
        assert clause.level in ("MUST", "SHOULD"), clause
        assert isinstance(clause.evidence, Evidence)
        assert clause.source.strip(), clause


@pytest.mark.parametrize(("method", "first"), [(10, "1.1.0"), (11, "1.2.0"), (12, "1.3.0")])
def test_clauses_of_a_later_method_hold_from_its_version_on(method: int, first: str) -> None:
    held = [clause for clause in clauses().values() if clause.method == method]
    assert held
    assert {clause.versions for clause in held} == {versions_since(first)}


def test_clauses_of_the_first_methods_hold_in_all_versions() -> None:
    assert {clause.versions for clause in clauses().values() if clause.method < 10} == {VERSIONS}


def test_an_untested_clause_says_why() -> None:
    assert set(untested()) < set(clauses())
    assert all(re.fullmatch(r"[A-Z].*\.", reason) for reason in untested().values())
