"""The card registry in PostgreSQL. One statement per step; the database keeps a card per person unique."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg

from adapter.errors import Code, Refused
from adapter.loyalty.model import Card, CardState
from adapter.loyalty.numbers import barcode_for
from adapter.loyalty.ports import Port, StoreUnavailable
from adapter.settings import Cards
from adapter.store.card_life import COLUMNS, GET, OF_CUSTOMER, CardLife, card_of
from adapter.store.pool import Gateway
from adapter.store.ranges import number_of_range
from crm_backends.batching import READS_LANES, READS_MOST, Batched

if TYPE_CHECKING:
    from adapter.store.pool import Connection

# As in the ledger: a plan that fits any number of them.
_GET_MANY = f"SELECT {COLUMNS} FROM koshelek.cards WHERE number = ANY((SELECT $1::text[])::text[])"  # noqa: S608
_OF_CUSTOMERS = f"SELECT {COLUMNS} FROM koshelek.cards WHERE users_reference = ANY($1)"  # noqa: S608

_OWNERS = """
    SELECT users_reference
      FROM koshelek.cards
     WHERE users_reference > $1
     ORDER BY users_reference
     LIMIT $2
"""

_TAKE = f"""
    UPDATE koshelek.cards
       SET state = $1, users_reference = $2, reserved_until = now() + $3::interval,
           issued_at = CASE WHEN $2::text IS NULL THEN NULL ELSE now() END, updated_at = now()
     WHERE number = coalesce({{which}})
    RETURNING {COLUMNS}
"""  # noqa: S608
_ONE = "(SELECT number FROM koshelek.cards WHERE {which} LIMIT 1 FOR UPDATE SKIP LOCKED)"
# From a random point between the ends of the pool on, else from its beginning: a restored older dump would
# give the very next numbers again. Numbers that are not all digits, or not of one length, have no such point.
_POINT = """(
    SELECT lpad(trunc(low::numeric + random()::numeric * (high::numeric - low::numeric))::text,
                length(low), '0')
      FROM (SELECT min(number) AS low, max(number) AS high FROM koshelek.cards WHERE state = 'free') AS pool
     WHERE low ~ '^[0-9]+$' AND high ~ '^[0-9]+$' AND length(low) = length(high)
)"""
_TAKE_FREE = _TAKE.format(
    which=", ".join(
        _ONE.format(which=f"state = 'free' {behind} ORDER BY number")
        for behind in (f"AND number >= {_POINT}", "")
    )
)
_TAKE_EXPIRED = _TAKE.format(
    which=_ONE.format(which="state = 'reserved' AND reserved_until <= now() ORDER BY reserved_until")
)

_ISSUE = f"""
    UPDATE koshelek.cards
       SET state = 'active', users_reference = $1, reserved_until = NULL, issued_at = now(),
           updated_at = now()
     WHERE number = $2
       AND (state = 'ownerless' OR (state = 'reserved' AND reserved_until > now()))
    RETURNING {COLUMNS}
"""  # noqa: S608

_INSERT = f"""
    INSERT INTO koshelek.cards
           (number, barcode_number, barcode_type, state, users_reference, reserved_until, issued_at)
    VALUES ($1, $2, $3, $4, $5, now() + $6::interval, CASE WHEN $5::text IS NULL THEN NULL ELSE now() END)
    ON CONFLICT (number) DO NOTHING
    RETURNING {COLUMNS}
