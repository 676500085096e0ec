"""The SQL of each operation, ours or the partner's file, read and bound: a driver's requests.

It may not know any connection.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crm_backends.paths import in_full
from crm_backends.postgres.binding import PLACEHOLDER, BindError, bind
from crm_backends.postgres.operations import (
    KINDS,
    NEEDED,
    SQL_OPERATIONS,
    WANTED,
    nearest,
    what_lacks,
)

OWN_SQL = Path(__file__).parent / "sql"
_UNSUPPORTED = re.compile(
    r"^[ \t]*--[ \t]*unsupported(?:[ \t]*:[ \t]*(.*?))?[ \t]*$", re.IGNORECASE | re.MULTILINE
)
"""``-- unsupported: why``; the reason may be left out, and the colon with it."""
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something wrong with a file, said without any value of the database."""

    file: str
    problem: str
    remedy: str
    without_schema: bool = False
    """Whether it is a file of ours in a database without the schema ``crm``."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One operation's SQL, ready for the server."""

    name: str
    file: str
    """For messages: the file's name, or its path when it is the partner's."""
    text: str
    """With ``$n`` in place of the named parameters."""
    parameters: tuple[str, ...]
    """Names of ``$1``, ``$2`` and so on."""
    misfit: Misfit | None = None
    """Why it cannot be sent at all."""
    is_ours: bool = True
    """False for a partner's file."""
    unsupported: str = ""
    """Why the partner declines the operation; then it is never sent."""

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        return [values[name] for name in self.parameters]

    def for_psql(self) -> str:
        """The statement as psql takes it: prepared, and planned as for any values."""
        types = [SQL_OPERATIONS[self.name].parameters[name] for name in self.parameters]
        given = f" ({', '.join(types)})" if types else ""
        nulls = f" ({', '.join(['NULL'] * len(types))})" if types else ""
        named = "".join(f"-- ${number} is :{name}\n" for number, name in enumerate(self.parameters, start=1))
        text = self.text.strip().removesuffix(";")
        return (
            f"-- {self.file}, as the adapter sends it\n{named}SET plan_cache_mode = force_generic_plan;\n"
            f"PREPARE {self.name}{given} AS\n{text}\n;\nEXPLAIN EXECUTE {self.name}{nulls};\n"
        )

    def compare(self, columns: Iterable[tuple[str, str]]) -> Misfit | None:
        """What is wrong with the columns that the server announces, as (name, PostgreSQL type), or with the
        parameters, by ``SQL_OPERATIONS``; ``None``: nothing."""

        operation = SQL_OPERATIONS[self.name]
        found = dict(columns)
        for column in operation.required:
            if column not in found:
                near = nearest(column, found)
                hint = f"; is it the column {near}?" if near else ""
                return Misfit(
                    self.file,
                    f"returns no column {column}",
                    f"select it under that name: ... AS {column}{hint}",
                )
        for column, kind in (*operation.required.items(), *operation.optional.items()):
            accepted = KINDS[kind]
            if column in found and accepted is not None and found[column] not in accepted:
                return Misfit(
                    self.file,
                    f"returns the column {column} as {found[column]}",
                    f"return {WANTED[kind]}, with a cast where it is needed",
                )
        return self.lacking()

    def lacking(self) -> Misfit | None:
        """A missing parameter without which it would mix up people or money; ``None``: none is missing."""
        found = what_lacks(self.name, self.parameters)
        return None if found is None else Misfit(self.file, *found)


def _arrays(statement: Statement) -> str:
    """The parameters of a statement as arrays.

    Each stands in a SELECT of its own, so that the planner does not know how long it is: for a short one it
    would make a new plan each time, which costs more than carrying it out.
    """
    types = SQL_OPERATIONS[statement.name].parameters
    return ", ".join(
        f"(SELECT ${n}::{types[name]}[])" for n, name in enumerate(statement.parameters, start=1)
    )


@functools.cache
def for_many(statement: Statement, join: str) -> str:
    """The statement for several at once: its parameters come as arrays, in the order of their numbers.

    ``join`` selects from ``found``; the result has one more column, "wanted.number", from 1.
    """
    names = ", ".join(statement.parameters)
    one = PLACEHOLDER.sub(lambda place: f"wanted.{statement.parameters[int(place[1]) - 1]}", statement.text)
    return f"""
        WITH found AS NOT MATERIALIZED (
            SELECT wanted."wanted.number", one.*
              FROM unnest({_arrays(statement)}) WITH ORDINALITY AS wanted ({names}, "wanted.number")
             CROSS JOIN LATERAL ({one}
                   ) AS one
        )
        {join}
    """  # noqa: S608 - all of it is ours


_ASKED = re.compile(r"(?<=WITH asked AS \().*?(?=\n\), )", re.DOTALL)


