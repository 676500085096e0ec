"""Fixtures for tests of the suite."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.suite.implementations.runs")  # so that a failure tells what was found

LONG = ("test_run_against_stand_ins", "test_run_against_demo", "test_engine", "test_surroundings")
"""Files that take longest: begun first, so that no process waits for one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="module")
def asked(request: pytest.FixtureRequest) -> list[str]:
    """The values of ``service`` that the selected tests of this module have."""
    here = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    ]
    return [str(item.callspec.params["service"]) for item in here if "service" in item.callspec.params]


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the language of this machine."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