"""  # noqa: S608

COUNTED = 10_000


class PostgresCards(CardLife):
    """Implements ``adapter.loyalty.ports.CardRegistry``."""

    def __init__(self, gateway: Gateway, settings: Cards) -> None:
        super().__init__(gateway)
        self._settings = settings
        self._getting = Batched(
            self._get_together, most=READS_MOST, lanes=READS_LANES, errors_for_whole_batch=(StoreUnavailable,)
        )

    async def get(self, number: str) -> Card | None:
        return await self._getting(number)

    async def _get_together(self, numbers: Sequence[str]) -> list[Card | None]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_GET_MANY, numbers)
        cards = {row["number"]: card_of(row) for row in rows}
        return [cards.get(number) for number in numbers]

    async def of_customers(self, users_references: Sequence[str]) -> Sequence[Card]:
        async with self._gateway.connection() as connection:
            if len(users_references) == 1:
                rows = await connection.fetch(OF_CUSTOMER, users_references[0])
            else:
                rows = await connection.fetch(_OF_CUSTOMERS, list(users_references))
        return [card_of(row) for row in rows]

    async def reserve(self) -> Card:
        async with self._gateway.connection() as connection:
            return await self._take(
                connection, CardState.RESERVED, None, timedelta(seconds=self._settings.reservation)
            )

    async def issue(self, users_reference: str, number: str | None) -> Card:
        async with self._gateway.connection() as connection:
            owned = await connection.fetchrow(OF_CUSTOMER, users_reference)
            if owned is None:
                try:
                    if number is None:
                        return await self._take(connection, CardState.ACTIVE, users_reference, None)
                    issued = await connection.fetchrow(_ISSUE, users_reference, number)
                    if issued is not None:
                        return card_of(issued)
                except asyncpg.UniqueViolationError:
                    pass  # a call beside this one was faster; what it gave the person is looked up below
                owned = await connection.fetchrow(OF_CUSTOMER, users_reference)
            if owned is not None:
                card = card_of(owned)
                if number is not None and card.number != number:
                    blocked = card.state is CardState.BLOCKED
                    raise Refused(Code.CARD_BLOCKED if blocked else Code.HAS_ANOTHER_CARD)
                return card
            row = await connection.fetchrow(GET, number)
        raise Refused(_why_not_issuable(card_of(row) if row else None))

    async def owners(self, *, after: str, limit: int) -> Sequence[str]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_OWNERS, after, limit)
        return [row["users_reference"] for row in rows]

    async def remember_account(self, number: str, port: Port, account: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                f"UPDATE koshelek.cards SET {port}_reference = $2 WHERE number = $1",  # noqa: S608
                number,
                account,
            )

    async def count_free(self) -> int:
        """Numbers left in the pool, as far as they are counted: up to ``COUNTED``."""
        async with self._gateway.connection() as connection:
            counted = await connection.fetchval(
                "SELECT count(*) FROM (SELECT FROM koshelek.cards WHERE state = 'free' LIMIT $1) AS free",
                COUNTED,
            )
        return int(counted)

    async def _take(
        self, connection: Connection, state: CardState, owner: str | None, keep: timedelta | None
    ) -> Card:
        """A number nobody has: the pool, then the ranges, and if need be expired reservations.

        Those come last: whoever comes too late for one should be told so, and not get what meanwhile is
        another's.
        """
        row = await connection.fetchrow(_TAKE_FREE, state, owner, keep)
        if row is not None:
            return card_of(row)
        for rule in self._settings.ranges:
            async with connection.transaction():
                while (number := await number_of_range(connection, rule)) is not None:
                    row = await connection.fetchrow(
                        _INSERT,
                        number,
                        barcode_for(number, self._settings),
                        self._settings.barcode_type,
                        state,
                        owner,
                        keep,
                    )
                    if row is not None:  # else a call beside this one, or an import, has taken it
                        return card_of(row)
        row = await connection.fetchrow(_TAKE_EXPIRED, state, owner, keep)
        if row is None:
            raise Refused(Code.NO_NUMBERS)
        return card_of(row)


def _why_not_issuable(card: Card | None) -> Code:
    if card is None or card.state is CardState.FREE:
        return Code.NOT_RESERVED
    if card.state is CardState.RESERVED:
        return Code.RESERVATION_EXPIRED
    if card.state is CardState.BLOCKED:
        return Code.CARD_BLOCKED
    return Code.NUMBER_USED
