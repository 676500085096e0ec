"""A connector's file and those it extends, joined and of the right shape; each value still has its place.

It may not know what an expression is.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError

from crm_backends.connector import source
from crm_backends.connector.language import Connector, Part
from crm_backends.connector.problems import ConnectorError, FilePlace, Path, Problem, nearest
from crm_backends.connector.source import SourceFile
from crm_backends.connector.vocabulary import ACCOUNTS, PORTS, SHAPES

FILE = "connector.yaml"
DRIVERS = File(__file__).parent.parent
"""The folder with a folder for each driver."""
_GENERATIONS = 5
_NAMED = "a name has small letters, digits and _, and begins with a letter"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A connector of the right shape, and the files it was read from, its own first."""

    model: Connector
    sources: Sequence[SourceFile]
    nothing: Mapping[str, str]
    """Ports that the CRM has nothing of -> why."""

    def place(self, path: Path, fragment: str = "", *, key: bool = False) -> FilePlace:
        return place_in(self.sources, path, fragment, key=key)


def shipped() -> dict[str, File]:
    """Name -> file of the connectors that come with this package."""
    return {path.parent.name: path for path in sorted(DRIVERS.glob(f"*/{FILE}"))}


def load(file: File) -> Loaded:
    """Read a connector.

    Raises:
        ConnectorError: it cannot be read, or is not of the right shape.
    """
    sources = _with_what_it_extends(file)
    values = sources[-1].values
    for one in reversed(sources[:-1]):
        values = _over(values, one.values)
    return _shaped(values, sources)


def read_text(text: str, file: str) -> Loaded:
    """The same of a text that extends nothing. Raises ``ConnectorError``."""
    one = source.read(text, file)
    return _shaped(one.values, [one])


def place_in(
    sources: Sequence[SourceFile], path: Path, fragment: str = "", *, key: bool = False
) -> FilePlace:
    """The place in the file that says most about this path, the connector's own first."""

    def depth(one: SourceFile) -> int:
        return max((len(path[:end]) for end in range(len(path) + 1) if path[:end] in one.spans), default=0)

    best = max(sources, key=depth)  # of equals the first
    return best.place(path, fragment, key=key)


def _with_what_it_extends(file: File) -> list[SourceFile]:
    sources: list[SourceFile] = []
    while True:
        sources.append(one := source.read(_text_of(file, sources), str(file)))
        wanted = one.values.get("extends") if isinstance(one.values, dict) else None
        if not isinstance(wanted, str):
            return sources
        if len(sources) > _GENERATIONS:
            raise _refusal(one, ("extends",), "connectors extend each other in a circle, or too deep")
        known = shipped()
        if wanted.endswith((".yaml", ".yml")):
            file = file.parent / wanted
        elif wanted in known:
            file = known[wanted]
        else:
            raise _refusal(one, ("extends",), f'there is no connector "{wanted}"', nearest(wanted, known))


def _text_of(file: File, before: Sequence[SourceFile]) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        cause = f"{file.name} cannot be read ({error.strerror or type(error).__name__})"
        remedy = "correct the path, or let this user read it"
    except UnicodeDecodeError:
        cause, remedy = f"{file.name} is not UTF-8", "save it as UTF-8"
    if before:
        raise _refusal(before[-1], ("extends",), cause, remedy)
    raise ConnectorError([Problem(FilePlace(str(file), 1, 1), cause, remedy)])


def _refusal(one: SourceFile, path: Path, cause: str, remedy: str = "") -> ConnectorError:
    return ConnectorError([Problem(one.place(path), cause, remedy)])


def _over(base: Any, own: Any) -> Any:
    """One file over another: mappings are joined, all else is replaced, and null takes something away."""
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    joined = {**base}
    for key, value in own.items():
        if value is None:
            joined.pop(key, None)
        elif key == "operations" and isinstance(value, dict) and isinstance(base.get(key), dict):
            joined[key] = {**base[key]}
            for name, operation in value.items():
                joined[key][name] = _over_operation(base[key].get(name), operation)
        else:
            joined[key] = _over(base.get(key), value)
    return joined


def _over_operation(base: Any, own: Any) -> Any:
    """What is said to be impossible is nothing else; examples are of what they were written for."""
    if not isinstance(base, dict) or not isinstance(own, dict) or {"unsupported", "not_written"} & set(own):
        return own
    kept = {
        key: value for key, value in base.items() if key not in ("unsupported", "not_written", "examples")
    }
    return _over(kept, own)


def _shaped(values: Any, sources: Sequence[SourceFile]) -> Loaded:
    problems: list[Problem] = []
    nothing: dict[str, str] = {}
    if isinstance(values, dict) and isinstance(values.get("operations"), dict):
        values = {**values, "operations": dict(values["operations"])}
        nothing = _ports_without(values["operations"], sources, problems)
    try:
        model = Connector.model_validate(values)
    except ValidationError as error:
        problems += [_explained(one, sources) for one in error.errors(include_url=False, include_input=False)]
        raise ConnectorError(problems) from None
    problems += _operations(model, nothing, sources)
    if problems:
        raise ConnectorError(problems)
    return Loaded(model, sources, nothing)


