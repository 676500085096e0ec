"""The demo over each connector's stand-in: its curl lines, one receipt sent three times, the strict profile.

One runs by default, all of them with ``pytest -m "long or not long" tests/connectors/test_demos.py``.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contracts.sandbox import CONNECTORS
from crm_backends.connector import shipped
from tests.integration.processes import Running
from tests.suite.test_run_against_demo import broken, run_suite
from tests.support.waiting import until

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine"),
]
BY_DEFAULT = "uds"
EARNED = 62.5
"""Points for the receipt that the demo prints; some CRMs keep whole ones alone."""


def _said(line: str) -> Any:
    done = subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=30)
    return json.loads(done.stdout)


def test_every_connector_that_is_shipped_has_a_stand_in() -> None:
    assert set(CONNECTORS) == set(shipped())


@pytest.mark.parametrize(
    "connector",
    [pytest.param(name, marks=() if name == BY_DEFAULT else pytest.mark.long) for name in CONNECTORS],
)
async def test_the_demo_answers_credits_once_and_keeps_every_clause(
    connector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KLO_CONFIG", raising=False)
    arguments = ("--port", "0", "--management-port", "0", "--data-dir", "data", "--crm", connector)
    with Running("demo", *arguments, cwd=tmp_path) as running:
        running.wait_for("Ctrl-C stops everything", limit=60)
        find, info, receipt = re.findall(r"^ +(curl .+)$", running.out, re.MULTILINE)
        found = _said(find)["card"]
        before = _said(info)["card"]
        assert (found["cardState"], found["cardNumber"]) == ("active", before["cardNumber"])
        for _ in range(2):
            assert _said(receipt)["status"] in ("accepted", "credited")
        await until(lambda: _points(_said(info)["card"]) > _points(before), "the receipt's points come")
        assert _said(receipt)["status"] == "credited"
        credited = _points(_said(info)["card"])
        target = await asyncio.to_thread(run_suite, tmp_path / "data" / "koshelek-contract.yaml")
    assert credited - _points(before) == pytest.approx(EARNED, abs=0.5)
    assert broken(target) == {}


def _points(card: Any) -> float:
    return float(card["bonus"]["total"])
