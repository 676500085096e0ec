"""The card registry in PostgreSQL. One statement per step; the database keeps a card per person unique."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

import asyncpg

from adapter.catalogue import Code, Refused
from adapter.loyalty.model import Card, CardState
from adapter.loyalty.numbers import BadNumber, barcode_for, range_number
from adapter.loyalty.ports import Port, StoreUnavailable
from adapter.settings import Cards, NumberRange
from adapter.store.pool import Gateway
from adapter.store.together import Together
from crm_backends.model import Customer, Wanted
from crm_backends.ports import BackendUnavailable, Deadline

if TYPE_CHECKING:
    from adapter.store.pool import Connection

_COLUMNS = (
    "number, barcode_number, barcode_type, state, reserved_until, users_reference, points_reference, "
    "coupons_reference"
)

_GET = f"SELECT {_COLUMNS} FROM koshelek.cards WHERE number = $1"  # noqa: S608
_GET_MANY = f"SELECT {_COLUMNS} FROM koshelek.cards WHERE number = ANY($1)"  # noqa: S608
_OF_CUSTOMER = f"SELECT {_COLUMNS} FROM koshelek.cards WHERE users_reference = $1"  # noqa: S608
_OF_CUSTOMERS = f"SELECT {_COLUMNS} FROM koshelek.cards WHERE users_reference = ANY($1)"  # noqa: S608

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
     WHERE number = (
               SELECT number FROM koshelek.cards WHERE {{free}} LIMIT 1 FOR UPDATE SKIP LOCKED
           )
    RETURNING {_COLUMNS}
"""  # noqa: S608
_TAKE_FREE = _TAKE.format(free="state = 'free' ORDER BY number")
_TAKE_EXPIRED = _TAKE.format(free="state = 'reserved' AND reserved_until <= now() ORDER BY reserved_until")

_ISSUE = f"""
    UPDATE koshelek.cards
       SET state = 'active', users_reference = $1, reserved_until = NULL, issued_at = now(),
           updated_at = now()
     WHERE number = $2
       AND (state = 'ownerless' OR (state = 'reserved' AND reserved_until > now()))
    RETURNING {_COLUMNS}
"""  # noqa: S608

_INSERT = f"""
    INSERT INTO koshelek.cards
           (number, barcode_number, barcode_type, state, users_reference, reserved_until, issued_at)
    VALUES ($1, $2, $3, $4, $5, now() + $6::interval, CASE WHEN $5::text IS NULL THEN NULL ELSE now() END)
    ON CONFLICT (number) DO NOTHING
    RETURNING {_COLUMNS}
"""  # noqa: S608

_ADOPT = f"""
    INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state, users_reference, issued_at)
    VALUES ($1, $2, $3, 'active', $4, now())
    ON CONFLICT (number) DO UPDATE
       SET state = 'active', users_reference = EXCLUDED.users_reference, issued_at = now(), updated_at = now()
     WHERE cards.state IN ('free', 'ownerless')
    RETURNING {_COLUMNS}
"""  # noqa: S608

COUNTED = 10_000
_RANGE_CHUNK = 256
_READS_MOST, _READS_LANES = 64, 2  # look-ups in one statement, statements at once


def _card(row: asyncpg.Record) -> Card:
    return Card(
        number=row["number"],
        barcode_number=row["barcode_number"],
        barcode_type=row["barcode_type"],
        state=CardState(row["state"]),
        reserved_until=row["reserved_until"],
        users_reference=row["users_reference"],
        points_reference=row["points_reference"],
        coupons_reference=row["coupons_reference"],
    )