def _ports_without(
    operations: dict[str, Any], sources: Sequence[SourceFile], problems: list[Problem]
) -> dict[str, str]:
    """Take ``users: {unsupported: why}`` out of the operations."""
    found: dict[str, str] = {}
    for port in PORTS:
        if port not in operations:
            continue
        value = operations.pop(port)
        reason = value.get("unsupported") if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(reason, str) and reason.strip():
            found[port] = reason
        else:
            place = place_in(sources, ("operations", port))
            problems.append(
                Problem(place, f"{port} is a port, not an operation", 'write {unsupported: "why"}')
            )
    return found


def _operations(model: Connector, nothing: Mapping[str, str], sources: Sequence[SourceFile]) -> list[Problem]:
    """Each operation is known, and each known one is spoken of."""
    problems: list[Problem] = []

    def wrong(path: Path, cause: str, remedy: str = "", *, key: bool = False) -> None:
        problems.append(Problem(place_in(sources, path, key=key), cause, remedy))

    for name, operation in model.operations.items():
        path: Path = ("operations", name)
        if name not in SHAPES:
            wrong(path, f'there is no operation "{name}"', nearest(name, [*SHAPES, *PORTS]), key=True)
            continue
        if name.partition(".")[0] in nothing:
            wrong(path, f"the CRM is said to have nothing of {name.partition('.')[0]}", key=True)
        no = operation.unsupported or operation.not_written
        if operation.unsupported and operation.not_written:
            wrong(path, "an operation is unsupported or not_written, not both", key=True)
        if no and (operation.steps or operation.partial):
            wrong(path, "an operation that cannot be done has no steps", key=True)
        if not no and not operation.steps and name not in ACCOUNTS:
            wrong(path, "this operation has no steps", 'or write unsupported: "why"', key=True)
        if name in ACCOUNTS and no:
            wrong(path, "an account is needed where anything of its port is there", key=True)
    for port in PORTS:
        if port in nothing:
            continue
        for name, shape in SHAPES.items():
            if name.startswith(f"{port}.") and name not in model.operations and not shape.optional:
                remedy = (
                    'describe it, or write unsupported: "why"; '
                    f'for the whole port {port}: {{unsupported: "why"}}'
                )
                wrong(("operations",), f'nothing is said of "{name}"', remedy, key=True)
    return problems


def _explained(error: Any, sources: Sequence[SourceFile]) -> Problem:
    """A sentence of ours for what pydantic found."""
    path: Path = tuple(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    # Keys are named by their alias, so the path is the one in the file.
    if kind == "extra_forbidden":
        name = str(path[-1])
        known = _keys_at(path[:-1])
        return Problem(place_in(sources, path, key=True), f'there is no "{name}" here', nearest(name, known))
    if kind == "missing":
        return Problem(place_in(sources, path[:-1]), f'"{path[-1]}" is missing')
    if kind == "value_error":
        return Problem(place_in(sources, path), str(context.get("error", "does not fit")))
    if path and path[-1] == "[key]":
        return Problem(place_in(sources, path[:-1], key=True), _NAMED)
    if kind == "string_pattern_mismatch":
        return Problem(place_in(sources, path), _NAMED)
    if kind == "bool_type":
        return Problem(place_in(sources, path), "true or false is wanted, without quotes")
    if kind in ("int_type", "float_type"):
        return Problem(place_in(sources, path), "a number is wanted, without quotes")
    if path == ("connector",):
        cause = "this adapter reads version 1 of the language"
        return Problem(place_in(sources, path), cause, "write connector: 1")
    if kind == "literal_error":
        expected = str(context.get("expected"))
        several = " or " in expected or "," in expected
        return Problem(place_in(sources, path), f"{'one of ' if several else ''}{expected} is wanted")
    if kind == "string_type":
        if path[-1] in ("unsupported", "not_written", "partial"):
            return Problem(place_in(sources, path), "a reason is wanted here", 'write it in words: "why"')
        return Problem(place_in(sources, path), "text is wanted", "put it into quotes")
    if kind in ("dict_type", "model_type", "model_attributes_type", "dataclass_type"):
        return Problem(
            place_in(sources, path), "a mapping is wanted", "write name: value in lines of its own"
        )
    if kind == "list_type":
        return Problem(place_in(sources, path), "a list is wanted", "write - before each of its members")
    message = str(error["msg"])
    return Problem(place_in(sources, path), message[:1].lower() + message[1:])


def _keys_at(path: Path) -> list[str]:
    """The keys that may stand where this path leads."""
    annotation: Any = Connector
    for step in path:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Part):
            fields = {info.alias or name: info for name, info in annotation.model_fields.items()}
            annotation = fields[str(step)].annotation if str(step) in fields else None
        elif typing.get_origin(annotation) in (list, dict):
            annotation = typing.get_args(annotation)[-1]
        else:
            return []
    model = _bare(annotation)
    if isinstance(model, type) and issubclass(model, Part):
        return [info.alias or name for name, info in model.model_fields.items()]
    return []


def _bare(annotation: Any) -> Any:
    """A type without what only describes it, and without "or nothing"."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
            annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
        else:
            return annotation
