"""The pages for those who run the adapter name the commands and files there are, and all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer.main

from adapter.commands.app import app
from adapter.settings import read_settings

OF_DRIVERS = {"pegke", "postgres", "xerts"}
PAGES = ("OPERATIONS.md", "GO_LIVE.md")


def commands(group: Any, before: str = "") -> Iterator[str]:
    """Names of all commands; a group is what has commands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name


def _there() -> set[str]:
    names = set(commands(typer.main.get_command(app)))
    return {name for name in names if name.split()[0] not in OF_DRIVERS}


def text_of(project: Path, page: str) -> str:
    return (project / "deploy" / page).read_text(encoding="utf-8")


def test_every_command_is_explained(project: Path) -> None:
    text = text_of(project, PAGES[0])
    rows = re.findall(
        r"^\| `koshelek-adapter ([a-z -]+?)(?: --[^`]*)?`((?:, `[a-z-]+`)*) \|", text, re.MULTILINE
    )
    explained = {name for name, _ in rows}
    for name, others in rows:  # several of one group in one row
        explained |= {f"{name.split()[0]} {other}" for other in re.findall(r"`([a-z-]+)`", others)}
    assert explained == _there()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_commands_there_are(project: Path, page: str) -> None:
    groups = {name.split()[0] for name in _there() if " " in name}
    for words in re.findall(r"(?:`|\$ |bin/|exec )koshelek-adapter ([a-z][a-z -]*)", text_of(project, page)):
        first, *rest = words.split()
        name = f"{first} {rest[0]}" if first in groups and rest else first
        assert name in _there() | groups | OF_DRIVERS, words


@pytest.mark.parametrize("page", PAGES)
def test_a_pages_links_lead_somewhere(project: Path, page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(project, page))
    assert links
    for link in links:
        assert (project / "deploy" / link).exists(), link


async def test_of_every_table_it_is_told_what_it_holds_of_a_person(project: Path, database: str) -> None:
    connection = await asyncpg.connect(database)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'koshelek'")
    await connection.close()
    text = text_of(project, "OPERATIONS.md").partition("## Personal data")[2]
    cells = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `koshelek."))
    told = set(re.findall(r"`koshelek\.(\w+)`", cells))
    assert told == {row["tablename"] for row in rows}


def test_the_settings_of_going_live_are_settings(project: Path, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text_of(project, "GO_LIVE.md"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "koshelek-adapter.toml"
    file.write_text(block.replace("…", "a-password-of-some-length"), encoding="utf-8")
    settings = read_settings(file)
    assert settings.database.url is not None
    assert settings.delivery.in_process is False
    assert settings.cards.ranges[0].prefix == "2900"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_copies_are_there(project: Path, page: str) -> None:
    named = re.findall(r"(?<!exec )\bdeploy/[\w@./-]+\w", text_of(project, page))
    assert page != "GO_LIVE.md" or named
    for name in named:
        assert (project / name).exists(), name
