"""Import card numbers from a CSV file: the pool, plastic without owners, cards with owners.

Columns by header, in any order: ``number`` (required), ``state`` (free, ownerless, active, inactive or
blocked; default free), ``barcode``, ``barcode_type``, ``customer`` (whose id the users CRM has; needed for
active, inactive and blocked cards). Files come out of spreadsheets: what those do to numbers is rejected.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO

from adapter.loyalty.model import OWNED, CardState
from adapter.loyalty.numbers import (
    BARCODE_TYPES,
    BadNumber,
    barcode_for,
    check_barcode,
    check_number,
    damage,
)
from adapter.settings import Cards
from adapter.store.pool import Gateway, count
from crm_backends.inputs import visible

_COLUMNS = ("number", "state", "barcode", "barcode_type", "customer")
_STATES = frozenset({CardState.FREE, CardState.OWNERLESS, *OWNED})
_BATCH = 10_000
_LOCK = 7_306_018
"""Any number, but ours alone: imports take turns, else two at once would not see each other's barcodes."""
_REMOVE_TAKEN = """
DELETE FROM incoming
 WHERE ctid IN (
       SELECT incoming.ctid FROM incoming, LATERAL (
              (SELECT FROM koshelek.cards
                WHERE cards.barcode_number = incoming.barcode_number
                  AND cards.barcode_number <> cards.number AND cards.number <> incoming.number
               OFFSET 0)
               UNION ALL
              (SELECT FROM koshelek.cards
                WHERE cards.number = incoming.barcode_number
                  AND cards.barcode_number = cards.number AND incoming.number <> incoming.barcode_number
               OFFSET 0)) AS holder
        WHERE NOT EXISTS (SELECT FROM koshelek.cards WHERE cards.number = incoming.number))
RETURNING number, barcode_number
"""
"""By two indexes, for cards whose barcode is another text than their number, and for all others. ``OFFSET 0``
keeps the planner from reading all cards once for each batch; nor is this worth compiling (``jit``). A number
that is known stays as it is, whatever its line says."""
_TAKEN = "a card imported before has this barcode and another number; correct the line, or leave it out"

Row = tuple[str, str, str, str, str | None]


class BadFile(Exception):
    """The file as a whole cannot be imported; the message says why and what is expected."""


@dataclass(slots=True)
class ImportReport:
    """What became of the lines of a file."""

    imported: int = 0
    known: int = 0
    """Numbers, or customers, that had a card before; left as they were."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """Line number in the file and reason; the first thousand."""
    rejected_count: int = 0
    lines: list[int] = field(default_factory=list)
    """Of the rows that were read and are not written yet, in their order."""

    def reject(self, line: int, reason: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < 1000:
            self.rejected.append((line, reason))


def read_rows(file: TextIO, settings: Cards, report: ImportReport) -> Iterator[Row]:
    """The valid lines of the file; the others go into the report.

    Raises:
        BadFile: no ``number`` column, or one that is not known.
    """
    sample = file.readline()
    delimiter = ";" if sample.count(";") > sample.count(",") else ","
    header = [
        name.strip().lower() for name in next(csv.reader([sample.lstrip("\ufeff")], delimiter=delimiter), [])
    ]
    if "number" not in header:
        raise BadFile(
            f"the first line has to name the columns, one of them number (known: {', '.join(_COLUMNS)})"
        )
    for name in header:
        if name not in _COLUMNS:
            raise BadFile(f'there is no column "{name}" (known: {", ".join(_COLUMNS)})')
    reader = csv.reader(file, delimiter=delimiter)
    owners: dict[int, int] = {}  # of a barcode, the number; of millions only the hashes are kept
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            report.reject(reader.line_num + 1, "is not CSV: a cell is too long or has a stray character")
            continue
        line = reader.line_num + 1  # the header is line 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            report.reject(line, f"has {len(cells)} columns, the first line has {len(header)}")
            continue
        given = {name: visible(cell).strip() for name, cell in zip(header, cells, strict=True)}
        try:
            row = _row(given, settings)
            if owners.setdefault(hash(row[1]), hash(row[0])) != hash(row[0]):
                raise BadNumber("another number has this barcode in an earlier line; correct one of them")
        except (BadNumber, BadFile) as error:
            report.reject(line, str(error))
        else:
            report.lines.append(line)
            yield row


def _row(given: dict[str, str], settings: Cards) -> Row:
    for column in ("number", "customer", "barcode"):
        value = given.get(column)
        if value and (reason := damage(value, exported=True)) is not None:
            raise BadNumber(f"the {column} {reason}")
    number = check_number(given["number"], settings)
    state = given.get("state") or CardState.FREE
    if state not in _STATES:
        raise BadFile(f"the state is none of {', '.join(sorted(_STATES))}")
    customer = given.get("customer") or None
    if (state in OWNED) != (customer is not None):
        raise BadFile("a customer belongs to active, inactive and blocked cards, and only to them")
    if customer is not None and not customer.isprintable():
        raise BadFile("the customer has characters that cannot be printed")
    kind = given.get("barcode_type") or settings.barcode_type
    if kind not in BARCODE_TYPES:
        raise BadFile(f"there is no barcode type {kind!r:.20}; the types are {', '.join(BARCODE_TYPES)}")
    barcode = given.get("barcode")
    if barcode:
        barcode = check_barcode(barcode, kind)
    else:
        barcode = barcode_for(number, settings.model_copy(update={"barcode_type": kind}))
    return number, barcode, kind, state, customer


async def import_rows(
    gateway: Gateway, rows: Iterable[Row], report: ImportReport, progress: Callable[[int], None]
) -> None:
    """Write the rows in batches, each in a transaction; numbers that are known stay as they are.

    A row whose barcode another card has is rejected. Rows that come from no file are counted from 1.
    ``progress`` is told how many lines are done after each batch. Safe to repeat.
    """
    pending = iter(rows)
    done = 0
    while batch := list(islice(pending, _BATCH)):
        async with gateway.connection() as connection, connection.transaction():
            await connection.execute(
                f"SET LOCAL jit = off; SELECT pg_advisory_xact_lock({_LOCK}); "
                "CREATE TEMP TABLE incoming (number text, barcode_number text, "
                "barcode_type text, state text, users_reference text) ON COMMIT DROP",
                timeout=60,
            )
            await connection.copy_records_to_table("incoming", records=batch, timeout=60)
            taken = await connection.fetch(_REMOVE_TAKEN, timeout=60)
            tag = await connection.execute(
                """
                INSERT INTO koshelek.cards
                       (number, barcode_number, barcode_type, state, users_reference, issued_at, blocked_from)
                SELECT number, barcode_number, barcode_type, state, users_reference,
                       CASE WHEN users_reference IS NULL THEN NULL ELSE now() END,
                       CASE WHEN state = 'blocked' THEN 'active' END
                  FROM incoming
                ON CONFLICT DO NOTHING
                """,
                timeout=60,
            )
        lines = report.lines[: len(batch)] or range(done + 1, done + len(batch) + 1)
        del report.lines[: len(batch)]
        others = {(record["number"], record["barcode_number"]) for record in taken}
        for line, row in zip(lines, batch, strict=True) if others else ():
            if row[:2] in others:
                report.reject(line, _TAKEN)
        inserted = count(tag)
        report.imported += inserted
        report.known += len(batch) - len(taken) - inserted
        done += len(batch)
        progress(done)
