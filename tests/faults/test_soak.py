"""A short soak: all faults at random under load, and nothing is lost or doubled.

The long form is a command of its own: ``python -m tests.faults.soak --receipts 100000``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.crms import RATINGS, Rating
from tests.faults.soak import soak_one, table
from tests.faults.stage import Nursery


async def soak(
    nursery: Nursery, folder: Path, rating: Rating, receipts: int, seed: int, seconds: float
) -> None:
    outcome = await soak_one(nursery, folder, rating, receipts, seconds, seed, print, pause=0.3, patience=60)
    print(table([outcome], markdown=False))
    verdict = outcome.verdict
    assert verdict.well, verdict
    assert verdict.accepted == verdict.sent >= min(receipts, 500)
    assert verdict.credited + verdict.held == verdict.sent
    assert outcome.happened.total() > 10
    if rating in ("own", "key", "probe"):
        assert verdict.held == 0


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_doubled_in_a_short_soak(nursery: Nursery, tmp_path: Path) -> None:
    await soak(nursery, tmp_path, "probe", 1000, 1, 20)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rating", RATINGS)
async def test_nothing_is_lost_or_doubled_in_a_longer_soak(
    rating: Rating, nursery: Nursery, tmp_path: Path
) -> None:
    await soak(nursery, tmp_path, rating, 10_000, 2, 240)
