"""What is wrong with settings, in words: the key, the reason, the remedy. Values are never repeated.

It may not know any section.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from adapter.settings.base import secret_names
from contracts.kit.settings import nearest

_RENAMED = {"settle_after": "reconcile_after", "settlement_signs": "calculation_types"}


def instead_of(key: str, valid: list[str]) -> str:
    """What was probably meant by an unknown key, as the end of a sentence."""
    if key in _RENAMED:
        return f'; it is called "{_RENAMED[key]}" now'
    near = nearest(key, valid)
    return f'; did you mean "{near}"?' if near else f"; valid here: {', '.join(sorted(valid))}"


def model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section model a location of a validation error lies in."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        annotations = (field.annotation, *typing.get_args(field.annotation)) if field else ()
        current = next((a for a in annotations if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return current


def explain(
    error: ValidationError, model: type[BaseModel], where: str = "", more: Sequence[str] = ()
) -> list[str]:
    """One line per problem: key, reason, remedy. Values are never repeated, they may be secrets.

    ``more``: keys that are valid beside those of ``model``.
    """
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        location = problem["loc"]
        key = ".".join(str(part) for part in ((where,) if where else ()) + location) or "settings"
        if problem["type"] == "extra_forbidden":
            section = model_at(model, location[:-1]) or model
            valid = [*more, *section.model_fields, *(f"{name}_file" for name in secret_names(section))]
            lines.append(f"{key}: unknown key{instead_of(str(location[-1]), valid)}")
        else:
            section = model_at(model, location) or model
            if problem["type"] in ("missing", "string_type"):
                above = model_at(model, location[:-1]) or model
                lines.append(f"{key}: {_in_words(problem['type'], str(location[-1]), secret_names(above))}")
                continue
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "string_pattern_mismatch":
                message = _of_another_form(model, location)
            lines.append(placed(key, message, section))
    return lines


def _in_words(kind: str, name: str, secrets: Sequence[str]) -> str:
    """A reason and a remedy for what is left out, or is another kind of value than text."""
    if kind == "string_type":
        return f'text is wanted; put it into quotes: {name} = "…"'
    file = f", or {name}_file with the path of a file that holds it" if name in secrets else ""
    return f"it is needed and not set; write {name}{file}"


def _of_another_form(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """For a value that does not match a pattern: few can read patterns, so the setting's purpose is told."""
    field = (model_at(model, location[:-1]) or model).model_fields.get(str(location[-1]))
    meant = field.description if field is not None else None
    return "is not of the right form" + (f"; it is: {meant.rstrip('.')}" if meant else "")


def placed(where: str, message: str, model: type[BaseModel]) -> str:
    """A line about a section; a message that begins with one of its keys is about that key."""
    begins = re.match(r"([a-z_]+?)(?:_file)?(?:\.[0-9a-z_.]+)?: ", message)
    return f"{where}{'.' if begins and begins[1] in model.model_fields else ': '}{message}"
