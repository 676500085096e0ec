"""The text of a connector's file as plain values, each with its place.

YAML as in its specification 1.2, the JSON schema: besides ``null``, ``true``, ``false`` and JSON's numbers
everything is text, so ``no``, ``0123``, ``1_000``, ``1:20`` and ``+79161234567`` are what they look like.
Anchors, aliases, tags and more than one document are not read: nothing stands for something written
elsewhere. PyYAML finds the pieces and their marks; what they mean is decided here. It may not know what a
connector is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.tokens import ScalarToken

from crm_backends.connector.mistyped import mistyped
from crm_backends.connector.problems import ConnectorError, FilePlace, Path, Problem

_LONGEST = 1_000_000
"""Characters of a file."""
_DEEPEST = 40
_WANTS_QUOTES = re.compile("expected ','|mapping values are not allowed")
_FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's reader in C, which takes a tenth of the time; not every installation has it."""
_READ_OTHERWISE = frozenset("\t?\ufeff")
"""Signs of which the two readers think differently: what a file means may not depend on the installation."""
_WORDS = {"null": None, "true": True, "false": False, "": None, "~": None}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a value begins and ends in the text, by character."""

    start: int
    end: int


@dataclass(slots=True)
class SourceFile:
    """A file that was read."""

    file: str
    text: str
    values: Any = None
    spans: dict[Path, _Span] = field(default_factory=dict)
    """Of every value, and of the nearest value before it where one is not written at all."""
    keys: dict[Path, _Span] = field(default_factory=dict)
    """Where the key of each member of a mapping is written."""

    def place(self, path: Path, fragment: str = "", *, key: bool = False) -> FilePlace:
        """Where the value at ``path`` is, or the nearest thing above it that is written.

        ``fragment``: a piece of the value to point at, if it is written there as it is. ``key``: the place of
        its key instead.
        """
        span = self._written(self._as_written(path), key=key)
        position = span.start
        if fragment:
            before = r"(?<![\w.])" if fragment[0].isalnum() else ""
            after = r"(?!\w)" if fragment[-1].isalnum() else ""
            written = self.text[span.start : span.end]
            found = re.search(f"{before}{re.escape(fragment)}{after}", written)
            position += found.start() if found else 0
        line = self.text.count("\n", 0, position) + 1
        return FilePlace(self.file, line, position - (self.text.rfind("\n", 0, position) + 1) + 1)

    def _as_written(self, path: Path) -> Path:
        """The path without the positions of lists of one that were given without their brackets."""
        steps: list[str | int] = []
        value = self.values
        for step in path:
            if isinstance(step, int) and not isinstance(value, list):
                continue
            steps.append(step)
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                value = None
        return tuple(steps)

    def _written(self, path: Path, *, key: bool) -> _Span:
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.spans:
            # A part of the path that is not in the file: the list around a single item, or a default.
            path = path[:-1]
        return self.spans.get(path, _Span(0, 0))


def read(text: str, file: str) -> SourceFile:
    """Read a file's text.

    Raises:
        ConnectorError: it is not YAML, or has something that is not read here.
    """
    source = SourceFile(file, text)
    if len(text) > _LONGEST:
        raise _error(source, 0, f"the file is longer than {_LONGEST} characters")
    try:
        if not _READ_OTHERWISE.intersection(text):
            with contextlib.suppress(
                yaml.YAMLError, ValueError
            ):  # the other has better words for what is wrong
                _Reader(source, _FAST).read()
                return source
        source = SourceFile(file, text)
        _Reader(source, yaml.SafeLoader).read()
    except yaml.MarkedYAMLError as error:
        if (quote := _open_quote(text, error)) is not None:
            begins, cause = quote
            raise _error(source, begins, cause, "close it, or take the quote away") from None
        mark = error.problem_mark or error.context_mark
        cause = error.problem or error.context or "cannot be read"
        block = error.context_mark.index if error.context_mark is not None else None
        if mark is not None and (likely := mistyped(text, mark.index, cause, block)) is not None:
            raise _error(source, likely.index, likely.cause, likely.remedy) from None
        remedy = "put texts with [ ] { } , : or # into quotes" if _WANTS_QUOTES.search(cause) else ""
        raise _error(source, mark.index if mark else 0, f"this is not YAML: {cause}", remedy) from None
    except yaml.reader.ReaderError as error:
        raise _error(source, error.position, "there is a character that YAML does not allow") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, ConnectorError):
            raise
        raise _error(source, 0, f"this is not YAML ({type(error).__name__})") from None
    return source


def _open_quote(text: str, error: yaml.MarkedYAMLError) -> tuple[int, str] | None:
    """Where a text in quotes begins that has no end, or whose end is the beginning of another, and the cause.

    YAML's reader tells such a mistake lines later, where it cannot go on.
    """
    if error.context == "while scanning a quoted scalar" and error.context_mark is not None:
        return error.context_mark.index, "the text in quotes that begins here has no end"
    if error.problem_mark is None:
        return None
    before = None
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if token.start_mark.index >= error.problem_mark.index:
                break
            before = token
    except yaml.YAMLError:
        return None
    if not isinstance(before, ScalarToken) or before.style not in ("'", '"'):
        return None
    begins, ends = before.start_mark, before.end_mark
    if begins.line == ends.line:
        return None
    return begins.index, f"the text in quotes that begins here ends in line {ends.line + 1} only"


def _error(source: SourceFile, index: int, cause: str, remedy: str = "") -> ConnectorError:
    index = min(index, len(source.text))
    line = source.text.count("\n", 0, index) + 1
    column = index - (source.text.rfind("\n", 0, index) + 1) + 1
    return ConnectorError([Problem(FilePlace(source.file, line, column), cause, remedy)])


class _Reader:
    """Makes values of PyYAML's events; nothing is constructed by a tag."""

    def __init__(self, source: SourceFile, loader: type[yaml.SafeLoader]) -> None:
        self._source = source
        self._events: Iterator[Event] = iter(yaml.parse(source.text, Loader=loader))

    def read(self) -> None:
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refusal(event, "a second document begins here", "keep one in a file")
                self._source.values = self._value(next(self._events), ())
        if not documents:
            raise _error(self._source, 0, "the file is empty", "`connector new` writes a beginning")

    def _value(self, event: Event, path: Path) -> Any:
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
            raise self._refusal(event, "anchors and aliases are not read here", "write the value out")
        if len(path) > _DEEPEST:
            raise self._refusal(event, f"this is nested more than {_DEEPEST} deep")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refusal(event, "tags are not read here", "leave it out; put text into quotes")
        if isinstance(event, ScalarEvent):
            self._keep(path, event)
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, path)
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, path)
        raise self._refusal(event, "there is something here that is not read")

    def _sequence(self, start: Event, path: Path) -> list[Any]:
        values: list[Any] = []
        event = start
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            values.append(self._value(event, (*path, len(values))))
        self._keep(path, start, event)
        return values

    def _mapping(self, start: Event, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        event = start
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent) or event.anchor or event.tag:
                raise self._refusal(event, "a key has to be a plain text")
            if event.value in values:
                raise self._refusal(event, f'"{event.value[:60]}" is here for the second time')
            place = (*path, event.value)
            self._source.keys[place] = _Span(_start(event), _end(event))
            values[event.value] = self._value(next(self._events), place)
        self._keep(path, start, event)
        return values

    def _keep(self, path: Path, first: Event, last: Event | None = None) -> None:
        self._source.spans[path] = _Span(_start(first), _end(last or first))

    def _refusal(self, event: Event, cause: str, remedy: str = "") -> ConnectorError:
        return _error(self._source, _start(event), cause, remedy)


def _start(event: Event) -> int:
    return event.start_mark.index if event.start_mark is not None else 0


def _end(event: Event) -> int:
    return event.end_mark.index if event.end_mark is not None else 0


def _scalar(event: ScalarEvent) -> Any:
    """What a scalar means: in quotes or a block it is text."""
    text: str = event.value
    if event.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return Decimal(text) if _FRACTION.fullmatch(text) else text
