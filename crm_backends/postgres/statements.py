"""The operations as SQL: what each file is given, what it must return, and how ``:name`` becomes ``$1``.

One table, ``OPERATIONS``, is the contract with a partner's own SQL files. This module reads files and knows
PostgreSQL's lexical rules; it may not know any connection.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crm_backends.paths import in_full

OWN_SQL = Path(__file__).parent / "sql"

# Kinds of result columns -> names of PostgreSQL types that fit.
_TEXTS = frozenset({"text", "varchar", "bpchar", "char", "name", "citext"})
_INTEGERS = frozenset({"int2", "int4", "int8"})
_NUMBERS = _INTEGERS | {"numeric", "float4", "float8"}
_MOMENTS = frozenset({"timestamptz", "timestamp", "date"})
_KINDS: Mapping[str, frozenset[str] | None] = {
    "any": None,
    "text": _TEXTS,
    "number": _NUMBERS,
    "kopecks": _INTEGERS,
    "moment": _MOMENTS,
    "day": _MOMENTS,
}
_WANTED = {
    "text": "text",
    "number": "numeric",
    "kopecks": "whole kopecks as bigint",
    "moment": "timestamptz",
    "day": "date",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: the parameters it supplies and the columns it reads, both by name."""

    parameters: Mapping[str, str]
    """Name -> PostgreSQL type."""
    required: Mapping[str, str]
    """Column that must be there -> kind."""
    optional: Mapping[str, str]
    """Column that is read when it is there -> kind."""


_PHONE = {"phone": "text", "phone_digits": "text", "phone_national": "text"}
"""E.164; its digits; those after the country code."""
_PERSON = {
    **_PHONE,
    "email": "text",
    "first_name": "text",
    "patronymic": "text",
    "surname": "text",
    "birth_date": "date",
    "sex": "text",
    "country_code": "text",
    "locality": "text",
}
_CUSTOMER_REQUIRED = {"reference": "any", "phone": "text"}
_CUSTOMER_OPTIONAL = {
    "email": "text",
    "first_name": "text",
    "patronymic": "text",
    "surname": "text",
    "birth_date": "day",
    "sex": "text",
    "country_code": "text",
    "locality": "text",
    "card_number": "text",
    "registered_at": "moment",
    "card_state": "text",
}
_HOLDER = {"card_number": "text", "users_reference": "text", **_PHONE, "email": "text"}
_OUTCOME = {"outcome": "text"}

OPERATIONS: Mapping[str, Operation] = {
    "users_find": Operation(
        {**_PHONE, "email": "text", "birth_date": "date"}, _CUSTOMER_REQUIRED, _CUSTOMER_OPTIONAL
    ),
    "users_get": Operation({"customer": "text"}, _CUSTOMER_REQUIRED, _CUSTOMER_OPTIONAL),
    "users_register": Operation({"reference": "text", **_PERSON}, {"reference": "any"}, _OUTCOME),
    "users_update": Operation({"customer": "text", **_PERSON}, {"reference": "any"}, _OUTCOME),
    "users_set_consents": Operation(
        {"customer": "text", "allow": "text[]", "deny": "text[]"}, {"reference": "any"}, _OUTCOME
    ),
    "users_list_phones": Operation({}, {"phone": "text"}, {}),
    "users_find_by_card": Operation(
        {"number": "text"},
        {"state": "text", **_CUSTOMER_REQUIRED},
        {"replaced_by": "text", "barcode": "text", "barcode_type": "text", **_CUSTOMER_OPTIONAL},
    ),
    "users_set_card": Operation(
        {
            "customer": "text",
            "number": "text",
            "barcode": "text",
            "barcode_type": "text",
            "replaces": "text",
            "reference": "text",
        },
        {"reference": "any"},
        _OUTCOME,
    ),
    "points_account": Operation(_HOLDER, {"account": "any"}, {}),
    "points_balance": Operation(
        {"account": "text", "today": "date"}, {"total": "number", "available": "number"}, {}
    ),
    "points_entries": Operation(
        {"account": "text", "limit": "bigint", "today": "date"},
        {"amount": "number", "description": "text", "at": "moment"},
        {"valid_until": "day"},
    ),
    "points_purchases": Operation(
        {
            "account": "text",
            "since": "date",
            "until": "date",
            "since_at": "timestamptz",
            "until_at": "timestamptz",
        },
        {"at": "moment", "item": "text", "amount_kopecks": "kopecks"},
        {"quantity": "number", "location": "text", "bonuses": "number"},
    ),
    "points_credit": Operation(
        {
            "account": "text",
            "reference": "text",
            "points": "numeric",
            "description": "text",
            "today": "date",
            "fiscal_drive": "text",
            "fiscal_document": "text",
            "fiscal_sign": "text",
            "total_kopecks": "bigint",
            "settled_at": "timestamptz",
            "settlement": "integer",
        },
        {"points": "number"},
        {"reference": "any", "message": "text", "outcome": "text"},
    ),
    "coupons_account": Operation(_HOLDER, {"account": "any"}, {}),
    "coupons_offers": Operation(
        {"account": "text", "today": "date"},
        {"reference": "any", "title": "text"},
        {
            "description": "text",
            "code": "text",
            "valid_from": "moment",
            "valid_until": "moment",
            "image_url": "text",
            "url": "text",
        },
    ),
    "coupons_issue": Operation(
        {"account": "text", "occasion": "text", "reference": "text", "today": "date"},
        {"reference": "any"},
        {"message": "text", "outcome": "text"},
    ),
    "coupons_redeem": Operation(
        {"account": "text", "code": "text", "reference": "text", "today": "date"},
        {"outcome": "text"},
        {"points": "number", "message": "text", "reference": "any"},
    ),
}
"""Every operation of the driver. The name is also the name of its file, without ``.sql``."""

