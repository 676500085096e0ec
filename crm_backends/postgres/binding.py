"""How ``:name`` in a SQL file becomes ``$1``. It knows PostgreSQL's lexical rules, and no operation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from crm_backends.postgres.operations import RENAMED, nearest

_TOKEN = re.compile(
    r"""
      --[^\n]*
    | (?P<block>/\*)
    | [eE]'(?:[^'\\]|\\.|'')*'
    | '[^']*'
    | "[^"]*"
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<number>\$\d+)
    | ::
    | :(?P<name>[A-Za-z_]\w*)
    | [^\W\d][\w$]*
    """,
    re.VERBOSE | re.DOTALL,
)
PLACEHOLDER = re.compile(r"\(\$(\d+)::\w+\)")
_BLOCK_EDGE = re.compile(r"/\*|\*/")


class BindError(ValueError):
    """The SQL uses a parameter that does not exist; the message says which and what to write."""


def bind(sql: str, types: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Turn ``:name`` into ``($n::type)``, leaving quoted text, comments and casts alone.

    Args:
        sql: one statement.
        types: the known parameters and their PostgreSQL types.

    Returns:
        The statement, and the names of its parameters in the order of their numbers.

    Raises:
        BindError: a ``:name`` that is not in ``types``, or a bare ``$1``.
    """
    pieces: list[str] = []
    numbers: dict[str, int] = {}
    done = 0
    position = 0
    while match := _TOKEN.search(sql, position):
        position = match.end()
        if match["block"]:
            position = _end_of_block(sql, position)
        elif match["dollar"]:
            closing = sql.find(match["dollar"], position)
            position = len(sql) if closing < 0 else closing + len(match["dollar"])
        elif match["number"]:
            raise BindError(f"uses {match['number']}; parameters are written by name, such as :account")
        elif name := match["name"]:
            if name not in types:
                raise BindError(_unknown_parameter(name, types))
            number = numbers.setdefault(name, len(numbers) + 1)
            pieces += (sql[done : match.start()], f"(${number}::{types[name]})")
            done = position
    pieces.append(sql[done:])
    return "".join(pieces), tuple(numbers)


def _end_of_block(sql: str, position: int) -> int:
    """Where a block comment ends that began before ``position``; they nest."""
    depth = 1
    while depth and (edge := _BLOCK_EDGE.search(sql, position)):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position


def _unknown_parameter(name: str, types: Mapping[str, str]) -> str:
    if RENAMED.get(name) in types:
        return f"uses :{name}, which is called :{RENAMED[name]} now"
    near = nearest(name, types)
    hint = f"; did you mean :{near}?" if near else ""
    known = ", ".join(f":{known}" for known in types) or "none"
    return f"uses :{name}, which this operation does not supply{hint} It supplies {known}"
