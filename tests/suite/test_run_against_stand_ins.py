"""Every demo whose CRMs are stand-ins, under the suite: the full profile, strict, with the file it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_run_against_demo import broken, demo, run_suite

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLO_CONFIG", raising=False)


@pytest.mark.parametrize("crm", ["perx", "xerts", "pegke", "mixed"])
def test_the_demo_of_a_stand_in_keeps_every_clause(tmp_path: Path, crm: str) -> None:
    with demo(tmp_path, crm) as options_file:
        target = run_suite(options_file)
    assert broken(target) == {}
    promo = {result.state.name for result in target.results if result.check == "promo.accepts"}
    assert promo == {"SKIP" if crm == "pegke" else "PASS"}  # Pegke alone has no promo codes