ON_CARDS = ("users_find_by_card", "users_set_card")
"""Operations that a partner's database may do without: ours are meant for people who are found by ours."""


NEEDED = ("users_find", "users_get", "points_account", "coupons_account")
"""Operations that cannot be declined."""
_UNSUPPORTED = re.compile(r"^[ \t]*--[ \t]*unsupported:[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something wrong with a file, said without any value of the database."""

    file: str
    problem: str
    remedy: str


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
        types = [OPERATIONS[self.name].parameters[name] for name in self.parameters]
        given = f" ({', '.join(types)})" if types else ""
        nulls = f" ({', '.join(['NULL'] * len(types))})" if types else ""
        named = "".join(f"-- ${number} is :{name}\n" for number, name in enumerate(self.parameters, start=1))
        text = self.text.strip().removesuffix(";")
        return (
            f"-- {self.file}, as the adapter sends it\n{named}SET plan_cache_mode = force_generic_plan;\n"
            f"PREPARE {self.name}{given} AS\n{text}\n;\nEXPLAIN EXECUTE {self.name}{nulls};\n"
        )

    def compare(self, columns: Iterable[tuple[str, str]]) -> Misfit | None:
        """Hold the columns the server announces, as (name, PostgreSQL type), against the table."""
        operation = OPERATIONS[self.name]
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
            accepted = _KINDS[kind]
            if column in found and accepted is not None and found[column] not in accepted:
                return Misfit(
                    self.file,
                    f"returns the column {column} as {found[column]}",
                    f"return {_WANTED[kind]}, with a cast where it is needed",
                )
        return None


@functools.cache
def for_many(statement: Statement, join: str) -> str:
    """The statement for several at once: its parameters come as arrays, in the order of their numbers.

    ``join`` selects from ``found``; the result has the column "wanted.number", from 1, besides.
    """
    types = OPERATIONS[statement.name].parameters
    names = ", ".join(statement.parameters)
    arrays = ", ".join(f"${n}::{types[name]}[]" for n, name in enumerate(statement.parameters, start=1))
    one = _PLACEHOLDER.sub(lambda place: f"wanted.{statement.parameters[int(place[1]) - 1]}", statement.text)
    return f"""
        WITH found AS NOT MATERIALIZED (
            SELECT wanted."wanted.number", one.*
              FROM unnest({arrays}) WITH ORDINALITY AS wanted ({names}, "wanted.number")
             CROSS JOIN LATERAL ({one}
                   ) AS one
        )
        {join}
    """  # noqa: S608 - all of it is ours


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
_PLACEHOLDER = re.compile(r"\(\$(\d+)::\w+\)")
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
            raise BindError(f"uses {match['number']}; parameters are written by name, such as :reference")
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
    near = nearest(name, types)
    hint = f"; did you mean :{near}?" if near else ""
    known = ", ".join(f":{known}" for known in types) or "none"
    return f"uses :{name}, which this operation does not supply{hint} It supplies {known}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    near = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return near[0] if near else None


def load(sql_dir: Path | None) -> tuple[Mapping[str, Statement], Sequence[Misfit]]:
    """Read the statements of all operations, the partner's in place of ours.

    Returns:
        The statements by operation, and what is wrong with the folder itself.
    """
    theirs, misfits = _replacements(sql_dir) if sql_dir is not None else ({}, [])
    return {name: _read(name, theirs.get(name)) for name in OPERATIONS}, misfits


def _replacements(sql_dir: Path) -> tuple[dict[str, Path], list[Misfit]]:
    if not sql_dir.is_dir():
        return {}, [Misfit(in_full(sql_dir), "there is no such folder", "correct sql_dir")]
    theirs: dict[str, Path] = {}
    misfits: list[Misfit] = []
    for path in sorted(sql_dir.glob("*.sql")):
        if path.stem in OPERATIONS:
            theirs[path.stem] = path
            continue
        near = nearest(path.stem, OPERATIONS)
        remedy = f"did you mean {near}.sql?" if near else f"the files are: {', '.join(OPERATIONS)}"
        misfits.append(Misfit(str(path), "is not the name of an operation", remedy))
    return theirs, misfits


def _read(name: str, replacement: Path | None) -> Statement:
    path = replacement or OWN_SQL / f"{name}.sql"
    file = str(replacement) if replacement else path.name
    try:
        sql = path.read_text(encoding="utf-8-sig")
        if declined := _UNSUPPORTED.search(sql):
            return _declined(name, file, declined[1])
        text, parameters = bind(sql, OPERATIONS[name].parameters)
    except BindError as error:
        misfit = Misfit(file, str(error), "correct the parameter's name")
    except (OSError, UnicodeDecodeError) as error:
        misfit = Misfit(file, f"cannot be read ({type(error).__name__})", "make it a readable UTF-8 file")
    else:
        return Statement(name, file, text, parameters, is_ours=replacement is None)
    return Statement(name, file, "", (), misfit)


def _declined(name: str, file: str, reason: str) -> Statement:
    misfit = None
    if name in NEEDED:
        misfit = Misfit(file, "cannot be declined: nobody could be found without it", "write its SQL")
    reason = reason or "declined by its file, which gives no reason"
    return Statement(name, file, "", (), misfit, is_ours=False, unsupported=reason)
