"""The pages for those who run the adapter name the commands and files there are, and all of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer
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


@cache
def whole() -> Any:
    """The command line, made once: that takes longer than to read it."""
    return typer.main.get_command(app)


def _there() -> set[str]:
    names = set(commands(whole()))
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


SPELLED_OUT = (
    "deploy/OPERATIONS.md",
    "deploy/GO_LIVE.md",
    "deploy/alerts/rules.yaml",
    "adapter/OPERATING.md",
    "adapter/CONSOLE.md",
)
_GROUPS = "receipts|cards|people|person|database|config|connector"
USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
"""Of the command line's library, which typer brings along."""
PUT_IN = {"ID": "4711", "KIND": "receipt"}
"""What stands for the capitals of a page, where not any word will do."""


def spelled_out(text: str) -> Iterator[list[str]]:
    """Commands with their arguments, as one would type them. A mere name, as `receipts settle`, is none."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    inline = re.sub(r"\s+", " ", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    found = re.findall(r"(?:bin/|^|exec )koshelek-adapter (.*)", blocks.replace("\\\n", " "), re.MULTILINE)
    # In backticks; and where there are none, in the alerts, what takes an operation's number.
    found += re.findall(rf"`(?:koshelek-adapter )?((?:{_GROUPS}) [^`|…]+)`", inline)
    found += re.findall(r"`koshelek-adapter ([a-z]+ [^`|…]+)`", inline)
    found += re.findall(
        r"(?<!`)\b(receipts (?:settle|requeue|recheck) ID(?: --\w+ (?:\w+|\"[^\"]*\"))*)", inline
    )
    for line in found:
        words = shlex.split(line.partition(" >")[0], comments=True)
        if len(words) > 1 + (words[0] in _GROUPS.split("|")) or " #" in line:
            yield [PUT_IN.get(word, word) for word in (word.strip("[]") for word in words)]


def parsed(words: list[str]) -> None:
    """Read as the command line reads it, without doing it. Raises ``USAGE_ERROR``."""
    command = whole()
    context = None
    while hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, name
        command = command.commands[name]
    context = command.make_context(command.name, words, parent=context)
    context.close()


@pytest.mark.parametrize("page", SPELLED_OUT)
def test_every_command_of_a_page_is_whole(project: Path, page: str) -> None:
    commands = list(spelled_out((project / page).read_text(encoding="utf-8")))
    assert len(commands) >= 3
    wrong = {}
    for words in commands:
        if words[0] in OF_DRIVERS:
            continue
        try:
            parsed(list(words))
        except (USAGE_ERROR, AssertionError) as error:
            wrong[shlex.join(words)] = str(error)
    assert wrong == {}


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
