"""The suite is right about others: it has nothing to say against a clean service. See ``test_mutants``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contracts.loyalty_online import VERSIONS
from contracts.suite.runner import CannotRun
from tests.suite.implementations import clean
from tests.suite.implementations.runs import CLEAN, Runs, breaches, errors, found, under_way


@pytest.fixture(scope="module")
async def runs(asked: list[str]) -> AsyncIterator[Runs]:
    async with under_way(asked) as made:
        yield made


OLDER = {f"clean {version}" for version in VERSIONS[:-1]}
"""Versions whose whole run is left to ``pytest -m programs``."""


@pytest.mark.parametrize(
    "service",
    [pytest.param(name, marks=pytest.mark.programs if name in OLDER else ()) for name in CLEAN],
)
async def test_clean_service_passes(service: str, runs: Runs) -> None:
    target = await runs[service]
    assert breaches(target) == {}
    assert errors(target) == []
    assert target.keeps_the_contract
    assert target.counts["pass"] > 140


class Latin1(clean.Clean):
    """It cannot read a password in UTF-8, so that nobody is let in."""

    def is_right(self, pair: bytes) -> bool:
        return pair == f"{clean.LOGIN}:{clean.PASSWORD}".encode("latin-1", "replace")


async def test_service_that_lets_nobody_in_cannot_be_judged() -> None:
    with pytest.raises(CannotRun, match="refuses the login and password"):
        await found(lambda: clean.serving(Latin1()), "1.3.0", {})
