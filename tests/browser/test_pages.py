"""The pages of ``koshelek-contract serve`` as somebody new would use them, in a real browser."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from playwright.async_api import Page, expect

from contracts.suite.config import Options
from contracts.suite.pages.app import serving as serving_pages
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving

from .conftest import Open

pytestmark = pytest.mark.programs


class Changing(Clean):
    """Answers numbers as numbers until it is mended."""

    mended = False

    def strings(self, value: Any) -> Any:
        return super().strings(value) if self.mended else value


async def fill(page: Page, site: str, url: str, **more: str) -> None:
    """Type a service into the form of the first page; ``only`` keeps the run short."""
    await page.goto(site)
    await page.get_by_label("Address").fill(url)
    await page.get_by_label("Login").fill(LOGIN)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    for group in ("People to test with", "Receipts and promo codes", "Everything else"):
        await page.locator("summary", has_text=group).click()
    for name, value in more.items():
        await page.locator(f"[name='{name}']").fill(value)


async def finish_a_run(page: Page) -> None:
    """Press the button, and wait for the end of the run."""
    await page.get_by_role("button", name="Test the service").click()
    await expect(page.get_by_role("link", name="Read the report")).to_be_visible(timeout=60_000)


async def test_a_service_is_tested_and_the_report_downloaded_by_the_page_alone(
    site: str, opened: Open
) -> None:
    async with serving(Changing()) as url, opened() as watched:
        page = watched.page
        await fill(page, site, url, only="KLO-3, every_answer.")
        await page.get_by_label("Profile").select_option("full")
        await finish_a_run(page)
        assert "Does not keep the contract" in await page.inner_text("main")
        await watched.fits()
        async with page.expect_download() as waiting:
            await page.get_by_role("link", name="Download everything").click()
        kept = await (await waiting.value).path()
        archive = zipfile.ZipFile(io.BytesIO(kept.read_bytes()))
        assert {"report.html", "junit.xml", "results.json", "exchange.har"} <= set(archive.namelist())
        (target,) = json.loads(archive.read("results.json"))["targets"]
        assert target["clauses"]["KLO-0-34"] == "fail"
        assert all(PASSWORD.encode() not in archive.read(name) for name in archive.namelist())
        await page.get_by_role("link", name="Read the report").click()
        await expect(page.get_by_role("heading", name="What is broken")).to_be_visible()
        await watched.fits()
        assert watched.asked == {site.rstrip("/")}


async def test_progress_is_live_and_a_run_can_be_stopped(site: str, opened: Open) -> None:
    async with serving(Clean()) as url, opened() as watched:
        page = watched.page
        await fill(page, site, url, rate="20")
        await page.get_by_role("button", name="Test the service").click()
        await expect(page.get_by_role("heading", name="Tried now")).to_be_visible()
        before = await page.get_by_role("status").inner_text()
        await expect(page.get_by_role("status")).not_to_have_text(before)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_role("link", name="Read the report")).to_be_visible()
        assert "it was stopped on the page" in await page.content()


async def test_runs_are_compared_with_the_one_before(site: str, opened: Open) -> None:
    service = Changing()
    async with serving(service) as url, opened("narrow") as watched:
        page = watched.page
        await fill(page, site, url, only="KLO-3, every_answer.")
        await page.get_by_label("Profile").select_option("full")
        await finish_a_run(page)
        service.mended = True
        await page.get_by_role("link", name="Test again").click()
        await finish_a_run(page)
        await expect(page.get_by_role("heading", name="Since run 1")).to_be_visible()
        mended = page.locator("h3", has_text="Mended since then: 1").locator("+ ul")
        await expect(mended).to_contain_text("Every elementary field is a JSON string")
        await page.get_by_role("link", name="Runs").click()
        await expect(page.locator("main")).to_contain_text("0 broken, 1 mended")
        await watched.fits()


async def test_a_wrong_form_says_what_and_keeps_what_was_typed(site: str, opened: Open) -> None:
    async with opened(expects="422") as watched:
        page = watched.page
        await fill(page, site, "https://loyalty.example.org", **{"existing.phone": "12", "rate": "often"})
        await page.get_by_role("button", name="Test the service").click()
        await expect(page.get_by_role("alert").filter(has_text="5 to 15 digits")).to_be_visible()
        await expect(page.get_by_role("alert").filter(has_text="valid number")).to_be_visible()
        assert await page.get_by_label("Address").input_value() == "https://loyalty.example.org"
        assert PASSWORD not in await page.content()


async def test_a_service_that_is_not_there_is_told_as_such(site: str, opened: Open) -> None:
    async with opened() as watched:
        await fill(watched.page, site, "http://127.0.0.1:9")
        await watched.page.get_by_role("button", name="Test the service").click()
        await expect(watched.page.get_by_role("heading", name="Could not be tested")).to_be_visible()
        assert "does not answer" in await watched.page.inner_text("main")


@pytest.mark.parametrize("size", ["wide", "narrow"])
async def test_the_phone_plays_every_method_with_the_exchange_beside_it(
    site: str, opened: Open, size: str
) -> None:
    async with serving(Clean()) as url, opened(size) as watched:
        page = watched.page
        await fill(page, site, url)
        await page.get_by_role("button", name="Open it on the phone").click()

        async def press(screen: str, button: str, **typed: str) -> None:
            await (
                page.get_by_role("navigation", name="Calls")
                .get_by_role("link", name=screen, exact=True)
                .click()
            )
            form = page.locator("form.action", has=page.get_by_role("button", name=button, exact=True))
            for label, value in typed.items():
                await form.locator(f"[name={label}]").fill(value)
            await form.get_by_role("button", name=button, exact=True).click()
            await watched.fits()

        phone = page.get_by_role("region", name="Phone")
        wire = page.get_by_role("region", name="What went over the wire")
        await press("Find", "Find the card", msisdn="79005550001")
        await expect(phone).to_contain_text("Nobody was found")
        await press("New card", "Issue a card", msisdn="79005550001")
        await expect(phone).to_contain_text("The card was issued")
        barcode = phone.get_by_role("img")
        await expect(barcode).to_be_visible()
        assert await barcode.evaluate("image => image.complete && image.naturalWidth > 50")
        await press("Receipt", "Send the receipt")
        await expect(phone).to_contain_text("credited")
        await press("Card", "Open the card")
        await expect(phone).to_contain_text("50 points")
        await press("Promo code", "Use the code", code="NO-SUCH-CODE")
        await expect(phone).to_contain_text("The service answered 422")
        await press("Purchases", "Show purchases")
        await press("Offers", "Show offers")
        await expect(phone).to_contain_text("Кофе в подарок")
        await press("Profile", "Change the profile", email="phone@example.com")
        await press("Consents", "Save the consents")
        await press("New card", "Reserve a number")
        await press("New card", "Issue the reserved number", msisdn="79005550002", email="b@example.com")
        await press(
            "All users",
            "Show phones",
        )
        await expect(phone).to_contain_text("79005550002")
        await press("All users", "Show phones with parameters")
        await press("Scenarios", "Play the scenario")
        await expect(phone).to_contain_text("Every step succeeded.")
        steps = await wire.locator(".step h3").all_inner_texts()
        assert len(steps) == 14
        assert "Authorization: Basic ***" in await wire.inner_text()
        assert PASSWORD not in await page.content()
        assert watched.asked == {site.rstrip("/")}


async def test_everything_can_be_read_and_done_without_script(site: str, opened: Open) -> None:
    async with serving(Clean()) as url, opened(java_script_enabled=False) as watched:
        page = watched.page
        await fill(page, site, url, only="KLO-1")
        await finish_a_run(page)
        await page.get_by_role("link", name="Read the report").click()
        await expect(page.get_by_role("heading", name="Keeps the contract")).to_be_visible()
        await expect(page.locator("#filter")).to_be_hidden()


async def test_the_form_is_filled_in_and_sent_by_the_keyboard(site: str, opened: Open) -> None:
    async with serving(Clean()) as url, opened() as watched:
        page = watched.page
        await page.goto(site)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip-link"
        await page.keyboard.press("Enter")
        for text in (url, LOGIN, PASSWORD):
            await page.keyboard.press("Tab")
            await page.keyboard.type(text)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Tried now")).to_be_visible()


async def test_the_page_speaks_the_browsers_language_and_the_chosen_one(opened: Open) -> None:
    async with serving_pages("127.0.0.1", 0, Options()) as site, opened(locale="ru-RU") as watched:
        page = watched.page
        await page.goto(site)
        await expect(page.get_by_role("button", name="Проверить сервис")).to_be_visible()
        await page.get_by_role("link", name="English").click()
        await expect(page.get_by_role("button", name="Test the service")).to_be_visible()
        assert await page.get_attribute("html", "lang") == "en"


async def test_an_address_for_others_wants_its_token_once(opened: Open) -> None:
    async with (
        serving_pages("127.0.0.1", 0, Options(), token="s3cret") as address,
        opened(expects="403") as watched,
    ):
        page = watched.page
        refused = await page.goto(address.partition("?")[0])
        assert refused is not None
        assert refused.status == 403
        await page.goto(address)
        assert "token" not in page.url
        await expect(page.get_by_role("button").first).to_be_visible()
