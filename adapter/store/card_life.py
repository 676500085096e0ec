"""What happens to a card besides being issued: the CRM's word, blocks, and another number in its place.

The registry's part that ``adapter.store.cards`` builds upon. Each change leaves a line in ``card_events``;
who made it is nobody where the users CRM said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from adapter.loyalty.model import Card, CardState, Entry
from adapter.store.pool import Gateway
from crm_backends.model import CrmCardState

if TYPE_CHECKING:
    from adapter.store.pool import Connection

COLUMNS = (
    "number, barcode_number, barcode_type, state, reserved_until, users_reference, points_reference, "
    "coupons_reference, by_crm, replaced_by, replaces"
)
GET = f"SELECT {COLUMNS} FROM koshelek.cards WHERE number = $1"  # noqa: S608
OF_CUSTOMER = f"SELECT {COLUMNS} FROM koshelek.cards WHERE users_reference = $1"  # noqa: S608

# What may become somebody's card because the CRM, or a person, says so: a number nobody has here. What a
# person blocked stays as it is.
_NOBODYS = """(
    cards.state IN ('free', 'reserved', 'ownerless')
    OR (cards.users_reference IS NULL AND cards.by_crm)
    OR (cards.replaced_by IS NOT NULL AND cards.users_reference IS NULL)
)"""

# $4: the owner, $5: active, inactive or blocked, $6: the number in its place, $7: whether the barcode is
# told, $8: the number it takes the place of, $9: whether the CRM says so.
_ENTER = f"""
    INSERT INTO koshelek.cards
           (number, barcode_number, barcode_type, users_reference, state, blocked_from, by_crm, replaced_by,
            replaces, issued_at)
    SELECT $1, $2, $3, $4, CASE $5 WHEN 'active' THEN usual ELSE $5 END,
           CASE WHEN $5 <> 'active' AND $6::text IS NULL THEN usual END,
           $9 AND $5 <> 'active' AND $6::text IS NULL, $6, $8, CASE WHEN $4::text IS NOT NULL THEN now() END
      FROM (SELECT CASE WHEN $4::text IS NULL THEN 'ownerless' ELSE 'active' END) AS given (usual)
    ON CONFLICT (number) DO UPDATE
       SET users_reference = EXCLUDED.users_reference, state = EXCLUDED.state,
           blocked_from = EXCLUDED.blocked_from, by_crm = EXCLUDED.by_crm, replaced_by = EXCLUDED.replaced_by,
           replaces = EXCLUDED.replaces, issued_at = EXCLUDED.issued_at, reserved_until = NULL,
           barcode_number = CASE WHEN $7 THEN EXCLUDED.barcode_number ELSE cards.barcode_number END,
           barcode_type = CASE WHEN $7 THEN EXCLUDED.barcode_type ELSE cards.barcode_type END,
           updated_at = now()
     WHERE {_NOBODYS}
    RETURNING {COLUMNS}
"""  # noqa: S608

_FOLLOW: dict[CrmCardState, str] = {
    "active": """
        UPDATE koshelek.cards
           SET state = coalesce(blocked_from,
                                CASE WHEN users_reference IS NULL THEN 'ownerless' ELSE 'active' END),
               blocked_from = NULL, by_crm = false, updated_at = now()
         WHERE number = $1 AND by_crm
    """,
    "blocked": """
        UPDATE koshelek.cards
           SET blocked_from = CASE WHEN by_crm THEN blocked_from ELSE state END, state = 'blocked',
               by_crm = true, updated_at = now()
         WHERE number = $1 AND state IN ('active', 'inactive', 'ownerless') AND replaced_by IS NULL
    """,
    "inactive": """
        UPDATE koshelek.cards
           SET blocked_from = CASE WHEN by_crm THEN blocked_from ELSE state END, state = 'inactive',
               by_crm = true, updated_at = now()
         WHERE number = $1 AND (state IN ('active', 'ownerless') OR (state = 'blocked' AND by_crm))
    """,
}

_BLOCK = """
    UPDATE koshelek.cards
       SET blocked_from = CASE WHEN by_crm THEN blocked_from ELSE state END, state = 'blocked',
           by_crm = false, updated_at = now()
     WHERE number = $1 AND replaced_by IS NULL
       AND (state IN ('active', 'inactive', 'ownerless') OR (state = 'blocked' AND by_crm))
