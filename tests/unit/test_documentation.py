"""What the documents name is there: links, anchors, files, functions, settings and commands.

A document that promises what is no more misleads everybody who reads it, and nobody who wrote it notices.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer
from pgqueuer.domain.settings import DBSettings
from pydantic import BaseModel
from typer.core import TyperGroup

from adapter.commands.app import app as adapter_app
from adapter.loyalty import model
from adapter.settings import PORTS, CrmPort, NumberRange, Person, Settings, secret_names
from contracts.cli import app as contract_app
from crm_backends import registry
from crm_backends.ports import OPERATIONS
from tests.markdown import ROOT, Code, anchors, code, documents, links

HISTORY = ROOT / "CHANGELOG.md"
"""Tells of what there was; only its links have to lead somewhere."""
PRESENT = [path for path in documents() if path != HISTORY]
APPS = {"koshelek-adapter": adapter_app, "koshelek-contract": contract_app}
PACKAGES = ("adapter", "crm_backends", "contracts", "tests")

Judge = Callable[[Code], Iterator[str]]
"""What a piece of code names that is not there."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_no_link_is_dead(path: Path) -> None:
    dead = []
    for link in links(path):
        target = urlsplit(link.target)
        if target.scheme or target.netloc:
            continue
        file = path if not target.path else (path.parent / unquote(target.path)).resolve()
        if not file.exists():
            dead.append(f"line {link.line}: {link.target}: no such file")
        elif target.fragment and target.fragment not in anchors(file):
            dead.append(f"line {link.line}: {link.target}: no such heading")
    assert not dead


# -- files, modules and functions ------------------------------------------------------------------------

_FILE = re.compile(rf"(?:{'|'.join((*PACKAGES, 'deploy'))})/[\w./{{}}*-]*")
_DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?:\(\))?")
_MODULE = re.compile(r"python3? -m ([a-z_][\w.]*)")


def missing_places(piece: Code) -> Iterator[str]:
    if piece.language is None and _FILE.fullmatch(piece.text):
        pattern = re.sub(r"\{\w+\}", "*", piece.text).rstrip("/")
        if next(ROOT.glob(pattern), None) is None:
            yield f"{piece.text}: no such file"
    if piece.language is None and _DOTTED.fullmatch(piece.text):
        try:
            pkgutil.resolve_name(piece.text.removesuffix("()"))
        except (ImportError, AttributeError):
            yield f"{piece.text}: no such module, class or function"
    for module in _MODULE.findall(piece.text):
        if importlib.util.find_spec(module) is None:
            yield f"python -m {module}: no such module"


# -- settings --------------------------------------------------------------------------------------------

_KEY = re.compile(r"([a-z]+)((?:\.[a-z_]+)+)(?: = .*)?")
_SCHEMAS = re.compile(r"\b(crm|koshelek)\.([a-z_]+)")


def _keys(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields) | {f"{name}_file" for name in secret_names(model)}


@functools.cache
def _keys_of_a_crm() -> frozenset[str]:
    """Keys of ``[crm]``, of a port's section, and of every driver."""
    models: list[type[BaseModel]] = [CrmPort, *(registry.load(name).settings for name in registry.names())]
    return frozenset(key for model in models for key in _keys(model))


@functools.cache
def _in_databases() -> frozenset[tuple[str, str]]:
    """Tables and functions of our two schemas and of the queue, which are written like settings."""
    sql = [*ROOT.glob("adapter/store/migrations/*.sql"), *ROOT.glob("crm_backends/postgres/**/*.sql")]
    texts = [file.read_text(encoding="utf-8") for file in sql]
    settings = DBSettings()
    queue = (
        settings.queue_table,
        settings.queue_table_log,
        settings.statistics_table,
        settings.schedules_table,
    )
    ours = (found for text in texts for found in _SCHEMAS.findall(text))
    return frozenset({*ours, *(("koshelek", table) for table in queue)})


_ENTRIES: dict[str, type[BaseModel]] = {"cards.ranges": NumberRange, "console.people": Person}


def _is_setting(section: str, keys: list[str]) -> bool:
    model: Any = Settings.model_fields[section].annotation
    if section == "crm":
        keys = keys[1:] if keys[0] in PORTS else keys
        return not keys or keys[0] in _keys(model) | _keys_of_a_crm()
    entries = _ENTRIES.get(f"{section}.{keys[0]}")
    if entries is not None and len(keys) > 1:
        return keys[1] in _keys(entries)
    return keys[0] in _keys(model)


