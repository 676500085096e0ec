"""Every demo whose CRMs are stand-ins, under the suite: the full profile, strict, with the file it writes.

All at once: most of a run is waiting for points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.suite.results import TargetRun

from .test_run_against_demo import broken, demo, run_suite

pytestmark = pytest.mark.timeout(300)


def found(folder: Path, crm: str) -> TargetRun:
    folder.mkdir()
    with demo(folder, crm) as options_file:
        return run_suite(options_file)


@pytest.fixture(scope="module")
def runs(
    asked: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[TargetRun]]]:
    folder = tmp_path_factory.mktemp("demos")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(asked)) as pool:
        patch.delenv("KLO_CONFIG", raising=False)
        yield {crm: pool.submit(found, folder / crm, crm) for crm in asked}


@pytest.mark.parametrize("service", ["perx", "xerts", "pegke", "mixed"])
def test_the_demo_of_a_stand_in_keeps_every_clause(
    service: str, runs: Mapping[str, Future[TargetRun]]
) -> None:
    target = runs[service].result()
    assert broken(target) == {}
    promo = {result.state.name for result in target.results if result.check == "promo.accepts"}
    assert promo == {"SKIP" if service == "pegke" else "PASS"}  # Pegke alone has no promo codes
