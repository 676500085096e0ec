"""What is sent: values with ``${…}`` in their texts, filled at each call.

A lone ``${…}`` keeps its type, and one that is nothing leaves its member out; text around it makes text of
it. It may not know how anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from crm_backends.connector.constants import look_at_path
from crm_backends.connector.expressions import read_pieces
from crm_backends.connector.functions import json
from crm_backends.connector.problems import Path
from crm_backends.connector.scope import CannotTell, Context, Expression, Scope, Wrong
from crm_backends.connector.values import Unfit, sendable, text_of

ABSENT = object()
"""Stands for a member that is left out."""
Fill = Callable[[Context], Any]
Report = Callable[[Path, Wrong], None]
Where = Callable[[Path], str]


class Constant:
    """A fill that is always the same. Nobody changes what it gives."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, context: Context) -> Any:
        return self.value


class Templates:
    """Reads what is sent; what is wrong goes to ``report``, with its path."""

    def __init__(self, report: Report, where: Where) -> None:
        self._report = report
        self._where = where

    def value(self, value: Any, scope: Scope, path: Path) -> Fill:
        """Any JSON."""
        if isinstance(value, str):
            return self._string(value, scope, path)
        if isinstance(value, dict):
            return self._mapping(value, scope, path)
        if isinstance(value, list):
            items = [self.value(item, scope, (*path, index)) for index, item in enumerate(value)]
            if all(isinstance(item, Constant) for item in items):
                return Constant([item.value for item in items if isinstance(item, Constant)])
            return lambda context: [item for fill in items if (item := fill(context)) is not ABSENT]
        return Constant(sendable(value))

    def _mapping(self, value: Mapping[str, Any], scope: Scope, path: Path) -> Fill:
        members = [
            (self.text(key, scope, (*path, key)), self.value(member, scope, (*path, key)))
            for key, member in value.items()
        ]
        if not all(isinstance(key, Constant) for key, _ in members):
            return lambda context: {
                key(context): member for key, fill in members if (member := fill(context)) is not ABSENT
            }
        named = [(key.value, fill) for key, fill in members if isinstance(key, Constant)]
        if all(isinstance(fill, Constant) for _, fill in named):
            return Constant({key: fill.value for key, fill in named if isinstance(fill, Constant)})
        constants = {key: fill.value if isinstance(fill, Constant) else ABSENT for key, fill in named}
        others = [(key, fill) for key, fill in named if not isinstance(fill, Constant)]

        def filled(context: Context) -> dict[Any, Any]:
            made = constants.copy()
            for key, fill in others:
                made[key] = member = fill(context)
                if member is ABSENT:
                    del made[key]
            return made

        return filled

    def _string(self, text: str, scope: Scope, path: Path) -> Fill:
        pieces = self._pieces(text, scope, path)
        if len(pieces) == 1 and isinstance(pieces[0], Expression):
            expression = pieces[0]

            def lone(context: Context) -> Any:
                found = expression.value(context)
                if type(found) is str:
                    return found
                return ABSENT if found is None else self._sendable(found, expression.where)

            return lone
        return self._mixed(pieces)

    def text(self, text: str, scope: Scope, path: Path) -> Fill:
        """Always text; nothing in it is an error."""
        return self._mixed(self._pieces(text, scope, path))

    def path(self, text: str, scope: Scope, path: Path) -> Fill:
        """A path: what is filled in is quoted and may not be empty."""
        pieces = self._pieces(text, scope, path)
        try:
            look_at_path("".join(piece if isinstance(piece, str) else "x" for piece in pieces))
        except Wrong as wrong:
            self._report(path, wrong)
        if not any(isinstance(piece, Expression) for piece in pieces):
            return Constant(text)

        def filled(context: Context) -> str:
            parts = []
            for piece in pieces:
                if isinstance(piece, str):
                    parts.append(piece)
                    continue
                part = _written(piece, context)
                if part in ("", ".", ".."):
                    raise CannotTell(f"{piece.where}: a part of the path is empty, or dots")
                parts.append(quote(part, safe=""))
            return "".join(parts)

        return filled

    def _mixed(self, pieces: list[str | Expression]) -> Fill:
        if all(isinstance(piece, str) for piece in pieces):
            return Constant("".join(piece for piece in pieces if isinstance(piece, str)))
        return lambda context: "".join(
            piece if isinstance(piece, str) else _written(piece, context) for piece in pieces
        )

    def _pieces(self, text: str, scope: Scope, path: Path) -> list[str | Expression]:
        try:
            return read_pieces(text, scope, self._where(path))
        except Wrong as wrong:
            self._report(path, wrong)
            return [""]

    @staticmethod
    def _sendable(value: Any, where: str) -> Any:
        try:
            return sendable(value)
        except Unfit as error:
            raise CannotTell(f"{where}: {error}") from None


def _written(expression: Expression, context: Context) -> str:
    try:
        return text_of(expression.value(context))
    except Unfit as error:
        raise CannotTell(f"{expression.where}: {error}") from None


def flat(fields: Mapping[str, Any], *, where: str) -> dict[str, str]:
    """Fields of a query or a form as text; members of a mapping become ``name[member]``.

    A member that is a mapping of the single key ``json`` becomes JSON text. Raises ``CannotTell``.
    """
    found: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, dict) and set(value) == {"json"}:
            found[name] = json(value["json"])
        elif isinstance(value, dict):
            inner = flat(value, where=where)
            found |= {f"{name}[{key.partition('[')[0]}]{_rest(key)}": text for key, text in inner.items()}
        elif isinstance(value, list):
            found |= flat({f"{name}[{index}]": item for index, item in enumerate(value)}, where=where)
        elif value is not None:
            if isinstance(value, float):
                value = Decimal(repr(value))  # JSON's own number of what is exact in an expression
            try:
                found[name] = text_of(value)
            except Unfit as error:
                raise CannotTell(f"{where}: {name}: {error}") from None
    return found


def _rest(key: str) -> str:
    return key[len(key.partition("[")[0]) :]
