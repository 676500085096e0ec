"""People and cards in one statement, where the users CRM is in the adapter's own database.

For speed alone: the same comes of asking the CRM and the registry one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import asyncpg

from adapter.loyalty.model import Card, CardState
from adapter.store.card_life import COLUMNS
from crm_backends.batching import READS_LANES, READS_MOST, Batched
from crm_backends.model import CrmCard, Customer, Wanted
from crm_backends.own_database import JoinsOurTables
from crm_backends.ports import BackendUnavailable, Deadline


class JoinedFinder:
    """People and their cards in one statement, where the users CRM is in the adapter's own database.

    Finding a card is the hottest call there is, so look-ups that arrive together also go together.
    Implements ``adapter.loyalty.ports.Finder``.
    """

    def __init__(self, users: JoinsOurTables, timeout: float) -> None:
        self._users = users
        self._timeout = timeout
        self._finding = Batched(
            self._find_together,
            most=READS_MOST,
            lanes=READS_LANES,
            errors_for_whole_batch=(BackendUnavailable,),
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
           card.by_crm AS "card.by_crm", card.points_reference AS "card.points_reference",
           card.coupons_reference AS "card.coupons_reference"
      FROM found
      LEFT JOIN LATERAL (
               SELECT number, barcode_number, barcode_type, state, by_crm, points_reference, coupons_reference
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
        users_reference=customer.customer_id,
        points_reference=row["card.points_reference"],
        coupons_reference=row["card.coupons_reference"],
        by_crm=row["card.by_crm"],
    )


class JoinedCards:
    """Cards of the registry, each with what the CRM tells of it besides."""

    def __init__(self, users: JoinsOurTables, timeout: float) -> None:
        self._users = users
        self._timeout = timeout
        self._getting = Batched(
            self._get_together,
            most=READS_MOST,
            lanes=READS_LANES,
            errors_for_whole_batch=(BackendUnavailable,),
        )

    async def get(self, number: str) -> tuple[Card | None, CrmCard | None]:
        """The card, and the CRM's word where it says something else than the card; ``None``: it does not.

        Raises ``BackendError``.
        """
        return await self._getting(number)

    async def _get_together(self, numbers: Sequence[str]) -> list[tuple[Card | None, CrmCard | None]]:
        rows = await self._users.find_many_by_card(
            numbers, _JOIN_CARDS, deadline=Deadline.after(self._timeout)
        )
        found: list[tuple[Card | None, CrmCard | None]] = [(None, None)] * len(numbers)
        for row in rows:
            place = row["place"] - 1
            card = _registered(row) if row["card.number"] is not None else None
            if row["state"] is None or (card is not None and _agrees(row, card)):
                found[place] = card, None
            else:
                found[place] = card, self._users.crm_card(row, numbers[place])
        return found


_JOIN_CARDS = f"""
    SELECT asked.place, {", ".join(f'card.{column} AS "card.{column}"' for column in COLUMNS.split(", "))},
           found.*
      FROM unnest((SELECT $1::text[])) WITH ORDINALITY AS asked (number, place)
      LEFT JOIN koshelek.cards AS card ON card.number = asked.number
      LEFT JOIN found ON found."wanted.number" = asked.place
"""  # noqa: S608


def _agrees(row: asyncpg.Record, card: Card) -> bool:
    """Whether the CRM says no more than that the card is its owner's and active, as nearly always."""
    owner = row["reference"]
    return (
        row["state"] == "active"
        and card.state is CardState.ACTIVE
        and (owner is None or str(owner) == card.users_reference)
    )


def _registered(row: asyncpg.Record) -> Card:
    return Card(
        number=row["card.number"],
        barcode_number=row["card.barcode_number"],
        barcode_type=row["card.barcode_type"],
        state=CardState(row["card.state"]),
        reserved_until=row["card.reserved_until"],
        users_reference=row["card.users_reference"],
        points_reference=row["card.points_reference"],
        coupons_reference=row["card.coupons_reference"],
        by_crm=row["card.by_crm"],
        replaced_by=row["card.replaced_by"],
        replaces=row["card.replaces"],
    )
