"""Fixtures for tests of the suite."""

from __future__ import annotations

import pytest


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