@functools.cache
def write_for_many(statement: Statement) -> str:
    """A write of ours for several at once: its values come as one JSON text, an array of objects by name.

    Arrays would take asyncpg several times as long. The first member of the statement, ``asked``, selects the
    parameters under their own names; its last SELECT can see the key, which the result has besides.

    It waits for a lock only briefly, then the server rolls it back: who locks one row would stop them all.
    """
    types = SQL_OPERATIONS[statement.name].parameters
    columns = ", ".join(f"{name} {types[name]}" for name in statement.parameters)
    # So many, for the planner: it would expect a hundred, and rather read all customers.
    asked = f"""
        SELECT * FROM jsonb_to_recordset($1::jsonb) AS asked ({columns})
         WHERE set_config('lock_timeout', '{_LOCK_WAIT}', true) IS NOT NULL  -- until it is over
         LIMIT {MOST_WRITES}"""  # noqa: S608
    members, select, returned = _ASKED.sub(asked, statement.text, count=1).rpartition("\nSELECT ")
    return f"{members}{select}idempotency_key, {returned}"


MOST_WRITES = 32
"""In one statement."""
_LOCK_WAIT = "250ms"
_LIMITED = frozenset({"date", "timestamp", "timestamptz"})
_DAYTIME = frozenset({"time", "timetz"})
_END = re.compile(r";\s*(?:--[^\n]*\s*)*\Z")


def within_limits(text: str, columns: Iterable[tuple[str, str]]) -> str:
    """A reading statement whose dates are null where Python has no such date.

    PostgreSQL counts from 4713 BC to the year 294276, and knows infinity and the time 24:00. One such value
    would make the whole answer unreadable.

    Args:
        text: the statement, with ``$n``.
        columns: name and PostgreSQL type of what it returns; the text stays as it is where none is a date, or
            two have one name.
    """
    columns = list(columns)
    names = {name for name, _ in columns}
    if len(names) < len(columns) or not any(kind in _LIMITED | _DAYTIME for _, kind in columns):
        return text
    chosen = ", ".join(_limited('"{}"'.format(name.replace('"', '""')), kind) for name, kind in columns)
    return f"SELECT {chosen}\nFROM (\n{_END.sub('', text)}\n) AS kept"


def _limited(column: str, kind: str) -> str:
    if kind in _LIMITED:
        return f"CASE WHEN {column} > '0002-01-01' AND {column} < '9998-12-31' THEN {column} END AS {column}"
    return f"{column}::text AS {column}" if kind in _DAYTIME else column


def load(sql_dir: Path | None) -> tuple[Mapping[str, Statement], Sequence[Misfit]]:
    """Read the statements of all operations, the partner's in place of ours.

    Returns:
        The statements by operation, and what is wrong with the folder itself.
    """
    theirs, misfits = _replacements(sql_dir) if sql_dir is not None else ({}, [])
    return {name: _read(name, theirs.get(name)) for name in SQL_OPERATIONS}, misfits


def _replacements(sql_dir: Path) -> tuple[dict[str, Path], list[Misfit]]:
    if not sql_dir.is_dir():
        return {}, [Misfit(in_full(sql_dir), "there is no such folder", "correct sql_dir")]
    theirs: dict[str, Path] = {}
    misfits: list[Misfit] = []
    for path in sorted(sql_dir.glob("*.sql")):
        if path.stem in SQL_OPERATIONS:
            theirs[path.stem] = path
            continue
        near = nearest(path.stem, SQL_OPERATIONS)
        remedy = f"did you mean {near}.sql?" if near else f"the files are: {', '.join(SQL_OPERATIONS)}"
        misfits.append(Misfit(str(path), "is not the name of an operation", remedy))
    for path in sorted(sql_dir.iterdir()):
        if path.suffix != ".sql" and path.suffix.lower() == ".sql":
            misfits.append(Misfit(str(path), "is not read", f"call it {path.stem}.sql, in small letters"))
    return theirs, misfits


def _read(name: str, replacement: Path | None) -> Statement:
    path = replacement or OWN_SQL / f"{name}.sql"
    file = str(replacement) if replacement else path.name
    try:
        sql = path.read_text(encoding="utf-8-sig")
        if declined := _UNSUPPORTED.search(sql):
            return _declined(name, file, declined[1])
        if not _COMMENT.sub("", sql).strip("; \t\r\n"):
            empty = Misfit(
                file,
                "there is no SQL in it",
                "write the statement; or -- unsupported: why, where this database does not do it",
            )
            return Statement(name, file, "", (), empty, is_ours=replacement is None)
        text, parameters = bind(sql, SQL_OPERATIONS[name].parameters)
    except BindError as error:
        misfit = Misfit(file, str(error), "correct the parameter's name")
    except (OSError, UnicodeDecodeError) as error:
        misfit = Misfit(file, f"cannot be read ({type(error).__name__})", "make it a readable UTF-8 file")
    else:
        return Statement(name, file, text, parameters, is_ours=replacement is None)
    return Statement(name, file, "", (), misfit, is_ours=replacement is None)


def _declined(name: str, file: str, reason: str | None) -> Statement:
    misfit = None
    if name in NEEDED:
        misfit = Misfit(file, "cannot be declined: nobody could be found without it", "write its SQL")
    reason = reason or "declined by its file, which gives no reason"
    return Statement(name, file, "", (), misfit, is_ours=False, unsupported=reason)
