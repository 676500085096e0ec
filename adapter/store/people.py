"""What is kept of a person here: shown, and removed but for what the money needs.

A person is given by the customer ids of the users CRM, and by the identities of registrations. It may not
know any CRM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapter.loyalty.model import FINAL
from adapter.loyalty.personal_data import StillOpen
from adapter.store.pool import Gateway

if TYPE_CHECKING:
    from adapter.store.pool import Connection

_PATIENCE = 120.0  # seconds: operations are looked through from the first to the last

# Cards that were replaced lead to the one the person has now.
_NUMBERS = """
    WITH RECURSIVE theirs AS (
        SELECT number FROM koshelek.cards WHERE users_reference = ANY($1)
         UNION
        SELECT card.number FROM koshelek.cards AS card JOIN theirs ON card.replaced_by = theirs.number
    )
    SELECT number FROM theirs ORDER BY number
"""
_OPERATIONS = """
    SELECT id, kind, state FROM koshelek.operations
     WHERE card_number = ANY($2)
        OR (kind = 'registration' AND (identity = ANY($3) OR crm_reference = ANY($1)))
        OR (kind = 'card' AND request ->> 'customer' = ANY($1))
     ORDER BY id
"""
_SHOWN: Mapping[str, str] = {
    "cards": "SELECT * FROM koshelek.cards WHERE number = ANY($2) ORDER BY number",
    "card_events": "SELECT * FROM koshelek.card_events WHERE number = ANY($2) ORDER BY id",
    "consents": "SELECT * FROM koshelek.consents WHERE card_number = ANY($2) ORDER BY card_number, channel",
    "last_balances": "SELECT * FROM koshelek.last_balances WHERE card_number = ANY($2) ORDER BY card_number",
    "emails": "SELECT * FROM koshelek.emails WHERE users_reference = ANY($1) ORDER BY email",
    "operations": "SELECT * FROM koshelek.operations WHERE id = ANY($3) ORDER BY id",
    "operation_events": "SELECT * FROM koshelek.operation_events WHERE operation_id = ANY($3) ORDER BY id",
    "console_audit": """
        SELECT * FROM koshelek.console_audit WHERE card_number = ANY($2) OR operation_id = ANY($3) ORDER BY id
    """,
}
"""Per table, its rows of a person: $1 customer ids, $2 card numbers, $3 operations."""

_ERASED: Mapping[str, str] = {
    "consents": "DELETE FROM koshelek.consents WHERE card_number = ANY($2)",
    "last_balances": "DELETE FROM koshelek.last_balances WHERE card_number = ANY($2)",
    "emails": "DELETE FROM koshelek.emails WHERE users_reference = ANY($1)",
    "contact_claims": "DELETE FROM koshelek.contact_claims WHERE customer = ANY($1)",
    "account_leases": "DELETE FROM koshelek.account_leases WHERE operation_id = ANY($3)",
    # A receipt stays known by its fiscal identity, so that nobody is credited for it again. What people noted
    # may hold anything.
    "operations": """
        UPDATE koshelek.operations
           SET request = '{}', message = NULL, before = NULL, reason = NULL, detail = NULL,
               crm_reference = NULL, card_number = NULL, live = live AND kind = 'receipt',
               identity = CASE kind WHEN 'receipt' THEN identity ELSE id::text END
         WHERE id = ANY($3)
    """,
    "operation_events": """
        UPDATE koshelek.operation_events SET note = NULL WHERE operation_id = ANY($3) AND note IS NOT NULL
    """,
    "card_events": "UPDATE koshelek.card_events SET note = NULL WHERE number = ANY($2) AND note IS NOT NULL",
    "console_audit": """
        UPDATE koshelek.console_audit SET note = NULL
         WHERE (card_number = ANY($2) OR operation_id = ANY($3)) AND note IS NOT NULL
    """,
    # The numbers stay taken: they are printed somewhere, and must not become another person's.
    "cards": """
        UPDATE koshelek.cards
           SET users_reference = NULL, points_reference = NULL, coupons_reference = NULL, replaced_by = NULL,
               replaces = NULL, by_crm = false, blocked_from = NULL, updated_at = now(),
               state = CASE state WHEN 'blocked' THEN state ELSE 'inactive' END
         WHERE number = ANY($2)
    """,
}
"""Per table, what is removed of a person; the parameters as in ``_SHOWN``."""

_NOTED = """
    INSERT INTO koshelek.card_events (number, who, event) SELECT unnest($1::text[]), $2, $3
"""


@dataclass(frozen=True, slots=True)
class _Person:
    ids: tuple[str, ...]
    numbers: tuple[str, ...]
    operations: tuple[int, ...]
    open: tuple[int, ...]

    @property
    def parameters(self) -> tuple[list[str], list[str], list[int]]:
        return list(self.ids), list(self.numbers), list(self.operations)


class PostgresPeople:
    """Implements ``adapter.loyalty.personal_data.PersonBook``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def kept(
        self, ids: Sequence[str], identities: Sequence[str], *, by: str
    ) -> dict[str, list[dict[str, Any]]]:
        """Every row that is kept of a person, per table; that ``by`` was shown it is noted on the cards."""
        async with self._gateway.connection() as connection, connection.transaction():
            person = await _person(connection, ids, identities)
            found = {name: await _rows(connection, sql, person) for name, sql in _SHOWN.items()}
            await connection.execute(_NOTED, list(person.numbers), by, "shown")
        return {name: rows for name, rows in found.items() if rows}

    async def erase(self, ids: Sequence[str], identities: Sequence[str], *, by: str) -> dict[str, int]:
        """Remove the person; returns how many rows of each table were removed or changed.

        Raises ``StillOpen``; then nothing was changed.
        """
        async with self._gateway.connection() as connection, connection.transaction():
            person = await _person(connection, ids, identities, lock=True)
            if person.open:
                raise StillOpen(person.open)
            changed = {}
            for name, sql in _ERASED.items():
                tag = await connection.execute(_with_all(sql), *person.parameters, timeout=_PATIENCE)
                changed[name] = int(tag.rpartition(" ")[2])
            await connection.execute(_NOTED, list(person.numbers), by, "erased")
        return {name: count for name, count in changed.items() if count}


async def _person(
    connection: Connection, ids: Sequence[str], identities: Sequence[str], *, lock: bool = False
) -> _Person:
    numbers = [row["number"] for row in await connection.fetch(_NUMBERS, list(ids))]
    if lock:  # nothing more is recorded under these cards' owner meanwhile
        await connection.execute(
            "SELECT FROM koshelek.cards WHERE number = ANY($1) ORDER BY number FOR UPDATE", numbers
        )
    rows = await connection.fetch(_OPERATIONS, list(ids), numbers, list(identities), timeout=_PATIENCE)
    return _Person(
        ids=tuple(ids),
        numbers=tuple(numbers),
        operations=tuple(row["id"] for row in rows),
        open=tuple(row["id"] for row in rows if row["state"] not in FINAL),
    )


def _with_all(sql: str) -> str:
    """The statement with all three parameters in it: PostgreSQL wants to know the type of each."""
    return f"WITH given AS (SELECT $1::text[], $2::text[], $3::bigint[]) {sql}"


async def _rows(connection: Connection, sql: str, person: _Person) -> list[dict[str, Any]]:
    rows = await connection.fetch(
        _with_all(f"SELECT to_jsonb(kept) AS row FROM ({sql}) AS kept"),  # noqa: S608
        *person.parameters,
        timeout=_PATIENCE,
    )
    return [dict(json.loads(row["row"])) for row in rows]
