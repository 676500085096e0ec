"""What each part of the tests costs: ``pytest -p tests.costs`` ends with a table, most expensive file first.

Processor time is that of the process of a test and of the programs it started and waited for, also of those
that were forked. What each process spends before its first test, on imports most of all, is told apart, and
so is what comes to light after its last one: that of PostgreSQL, started once for all. It may not know what
is tested.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Generator

import pytest

_MOST = 40
"""Files in the table."""
_SPENT = "processor seconds"
_BEFORE = "(before the first test)"
_AFTER = "(PostgreSQL, and all else that ends with the last test)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    now = _processor()
    ends_all = call.when == "teardown" and item.stash[_IS_LAST]
    report.user_properties.append((_AFTER if ends_all else _SPENT, now - _LAST[0]))
    _LAST[0] = now
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    item.stash[_IS_LAST] = nextitem is None
    if not _LAST:
        _LAST.append(_processor())
        item.user_properties.append((_BEFORE, _LAST[0]))
    return (yield)


def _processor() -> float:
    spent = os.times()
    forked = sys.modules.get("tests.integration.forks")
    return (
        spent.user
        + spent.system
        + spent.children_user
        + spent.children_system
        + getattr(forked, "spent", 0.0)
    )


_IS_LAST = pytest.StashKey[bool]()
_LAST: list[float] = []
"""What had been spent when the last report was made; empty before the first test."""


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
        ours = (_SPENT, _BEFORE, _AFTER)  # tests have properties of their own
        told = {name: float(str(value)) for name, value in report.user_properties if name in ours}
        # Of a test's phases each has all properties of those before.
        if report.when == "setup" and _BEFORE in told:
            self.tests[_BEFORE] += 1
            self.processor[_BEFORE] += told[_BEFORE]
        if _AFTER in told:
            self.tests[_AFTER] += 1
            self.processor[_AFTER] += told[_AFTER]
        else:
            self.processor[file] += told.get(_SPENT, 0.0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("what each file costs")
        write("processor    wall  tests  file")
        for file in sorted(self.processor, key=lambda file: -self.processor[file])[:_MOST]:
            write(f"{self.processor[file]:7.1f} s {self.wall[file]:5.1f} s {self.tests[file]:5}  {file}")
        total = sum(self.processor.values())
        took = time.monotonic() - self.started
        write(f"{total:7.1f} s of processor in all, in {took:.0f} s")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # where the reports of all processes come together
        config.pluginmanager.register(_Table(), "costs")
