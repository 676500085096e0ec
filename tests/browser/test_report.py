"""The report in a real browser: found by words, narrowed down, at any width, on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import expect

from contracts.suite.report import write_reports
from contracts.suite.results import State, Weight
from tests.suite.test_reports import BREACH, EVERYTHING, exchange, result, run, target

from .conftest import Open

pytestmark = pytest.mark.programs


def report(folder: Path, *results: object) -> str:
    path, *_ = write_reports(run(target(*results)), folder)  # type: ignore[arg-type]
    return path.as_uri()


@pytest.mark.parametrize("size", ["wide", "narrow"])
async def test_nothing_is_wider_than_the_window(tmp_path: Path, opened: Open, size: str) -> None:
    """With the longest words there are."""
    breach = replace(BREACH, title="t" * 400, exchanges=(exchange("x" * 5_000, url="http://" + "u" * 500),))
    one, two = target(breach, *EVERYTHING, name="y" * 300), target(*EVERYTHING)
    path, *_ = write_reports(run(one, two), tmp_path)
    async with opened(size) as watched:
        await watched.page.goto(path.as_uri())
        await watched.fits()


async def test_words_and_kinds_narrow_the_checks_down(tmp_path: Path, opened: Open) -> None:
    async with opened() as watched:
        page = watched.page
        await page.goto(report(tmp_path, *EVERYTHING))
        shown = page.locator(".check:visible")
        await expect(page.locator("#filter output")).to_have_text("6 / 6")
        await page.get_by_role("searchbox").fill("promo code")
        await expect(shown).to_have_count(1)
        await expect(shown).to_contain_text("Title of promo.code")
        await page.get_by_role("searchbox").fill("")
        await page.locator("#filter").get_by_label("fail").uncheck()
        await expect(page.locator("#filter output")).to_have_text("5 / 6")
        await expect(page.locator("[id='info.strings']")).to_be_hidden()
        await page.locator("#broken a", has_text="Title of info.strings").click()
        await expect(page.locator("[id='info.strings']")).to_be_visible()


async def test_on_paper_there_is_the_verdict_and_what_is_broken(tmp_path: Path, opened: Open) -> None:
    fine = [result(f"fine.{number}", title=f"fine {number}") for number in range(300)]
    warning = result("warned", State.FAIL, weight=Weight.WARN, failures=BREACH.failures)
    async with opened() as watched:
        await watched.page.goto(report(tmp_path, BREACH, warning, *fine))
        await watched.page.emulate_media(media="print")
        text = await watched.page.inner_text("body")
        assert "Does not keep the contract: 1 check failed" in text
        assert "a JSON string" in text
        assert "fine 7" not in text
        paper = await watched.page.pdf(format="A4")
        assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 3