class PostgresCards:
    """Implements ``adapter.loyalty.ports.CardRegistry``."""

    def __init__(self, gateway: Gateway, settings: Cards) -> None:
        self._gateway = gateway
        self._settings = settings
        self._getting = Together(
            self._get_together, most=_READS_MOST, lanes=_READS_LANES, everybodys=(StoreUnavailable,)
        )

    async def get(self, number: str) -> Card | None:
        return await self._getting(number)

    async def _get_together(self, numbers: Sequence[str]) -> list[Card | None]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_GET_MANY, numbers)
        cards = {row["number"]: _card(row) for row in rows}
        return [cards.get(number) for number in numbers]

    async def of_customers(self, users_references: Sequence[str]) -> Sequence[Card]:
        async with self._gateway.connection() as connection:
            if len(users_references) == 1:
                rows = await connection.fetch(_OF_CUSTOMER, users_references[0])
            else:
                rows = await connection.fetch(_OF_CUSTOMERS, list(users_references))
        return [_card(row) for row in rows]

    async def reserve(self) -> Card:
        async with self._gateway.connection() as connection:
            return await self._take(
                connection, CardState.RESERVED, None, timedelta(seconds=self._settings.reservation)
            )

    async def issue(self, users_reference: str, number: str | None) -> Card:
        async with self._gateway.connection() as connection:
            owned = await connection.fetchrow(_OF_CUSTOMER, users_reference)
            if owned is None:
                try:
                    if number is None:
                        return await self._take(connection, CardState.ACTIVE, users_reference, None)
                    issued = await connection.fetchrow(_ISSUE, users_reference, number)
                    if issued is not None:
                        return _card(issued)
                except asyncpg.UniqueViolationError:
                    pass  # a call beside this one was faster; what it gave the person is looked up below
                owned = await connection.fetchrow(_OF_CUSTOMER, users_reference)
            if owned is not None:
                card = _card(owned)
                if number is not None and card.number != number:
                    blocked = card.state is CardState.BLOCKED
                    raise Refused(Code.CARD_BLOCKED if blocked else Code.HAS_ANOTHER_CARD)
                return card
            row = await connection.fetchrow(_GET, number)
        raise Refused(_why_not_issuable(_card(row) if row else None))

    async def adopt(self, number: str, users_reference: str) -> Card | None:
        try:
            barcode = barcode_for(number, self._settings)
        except BadNumber:
            return None
        async with self._gateway.connection() as connection:
            try:
                row = await connection.fetchrow(
                    _ADOPT, number, barcode, self._settings.barcode_type, users_reference
                )
            except asyncpg.UniqueViolationError:
                row = None
            if row is None:  # perhaps a call beside this one was faster
                row = await connection.fetchrow(_OF_CUSTOMER, users_reference)
        return _card(row) if row else None

    async def owners(self, *, after: str, limit: int) -> Sequence[str]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_OWNERS, after, limit)
        return [row["users_reference"] for row in rows]

    async def remember_account(self, number: str, port: Port, reference: str) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                f"UPDATE koshelek.cards SET {port}_reference = $2 WHERE number = $1",  # noqa: S608
                number,
                reference,
            )

    async def count_free(self) -> int:
        """Numbers left in the pool, as far as they are counted: up to ``COUNTED``."""
        async with self._gateway.connection() as connection:
            counted = await connection.fetchval(
                "SELECT count(*) FROM (SELECT FROM koshelek.cards WHERE state = 'free' LIMIT $1) AS free",
                COUNTED,
            )
        return int(counted)

    async def block(self, number: str) -> Card | None:
        """Block a card that is in somebody's hands; ``None`` when there is no such card."""
        return await self._set_state(
            """
            UPDATE koshelek.cards SET blocked_from = state, state = 'blocked', updated_at = now()
             WHERE number = $1 AND state IN ('active', 'inactive', 'ownerless')
            """,
            number,
        )

    async def unblock(self, number: str) -> Card | None:
        """Give a blocked card back the state it had; ``None`` when there is no such card."""
        return await self._set_state(
            """
            UPDATE koshelek.cards
               SET state = coalesce(blocked_from, 'active'), blocked_from = NULL, updated_at = now()
             WHERE number = $1 AND state = 'blocked'
            """,
            number,
        )

    async def _set_state(self, statement: str, number: str) -> Card | None:
        async with self._gateway.connection() as connection:
            await connection.execute(statement, number)
            row = await connection.fetchrow(_GET, number)
        return _card(row) if row else None

    async def _take(
        self, connection: Connection, state: CardState, owner: str | None, keep: timedelta | None
    ) -> Card:
        """The next number nobody has: the pool, then the ranges, and if need be expired reservations.

        Those come last: whoever comes too late for one should be told so, and not get what meanwhile is
        another's.
        """
        row = await connection.fetchrow(_TAKE_FREE, state, owner, keep)
        if row is not None:
            return _card(row)
        for rule in self._settings.ranges:
            async with connection.transaction():
                while (number := await _next_of_range(connection, rule)) is not None:
                    row = await connection.fetchrow(
                        _INSERT,
                        number,
                        barcode_for(number, self._settings),
                        self._settings.barcode_type,
                        state,
                        owner,
                        keep,
                    )
                    if row is not None:  # else an import has taken it meanwhile
                        return _card(row)
        row = await connection.fetchrow(_TAKE_EXPIRED, state, owner, keep)
        if row is None:
            raise Refused(Code.NO_NUMBERS)
        return _card(row)


