"""The suite is right about others: it finds every defect of the wire.

Each test is a full, strict run over real sockets; a sixth of the defects by default, all with
``pytest -m "long or not long" tests/suite``. Defects of the shop's rules: ``test_mutants_of_the_shop``;
services without a defect: ``test_clean_services``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contracts.loyalty_online import clauses
from tests.suite import kills
from tests.suite.implementations.mutants import MUTANTS
from tests.suite.implementations.runs import (
    BY_NAME,
    OF_THE_WIRE,
    Runs,
    a_sixth,
    breaks_what_it_declares,
    under_way,
)


@pytest.fixture(scope="module")
async def runs(asked: list[str]) -> AsyncIterator[Runs]:
    async with under_way(asked) as made:
        yield made


@pytest.mark.parametrize("service", a_sixth(OF_THE_WIRE))
async def test_mutant_breaks_what_it_declares_and_nothing_else(service: str, runs: Runs) -> None:
    await breaks_what_it_declares(service, runs)


def test_mutants_are_told_apart() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    assert {clause for mutant in MUTANTS for clause in mutant.clauses} <= clauses().keys()
    assert len({mutant.wrong for mutant in MUTANTS}) == len(MUTANTS)


def test_what_is_known_to_be_found_is_documented() -> None:
    assert kills.FILE.read_text(encoding="utf-8") == kills.text(), "python -m tests.suite.kills"
