"""Every demo whose CRMs are stand-ins: its curl lines, its receipt sent three times and credited once, and
the suite's full profile, strict, with the file it writes.

Some at once: most of a run is waiting for points.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapter.commands.demo import CRMS
from adapter.process import embedded
from adapter.store.migrate import migrate
from contracts.sandbox import CONNECTORS
from contracts.suite.results import TargetRun
from crm_backends.connector import shipped
from tests.support.waiting import until

from .test_run_against_demo import broken, demo, run_suite

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine"),
]
AT_ONCE = 5
"""Demos; more would keep each other from answering in time."""
EARNED = 62.5
"""Points for the receipt that the demo prints; some CRMs keep whole ones alone."""


@dataclass(frozen=True)
class Seen:
    """What came of one demo."""

    credited: float
    """Points for the receipt, however often it was sent."""
    target: TargetRun


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a database and the adapter's tables, as a demo leaves it.

    The demo over its own database, in ``test_run_against_demo``, begins without.
    """
    folder = tmp_path_factory.mktemp("prepared") / "data"
    server = embedded.start(folder)
    try:
        asyncio.run(migrate(server.url))
    finally:
        server.stop()
    return folder


def seen(folder: Path, crm: str, data: Path) -> Seen:
    folder.mkdir()
    subprocess.run(["cp", "-a", data, folder / "data"], check=True, timeout=60)
    with demo(folder, crm) as (options_file, printed):
        return Seen(_credited(printed), run_suite(options_file))


def _credited(printed: str) -> float:
    """Do what the demo says, and send its receipt twice more."""
    find, info, receipt = re.findall(r"^ +(curl .+)$", printed, re.MULTILINE)
    found = _said(find)["card"]
    before = _said(info)["card"]
    assert (found["cardState"], found["cardNumber"]) == ("active", before["cardNumber"])
    for _ in range(2):
        assert _said(receipt)["status"] in ("accepted", "credited")

    def gained() -> float:
        return _points(_said(info)["card"]) - _points(before)

    asyncio.run(until(lambda: gained() > 0, "the receipt's points come", limit=60))
    assert _said(receipt)["status"] == "credited"
    return gained()


def _said(line: str) -> Any:
    done = subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def _points(card: Any) -> float:
    return float(card["bonus"]["total"])


@pytest.fixture(scope="module")
def demos(
    asked: list[str], data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Seen]]]:
    folder = tmp_path_factory.mktemp("demos")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(AT_ONCE) as pool:
        patch.delenv("KLO_CONFIG", raising=False)
        yield {crm: pool.submit(seen, folder / crm, crm, data) for crm in asked}


def test_every_connector_that_is_shipped_has_a_demo() -> None:
    assert set(CONNECTORS) == set(shipped())


@pytest.mark.programs  # the conformance kit runs over each of their drivers every time
@pytest.mark.parametrize("service", [*CRMS, "mixed", *CONNECTORS])
def test_the_demo_answers_credits_once_and_keeps_every_clause(
    service: str, demos: Mapping[str, Future[Seen]]
) -> None:
    demo = demos[service].result()
    assert broken(demo.target) == {}
    assert demo.credited == pytest.approx(EARNED, abs=0.5)
    if service not in CONNECTORS:
        promo = {result.state.name for result in demo.target.results if result.check == "promo.accepts"}
        assert promo == {"SKIP" if service == "pegke" else "PASS"}  # Pegke alone has no promo codes
