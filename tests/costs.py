"""What each part of the tests costs: ``pytest -p tests.costs`` ends with a table, most expensive file first.

Processor time is that of the test's process and of the programs it started and waited for; PostgreSQL,
started once for all, is not in it. It may not know what is tested.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Generator

import pytest

_MOST = 40
"""Files in the table."""
_SPENT = "processor seconds"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    now = _processor()
    since = item.stash.get(_KEY, _LAST[0])
    report.user_properties.append((_SPENT, now - since))
    item.stash[_KEY] = _LAST[0] = now
    return report


def _processor() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


_KEY = pytest.StashKey[float]()
_LAST = [_processor()]


class _Table:
    def __init__(self) -> None:
        self.started = time.monotonic()
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.processor: defaultdict[str, float] = defaultdict(float)
        self.tests: defaultdict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self.wall[file] += report.duration
        self.tests[file] += report.when == "call"
        # Of a test's phases each has all properties of those before.
        spent = [seconds for name, seconds in report.user_properties if name == _SPENT]
        self.processor[file] += float(str(spent[-1])) if spent else 0.0

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("what each file costs")
        write("processor    wall  tests  file")
        for file in sorted(self.wall, key=lambda file: -self.processor[file])[:_MOST]:
            write(f"{self.processor[file]:7.1f} s {self.wall[file]:5.1f} s {self.tests[file]:5}  {file}")
        total = sum(self.processor.values())
        took = time.monotonic() - self.started
        write(f"{total:7.1f} s of processor in all, in {took:.0f} s")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # where the reports of all processes come together
        config.pluginmanager.register(_Table(), "costs")
