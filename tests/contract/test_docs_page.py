"""The contract page: complete, without script and network, the same over HTTP and in a file."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from contracts.cli import app
from contracts.loyalty_online import VERSIONS, clauses, openapi, page, site

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a page holds: ids, links, names of elements; its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        for name in ("href", "src"):
            if values.get(name):
                self.links.append(str(values[name]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, (tag, self.getpos())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_page_shows_every_method_and_every_clause_of_its_version(version: str) -> None:
    shown = Page(page.render(version))
    assert len(shown.ids) == len(set(shown.ids))
    operations = {
        operation.node["operationId"]
        for operation in openapi.operations(openapi.document(version))
        if "x-same-as" not in operation.node
    }
    held = {clause.id for clause in clauses().values() if version in clause.versions}
    later = set(clauses()) - held
    assert operations | held <= set(shown.ids)
    assert not later & set(shown.ids)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_link_within_the_page_leads_somewhere(version: str) -> None:
    shown = Page(page.render(version, alone=True))
    inside = {link.removeprefix("#") for link in shown.links if link.startswith("#")}
    assert len(inside) > 100
    assert inside <= set(shown.ids)


def test_the_page_needs_no_script_and_nothing_from_elsewhere() -> None:
    text = page.render("1.3.0", alone=True)
    shown = Page(text)
    assert not shown.tags & {"script", "img", "iframe", "object", "video"}
    assert {link.partition(":")[0] for link in shown.links if not link.startswith("#")} == {"data"}
    assert not re.search(r"@import|url\(|\son[a-z]+=", text)


def test_the_page_in_a_file_holds_the_openapi_document() -> None:
    shown = Page(page.render("1.2.0", alone=True))
    (data,) = (link for link in shown.links if link.startswith("data:application/yaml"))
    assert base64.b64decode(data.partition(",")[2]).decode() == openapi.text("1.2.0")


def test_what_is_no_markup_is_escaped() -> None:
    assert str(page.prose("`<a>` & <b>")) == "<code>&lt;a&gt;</code> &amp; &lt;b&gt;"
    assert "fn=8710000101125654&amp;i=99456" in page.render("1.1.0")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with site.running(0) as base_url, aiohttp.ClientSession(base_url) as session:
        yield session


async def test_all_versions_are_served_and_linked(session: aiohttp.ClientSession) -> None:
    async with session.get("/") as answer:
        assert answer.url.path == "/1.3.0"
        start = Page(await answer.text())
    assert set(VERSIONS) - {"1.3.0"} <= set(start.links)
    for version in VERSIONS:
        async with session.get(f"/{version}") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            links = [link for link in Page(await answer.text()).links if link.endswith(".yaml")]
        assert links == [f"openapi-{version}.yaml"]
        async with session.get(f"/{links[0]}") as answer:
            assert await answer.text() == openapi.text(version)


async def test_what_is_not_there_is_404(session: aiohttp.ClientSession) -> None:
    async with session.get("/1.4.0") as answer:
        assert answer.status == 404


def test_the_command_writes_the_page_to_a_file(tmp_path: Path) -> None:
    target = tmp_path / "contract.html"
    done = CliRunner().invoke(app, ["docs", "--output", str(target), "--api-version", "1.1.0"])
    assert done.exit_code == 0, done.output
    assert target.read_text(encoding="utf-8") == page.render("1.1.0", alone=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--api-version", "1.4.0"], "there is no version 1.4.0; there are: 1.0.0, 1.1.0, 1.2.0, 1.3.0"),
        (["--output", "/nowhere/at/all.html"], "cannot write /nowhere/at/all.html"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["docs", *arguments])
    assert done.exit_code == 1
    assert done.output.startswith(f"error: {said}")
    assert done.output.count("\n") == 1
