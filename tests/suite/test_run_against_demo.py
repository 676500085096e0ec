"""The adapter's own demo under the suite: the full profile, strict, with the options file the demo writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.suite import runner
from contracts.suite.config import read_options
from contracts.suite.results import State, TargetRun
from tests.integration import processes
from tests.integration.processes import Running


@contextmanager
def demo(folder: Path, crm: str) -> Iterator[tuple[Path, str]]:
    """A running demo; the options file it wrote, and what it printed."""
    arguments = ("--port", "0", "--management-port", "0", "--data-dir", "data", "--crm", crm)
    with Running("demo", *arguments, cwd=folder) as running:
        running.wait_for("Ctrl-C stops everything", limit=60)
        assert "koshelek-contract run --config data/koshelek-contract.yaml --profile full" in running.out
        yield folder / "data" / "koshelek-contract.yaml", running.out


def run_suite(options_file: Path, **given: object) -> TargetRun:
    options = read_options(
        {"profile": "full", "strict": True, "receipt_wait": 5.0, "timeout": 30.0, **given}, options_file
    )
    (target,) = asyncio.run(runner.run(options, options.secret)).targets
    return target


def broken(target: TargetRun) -> dict[str, str]:
    """Checks that failed or could not be tried, with the reason."""
    return {
        result.check: " ".join(
            [result.reason, *[f"{one.expected} | {one.actual}" for one in result.failures]]
        )
        for result in target.results
        if result.state in (State.FAIL, State.ERROR)
    }


def skipped(target: TargetRun) -> set[str]:
    return {result.check for result in target.results if result.state is State.SKIP}


NO_MANAGEMENT = {"KOSHELEK_MANAGEMENT__ENABLED": "false"}
WITHOUT_TLS = {"transport.https", "transport.tls_version"}


pytestmark = pytest.mark.timeout(300)
"""A demo's start and two whole runs, on a machine that may be busy."""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLO_CONFIG", raising=False)


@pytest.mark.programs
def test_the_postgres_demo_keeps_every_clause(tmp_path: Path) -> None:
    with demo(tmp_path, "postgres") as (options_file, _):
        newest = run_suite(options_file)
        assert broken(newest) == {}
        assert skipped(newest) == WITHOUT_TLS | {
            "common.newer_methods_are_unknown",
            "offers_and_lists.lists_left_out_are_refused",
        }
        assert {one.what for one in newest.created} == {"issued card", "reserved number", "receipts"}


@pytest.mark.long
def test_an_adapter_of_version_1_0_0_keeps_every_clause_of_it(tmp_path: Path) -> None:
    """Nobody is configured: the suite reserves numbers and makes its people up."""
    variables = {
        "KOSHELEK_KOSHELEK__API_VERSION": "1.0.0",
        "KOSHELEK_KOSHELEK__PASSWORD": processes.PASSWORD,
        "KOSHELEK_CARDS__RANGES": '[{"prefix": "2900"}]',
        "KOSHELEK_LOG__FORMAT": "json",
    }
    (port,) = processes.free_ports(1)
    options = tmp_path / "options.yaml"
    options.write_text(
        f"urls: http://127.0.0.1:{port}\nlogin: {processes.LOGIN}\npassword: {processes.PASSWORD}\n"
        "api_version: 1.0.0\n",
        encoding="utf-8",
    )
    arguments = ("--port", str(port), "--data-dir", "data")
    with Running("serve", *arguments, cwd=tmp_path, env=variables | NO_MANAGEMENT) as running:
        running.wait_for('"event": ?"ready"', limit=40)
        target = run_suite(options)
    assert broken(target) == {}
    by_name = {result.check: result.state for result in target.results}
    assert by_name["common.newer_methods_are_unknown"] is State.PASS
    assert by_name["scenarios.new_card_with_reservation"] is State.PASS
    assert by_name["enrolment.issues"] is State.DISABLED


def test_check_judges_the_adapters_own_answers_whatever_the_password(tmp_path: Path) -> None:
    assert processes.run("config", "new", cwd=tmp_path).status == 0
    hashed = processes.run("config", "hash", cwd=tmp_path, given="a long enough password").out.strip()
    for variables in ({}, {"KOSHELEK_KOSHELEK__PASSWORD": hashed, "KOSHELEK_SERVER__BASE_PATH": "/api"}):
        checked = processes.run("check", cwd=tmp_path, env=variables, timeout=120)
        line = r"^ok    contract       1\.3\.0: (\d+) of \1 checks kept$"
        assert re.search(line, checked.out, re.MULTILINE), checked.out