"""
_UNBLOCK = """
    UPDATE koshelek.cards
       SET state = coalesce(blocked_from, 'active'), blocked_from = NULL, by_crm = false, updated_at = now()
     WHERE number = $1 AND state = 'blocked'
"""
_REPLACED = """
    UPDATE koshelek.cards
       SET state = 'inactive', users_reference = NULL, replaced_by = $2, blocked_from = NULL, by_crm = false,
           updated_at = now()
     WHERE number = $1
"""
# The accounts go along: a CRM that was told another number knows nothing of this one.
_GO_ALONG = f"""
    UPDATE koshelek.cards AS new
       SET points_reference = old.points_reference, coupons_reference = old.coupons_reference
      FROM koshelek.cards AS old
     WHERE new.number = $1 AND old.number = $2
    RETURNING {", ".join(f"new.{column}" for column in COLUMNS.split(", "))}
"""  # noqa: S608
_CONSENTS = """
    INSERT INTO koshelek.consents (card_number, channel, allowed, changed_at)
    SELECT $1, channel, allowed, changed_at FROM koshelek.consents WHERE card_number = $2 ORDER BY channel
    ON CONFLICT (card_number, channel)
    DO UPDATE SET allowed = EXCLUDED.allowed, changed_at = EXCLUDED.changed_at
"""


SOMEBODY = "somebody"
"""A person who did not say who."""


@dataclass(frozen=True, slots=True)
class CardEvent:
    """Something that happened to a card; ``who`` is ``None`` where the users CRM said so."""

    at: datetime
    who: str | None
    event: str
    note: str | None


class _Taken(Exception):
    """The other number is somebody's: nothing is to be changed."""


def card_of(row: asyncpg.Record) -> Card:
    return Card(
        number=row["number"],
        barcode_number=row["barcode_number"],
        barcode_type=row["barcode_type"],
        state=CardState(row["state"]),
        reserved_until=row["reserved_until"],
        users_reference=row["users_reference"],
        points_reference=row["points_reference"],
        coupons_reference=row["coupons_reference"],
        by_crm=row["by_crm"],
        replaced_by=row["replaced_by"],
        replaces=row["replaces"],
    )


