"""The suite is right about others: it finds every defect of the wire.

Each test is a full, strict run over real sockets; some of the defects by default, all with
``pytest -m "long or not long" tests/suite``. Defects of the shop's rules: ``test_mutants_of_the_shop``; of
another service, in SQL: ``test_mutants_of_the_tables``; services without a defect: ``test_clean_services``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contracts.loyalty_online import clauses
from contracts.loyalty_online.subjects import SUBJECTS
from tests.suite import kills
from tests.suite.implementations.mutants import MUTANTS
from tests.suite.implementations.runs import (
    BY_NAME,
    OF_THE_WIRE,
    Runs,
    breaks_what_it_declares,
    some_of,
    under_way,
)


@pytest.fixture(scope="module")
async def runs(asked: list[str]) -> AsyncIterator[Runs]:
    async with under_way(asked) as made:
        yield made


@pytest.mark.parametrize("service", some_of(OF_THE_WIRE))
async def test_mutant_breaks_what_it_declares_and_nothing_else(service: str, runs: Runs) -> None:
    await breaks_what_it_declares(service, runs)


def test_mutants_are_told_apart() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    assert {clause for mutant in MUTANTS for clause in mutant.clauses} <= clauses().keys()
    assert len({(mutant.style, mutant.wrong) for mutant in MUTANTS}) == len(MUTANTS)


def test_every_clause_of_money_and_identity_is_broken_in_two_styles() -> None:
    for subject in SUBJECTS:
        for clause, found in kills.by_subject(subject, MUTANTS).items():
            assert len(found) >= 2, clause
            assert len({one.style == "tables" for one in found}) == 2, (clause, [one.name for one in found])


def test_what_is_known_to_be_found_is_documented() -> None:
    assert kills.FILE.read_text(encoding="utf-8") == kills.text(), "python -m tests.suite.kills"
