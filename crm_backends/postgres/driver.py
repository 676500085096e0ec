"""The PostgreSQL driver: the three ports over one database, one SQL file per operation.

It serves the schema in ``schema.sql`` and, with replaced files, any database a partner has. It may not know
the adapter, nor a table by name: tables are the business of the SQL files.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import structlog

from crm_backends import inputs
from crm_backends.database import same_database
from crm_backends.model import (
    Balance,
    ChannelConsents,
    Credit,
    CrmCard,
    Customer,
    Holder,
    ListedPhone,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
    Wanted,
)
from crm_backends.ports import (
    FULL,
    OPERATIONS,
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Capability,
    Deadline,
    Finding,
    NotSupported,
    Outcome,
    Reconciliation,
    Refusal,
    Support,
    Written,
)
from crm_backends.postgres import checking, errors, rows, statements
from crm_backends.postgres.samples import Samples
from crm_backends.postgres.settings import PostgresSettings
from crm_backends.registry import BackendContext
from crm_backends.spent import charge

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

T = TypeVar("T")

_log = structlog.get_logger("crm")

NAME = "postgres"
CAPABILITIES: Mapping[str, Capability] = dict.fromkeys(OPERATIONS, FULL)

_SCHEMA = Path(__file__).with_name("schema.sql")
_SCHEMA_VERSION = 2
"""Raised with every change of ``schema.sql``: it is run over an older one, never over a newer one."""
_MARK = re.compile(r"koshelek-adapter schema (\d+)")
_SCHEMA_LOCK = 0x6B6F7368656C656B  # "koshelek": processes that start together create the schema in turn
_RELEASE = 0.25  # seconds a connection has to become usable again; then it is dropped
_LIST_BATCH = 2000  # measured: larger batches are slower, they leave the caches
_LIST_TOTAL = 900.0  # seconds for a whole list: who stops reading it must not keep a connection for ever
_DENIED = 900.0  # seconds a refused write is remembered: longer than the pause before it is tried again
_MOST_TOLD = 50  # different complaints about values, in the life of a process
_LIST_TIMEOUT = 60.0  # seconds for the first or any further batch: a partner's ORDER BY may sort everybody


async def _keep(_connection: object) -> None:
    """Nothing to reset: no statement of ours leaves a trace in the session, and this saves a round trip."""


class PostgresBackend:
    """Users, Points and Coupons on a PostgreSQL database.

    Reads raise a ``BackendError``. Writes return a ``Written``; they raise ``BackendMisconfigured`` only
    where the SQL does not fit the database, and ``NotSupported`` where the partner declines the operation;
    then nothing has been changed.
    """

    name = NAME
    reconciliation = Reconciliation.KEY
    finds_by_email = True

    def __init__(self, settings: PostgresSettings, context: BackendContext) -> None:
        self._settings = settings
        self._zone = context.timezone
        self._region = context.region
        self._told: set[tuple[str, str]] = set()
        """Files and what was said of their values, once each."""
        url = settings.url
        self._url = (url.get_secret_value(), "url") if url else (context.database_url, "database.url")
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._shared = settings.url is None
        self._pooler = settings.pooler or (self._shared and context.pooler)
        self._upgrade = context.upgrade
        if self._shared:
            self._pool = context.database_pool
        self._statements, self._misfits = statements.load(settings.sql_dir)
        self._absent = self._not_written()
        self._ports = context.ports
        self._used = [
            statement
            for name, statement in self._statements.items()
            if name.partition("_")[0] in context.ports and name not in self._absent
        ]
        """Statements of the ports that this driver serves here."""
        self.capabilities: Mapping[str, Capability] = {
            **CAPABILITIES,
            **{
                _operation(name): Capability(Support.NOT_IMPLEMENTED, why)
                for name, why in self._absent.items()
            },
        }
        self._denied: dict[str, tuple[float, bool]] = {}
        """Writes refused for want of a right: until when that counts, and whether it was seen which."""
        self._fitting: dict[str, frozenset[str]] = {}
        """Operations whose statement was seen to fit the database, with the columns it returns."""
        self._schema_ready = not settings.manages_schema()
        self._schema_turn = asyncio.Lock()

    @property
    def in_adapters_database(self) -> bool:
        """Whether the CRM's tables are in the adapter's own database."""
        return self._shared

    @property
    def accounts_are_customers(self) -> bool:
        """Whether a customer's reference is also the account of their points and coupons, as in ``crm``."""
        named_by = ("users_find", "users_get", "users_register", "points_account", "coupons_account")
        return self._ours(*named_by)

    @property
    def find_tells_card_state(self) -> bool:
        """See ``FindsByCard``. Of a partner's statement it is known once that has been used."""
        return self._ours("users_find") or "card_state" in self._fitting.get("users_find", ())

    def _ours(self, *names: str) -> bool:
        return all(self._statements[name].is_ours for name in names)

    def _not_written(self) -> dict[str, str]:
        """Operations that this database does not do, and why: declined by their file, or never written."""
        absent = {
            name: statement.unsupported
            for name, statement in self._statements.items()
            if statement.unsupported and not statement.misfit
        }
        if not self._ours("users_find"):
            for name in statements.ON_CARDS:
                if self._ours(name):
                    absent[name] = f"people are found by your SQL, and there is no {name}.sql"
        return absent

    @property
    def finds_many(self) -> bool:
        """Whether ``find_many`` may be used: the tables are ours, and in the adapter's own database."""
        return self._shared and self._ours("users_find") and not self._pooler

    @property
    def finds_many_by_card(self) -> bool:
        """The same for ``find_many_by_card``."""
        return self._shared and self._ours("users_find", "users_find_by_card") and not self._pooler

    # -- life ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the pool and, where it is ours to manage, the schema; a database that is down is no error."""
        if self._pool is None and self._settings.url is not None:
            self._pool = await self._new_pool(self._settings.url.get_secret_value())
        with contextlib.suppress(BackendError):
            # Taking a connection creates the schema. What fails now is tried again by the first call.
            async with self._connection(Deadline.after(self._settings.statement_timeout)):
                pass

    async def close(self) -> None:
        """Close our own pool; the adapter's is left alone."""
        if self._pool is not None and not self._shared:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(self._settings.statement_timeout):
                    await pool.close()
            except errors.DATABASE_ERRORS:
                pool.terminate()

    def renew(self, settings: PostgresSettings) -> bool:
        """Connect with another user or password from now on; connections that stand stay."""
        url, before = settings.url, self._settings.url
        if url is None or before is None or settings.model_copy(update={"url": before}) != self._settings:
            return False
        if not same_database(url.get_secret_value(), before.get_secret_value()):
            return False
        self._settings, self._url = settings, (url.get_secret_value(), "url")
        if self._pool is not None:
            self._pool.set_connect_args(url.get_secret_value(), **self._connecting())
        return True

    async def _new_pool(self, url: str) -> asyncpg.Pool[asyncpg.Record]:
        return await asyncpg.create_pool(
            url, min_size=0, max_size=self._settings.pool_size, reset=_keep, **self._connecting()
        )

    def _connecting(self) -> dict[str, Any]:
        return {"statement_cache_size": 0 if self._pooler else 100}

    # -- check -----------------------------------------------------------------------------------------

    async def check(self) -> Sequence[Finding]:
        """Connect, prove every statement, judge sample rows; changes nothing, works before ``open``, too."""
        return await self._look(self._prove)

    async def _prove(self, connection: Connection) -> list[Finding]:
        async with connection.transaction(readonly=True):
            proof = checking.Proof(connection, self._used, self._settings.statement_timeout)
            found = await proof.run()
            good = {name: self._statements[name] for name in proof.columns}
            seconds = self._settings.statement_timeout
            samples = Samples(connection, good, proof.columns, self._zone, self._region, seconds)
            return [*found, *await samples.run(), *self._left_out()]

    def _left_out(self) -> list[Finding]:
        """Operations that this database does not do."""
        return [
            Finding(
                f"{name}.sql",
                True,
                f"declined: {why}" if self._statements[name].unsupported else _WITHOUT[name],
            )
            for name, why in self._absent.items()
            if name.partition("_")[0] in self._ports
        ]

    async def standing(self) -> Sequence[Finding]:
        """Connect, see once that every statement fits, and whether a write lacks a right."""
        return await self._look(self._standing, schema=True)

    async def _standing(self, connection: Connection) -> list[Finding]:
        return await self._misfits_in(connection) or await self._rights_that_lack(connection)

    async def _rights_that_lack(self, connection: Connection) -> list[Finding]:
        """Which rights the writes lack that were refused since; inside a function that shows only then."""
        found: list[Finding] = []
        for name, (until, seen) in list(self._denied.items()):
            statement = self._statements[name]
            async with connection.transaction(readonly=True):
                proof = checking.Proof(connection, [statement], self._settings.statement_timeout)
                lacking = [finding for finding in await proof.run() if not finding.ok]
            if lacking:
                self._denied[name] = (until, True)
                found += lacking
            elif seen or monotonic() > until:
                del self._denied[name]
            else:
                problem = "the database refused it for want of a right (SQLSTATE 42501)"
                found.append(Finding(statement.file, False, problem, "the server's log names the right"))
        return found

    async def misfits(self) -> Sequence[Finding]:
        """What in the SQL files can never work; of a database that does not answer nothing is said.

        Beside a partner's own files ours are no part of that: what they leave to us they may not need.
        """
        broken = [statement.misfit for statement in self._used if statement.misfit]
        found = [checking.finding_of(misfit) for misfit in (*self._misfits, *broken)]
        if not found:
            with contextlib.suppress(BackendError):
                async with self._connection(Deadline.after(self._settings.statement_timeout)) as connection:
                    found = await self._misfits_in(connection)
        return found

    async def _look(
        self, look: Callable[[Connection], Awaitable[list[Finding]]], *, schema: bool = False
    ) -> Sequence[Finding]:
        """What is found on the way to the database, and by ``look`` where there is a connection."""
        findings = [checking.finding_of(misfit) for misfit in self._misfits]
        borrowed = self._pool is None
        if self._pool is None and self._settings.url is not None:
            self._pool = await self._new_pool(self._settings.url.get_secret_value())
        limit = Deadline.after(self._settings.statement_timeout)
        try:
            async with self._connection(limit, schema=schema) as connection:
                findings.insert(0, Finding("database", True, f"connected, {_version(connection)}"))
                if self._settings.sql_dir is None or self._settings.sql_dir.is_dir():
                    findings += await look(connection)
        except BackendError as error:
            reason, _, remedy = str(error).partition("; ")
            findings.insert(0, Finding("database", False, reason, remedy))
        finally:
            if borrowed:
                await self.close()
        return findings

    async def _misfits_in(self, connection: Connection) -> list[Finding]:
        """Statements that were not seen to fit before and do not, for good."""
        found: list[Finding] = []
        for statement in self._used:
            left_to_us = statement.is_ours and self._settings.sql_dir is not None
            if statement.name not in self._fitting and not left_to_us:
                misfit = await self._misfit(connection, statement)
                if misfit is not None:
                    found.append(checking.finding_of(misfit))
        return found

    async def _misfit(
        self, connection: Connection, statement: statements.Statement
    ) -> statements.Misfit | None:
        if statement.misfit is not None:
            return statement.misfit
        limit = Deadline.after(self._settings.statement_timeout)
        try:
            columns = await self._columns(connection, statement.text, limit)
        except errors.DATABASE_ERRORS as error:
            if not errors.is_misfit(error):
                raise errors.on_read(statement.file, error) from None
            return checking.refused(statement, error)
        misfit = statement.compare(columns)
        if misfit is None:
            self._fitting[statement.name] = frozenset(column for column, _ in columns)
        return misfit

    # -- connections and statements --------------------------------------------------------------------

    def _limit(self, deadline: Deadline) -> Deadline:
        return Deadline.after(min(self._settings.statement_timeout, deadline.remaining()))

    def _connection(self, limit: Deadline, *, schema: bool = True) -> _Lease:
        """A connection of the pool, the schema in place; for ``async with``.

        Raises:
            BackendError: no connection could be had; no statement of an operation has been sent.
        """
        return _Lease(self, limit, schema and not self._schema_ready)

    async def _create_schema(self, connection: Connection) -> None:
        """Run ``schema.sql`` unless it, or a newer one, has been run; the mark is the schema's comment.

        What is there already stays as it is where it is not ours to upgrade.
        """
        text = await asyncio.to_thread(_SCHEMA.read_text, encoding="utf-8")
        try:
            async with self._schema_turn, asyncio.timeout(_LIST_TIMEOUT), connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
                there = await _schema_version(connection)
                if there is None or (there < _SCHEMA_VERSION and self._upgrade):
                    await connection.execute(text)
                    await connection.execute(
                        f"COMMENT ON SCHEMA crm IS 'koshelek-adapter schema {_SCHEMA_VERSION}'"
                    )
        except errors.DATABASE_ERRORS as error:
            if errors.sqlstate(error) == errors.NO_RIGHT:
                raise BackendMisconfigured(
                    "the schema crm is missing or of an older version, and this user may not change it; run "
                    "koshelek-adapter database prepare with the role that owns the tables"
                ) from None
            raise errors.on_read(_SCHEMA.name, error) from None
        self._schema_ready = True

    async def prepare(self) -> Sequence[str]:
        """See ``KeepsTables``."""
        if not self._settings.manages_schema():
            return ()
        async with self._connection(Deadline.after(_LIST_TIMEOUT)):
            pass  # taking a connection creates the schema
        return ("crm",) if self._shared else ()

    @contextlib.asynccontextmanager
    async def _on_one_server(self, connection: Connection, limit: Deadline) -> AsyncIterator[None]:
        """A transaction: behind a pooler nothing else keeps the steps of one statement on one server."""
        async with asyncio.timeout(limit.remaining()), connection.transaction():
            yield

    async def _columns(self, connection: Connection, text: str, limit: Deadline) -> list[tuple[str, str]]:
        """Prepare a statement, execute nothing: name and PostgreSQL type of each result column."""
        if self._pooler:
            async with self._on_one_server(connection, limit):
                prepared = await connection.prepare(text, name="")
        else:
            prepared = await connection.prepare(text, timeout=limit.remaining())
        return [(column.name, column.type.name) for column in prepared.get_attributes()]

    async def _fit(self, name: str, connection: Connection, limit: Deadline) -> statements.Statement:
        """The statement of an operation, prepared once per process to see that it fits.

        Raises:
            BackendError: it does not, or the database went away; it has not been executed.
        """
        statement = self._statements[name]
        if name in self._fitting:
            return statement
        misfit = self._misfits[0] if self._misfits else statement.misfit
        columns: list[tuple[str, str]] = []
        if misfit is None:
            try:
                columns = await self._columns(connection, statement.text, limit)
                misfit = statement.compare(columns)
            except errors.DATABASE_ERRORS as error:
                raise errors.on_read(statement.file, error) from None
        if misfit is not None:
            raise BackendMisconfigured(f"{misfit.file}: {misfit.problem}; {misfit.remedy}")
        self._fitting[name] = frozenset(column for column, _ in columns)
        return statement

    async def _fetch(
        self,
        connection: Connection,
        text: str,
        arguments: Sequence[object],
        limit: Deadline,
    ) -> list[asyncpg.Record]:
        if not self._pooler:
            return await connection.fetch(text, *arguments, timeout=limit.remaining())
        async with self._on_one_server(connection, limit):
            return await connection.fetch(text, *arguments)

    async def _fetch_within_limits(
        self,
        connection: Connection,
        statement: statements.Statement,
        text: str,
        arguments: Sequence[object],
        limit: Deadline,
    ) -> list[asyncpg.Record]:
        """The answer once more, where a date was in it that Python does not have; such a date is none.

        Raises:
            BackendError: it cannot be read so either.
        """
        self._tell_once(statement.file, "a date or a time that only PostgreSQL has; it counts as none")
        try:
            limited = statements.within_limits(text, await self._columns(connection, text, limit))
            return await self._fetch(connection, limited, arguments, limit)
        except errors.DATABASE_ERRORS as error:
            raise errors.on_read(statement.file, error) from None
        except errors.UNREADABLE as error:
            raise BackendMisconfigured(
                f"{statement.file}: a column holds a value that cannot be read ({type(error).__name__})"
            ) from None

    def _tell_once(self, file: str, problem: str) -> None:
        """Write down what is wrong with a value of the CRM; ``problem`` quotes none."""
        if (file, problem) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((file, problem))
            _log.warning("crm_value", file=file, problem=problem)

    async def _read(
        self,
        name: str,
        values: Mapping[str, object] | Callable[[statements.Statement], tuple[str, list[object]]],
        deadline: Deadline,
        form: Callable[[asyncpg.Record], T],
    ) -> list[T]:
        self._must_be_written(name)
        limit = self._limit(deadline)
        async with self._connection(limit) as connection:
            statement = await self._fit(name, connection, limit)
            if callable(values):
                text, arguments = values(statement)
            else:
                text, arguments = statement.text, statement.arguments(values)
            try:
                found = await self._fetch(connection, text, arguments, limit)
            except errors.DATABASE_ERRORS as error:
                raise errors.on_read(statement.file, error) from None
            except errors.UNREADABLE:
                found = await self._fetch_within_limits(connection, statement, text, arguments, limit)
        try:
            return [form(row) for row in found]
        except (KeyError, rows.RowError) as error:
            raise BackendMisconfigured(
                f"{statement.file}: the column {error.args[0]} is null or missing in a row"
            ) from None
        except rows.ValueRefused as error:
            raise BackendMisconfigured(
                f"{statement.file}: the column {error.args[0]} has a value it may not have in a row; "
                "the driver's page lists those of a card's state"
            ) from None

    async def _write(
        self,
        name: str,
        values: Mapping[str, object],
        deadline: Deadline,
        *,
        missing: Refusal,
        unique_is_conflict: bool = False,
    ) -> Written:
        self._must_be_written(name)
        limit = self._limit(deadline)
        try:
            async with self._connection(limit) as connection:
                statement = await self._fit(name, connection, limit)
                if not limit.remaining():
                    return Written.not_sent()
                arguments = statement.arguments(values)
                try:
                    found = await self._fetch(connection, statement.text, arguments, limit)
                except errors.DATABASE_ERRORS as error:
                    if errors.sqlstate(error) == errors.NO_RIGHT:
                        self._denied[name] = (monotonic() + _DENIED, False)
                    return errors.after_write(statement.file, error, unique_is_conflict=unique_is_conflict)
                except errors.UNREADABLE:
                    return Written.unknown(f"{statement.file}: what it returned cannot be read")
                self._denied.pop(name, None)
        except (BackendUnavailable, BackendCredentials):
            return Written.not_sent()
        return rows.written(found[0] if found else None, missing=missing)

    # -- users -----------------------------------------------------------------------------------------

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
        return found[0] if found else None

    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Create a customer, or get the one that has the phone; ``users_register.sql``."""
        for _ in range(2):
            written = await self._write(
                "users_register",
                {"reference": idempotency_key, **rows.profile_values(profile)},
                deadline,
                missing=Refusal.CONFLICT,
                unique_is_conflict=True,
            )
            # Of two registrations of one person at the same moment, one may trip over the other's e-mail
            # before it sees the other's phone. Nothing was written then; a second look sees the phone.
            if written.refusal is not Refusal.CONFLICT:
                break
        if written.outcome is Outcome.DONE and written.crm_reference is None:
            return Written.unknown()  # somebody was registered, but the SQL does not say who
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
        return found[0] if found else None

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
            "reference": idempotency_key,
        }
        return await self._write(
            "users_set_card", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER, unique_is_conflict=True
        )

    def _must_be_written(self, name: str) -> None:
        if name in self._absent:
            raise NotSupported(f"postgres: {self._absent[name]}")

    async def _listing(
        self, read: Callable[[Sequence[asyncpg.Record], str, rows.LeftOut], Sequence[T]]
    ) -> AsyncIterator[Sequence[T]]:
        """Rows through a cursor on the server; those whose phone is none are left out, the log says how many.

        One connection and one read-only transaction are held until the last batch, or as long as it may take.
        """
        self._must_be_written("users_list_phones")
        left_out = rows.LeftOut()
        async with self._connection(Deadline.after(self._settings.statement_timeout)) as connection:
            limit = Deadline.after(_LIST_TIMEOUT)
            statement = await self._fit("users_list_phones", connection, limit)
            overdue = asyncio.get_running_loop().call_later(_LIST_TOTAL, connection.terminate)
            try:
                async with connection.transaction(readonly=True):
                    name = "" if self._pooler else None
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
                raise BackendMisconfigured(
                    f"{statement.file}: a column holds a value that cannot be read ({type(error).__name__})"
                ) from None
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

        A phone that is none identifies nobody, so the customer has none then; the log says of which shape.
        """
        zone, region = self._zone, self._region

        def form(row: asyncpg.Record) -> Customer:
            try:
                phone = inputs.kept_phone(row["phone"], region)
            except inputs.UnreadablePhone as error:
                phone = None
                file = self._statements[operation].file
                self._tell_once(file, f"the column phone holds {error}, which is no phone; it counts as none")
            return rows.customer(row, zone, phone)

        return form

    # -- points ----------------------------------------------------------------------------------------

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """Whose points these are; ``points_account.sql``."""
        found = await self._read("points_account", rows.holder_values(holder), deadline, rows.account)
        return found[0] if found else None

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """Points on the account; ``points_balance.sql``. Zero where it returns no row."""
        found = await self._read("points_balance", self._dated(account=account), deadline, rows.balance)
        return found[0] if found else rows.NO_POINTS

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """Movements, newest first; ``points_entries.sql``."""
        values = self._dated(account=account, limit=limit)
        return await self._read("points_entries", values, deadline, lambda row: rows.entry(row, self._zone))

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Purchase lines of whole days, both included; ``points_purchases.sql``."""
        values = {
            "account": account,
            "since": since,
            "until": until,
            "since_at": datetime.combine(since, time.min, self._zone),
            "until_at": datetime.combine(until + timedelta(days=1), time.min, self._zone),
        }
        return await self._read(
            "points_purchases", values, deadline, lambda row: rows.purchase(row, self._zone)
        )

    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Put points on an account, once per reference; ``points_credit.sql``."""
        values = self._dated(account=account, reference=idempotency_key, **rows.credit_values(credit))
        return await self._write("points_credit", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER)

    # -- coupons ---------------------------------------------------------------------------------------

    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """Whose coupons these are; ``coupons_account.sql``."""
        found = await self._read("coupons_account", rows.holder_values(holder), deadline, rows.account)
        return found[0] if found else None

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        """General offers and the holder's own; ``coupons_offers.sql``."""
        values = self._dated(account=account)
        return await self._read("coupons_offers", values, deadline, lambda row: rows.offer(row, self._zone))

    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Give the coupons of an occasion, once per reference; ``coupons_issue.sql``."""
        values = self._dated(account=account, occasion=occasion, reference=idempotency_key)
        return await self._write("coupons_issue", values, deadline, missing=Refusal.NO_SUCH_CUSTOMER)

    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Use a promo code, once per reference; ``coupons_redeem.sql``."""
        values = self._dated(account=account, code=code, reference=idempotency_key)
        return await self._write("coupons_redeem", values, deadline, missing=Refusal.CODE_UNKNOWN)

    def _dated(self, **values: object) -> dict[str, object]:
        """Values with ``today`` as the programme counts days."""
        return {**values, "today": datetime.now(self._zone).date()}


