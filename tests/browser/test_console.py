"""The console as the people who run the adapter use it, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from contracts.sandbox import Sandbox
from contracts.sandbox import running as sandbox_running
from tests.integration.conftest import Adapter, running, settings_for_tests
from tests.integration.consoles import OLGA, PASSWORDS, PEOPLE, RITA, management_port
from tests.integration.held_receipts import held, over_perx

from .conftest import SIZES, Open

PHONE, NAME = "+79165550143", "Plantedname"

pytestmark = pytest.mark.programs


@pytest.fixture
async def crm() -> AsyncIterator[Sandbox]:
    async with sandbox_running("perx") as sandbox:
        yield sandbox


@pytest.fixture
async def adapter(database: str, crm: Sandbox) -> AsyncIterator[Adapter]:
    settings = settings_for_tests(**over_perx(crm), console={"people": PEOPLE})
    async with running(settings, database) as adapter:
        yield adapter


@pytest.fixture
async def base(adapter: Adapter) -> AsyncIterator[str]:
    async with management_port(adapter.service) as address:
        yield address


async def log_in(page: Page, base: str, name: str = OLGA) -> None:
    await page.goto(base)
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORDS[name])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="What waits for a person")).to_be_visible()


async def test_several_held_receipts_are_decided_at_once_by_the_page_alone(
    adapter: Adapter, crm: Sandbox, base: str, opened: Open
) -> None:
    there, missing = await held(adapter, times=1), await held(adapter, times=0)
    async with opened(locale="en-GB") as watched:
        page = watched.page
        await log_in(page, base)
        for operation in (there, missing):
            await page.get_by_label(f"Operation {operation.id}").check()
        await page.get_by_label("Why").fill("the CRM was away in the night")
        await page.get_by_role("button", name="Ask the CRM").click()
        told = page.get_by_role("status")
        await expect(told).to_contain_text("found in the CRM; it is done now, nothing was sent")
        await expect(told).to_contain_text("not found, but this CRM has not proved")
        await expect(page.get_by_label(f"Operation {there.id}")).to_have_count(0)
        await watched.fits()
        await page.get_by_label(f"Operation {missing.id}").check()
        await page.get_by_label("Why").fill("seen in the CRM under another key")
        await page.get_by_label("What became of it").select_option("done")
        await page.get_by_role("button", name="Settle").click()
        await expect(page.get_by_text("Nothing waits for a person.")).to_be_visible()
        decided = page.locator("h2", has_text="Decided lately").locator("+ table")
        await expect(decided).to_contain_text(OLGA)
        await expect(decided).to_contain_text("seen in the CRM under another key")
        assert watched.asked == {base}
    assert len(crm.ledger().select("points_credited")) == 1


async def test_the_browser_itself_asks_for_a_note(adapter: Adapter, base: str, opened: Open) -> None:
    operation = await held(adapter, times=0)
    async with opened(locale="en-GB") as watched:
        page = watched.page
        await log_in(page, base)
        await page.get_by_label(f"Operation {operation.id}").check()
        await page.get_by_role("button", name="Send again").click()
        assert await page.get_by_label("Why").evaluate("field => field.validity.valueMissing")
        assert page.url == f"{base}/console/held"


async def test_where_are_my_points_is_answered_without_a_shell(
    adapter: Adapter, base: str, opened: Open
) -> None:
    qr = adapter.qr(document=88001)
    await held(adapter, times=0, phone=PHONE, qr=qr)
    async with opened("narrow", locale="en-GB") as watched:
        page = watched.page
        await log_in(page, base, RITA)
        await page.get_by_role("link", name="A customer's question").click()
        await page.get_by_label("Card number, phone, or receipt").fill(qr)
        await page.get_by_role("button", name="Find").click()
        await page.get_by_role("link", name="Operation").click()
        await expect(page.get_by_role("heading", name="What Koshelek is answered")).to_be_visible()
        await expect(page.locator("main")).to_contain_text("outcome unknown")
        await watched.fits()
        await page.get_by_role("button", name="Show (is recorded)").click()
        await expect(page.locator("main")).to_contain_text("88001")
        await page.locator("main .facts a").first.click()
        await page.get_by_role("link", name="What would Koshelek be shown now?").click()
        await expect(page.locator("#now")).to_contain_text("Points in all")
        await watched.fits()
        assert "88001" not in page.url
        await page.get_by_role("link", name="Audit list").click()
        await expect(page.locator("main")).to_contain_text("shown operation")
        await watched.fits()


async def test_a_search_is_typed_and_followed_by_the_keyboard_alone(
    adapter: Adapter, base: str, opened: Open
) -> None:
    await held(adapter, times=0, phone=PHONE)
    async with opened(locale="en-GB") as watched:
        page, keyboard = watched.page, watched.page.keyboard
        await page.goto(f"{base}/console/find")
        await expect(page.get_by_label("Name")).to_be_focused()
        await keyboard.type(OLGA)
        await keyboard.press("Tab")
        await keyboard.type(PASSWORDS[OLGA])
        await keyboard.press("Enter")
        await expect(page.get_by_label("Card number, phone, or receipt")).to_be_focused()
        await keyboard.type(PHONE)
        await keyboard.press("Enter")
        link = page.get_by_role("link", name="Card …")
        await expect(link).to_be_visible()
        for _ in range(30):
            await keyboard.press("Tab")
            if await link.evaluate("link => link === document.activeElement"):
                break
        outline = await link.evaluate("link => getComputedStyle(link).outlineStyle")
        assert outline == "solid"
        await keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="The person")).to_be_visible()


async def test_a_file_of_numbers_is_imported_and_its_rejected_lines_downloaded(
    base: str, opened: Open, tmp_path: Path
) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("number\n" + "".join(f"77{value:06}\n" for value in range(3000)) + "7.7E+06\n")
    async with opened("narrow", locale="en-GB") as watched:
        page = watched.page
        await log_in(page, base)
        await page.get_by_role("link", name="Cards").click()
        await page.get_by_label("CSV file").set_input_files(file)
        await page.get_by_role("button", name="Import").click()
        link = page.get_by_role("link", name="Download the rejected lines")
        await expect(link).to_be_visible()  # the page looks anew by itself until it is over
        await expect(page.locator("main")).to_contain_text("3 000".replace(" ", "\u202f"))
        await watched.fits()
        async with page.expect_download() as waiting:
            await link.click()
        rows = (await (await waiting.value).path()).read_text().splitlines()
        assert rows[0] == "line,reason"
        assert rows[1].startswith("3002,")


async def test_now_looks_anew_by_itself_until_it_is_told_to_stand_still(
    adapter: Adapter, base: str, opened: Open
) -> None:
    async with opened(locale="en-GB") as watched:
        page = watched.page
        await log_in(page, base)
        await page.get_by_role("link", name="Now").click()
        await expect(page.get_by_role("link", name="Stand still")).to_be_visible()
        assert await page.locator("meta[http-equiv=refresh]").get_attribute("content") == (
            "20; url=/console/now?again=1"
        )
        await page.get_by_role("link", name="Stand still").click()
        await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
        await expect(page.locator("main")).to_contain_text("perx")
        await watched.fits()


_ONE_ROW = """
(() => {
  const place = name => document.querySelector(name).getBoundingClientRect();
  const [tongues, leave, main] = [place(".languages"), place(".leave"), place("main")];
  const beside = leave.top < tongues.bottom && tongues.top < leave.bottom;
  return beside && Math.abs(leave.right - main.right) < 2;
})()
"""
"""Language and leaving stand side by side, at the right edge."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ru"])
async def test_every_page_fits_in_every_size_colour_and_language(
    adapter: Adapter, base: str, opened: Open, size: str, scheme: str, language: str
) -> None:
    operation = await held(adapter, times=0, phone=PHONE)
    assert (await adapter.get("/v1/card/29990000")).status == 422  # for the codes on the page Now
    async with opened(size, locale=language, color_scheme=scheme, expects="404") as watched:
        page = watched.page
        await page.goto(f"{base}/console/login")
        await watched.fits()
        await page.locator("#name").fill(OLGA)
        await page.locator("#password").fill(PASSWORDS[OLGA])
        await page.locator("form.narrow button").click()
        await page.goto(f"{base}/console/find")
        await page.locator("#text").fill(PHONE)
        await page.locator("form.search button").click()
        await page.locator(".hit a").click()
        await watched.fits()
        for path in (
            "held",
            f"operations/{operation.id}",
            "find",
            "now",
            "sends",
            "check",
            "personal",
            "audit",
            "operations/99999",
        ):
            await page.goto(f"{base}/console/{path}")
            await watched.fits()
            assert await page.locator("html").get_attribute("lang") == language
            assert await page.evaluate(_ONE_ROW) is True
            dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (dark == "rgb(20, 23, 27)") is (scheme == "dark")
