"""The judge: compares what the caller was told, what the adapter has written, and what the CRM really did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

import asyncpg

from tests.faults.crms import Crm

OPEN = ("recorded", "sent", "unknown")


@dataclass
class Receipt:
    """A receipt, and every answer the caller got for it."""

    person: int
    card: str
    document: int
    roubles: int
    answers: list[str] = field(default_factory=list)
    """``credited 62``, ``accepted``, an error's code, ``away`` where nobody listened, or ``broken`` where
    there was no whole answer."""

    @property
    def accepted(self) -> bool:
        """Whether a 200 was given for it."""
        return any(answer.startswith(("credited", "accepted")) for answer in self.answers)


@dataclass(frozen=True)
class Verdict:
    """What came of the receipts. ``duplicated`` and ``lost`` are sentences, one for each; none is well."""

    sent: int
    accepted: int
    credited: int
    refused: int
    held: int
    doubled: int
    """Found in the CRM twice by the adapter itself."""
    duplicated: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def well(self) -> bool:
        return not self.duplicated and not self.lost

    def __str__(self) -> str:
        problems = "; ".join((*self.duplicated[:5], *self.lost[:5]))
        return (
            f"{self.sent} sent, {self.accepted} accepted, {self.credited} credited, {self.refused} refused, "
            f"{self.held} held, {self.doubled} found twice, {len(self.duplicated)} duplicated, "
            f"{len(self.lost)} lost{': ' if problems else ''}{problems}"
        )


@dataclass(frozen=True)
class Row:
    """An operation as the adapter's table has it."""

    id: int
    reference: str
    identity: str
    state: str
    points: Decimal | None
    asked: Decimal
    account: str
    has_job: bool


async def rows(url: str) -> list[Row]:
    """Every receipt the adapter has written down."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch("""
            SELECT o.id, coalesce(o.reference, 'koshelek-receipt-' || o.id) AS reference, o.identity, o.state,
            o.points, (o.request ->> 'points')::numeric AS asked,
                   c.points_reference AS account,
                   EXISTS (SELECT FROM koshelek.pgqueuer q
                            WHERE q.payload = convert_to(o.id::text, 'UTF8')) AS has_job
              FROM koshelek.operations o JOIN koshelek.cards c ON c.number = o.card_number
             WHERE o.kind = 'receipt'
        """)
        return [Row(**dict(row)) for row in found]
    finally:
        await connection.close()


async def still_open(url: str) -> int:
    """How many receipts have not ended."""
    connection = await asyncpg.connect(url)
    try:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt' AND state = ANY($1)",
                list(OPEN),
            )
        )
    finally:
        await connection.close()


async def judge(url: str, crm: Crm, receipts: Iterable[Receipt], drive: str) -> Verdict:
    """Hold the three against each other, once everything has come to rest."""
    notes = {f"{drive}:{receipt.document}:1": receipt for receipt in receipts}
    table = await rows(url)
    effects = await crm.effects()
    states = Counter(row.state for row in table)
    known = {row.identity: row for row in table}
    lost = [
        f"{row.identity} is still {row.state}, {'with' if row.has_job else 'without'} a job"
        for row in table
        if row.state in OPEN
    ]
    lost += [
        f"{identity} was accepted and is not written down"
        for identity, receipt in notes.items()
        if receipt.accepted and identity not in known
    ]
    lost += _told_otherwise(notes, known)
    duplicated, missing = _against_ledger(crm, table, effects)
    return Verdict(
        sent=len(notes),
        accepted=sum(receipt.accepted for receipt in notes.values()),
        credited=states["done"],
        refused=states["refused"],
        held=states["held"],
        doubled=states["doubled"],
        duplicated=tuple(duplicated),
        lost=(*lost, *missing),
    )


def _told_otherwise(notes: dict[str, Receipt], known: dict[str, Row]) -> list[str]:
    """Receipts whose caller was told "credited" although the table does not say so, or told two things."""
    wrong = []
    for identity, receipt in notes.items():
        told = {Decimal(a.partition(" ")[2]) for a in receipt.answers if a.startswith("credited")}
        row = known.get(identity)
        if told and row is not None and (row.state != "done" or told != {row.points}):
            wrong.append(f"{identity} is {row.state} with {row.points}, and was told {sorted(told)}")
    return wrong


def _against_ledger(crm: Crm, table: list[Row], effects: Counter[Hashable]) -> tuple[list[str], list[str]]:
    """Effects too many, and credits without an effect."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in table:
        groups[crm.key(row.reference, row.account, row.asked)].append(row)
    duplicated = [f"an effect that nobody asked for: {key}" for key in effects if key not in groups]
    missing = []
    for key, group in groups.items():
        credited = sum(row.state == "done" for row in group)
        perhaps = sum(row.state in ("held", *OPEN) for row in group)
        if effects[key] > credited + perhaps:
            duplicated.append(f"{key}: {effects[key]} effects, {[(row.id, row.state) for row in group]}")
        if effects[key] < credited:
            missing.append(f"{key}: {effects[key]} effects, {[(row.id, row.state) for row in group]}")
    return duplicated, missing
