"""A real browser: the system's Chromium, driven by Playwright's wheel. Skipped where it is missing."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from contracts.suite.config import Options
from contracts.suite.pages.app import serving

PATIENCE = 30_000
"""Milliseconds for anything to happen, on a machine that may be busy."""
expect.set_options(timeout=PATIENCE)
SIZES = {"wide": (1300, 900), "narrow": (390, 844)}


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """The pages, served for one test; the address ends with a slash."""
    async with serving("127.0.0.1", 0, Options(language="en")) as address:
        yield address


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """Beginnings of all addresses that the page asked for."""

    async def fits(self) -> None:
        """Nothing is wider than the window."""
        await self.page.wait_for_load_state()
        content, window = await self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert content <= window, f"{self.page.url} is {content} wide in a window of {window}"


Open = Callable[..., AbstractAsyncContextManager[Watched]]


@pytest.fixture
def opened(browser: Browser) -> Open:
    """Opens a page in a session of its own; at the end nothing may have gone wrong on it.

    ``expects``: a status that the browser notes, and is meant.
    """

    @asynccontextmanager
    async def opening(size: str = "wide", expects: str = "", **more: Any) -> AsyncIterator[Watched]:
        width, height = SIZES[size]
        context = await browser.new_context(viewport={"width": width, "height": height}, **more)
        context.set_default_timeout(PATIENCE)
        watched = Watched(await context.new_page())

        def complains(message: ConsoleMessage) -> None:
            if message.type == "error":
                watched.complaints.append(message.text)

        def asks(request: Request) -> None:
            watched.asked.add("/".join(request.url.split("/")[:3]))

        watched.page.on("console", complains)
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.on("request", asks)
        yield watched
        await context.close()
        assert [one for one in watched.complaints if not expects or f"status of {expects}" not in one] == []

    return opening
