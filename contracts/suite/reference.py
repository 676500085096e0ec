"""The options in words: the commented sample, and the table for the README. Read off the models."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from contracts.kit.settings import markdown_table
from contracts.suite.config import PREFIX, Identity, Options

_KINDS: dict[Any, str] = {
    str: "text", SecretStr: "text", list[str]: "texts", bool: "true or false", int: "number",
    float: "number", Decimal: "number", Path: "path", date: "day", Identity: "identity",
}  # fmt: skip
EXAMPLES = {
    "urls": "[https://loyalty.example.org]",
    "login": "koshelek",
    "password": "secret",
    "password_file": "password",
    "only": "[KLO-3, receipts.]",
    "rate": "20",
    "without": "[credentials.]",
    "targets": "{old: {url: https://old.example.org, login: koshelek-old, password_file: old}}",
    "baseline": "accepted.yaml",
    "require": "[money, KLO-3]",
    "max_skips": "20",
    "base_path": "/loyalty",
    "ca_file": "authority.pem",
    "report_dir": "report",
    "language": "ru",
    "resume": "report",
    "existing": "{phone: 79001234567, email: anna@example.org, birth_date: 1990-01-31}",
    "blocked": "{phone: 79001234568}",
    "ambiguous": "{phone: 79001234569, email: boris@example.org, birth_date: 1985-12-24}",
    "unknown": "{phone: 79001234560, email: nobody@example.org}",
    "plastic": "2900000000025",
    "promo_code": "WELCOME",
    "receipt_points": "50",
    "promo_points": "100",
    "receipt": "t={t}&s={s}&fn={fn}&i={i}&fp={fp}&n=1",
}
"""Values for what has no default that could be shown."""
_HEAD = ("key", "value", "default", "what it means")


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The values that an option may have, where they are few."""
    for each in (info.annotation, *typing.get_args(info.annotation)):
        if typing.get_origin(each) is typing.Literal:
            return typing.get_args(each)
    return ()


def _kind(info: FieldInfo) -> str:
    kinds = [each for each in typing.get_args(info.annotation) if each is not types.NoneType]
    if chosen := choices(info):
        return ", ".join(f"`{value}`" for value in chosen)
    return _KINDS[info.annotation if info.annotation in _KINDS else kinds[0]]


def _shown(default: Any) -> str:
    """A default as YAML has it; nothing for what is not set."""
    if default is None or default in ("", [], {}):
        return ""
    return json.dumps(default) if isinstance(default, (bool, int, float)) else str(default)


def _rows(fields: dict[str, FieldInfo]) -> Iterator[list[str]]:
    for name, info in fields.items():
        shown = _shown(info.default)
        yield [f"`{name}`", _kind(info), f"`{shown}`" if shown else "", str(info.description)]


def table() -> str:
    """Every option, and every key of an identity, as Markdown."""
    return "\n".join(
        [
            f"Each key is a variable too: `{PREFIX}RECEIPT_WAIT`, `{PREFIX}EXISTING__PHONE`; texts have "
            "commas between them there.",
            "",
            *markdown_table(_HEAD, _rows(Options.model_fields)),
            "",
            "Keys of an identity:",
            "",
            *markdown_table(_HEAD, _rows(Identity.model_fields)),
        ]
    )


def sample() -> str:
    """A YAML file with every option, each commented out."""
    lines = [
        "# Options of koshelek-contract run and play. Take the # away before the ones you need: what is",
        "# shown is the default, or an example where there is none. Each is a variable too:",
        f"# {PREFIX}LOGIN, {PREFIX}EXISTING__PHONE.",
    ]
    for name, info in Options.model_fields.items():
        text = str(info.description)
        if choices(info):
            text += f" One of {_kind(info).replace('`', '')}."
        lines += ["", *(f"# {line}" for line in wrap(text, 100))]
        lines.append(f"#{name}: {_shown(info.default) or EXAMPLES[name]}")
    return "\n".join([*lines, ""])
