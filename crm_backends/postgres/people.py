"""What the tables of ``schema.sql`` hold of a customer: shown, and removed but for what the money needs.

Points and used promo codes stay, as those of a customer without a name. It may not know the adapter's tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

_TABLES = (
    ("customers", "id"),
    ("consents", "customer_id"),
    ("points_ledger", "customer_id"),
    ("purchases", "customer_id"),
    ("customer_offers", "customer_id"),
    ("promo_redemptions", "customer_id"),
)
_FORGET = (
    "DELETE FROM crm.consents WHERE customer_id = $1",
    "DELETE FROM crm.customer_offers WHERE customer_id = $1",
    "DELETE FROM crm.purchases WHERE customer_id = $1",
    """
    UPDATE crm.customers
       SET phone = NULL, email = NULL, first_name = NULL, patronymic = NULL, surname = NULL,
           birth_date = NULL, sex = NULL, country_code = NULL, locality = NULL, card_number = NULL
     WHERE id = $1
    """,
)


async def kept(connection: Connection, customer: int) -> Mapping[str, list[dict[str, Any]]]:
    """Every row of the customer, per table."""
    found = {}
    for table, column in _TABLES:
        rows = await connection.fetch(
            f"SELECT to_jsonb(kept) AS row FROM crm.{table} AS kept WHERE {column} = $1",  # noqa: S608
            customer,
        )
        found[f"crm.{table}"] = [dict(json.loads(row["row"])) for row in rows]
    return {table: rows for table, rows in found.items() if rows}


async def forget(connection: Connection, customer: int) -> None:
    """Remove who it is, and what no balance is made of."""
    async with connection.transaction():
        for statement in _FORGET:
            await connection.execute(statement, customer)
