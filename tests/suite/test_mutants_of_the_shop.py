"""The suite is right about others: it finds every defect of the rules. See ``test_mutants``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.suite.implementations.runs import OF_THE_SHOP, Runs, breaks_what_it_declares, some_of, under_way

pytestmark = pytest.mark.programs  # as many more are in test_mutants


@pytest.fixture(scope="module")
async def runs(asked: list[str]) -> AsyncIterator[Runs]:
    async with under_way(asked) as made:
        yield made


@pytest.mark.parametrize("service", some_of(OF_THE_SHOP))
async def test_mutant_breaks_what_it_declares_and_nothing_else(service: str, runs: Runs) -> None:
    await breaks_what_it_declares(service, runs)
