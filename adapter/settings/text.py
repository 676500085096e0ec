"""Settings in words: the commented sample, the table for the README, and what is in force.

Everything is read off the settings models, so it cannot fall behind them.
"""

from __future__ import annotations

import json
import re
import secrets
import typing
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from adapter.errors import CATALOGUE
from adapter.settings import ENV_PREFIX, Crm, CrmPort, NumberRange, Settings, shape_of
from contracts.kit.settings import is_secret, markdown_table
from crm_backends import registry
from crm_backends.ports import OPERATIONS, Support

MASK = "********"


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
    """A value in TOML's notation; ``None`` has none there and becomes ``unset``."""
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
        lines.append("")
    lines += ["# Card numbers that the adapter makes, as many of these as you like.", "# [[cards.ranges]]"]
    for key, info in NumberRange.model_fields.items():
        lines += [f"# # {info.description}", f"# {key} = {_shown(info.default)}"]
    return "\n".join(lines) + "\n"


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


def _rows(section: str, model: type[BaseModel]) -> Iterator[list[str]]:
    for key, info in model.model_fields.items():
        if info.description is None:
            continue
        default = info.default
        shown = "" if default in (None, PydanticUndefined) else f"`{toml_value(default)}`"
        yield [f"`{section}.{key}`", _type_words(info), shown, info.description]


def table() -> str:
    """Every setting as Markdown tables, one per section, then one per driver."""
    lines: list[str] = []

    def add(title: str, text: str, rows: Iterable[list[str]]) -> None:
        head = ("key", "type", "default", "meaning")
        lines.extend([f"**{title}** {text}", "", *markdown_table(head, rows), ""])

    for section, model in _sections():
        rows = list(_rows(section, model))
        if model is Crm:
            for port in ("users", "points", "coupons"):
                rows += _rows(f"crm.{port}", CrmPort)
        add(f"`[{section}]`", _first_line(model), rows)
        if section == "cards":
            add("`[[cards.ranges]]`", _first_line(NumberRange), _rows("cards.ranges", NumberRange))
    for name in registry.names():
        spec = registry.load(name)
        add(f"driver `{name}`", spec.summary, _rows("crm", spec.settings))
    return "\n".join(lines).rstrip() + "\n"


_SIGNS = {
    Support.FULL: "yes",
    Support.PARTIAL: "in part",
    Support.NOT_IMPLEMENTED: "not here",
    Support.IMPOSSIBLE: "—",
    Support.UNKNOWN: "?",
}


def capabilities() -> str:
    """What each driver can do as a Markdown table: a row a driver, a column an operation; notes below."""
    specs = [registry.load(name) for name in registry.names()]
    heads = [operation.replace(".", " ").replace("_", " ") for operation in OPERATIONS]
    head = ("driver", *heads, "an unknown outcome is reconciled by", "verified against")
    rows, notes = [], []
    for spec in specs:
        cells = [_SIGNS[spec.capabilities[operation].support] for operation in OPERATIONS]
        rows.append([f"`{spec.name}`", *cells, str(spec.reconciliation), str(spec.verified_by)])
        for operation in OPERATIONS:
            if spec.capabilities[operation].note:
                notes.append(f"* `{spec.name}` {operation}: {spec.capabilities[operation].note}")
    return "\n".join([*markdown_table(head, rows), "", *notes]) + "\n"


def codes() -> str:
    """Every code of the error envelope as a Markdown table."""
    rows = ([str(code.value), entry.en, entry.cause, entry.remedy] for code, entry in CATALOGUE.items())
    return "\n".join(markdown_table(("code", "in English", "cause", "remedy"), rows)) + "\n"


def in_force(settings: Settings) -> str:
    """The effective settings, one ``section.key = value`` a line, secrets masked."""
    lines = []
    for section, model in _sections():
        if model is Crm:
            continue
        for key in model.model_fields:
            lines.append(f"{section}.{key} = {toml_value(getattr(getattr(settings, section), key))}")
    for port, binding in settings.crm.bindings().items():
        if binding is None:
            lines.append(f'crm.{port}.driver = "none"')
            continue
        lines.append(f"crm.{port}.driver = {toml_value(binding.driver)}")
        for key in type(binding.settings).model_fields:
            lines.append(f"crm.{port}.{key} = {toml_value(getattr(binding.settings, key))}")
    return "\n".join(lines) + "\n"