async def _schema_version(connection: Connection) -> int | None:
    """Which ``schema.sql`` was run last; 0: one from before they were numbered; ``None``: none."""
    rows = await connection.fetch(
        "SELECT obj_description(oid, 'pg_namespace') AS mark FROM pg_namespace WHERE nspname = 'crm'"
    )
    if not rows or rows[0]["mark"] is None:
        return None
    numbered = _MARK.fullmatch(rows[0]["mark"])
    return int(numbered[1]) if numbered else 0


class _Lease:
    """One use of a connection. A class, since a generator would cost more than the rest of a look-up."""

    __slots__ = ("_backend", "_began", "_connection", "_limit", "_pool", "_schema")

    def __init__(self, backend: PostgresBackend, limit: Deadline, schema: bool) -> None:
        self._backend = backend
        self._limit = limit
        self._schema = schema

    async def __aenter__(self) -> Connection:
        pool = self._backend._pool
        if pool is None:
            raise BackendUnavailable("the driver is not open")
        self._pool = pool
        self._began = monotonic()
        seconds = self._limit.remaining()
        if not seconds:
            raise BackendUnavailable("no time left to ask the database")
        try:
            # An idle connection is had at once; a timer would only cost.
            self._connection = await pool.acquire(timeout=None if pool.get_idle_size() else seconds)
        except BaseException as error:
            charge(NAME, self._began)
            if isinstance(error, TimeoutError) and pool.get_size() >= pool.get_max_size():
                raise BackendUnavailable(
                    "no connection to the database was free in time; raise pool_size, or look for slow SQL"
                ) from None
            if isinstance(error, errors.CONNECT_ERRORS):
                raise errors.on_connect(error, *self._backend._url) from None
            raise
        if self._schema:
            try:
                await self._backend._create_schema(self._connection)
            except BaseException:
                await self.__aexit__()
                raise
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        charge(NAME, self._began)
        # The result is already known; a connection that breaks now is dropped by the pool.
        with contextlib.suppress(*errors.DATABASE_ERRORS):
            # Limited, since a connection whose call was given up waits until the server has taken that in.
            await self._pool.release(self._connection, timeout=_RELEASE)


_WITHOUT = {
    "users_find_by_card": "not in sql_dir: the CRM is not asked about card numbers",
    "users_set_card": "not in sql_dir: the CRM is not told the numbers of new cards",
}
"""What it means that a file is not there."""


def _operation(name: str) -> str:
    """``users.set_card`` of ``users_set_card``."""
    return name.replace("_", ".", 1)


def _version(connection: Connection) -> str:
    version = connection.get_server_version()
    return f"PostgreSQL {version.major}.{version.minor}"
