"""Settings in words: the commented sample, the tables of the documents, and what is in force.

Everything is read off the settings models, so it cannot fall behind them.
"""

from __future__ import annotations

import json
import re
import secrets
import typing
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from adapter.errors import TEXTS
from adapter.settings import (
    ENV_PREFIX,
    PORTS,
    Crm,
    CrmPort,
    NumberRange,
    Person,
    Settings,
    shape_of,
)
from contracts.kit.settings import is_secret, markdown_table
from crm_backends import registry
from crm_backends.database import place_of, url_problem
from crm_backends.ports import OPERATIONS, Support

MASK = "********"
_ENTRIES: dict[str, type[BaseModel]] = {"cards.ranges": NumberRange, "console.people": Person}
"""Settings that are tables, as many as one likes."""


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield name, info.annotation


def _plain(value: Any) -> Any:
    """A value as TOML has it."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    return value if isinstance(value, (bool, int, float, str, dict)) or value is None else str(value)


def toml_value(value: Any) -> str:
    """A value as TOML writes it. TOML has no null: ``None`` becomes ``unset``."""
    value = _plain(value)
    if value is None:
        return "unset"
    if isinstance(value, dict):
        pairs = (f"{_toml_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _shown(default: Any) -> str:
    return "..." if default is None else toml_value(default)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def sample() -> str:
    """A settings file with every key, its default and what it means; the password is newly generated."""
    lines = [
        "# Settings of koshelek-adapter. A line that is commented out shows the default.",
        f"# Each key may also come from the environment, which wins: {ENV_PREFIX}SERVER__PORT=8080.",
        "# There a list or a table is written as JSON.",
        "# Each secret may be given as <key>_file instead: the path of a file that holds it.",
        "# Relative paths count from the folder in which the command runs.",
        "",
    ]
    for section, model in _sections():
        lines += [f"# {_first_line(model)}", f"[{section}]"]
        for key, info in model.model_fields.items():
            if info.description is None:
                continue
            lines.append(f"# {info.description}")
            if (section, key) == ("koshelek", "password"):
                lines.append(f'password = "{secrets.token_urlsafe(24)}"')
            else:
                lines.append(f"# {key} = {_shown(info.default)}")
        if section == "crm":
            lines.append(
                "# The keys of the driver come here, too, such as url_file and sql_dir of postgres; its"
            )
            lines.append("# page lists them, and so does: koshelek-adapter config reference")
        lines.append("")
    lines += ["# Card numbers that the adapter makes, as many of these as you like.", "# [[cards.ranges]]"]
    lines += _sample_of(NumberRange)
    lines += ["", "# Who may log in to the console, a table each.", "# [[console.people]]"]
    lines += _sample_of(Person)
    return "\n".join(lines) + "\n"


def _sample_of(model: type[BaseModel]) -> list[str]:
    lines = []
    for key, info in model.model_fields.items():
        default = (info.examples or [None])[0] if info.default is PydanticUndefined else info.default
        lines += [f"# # {info.description}", f"# {key} = {_shown(default)}"]
    return lines


def _type_words(info: FieldInfo) -> str:
    annotation = info.annotation
    options = [a for a in typing.get_args(annotation) if a is not type(None)]
    if typing.get_origin(annotation) is typing.Literal:
        return " \\| ".join(f"`{option}`" for option in options)
    if is_secret(info):
        return "secret"
    named = {"str": "text", "int": "whole number", "float": "number", "Decimal": "number", "bool": "yes/no"}
    if shape := shape_of(info):
        return shape
    single = options[0] if options else annotation
    return named.get(getattr(single, "__name__", ""), "path" if single is Path else "text")


def _rows(section: str, model: type[BaseModel]) -> Iterator[str]:
    for key, info in model.model_fields.items():
        if info.description is None:
            continue
        default = info.default
        shown = "" if default in (None, PydanticUndefined) else f"`{toml_value(default)}`"
        shown, text = (cell.replace("|", "\\|") for cell in (shown, info.description))
        yield f"| `{section}.{key}` | {_type_words(info)} | {shown} | {text} |"


_HEAD = ["| key | type | default | meaning |", "|---|---|---|---|"]


def table() -> str:
    """Every setting as Markdown tables: one per section, then one per driver."""
    drivers = []
    for name in registry.names():
        spec = registry.load(name)
        drivers += [f"**driver `{name}`** {spec.summary}", "", *_HEAD, *_rows("crm", spec.settings), ""]
    return "\n".join([sections(), *drivers]).rstrip() + "\n"


def sections() -> str:
    """The adapter's own settings as Markdown tables, one per section."""
    lines: list[str] = []
    for section, model in _sections():
        lines += [f"**`[{section}]`** {_first_line(model)}", "", *_HEAD, *_rows(section, model)]
        if model is Crm:
            for port in ("users", "points", "coupons"):
                lines += _rows(f"crm.{port}", CrmPort)
        lines.append("")
        for key, entries in _ENTRIES.items():
            if key.startswith(f"{section}."):
                lines += [f"**`[[{key}]]`** {_first_line(entries)}", "", *_HEAD, *_rows(key, entries), ""]
    return "\n".join(lines).rstrip() + "\n"