def missing_settings(piece: Code) -> Iterator[str]:
    if piece.language == "toml":
        for section, values in tomllib.loads(piece.text).items():
            if section not in Settings.model_fields:
                if section not in ("project", "tool"):
                    yield f"[{section}]: no such section"
                continue
            for key, value in values.items():
                below = list(value) if isinstance(value, dict) and section == "crm" and key in PORTS else [""]
                for name in below:
                    if not _is_setting(section, [key, name] if name else [key]):
                        yield f"{section}.{key}.{name}".rstrip(".") + ": no such setting"
    elif piece.language is None and (written := _KEY.fullmatch(piece.text)):
        section, keys = written[1], written[2][1:].split(".")
        named = f"{section}.{keys[0]}"
        if section not in Settings.model_fields or named in OPERATIONS:
            return
        if (section, keys[0]) in _in_databases():
            return
        if not _is_setting(section, keys):
            yield f"{piece.text}: no such setting, operation or table"


# -- commands --------------------------------------------------------------------------------------------

_PROGRAM = re.compile(
    rf"(?:^|(?<=[\s/(]))({'|'.join(APPS)}) +([^|;&)\n]*(?:\|[a-z][^;&)\n]*)?)", re.MULTILINE
)
_WORD = re.compile(r"[a-z][a-z-]*(?:\|[a-z][a-z-]*)*")
_OPTION = re.compile(r"--[a-z][a-z-]*")
_NO_COMMAND_BEFORE = re.compile(r"(?:install|name:|image|-t|tag|FROM|-n|namespace|generic) *$")


@functools.cache
def _command(program: str) -> Any:
    return typer.main.get_command(APPS[program])


@functools.cache
def _of_a_driver(name: str) -> Any:
    module = importlib.import_module(f"crm_backends.{name}.commands")
    return typer.main.get_command(module.make_app(pytest.fail))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _missing_of(command: Any, called: str, words: list[str]) -> Iterator[str]:
    """What these words name that the command does not have."""
    while isinstance(command, TyperGroup) and words and _WORD.fullmatch(words[0]):
        names = words[0].split("|")
        if command is _command("koshelek-adapter") and names[0] in registry.names():
            called, command, words = f"{called} {names[0]}", _of_a_driver(names[0]), words[1:]
            continue
        for name in names:
            if name not in command.commands:
                yield f"{called} {name}: no such command"
                return
        called, command, words = f"{called} {names[0]}", command.commands[names[0]], words[1:]
    if isinstance(command, TyperGroup):
        return
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in words:
        for option in _OPTION.findall(word):
            if option not in known:
                yield f"{called} {option}: no such option"


def missing_commands(piece: Code) -> Iterator[str]:
    text = piece.text.replace("\\\n", " ")
    for called in _PROGRAM.finditer(text):
        if not _NO_COMMAND_BEFORE.search(text[: called.start()]):
            yield from _missing_of(_command(called[1]), called[1], _words(called[2]))
    if piece.language is None:  # a command of which the program goes without saying
        words = _words(text)
        group = _command("koshelek-adapter").commands.get(words[0] if words else "")
        if isinstance(group, TyperGroup) and len(words) > 1:
            yield from _missing_of(group, words[0], words[1:])


@pytest.mark.parametrize("judge", [missing_places, missing_settings, missing_commands])
def test_what_the_documents_name_is_there(judge: Judge) -> None:
    missing = [
        f"{name_of(path)}, line {piece.line}: {problem}"
        for path in PRESENT
        for piece in code(path)
        for problem in judge(piece)
    ]
    assert not missing


@pytest.mark.parametrize(
    ("judge", "text", "language"),
    [
        (missing_places, "adapter/no_such_file.py", None),
        (missing_places, "crm_backends/*/no_such_page.md", None),
        (missing_places, "adapter.api.calls.no_such_function", None),
        (missing_places, ".venv/bin/python -m tests.no_such_module", "sh"),
        (missing_settings, "delivery.no_such_key", None),
        (missing_settings, "crm.points.no_such_key", None),
        (missing_settings, "cards.ranges.no_such_key = 1", None),
        (missing_settings, "[delivery]\nno_such_key = 1\n", "toml"),
        (missing_settings, "[crm.points]\nno_such_key = 1\n", "toml"),
        (missing_settings, "[no_such_section]\nkey = 1\n", "toml"),
        (missing_commands, "koshelek-adapter no-such-command", None),
        (missing_commands, ".venv/bin/koshelek-adapter receipts held|gone", None),
        (missing_commands, "cards no-such-command", None),
        (missing_commands, "koshelek-adapter receipts held --no-such-option", "sh"),
        (missing_commands, "koshelek-contract run https://a.example --no-such-option", "sh"),
    ],
)
def test_what_is_not_there_is_noticed(judge: Judge, text: str, language: str | None) -> None:
    assert len(list(judge(Code(1, text, language)))) == 1


# -- reasons ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        model.CERTAINLY_NOT_SENT,
        model.IN_DOUBT,
        model.IN_DOUBT_ONCE,
        model.NOT_FOUND_UNPROVED,
        model.NOT_FOUND_REFUTED,
        model.CONFLICT,
        model.DONE_TWICE,
    ],
)
def test_every_reason_for_being_held_is_explained(reason: str) -> None:
    assert f"| {reason} |" in (ROOT / "adapter" / "OPERATING.md").read_text(encoding="utf-8")
