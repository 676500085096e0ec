"""What every section of the settings has: strictness, secrets from files, lists and tables from text.

It may not know any section.
"""

from __future__ import annotations

import contextlib
import json
import typing
import unicodedata
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from contracts.kit.settings import is_secret, read_secret
from crm_backends.paths import in_full

Seconds = Annotated[float, Field(gt=0, le=86_400 * 30)]
Wait = Annotated[float, Field(ge=0, le=30)]


class CannotRun(Exception):
    """The adapter cannot start, or a command cannot be done; the message is one clear sentence."""


class SettingsError(CannotRun):
    """The settings cannot be used. Each line names the key, the reason and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_UNSEEN = "it has a line break or a character that nobody sees; write one line without them"
_NOT_SEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Categories of Unicode: control characters, what only formats, and ends of lines."""


def secret_names(model: type[BaseModel]) -> list[str]:
    """Keys of a section that hold a secret."""
    return [name for name, info in model.model_fields.items() if is_secret(info)]


def read_secret_files(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each ``<secret>_file`` by the text of that file, without its last line break and without a BOM.

    A secret with ``any_text`` in its ``json_schema_extra`` is a key that is computed with: every character of
    it counts, and none is passed over or refused.

    Raises:
        ValueError: both spellings are given, the file cannot be read, there is nothing in it, or the secret
            has a line break or a character that nobody sees.
    """
    values = dict(given)
    for name in secret_names(model):
        path = values.pop(f"{name}_file", None)
        if path is None:
            if isinstance(values.get(name), str) and not values[name].strip():
                raise ValueError(f"{name}: it is empty; write the value, or leave the key out")
            if isinstance(values.get(name), str) and _has_unseen(values[name], model.model_fields[name]):
                raise ValueError(f"{name}: {_UNSEEN}")
            continue
        if not isinstance(path, str) or not path:
            raise ValueError(f"{name}_file: not the path of a file")
        if values.get(name) is not None:
            raise ValueError(f"both {name} and {name}_file are set; keep one of them")
        try:
            values[name] = read_secret(Path(path))
        except ValueError as reason:
            raise ValueError(
                f"{name}_file: cannot read {in_full(path)}: {reason}; correct the path, or let this "
                "user read it"
            ) from None
        if not values[name].strip():
            raise ValueError(
                f"{name}_file: {in_full(path)} is empty; write the value into it, or leave the key out"
            )
        if not _is_any_text(model.model_fields[name]):
            values[name] = values[name].removeprefix("\ufeff")
        if _has_unseen(values[name], model.model_fields[name]):
            raise ValueError(f"{name}_file: {in_full(path)}: {_UNSEEN}")
    return values


def _is_any_text(info: FieldInfo) -> bool:
    more = info.json_schema_extra
    return isinstance(more, dict) and bool(more.get("any_text"))


def _has_unseen(secret: str, info: FieldInfo) -> bool:
    return not _is_any_text(info) and has_unseen(secret)


def has_unseen(secret: str) -> bool:
    """Whether a secret has a line break, or a character that nobody sees."""
    return any(unicodedata.category(one) in _NOT_SEEN for one in secret)


Shape = Literal["list", "table"]
_IN_JSON: dict[Shape, str] = {"list": '["a", "b"]', "table": '{"a": "b"}'}


def shape_of(info: FieldInfo) -> Shape | None:
    """Whether a setting is a list or a table; ``None``: a single value."""
    for option in (info.annotation, *typing.get_args(info.annotation)):
        kind = typing.get_origin(option) or option
        if isinstance(kind, type) and issubclass(kind, (list, tuple, Set)):
            return "list"
        if isinstance(kind, type) and issubclass(kind, (Mapping, BaseModel)):
            return "table"
    return None


def no_json(key: str, info: FieldInfo, text: str) -> str | None:
    """Why the text is no JSON of the setting's shape, and how it is written; ``None``: it is."""
    shape = shape_of(info)
    with contextlib.suppress(ValueError):
        if isinstance(json.loads(text), list if shape == "list" else dict):
            return None
    example = json.dumps(info.examples[0]) if info.examples else _IN_JSON[shape or "list"]
    return f"{key}: not a {shape}; in text, as in a variable, it is written as JSON: {example}"


def from_json(model: type[BaseModel], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read lists and tables that are text, as all is that comes from the environment.

    Raises:
        SettingsError: the text is not JSON.
    """
    values = dict(given)
    problems = []
    for name, info in model.model_fields.items():
        text = values.get(name)
        if isinstance(text, str) and shape_of(info) is not None:
            problem = no_json(f"{where}.{name}", info, text)
            if problem is None:
                values[name] = json.loads(text)
            else:
                problems.append(problem)
    if problems:
        raise SettingsError(problems)
    return values


class Section(BaseModel):
    """Base of every section: unknown keys are errors, secrets may come from files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: Any) -> Any:
        return read_secret_files(cls, given) if isinstance(given, Mapping) else given