def settings_of_http() -> str:
    """The settings that every driver of a CRM behind HTTP has, as a Markdown table."""
    return "\n".join([*_HEAD, *_rows_of_http()]) + "\n"


def _rows_of_http() -> Iterator[str]:
    from crm_backends.http.settings import HttpSettings  # here: it takes the HTTP client along

    return _rows("crm", HttpSettings)


def settings_of(driver: str) -> str:
    """The settings of one driver as a Markdown table, without what every driver behind HTTP has alike."""
    shared = set(_rows_of_http())
    rows = [row for row in _rows("crm", registry.load(driver).settings) if row not in shared]
    return "\n".join([*_HEAD, *rows]) + "\n"


_SIGNS = {
    Support.FULL: "yes",
    Support.PARTIAL: "in part",
    Support.NOT_IMPLEMENTED: "not here",
    Support.IMPOSSIBLE: "—",
    Support.UNKNOWN: "?",
}


def capabilities() -> str:
    """What each driver can do as Markdown: a table of the drivers, then one per port, with notes below."""
    specs = [registry.load(name) for name in registry.names()]
    head = ("driver", "serves", "a doubt is reconciled by", "verified against")
    drivers = [
        [
            f"`{spec.name}`",
            ", ".join(port for port in PORTS if port in spec.ports),
            str(spec.reconciliation),
            str(spec.verified_by),
        ]
        for spec in specs
    ]
    ports = [line for port in PORTS for line in _of_port(port, specs)]
    return "\n".join([*markdown_table(head, drivers), *ports]) + "\n"


def _of_port(port: str, specs: Sequence[registry.BackendSpec[Any]]) -> Iterator[str]:
    """What the drivers can do of one port; a driver that does not serve it is told in a line."""
    operations = [name for name in OPERATIONS if name.startswith(f"{port}.")]
    names = [name.partition(".")[2].replace("_", " ") for name in operations]
    serving = [spec for spec in specs if port in spec.ports]
    rows = [
        [f"`{spec.name}`", *(_SIGNS[spec.capabilities[name].support] for name in operations)]
        for spec in serving
    ]
    yield from ("", f"**{port}**", "", *markdown_table(("driver", *names), rows), "")
    for spec in specs:
        about: dict[str, list[str]] = {}
        for name, operation in zip(names, operations, strict=True):
            if note := spec.capabilities[operation].note:
                about.setdefault(note, []).append(name)
        if spec in serving:
            yield from (f"* `{spec.name}` {', '.join(said)}: {note}" for note, said in about.items())
        else:
            yield f"* `{spec.name}` does not serve {port}: {'; '.join(about)}"


def codes() -> str:
    """Every code of the error envelope as a Markdown table."""
    rows = ([str(code.value), entry.en, entry.cause, entry.remedy] for code, entry in TEXTS.items())
    return "\n".join(markdown_table(("code", "in English", "cause", "remedy"), rows)) + "\n"


def in_force(settings: Settings) -> str:
    """The effective settings, one ``section.key = value`` a line, secrets masked."""
    lines = []
    for section, model in _sections():
        if model is Crm:
            continue
        for key in model.model_fields:
            lines.append(_line(f"{section}.{key}", getattr(getattr(settings, section), key)))
    for port, binding in settings.crm.bindings().items():
        if binding is None:
            lines.append(f'crm.{port}.driver = "none"')
            continue
        lines.append(f"crm.{port}.driver = {toml_value(binding.driver)}")
        for key in type(binding.settings).model_fields:
            lines.append(_line(f"crm.{port}.{key}", getattr(binding.settings, key)))
    return "\n".join(lines) + "\n"


def _line(key: str, value: object) -> str:
    """A setting in force; of the URL of a database also where it leads, without user and password."""
    line = f"{key} = {toml_value(value)}"
    if isinstance(value, SecretStr) and url_problem(value.get_secret_value()) is None:
        line += f"  # {place_of(value.get_secret_value())}"
    return line