class CardLife:
    """A part of ``adapter.loyalty.ports.CardRegistry``, and what the operator's commands need."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def release(self, number: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                """
                UPDATE koshelek.cards SET state = 'free', reserved_until = NULL, updated_at = now()
                 WHERE number = $1 AND state = 'reserved'
                """,
                number,
            )

    async def set_aside(self, number: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                """
                UPDATE koshelek.cards
                   SET state = 'inactive', by_crm = true, reserved_until = NULL, updated_at = now()
                 WHERE number = $1 AND state IN ('free', 'reserved')
                """,
                number,
            )

    async def adopt(self, entry: Entry) -> Card | None:
        async with self._gateway.connection() as connection:
            try:
                row = await _enter(connection, entry, replaces=None, by_crm=True)
            except asyncpg.UniqueViolationError:
                row = None
            if row is None and entry.owner is not None:  # perhaps a call beside this one was faster
                row = await connection.fetchrow(OF_CUSTOMER, entry.owner)
        return card_of(row) if row else None

    async def follow(self, number: str, state: CrmCardState) -> Card | None:
        return await self._change(
            _FOLLOW["inactive" if state == "replaced" else state], number, by=None, event=state, note=None
        )

    async def block(self, number: str, *, by: str = SOMEBODY, note: str | None = None) -> Card | None:
        """Block a card that is in somebody's hands; ``None`` when there is no such card.

        One that the CRM had blocked is then blocked by a person too, whatever the CRM says later.
        """
        return await self._change(_BLOCK, number, by=by, event="blocked", note=note)

    async def unblock(self, number: str, *, by: str = SOMEBODY, note: str | None = None) -> Card | None:
        """Give a blocked card back the state it had; ``None`` when there is no such card."""
        return await self._change(_UNBLOCK, number, by=by, event="unblocked", note=note)

    async def replace(self, number: str, entry: Entry, *, by: str | None, note: str | None) -> Card | None:
        try:
            async with self._gateway.connection() as connection, connection.transaction():
                return await _replace(connection, number, entry, by, note)
        except (_Taken, asyncpg.UniqueViolationError):
            return None

    async def since(self, number: str) -> tuple[datetime, datetime | None] | None:
        """When a card was entered here, and when it was issued; ``None`` when there is no such card."""
        async with self._gateway.connection() as connection:
            row = await connection.fetchrow(
                "SELECT created_at, issued_at FROM koshelek.cards WHERE number = $1", number
            )
        return (row["created_at"], row["issued_at"]) if row else None

    async def events(self, number: str) -> list[CardEvent]:
        """What happened to a card, oldest first."""
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(
                "SELECT at, who, event, note FROM koshelek.card_events WHERE number = $1 ORDER BY id", number
            )
        return [CardEvent(row["at"], row["who"], row["event"], row["note"]) for row in rows]

    async def _change(
        self, statement: str, number: str, *, by: str | None, event: str, note: str | None
    ) -> Card | None:
        async with self._gateway.connection() as connection, connection.transaction():
            if await connection.execute(statement, number) != "UPDATE 0":
                await _remember(connection, number, by, event, note)
            row = await connection.fetchrow(GET, number)
        return card_of(row) if row else None


async def _enter(
    connection: Connection, entry: Entry, *, replaces: str | None, by_crm: bool
) -> asyncpg.Record | None:
    return await connection.fetchrow(
        _ENTER,
        entry.number,
        entry.barcode_number,
        entry.barcode_type,
        entry.owner,
        "inactive" if entry.state == "replaced" else entry.state,
        entry.replaced_by,
        entry.barcode_told,
        replaces,
        by_crm,
    )


async def _replace(
    connection: Connection, number: str, entry: Entry, by: str | None, note: str | None
) -> Card | None:
    # In one order everywhere, or two replacements would wait for each other.
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM koshelek.cards WHERE number = ANY($1) ORDER BY number FOR UPDATE",  # noqa: S608
        sorted({number, entry.number}),
    )
    found = {row["number"]: card_of(row) for row in rows}
    old = found.get(number)
    if old is None or old.state in (CardState.FREE, CardState.RESERVED):
        return None
    # One that was entered as replaced, and still has its owner, is replaced only now.
    if old.replaced_by is not None and old.users_reference is None:
        return found.get(entry.number) if old.replaced_by == entry.number else None  # done already
    owner = old.users_reference
    if entry.owner not in (None, owner):
        return None
    await connection.execute(_REPLACED, number, entry.number)
    stays_blocked = by is None and old.state is CardState.BLOCKED and not old.by_crm
    new = Entry(
        number=entry.number,
        barcode_number=entry.barcode_number,
        barcode_type=entry.barcode_type,
        owner=owner,
        state="blocked" if stays_blocked else entry.state,
        barcode_told=entry.barcode_told,
    )
    if await _enter(connection, new, replaces=number, by_crm=not stays_blocked) is None:
        raise _Taken
    row = await connection.fetchrow(_GO_ALONG, entry.number, number)
    await connection.execute(_CONSENTS, entry.number, number)
    await _remember(connection, number, by, f"replaced by {entry.number}", note)
    await _remember(connection, entry.number, by, f"in place of {number}", note)
    assert row is not None  # noqa: S101 - it was written above
    return card_of(row)


async def _remember(
    connection: Connection, number: str, by: str | None, event: str, note: str | None
) -> None:
    await connection.execute(
        "INSERT INTO koshelek.card_events (number, who, event, note) VALUES ($1, $2, $3, $4)",
        number,
        by,
        event,
        note,
    )
