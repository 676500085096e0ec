"""The PostgreSQL driver: the three ports over one database, one SQL file per operation.

It serves the schema in ``schema.sql`` and, with replaced files, any database a partner has. Each port is a
module of its own. It may not know the adapter, nor a table by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from crm_backends.ports import (
    FULL,
    OPERATIONS,
    BackendError,
    Capability,
    Deadline,
    Finding,
    Reconciliation,
    Support,
)
from crm_backends.postgres import checking, errors, people, statements
from crm_backends.postgres.coupons import PostgresCoupons
from crm_backends.postgres.database import NAME
from crm_backends.postgres.points import PostgresPoints
from crm_backends.postgres.samples import Samples
from crm_backends.postgres.settings import PostgresSettings
from crm_backends.postgres.users import PostgresUsers
from crm_backends.registry import BackendContext

if TYPE_CHECKING:
    from crm_backends.postgres.database import Connection

T = TypeVar("T")

CAPABILITIES: Mapping[str, Capability] = dict.fromkeys(OPERATIONS, FULL)
_WITHOUT = {
    "users_find_by_card": "not in sql_dir: the CRM is not asked about card numbers",
    "users_set_card": "not in sql_dir: the CRM is not told the numbers of new cards",
}
"""What it means that a file is not there."""
_POOLER = Finding(
    "pooler",
    False,
    "a pooler in transaction mode stands before the database, and prepared statements get lost in it",
    "set pooler = true",
)
_DECLINED = {
    "points_balance": "write it where customers have points: without it every card shows a balance of 0",
}
"""What somebody should look at who declines an operation."""


class PostgresBackend(PostgresUsers, PostgresPoints, PostgresCoupons):
    """Users, Points and Coupons on a PostgreSQL database.

    Reads raise a ``BackendError``. Writes return a ``Written``; they raise ``BackendMisconfigured`` only
    where the SQL does not fit the database, and ``NotSupported`` where the partner declines the operation;
    then nothing has been changed.
    """

    name = NAME
    reconciliation = Reconciliation.KEY

    def __init__(self, settings: PostgresSettings, context: BackendContext) -> None:
        super().__init__(settings, context)
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

    @property
    def in_adapters_database(self) -> bool:
        """Whether the CRM's tables are in the adapter's own database."""
        return self._database.shared

    @property
    def accounts_are_customers(self) -> bool:
        """Whether a customer's reference is also the account of their points and coupons, as in ``crm``."""
        named_by = ("users_find", "users_get", "users_register", "points_account", "coupons_account")
        return self._ours(*named_by)

    @property
    def computes_in(self) -> str | None:
        """See ``MayComputePoints``."""
        statement = self._statements["points_credit"]
        used = "points_credit" not in self._absent and not statement.misfit
        return statement.file if used and "points" not in statement.parameters else None

    # -- life ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the pool and, where it is ours to manage, the schema; a database that is down is no error."""
        await self._database.open()

    async def close(self) -> None:
        """Close our own pool; the adapter's is left alone."""
        await self._database.close()

    async def prepare(self) -> Sequence[str]:
        """See ``KeepsTables``."""
        return await self._database.prepare()

    @property
    def keeps_people(self) -> bool:
        """See ``ForgetsPeople``."""
        return self._settings.manages_schema() and self._ours("users_find", "users_get")

    async def kept_of(
        self, customer_id: str, *, deadline: Deadline
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """See ``ForgetsPeople``."""
        return await self._of_person(people.kept, customer_id, deadline)

    async def forget(self, customer_id: str, *, deadline: Deadline) -> None:
        """See ``ForgetsPeople``."""
        await self._of_person(people.forget, customer_id, deadline)

    async def _of_person(
        self, work: Callable[[Connection, int], Awaitable[T]], customer_id: str, deadline: Deadline
    ) -> T:
        if not (customer_id.isascii() and customer_id.isdigit()):
            raise BackendError(f"there is no customer {customer_id!r}: ids of this CRM are whole numbers")
        try:
            async with (
                self._database.connection(deadline) as connection,
                asyncio.timeout(deadline.remaining()),
            ):
                return await work(connection, int(customer_id))
        except errors.DATABASE_ERRORS as error:
            raise errors.on_read("crm", error) from None

    def renew(self, settings: BaseModel) -> bool:
        """Connect with another user or password from now on; connections that stand stay."""
        return isinstance(settings, PostgresSettings) and self._database.renew(settings)

    # -- check -----------------------------------------------------------------------------------------

    async def check(self) -> Sequence[Finding]:
        """Connect, prove every statement, judge sample rows; changes nothing, works before ``open``, too."""
        return await self._look(self._prove)

    async def _prove(self, connection: Connection) -> list[Finding]:
        if await self._database.has_unnamed_pooler():
            return [_POOLER]
        async with connection.transaction(readonly=True):
            proof = checking.Prover(connection, self._used, self._settings.statement_timeout, self._zone)
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
                _DECLINED.get(name, ""),
                warning=name in _DECLINED,
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
                proof = checking.Prover(connection, [statement], self._settings.statement_timeout, self._zone)
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
        if not found and await self._database.has_unnamed_pooler():
            found = [_POOLER]
        if found:
            return found
        try:
            async with self._database.connection(
                Deadline.after(self._settings.statement_timeout)
            ) as connection:
                return await self._misfits_in(connection)
        except BackendError:
            return [checking.finding_of(lacks) for one in self._used if (lacks := one.lacking()) is not None]

    async def _look(
        self, look: Callable[[Connection], Awaitable[list[Finding]]], *, schema: bool = False
    ) -> Sequence[Finding]:
        """What is found on the way to the database, and by ``look`` where there is a connection."""
        findings = [checking.finding_of(misfit) for misfit in self._misfits]
        limit = Deadline.after(self._settings.statement_timeout)
        try:
            async with (
                self._database.at_hand(),
                self._database.connection(limit, schema=schema) as connection,
            ):
                where = await self._where(connection)
                findings.insert(0, Finding("database", True, f"{where}, {_version(connection)}"))
                if self._settings.sql_dir is None or self._settings.sql_dir.is_dir():
                    findings += await look(connection)
        except BackendError as error:
            reason, _, remedy = str(error).partition("; ")
            findings.insert(0, Finding("database", False, reason, remedy))
        return findings

    async def _where(self, connection: Connection) -> str:
        """Where it is connected to, as the server tells it: a URL, or a variable, may lead elsewhere."""
        try:
            row = await connection.fetchrow(
                "SELECT current_database() AS name, current_user::text AS role, "
                "current_setting('port') AS port, host(inet_server_addr()) AS address"
            )
        except errors.DATABASE_ERRORS as error:
            raise errors.on_read("database", error) from None
        if row is None:
            return "connected"
        server = f"port {row['port']} of {row['address'] or 'this machine'}"
        return f"connected to {row['name']} on {server} as {row['role']}"

    async def _misfits_in(self, connection: Connection) -> list[Finding]:
        """Statements that were not seen to fit before and do not, for good."""
        found: list[statements.Misfit] = []
        for statement in self._used:
            left_to_us = statement.is_ours and self._settings.sql_dir is not None
            if statement.name not in self._fitting and not left_to_us:
                misfit = await self._misfit(connection, statement)
                if misfit is not None:
                    found.append(misfit)
        return [checking.finding_of(misfit) for misfit in checking.gathered(found)]

    async def _misfit(
        self, connection: Connection, statement: statements.Statement
    ) -> statements.Misfit | None:
        if statement.misfit is not None:
            return statement.misfit
        limit = Deadline.after(self._settings.statement_timeout)
        try:
            columns = await self._database.columns(connection, statement.text, limit)
        except errors.DATABASE_ERRORS as error:
            if not errors.is_misfit(error):
                raise errors.on_read(statement.file, error) from None
            return checking.refused(statement, error)
        misfit = statement.compare(columns)
        if misfit is None:
            self._fitting[statement.name] = frozenset(column for column, _ in columns)
        return misfit


def _operation(name: str) -> str:
    """``users.set_card`` of ``users_set_card``."""
    return name.replace("_", ".", 1)


def _version(connection: Connection) -> str:
    version = connection.get_server_version()
    return version_text(version.major, version.minor, version.micro)


def version_text(major: int, minor: int, micro: int) -> str:
    """As the server calls itself: asyncpg has the second number of 15.18 in the third place."""
    return f"PostgreSQL {major}.{micro if major >= 10 else minor}"
