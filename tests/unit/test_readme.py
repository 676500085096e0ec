"""The generated parts of the README are what the code says now."""

from __future__ import annotations

from tests.readme import README, generated


def test_the_generated_parts_are_fresh() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == generated(text), "run: python -m tests.readme"