class FindsCustomers(Protocol):
    """A driver whose tables are in our database and whose statement may be joined with ours."""

    async def find_many(
        self, wanted: Sequence[Wanted], join: str, *, deadline: Deadline
    ) -> Sequence[Sequence[tuple[Customer, asyncpg.Record]]]: ...


class JoinedFinder:
    """People and their cards in one statement, where the users CRM is in the adapter's own database.

    Finding a card is the hottest call there is, so look-ups that arrive together also go together.
    Implements ``adapter.loyalty.ports.Finder``.
    """

    def __init__(self, users: FindsCustomers, timeout: float) -> None:
        self._users = users
        self._timeout = timeout
        self._finding = Together(
            self._find_together, most=_READS_MOST, lanes=_READS_LANES, everybodys=(BackendUnavailable,)
        )

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[tuple[Customer, Card | None]]:
        return await self._finding(Wanted(phone, email, birth_date))

    async def _find_together(
        self, wanted: Sequence[Wanted]
    ) -> Sequence[Sequence[tuple[Customer, Card | None]]]:
        found = await self._users.find_many(wanted, _JOIN, deadline=Deadline.after(self._timeout))
        return [[(customer, _joined_card(customer, row)) for customer, row in rows] for rows in found]


_JOIN = """
    SELECT found.*, card.number AS "card.number", card.barcode_number AS "card.barcode_number",
           card.barcode_type AS "card.barcode_type", card.state AS "card.state",
           card.points_reference AS "card.points_reference",
           card.coupons_reference AS "card.coupons_reference"
      FROM found
      LEFT JOIN LATERAL (
               SELECT number, barcode_number, barcode_type, state, points_reference, coupons_reference
                 FROM koshelek.cards WHERE users_reference = found.reference::text LIMIT 1
           ) AS card ON true
"""


def _joined_card(customer: Customer, row: asyncpg.Record) -> Card | None:
    number = row["card.number"]
    if number is None:
        return None
    return Card(
        number=number,
        barcode_number=row["card.barcode_number"],
        barcode_type=row["card.barcode_type"],
        state=CardState(row["card.state"]),
        users_reference=customer.reference,
        points_reference=row["card.points_reference"],
        coupons_reference=row["card.coupons_reference"],
    )


async def _next_of_range(connection: Connection, rule: NumberRange) -> str | None:
    """The next number of a range that is not in use; its counter stays locked until the commit."""
    key = (rule.prefix, rule.length, rule.check_digit)
    await connection.execute(
        """
        INSERT INTO koshelek.number_ranges (prefix, length, check_digit, next_value)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
        """,
        *key,
        rule.first,
    )
    start = await connection.fetchval(
        """
        SELECT greatest(next_value, $4) FROM koshelek.number_ranges
         WHERE (prefix, length, check_digit) = ($1, $2, $3) FOR UPDATE
        """,
        *key,
        rule.first,
    )
    while start <= rule.end:
        stop = min(start + _RANGE_CHUNK, rule.end + 1)
        candidates = {range_number(rule, value): value for value in range(start, stop)}
        rows = await connection.fetch(
            "SELECT number FROM koshelek.cards WHERE number = ANY($1)", list(candidates)
        )
        used = {row["number"] for row in rows}
        for number, value in candidates.items():
            if number not in used:
                await connection.execute(
                    """
                    UPDATE koshelek.number_ranges SET next_value = $4
                     WHERE (prefix, length, check_digit) = ($1, $2, $3)
                    """,
                    *key,
                    value + 1,
                )
                return number
        start = stop
    return None


def _why_not_issuable(card: Card | None) -> Code:
    if card is None or card.state is CardState.FREE:
        return Code.NOT_RESERVED
    if card.state is CardState.RESERVED:
        return Code.RESERVATION_EXPIRED
    if card.state is CardState.BLOCKED:
        return Code.CARD_BLOCKED
    return Code.NUMBER_USED
