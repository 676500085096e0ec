"""The users port over PostgreSQL: the files ``users_….sql``.

It may not know a table by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from typing import TypeVar

import asyncpg
import structlog

from crm_backends import inputs
from crm_backends.model import ChannelConsents, CrmCard, Customer, ListedPhone, Profile, Wanted
from crm_backends.ports import Deadline, Outcome, Refusal, Written
from crm_backends.postgres import errors, rows, statements
from crm_backends.postgres.base import PostgresDriver

T = TypeVar("T")

_log = structlog.get_logger("crm")

_LIST_BATCH = 2000  # measured: larger batches are slower, they leave the caches
_LIST_TOTAL = 900.0  # seconds for a whole list: who stops reading it must not keep a connection for ever
_LIST_TIMEOUT = 60.0  # seconds for the first or any further batch: a partner's ORDER BY may sort everybody


class PostgresUsers(PostgresDriver):
    """Users in PostgreSQL."""

    finds_by_email = True

    @property
    def find_tells_card_state(self) -> bool:
        """See ``FindsByCard``. Of a partner's statement it is known once that has been used."""
        return self._ours("users_find") or "card_state" in self._fitting.get("users_find", ())

    @property
    def finds_many(self) -> bool:
        """Whether ``find_many`` may be used: the tables are ours, and in the adapter's own database."""
        return self._database.shared and self._ours("users_find") and not self._database.pooler

    @property
    def finds_many_by_card(self) -> bool:
        """The same for ``find_many_by_card``."""
        return (
            self._database.shared
            and self._ours("users_find", "users_find_by_card")
            and not self._database.pooler
        )

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[Customer]:
        """Customers by phone (E.164) or e-mail; ``users_find.sql``."""
        values = rows.find_values(phone, email, birth_date)
        return await self._read("users_find", values, deadline, self._customer("users_find"))

    async def find_many(
        self, wanted: Sequence[Wanted], join: str, *, deadline: Deadline
    ) -> list[list[tuple[Customer, asyncpg.Record]]]:
        """``find`` for several at once, joined with tables of a caller in the same database.

        ``join`` is a SELECT from ``found``, the customers, that keeps their columns. Each customer comes
        with its whole row. Only for our own statement: a partner's may be slow, and these would queue up.
        """
        values = [rows.find_values(one.phone, one.email, one.birth_date) for one in wanted]

        def together(statement: statements.Statement) -> tuple[str, list[object]]:
            arrays: list[object] = [[one[name] for one in values] for name in statement.parameters]
            return statements.for_many(statement, join), arrays

        form = self._customer("users_find")
        found = await self._read("users_find", together, deadline, lambda row: (form(row), row))
        by_number: list[list[tuple[Customer, asyncpg.Record]]] = [[] for _ in wanted]
        for customer, row in found:
            by_number[row["wanted.number"] - 1].append((customer, row))
        return by_number

    async def get(self, customer_id: str, *, deadline: Deadline) -> Customer | None:
        """One customer; ``users_get.sql``."""
        values = {"customer": customer_id}
        found = await self._read("users_get", values, deadline, self._customer("users_get"))
        return self._only("users_get", found, lambda customer: customer.customer_id)

    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Create a customer, or get the one that has the phone; ``users_register.sql``."""
        for _ in range(2):
            written = await self._write(
                "users_register",
                {"idempotency_key": idempotency_key, **rows.profile_values(profile)},
                deadline,
                missing=Refusal.CONFLICT,
                unique_is_conflict=True,
            )
            # Of two registrations of one person at the same moment, one may trip over the other's e-mail
            # before it sees the other's phone. Nothing was written then; a second look sees the phone.
            if written.refusal is not Refusal.CONFLICT:
                break
        if written.outcome is Outcome.DONE and written.crm_reference is None:
            file = self._statements["users_register"].file
            return Written.unknown(f"{file}: its column reference is null; return the customer's key")
        return written

    async def update(self, customer: str, profile: Profile, *, deadline: Deadline) -> Written:
        """Set the given fields; ``users_update.sql``."""
        return await self._write(
            "users_update",
            {"customer": customer, **rows.profile_values(profile)},
            deadline,
            missing=Refusal.NO_SUCH_CUSTOMER,
            unique_is_conflict=True,
        )

    async def set_consents(self, customer: str, consents: ChannelConsents, *, deadline: Deadline) -> Written:
        """Write allowed and denied channels; ``users_set_consents.sql``."""
        values = {"customer": customer, "allow": sorted(consents.allow), "deny": sorted(consents.deny)}
        return await self._write("users_set_consents", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER)

    def list_phones(self) -> AsyncIterator[Sequence[str]]:
        """All phones in batches of up to 2000; ``users_list_phones.sql``."""
        return self._listing(rows.phones)

    def list_users(self) -> AsyncIterator[Sequence[ListedPhone]]:
        """All phones with the further columns; ``users_list_phones.sql``."""
        return self._listing(rows.users)

    async def find_by_card(self, number: str, *, deadline: Deadline) -> CrmCard | None:
        """What is known of a card number; ``users_find_by_card.sql``."""
        found = await self._read(
            "users_find_by_card", {"number": number}, deadline, lambda row: self.crm_card(row, number)
        )
        return self._only(
            "users_find_by_card", found, lambda card: card.customer and card.customer.customer_id
        )

    async def find_many_by_card(
        self, numbers: Sequence[str], join: str, *, deadline: Deadline
    ) -> list[asyncpg.Record]:
        """``find_by_card`` for several at once, joined as in ``find_many``; ``crm_card`` reads a row."""

        def together(statement: statements.Statement) -> tuple[str, list[object]]:
            return statements.for_many(statement, join), [list(numbers)]

        return await self._read("users_find_by_card", together, deadline, lambda row: row)

    def crm_card(self, row: asyncpg.Record, number: str) -> CrmCard:
        """What a row of ``find_many_by_card`` tells of the number."""
        owner = None if row["reference"] is None else self._customer("users_find_by_card")(row)
        return rows.crm_card(row, number, owner)

    async def set_card(
        self,
        customer: str,
        number: str,
        barcode: str,
        barcode_type: str,
        *,
        replaces: str | None,
        idempotency_key: str,
        deadline: Deadline,
    ) -> Written:
        """Note which card a customer has; ``users_set_card.sql``."""
        values = {
            "customer": customer,
            "number": number,
            "barcode": barcode,
            "barcode_type": barcode_type,
            "replaces": replaces,
            "idempotency_key": idempotency_key,
        }
        return await self._write(
            "users_set_card", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER, unique_is_conflict=True
        )

    async def _listing(
        self, read: Callable[[Sequence[asyncpg.Record], str, rows.LeftOut], Sequence[T]]
    ) -> AsyncIterator[Sequence[T]]:
        """Rows through a cursor on the server; rows with an unreadable phone are left out and logged.

        One connection and one read-only transaction are held until the last batch, or as long as it may take.
        """
        self._must_be_written("users_list_phones")
        left_out = rows.LeftOut()
        async with self._database.connection(Deadline.after(self._settings.statement_timeout)) as connection:
            limit = Deadline.after(_LIST_TIMEOUT)
            statement = await self._fit("users_list_phones", connection, limit)
            overdue = asyncio.get_running_loop().call_later(_LIST_TOTAL, connection.terminate)
            try:
                async with connection.transaction(readonly=True):
                    name = "" if self._database.pooler else None
                    prepared = await connection.prepare(statement.text, name=name, timeout=_LIST_TIMEOUT)
                    columns = [(column.name, column.type.name) for column in prepared.get_attributes()]
                    limited = statements.within_limits(statement.text, columns)
                    prepared = await connection.prepare(limited, name=name, timeout=_LIST_TIMEOUT)
                    cursor = await prepared.cursor(timeout=_LIST_TIMEOUT)
                    while batch := await cursor.fetch(_LIST_BATCH, timeout=_LIST_TIMEOUT):
                        yield read(batch, self._region, left_out)
            except errors.DATABASE_ERRORS as error:
                raise errors.on_read(statement.file, error) from None
            except errors.UNREADABLE as error:
                raise errors.unreadable(statement.file, error) from None
            finally:
                overdue.cancel()
                if left_out.rows:
                    _log.warning(
                        "crm_rows_left_out",
                        file=statement.file,
                        column="phone",
                        rows=left_out.rows,
                        shape=left_out.shape,
                    )

    def _customer(self, operation: str) -> Callable[[asyncpg.Record], Customer]:
        """Reads a customer from a row of ``operation``.

        A phone that cannot be read counts as none; the log has its shape.
        """
        zone, region = self._zone, self._region

        def form(row: asyncpg.Record) -> Customer:
            try:
                phone = inputs.read_crm_phone(row["phone"], region)
            except inputs.UnreadablePhone as error:
                phone = None
                file = self._statements[operation].file
                self._tell_once(file, f"the column phone holds {error}, which is no phone: read as null")
            return rows.customer(row, zone, phone)

        return form
