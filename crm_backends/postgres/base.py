"""What the three ports over PostgreSQL share: a statement is seen to fit, sent, and its end told.

It may not know what any operation is for, nor a table by name: tables are the business of the SQL files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import pydantic_core
import structlog

from crm_backends.ports import (
    BackendCredentials,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    NotSupported,
    Outcome,
    Refusal,
    Written,
)
from crm_backends.postgres import errors, rows, statements
from crm_backends.postgres.database import CrmDatabase
from crm_backends.postgres.operations import ON_CARDS, SQL_OPERATIONS
from crm_backends.postgres.settings import PostgresSettings
from crm_backends.registry import BackendContext

if TYPE_CHECKING:
    from crm_backends.postgres.database import Connection

T = TypeVar("T")

_log = structlog.get_logger("crm")

_DENIED = 900.0  # seconds a refused write is remembered: longer than the pause before it is tried again
_MOST_TOLD = 50  # different complaints about values, in the life of a process


class NoneWritten(Exception):
    """Of several writes that were to go together none has happened, because of one; each may go alone."""


class PostgresDriver:
    """Base of the ports: sends the statements of operations by name."""

    def __init__(self, settings: PostgresSettings, context: BackendContext) -> None:
        self._settings = settings
        self._zone = context.timezone
        self._region = context.region
        self._database = CrmDatabase(settings, context)
        self._told: set[tuple[str, str]] = set()
        """Files and what was said of their values, once each."""
        self._statements, self._misfits = statements.load(settings.sql_dir)
        self._absent = self._not_written()
        self._denied: dict[str, tuple[float, bool]] = {}
        """Writes refused for want of a right: until when that counts, and whether it was seen which."""
        self._fitting: dict[str, frozenset[str]] = {}
        """Operations whose statement was seen to fit the database, with the columns it returns."""

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
            for name in ON_CARDS:
                if self._ours(name):
                    absent[name] = f"people are found by your SQL, and there is no {name}.sql"
        return absent

    def _must_be_written(self, name: str) -> None:
        if name in self._absent:
            raise NotSupported(f"postgres: {name}: {self._absent[name]}")

    def _limit(self, deadline: Deadline) -> Deadline:
        return Deadline.after(min(self._settings.statement_timeout, deadline.remaining()))

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
                columns = await self._database.columns(connection, statement.text, limit)
                misfit = statement.compare(columns)
            except errors.DATABASE_ERRORS as error:
                raise errors.on_read(statement.file, error) from None
        if misfit is not None:
            raise BackendMisconfigured(f"{misfit.file}: {misfit.problem}; {misfit.remedy}")
        self._fitting[name] = frozenset(column for column, _ in columns)
        return statement

    async def _fetch_within_limits(
        self,
        connection: Connection,
        statement: statements.Statement,
        text: str,
        arguments: Sequence[object],
        limit: Deadline,
    ) -> list[asyncpg.Record]:
        """Ask again for an answer with a date that Python cannot hold; such a date is read as null.

        Raises:
            BackendError: it cannot be read so either.
        """
        self._tell_once(statement.file, "a date or a time that only PostgreSQL has; it is read as null")
        try:
            limited = statements.within_limits(text, await self._database.columns(connection, text, limit))
            return await self._database.fetch(connection, limited, arguments, limit)
        except errors.DATABASE_ERRORS as error:
            raise errors.on_read(statement.file, error) from None
        except errors.UNREADABLE as error:
            raise errors.unreadable(statement.file, error) from None

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
        async with self._database.connection(limit) as connection:
            statement = await self._fit(name, connection, limit)
            if callable(values):
                text, arguments = values(statement)
            else:
                text, arguments = statement.text, statement.arguments(values)
            try:
                found = await self._database.fetch(connection, text, arguments, limit)
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
            async with self._database.connection(limit) as connection:
                statement = await self._fit(name, connection, limit)
                if not limit.remaining():
                    return Written.not_sent("no time was left to send it")
                arguments = statement.arguments(values)
                try:
                    found = await self._database.fetch(connection, statement.text, arguments, limit)
                except errors.DATABASE_ERRORS as error:
                    if errors.sqlstate(error) == errors.NO_RIGHT:
                        self._denied[name] = (monotonic() + _DENIED, False)
                    return errors.after_write(statement.file, error, unique_is_conflict=unique_is_conflict)
                except errors.UNREADABLE:
                    return Written.unknown(f"{statement.file}: what it returned cannot be read")
                self._denied.pop(name, None)
        except (BackendUnavailable, BackendCredentials) as error:
            return Written.not_sent(str(error))
        return self._written(name, found, missing)

    def _written(self, name: str, found: Sequence[asyncpg.Record], missing: Refusal) -> Written:
        """The outcome that the row of a write tells."""
        statement = self._statements[name]
        tells_points = "points" in SQL_OPERATIONS[name].required
        written = rows.written(found, statement.file, missing=missing, tells_points=tells_points)
        if written.outcome is Outcome.DONE and written.points is None and found[0].get("points") is not None:
            self._tell_once(statement.file, "the column points holds what is no amount; it is read as null")
        return written

    async def _write_together(
        self,
        name: str,
        values: Sequence[Mapping[str, object]],
        deadline: Deadline,
        *,
        missing: Refusal,
    ) -> list[Written]:
        """Several writes of ours in one transaction, each with a key of its own, by which it is told apart.

        Raises:
            NoneWritten: no time is left, or one is refused by the server or waits for another program's lock;
                each is to be written alone.
        """
        self._must_be_written(name)
        limit = self._limit(deadline)
        if not limit.remaining():
            raise NoneWritten
        try:
            async with self._database.connection(limit) as connection:
                statement = await self._fit(name, connection, limit)
                arguments = [pydantic_core.to_json(values).decode()]
                text = statements.write_for_many(statement)
                try:
                    found = await self._database.fetch(connection, text, arguments, limit)
                except errors.DATABASE_ERRORS as error:
                    if errors.is_rolled_back(error):
                        raise NoneWritten from None
                    lost = errors.after_write(statement.file, error, unique_is_conflict=False)
                    return [lost] * len(values)
        except (BackendUnavailable, BackendCredentials) as error:
            return [Written.not_sent(str(error))] * len(values)
        by_key: dict[object, list[asyncpg.Record]] = {}
        for row in found:
            by_key.setdefault(row["idempotency_key"], []).append(row)
        return [self._written(name, by_key.get(one["idempotency_key"], ()), missing) for one in values]

    def _only(self, name: str, found: Sequence[T], told: Callable[[T], object]) -> T | None:
        """The one thing that a statement was to find; ``None``: nothing.

        Rows that tell the same, as a join may make them, are one. ``told``: what has to be the same.

        Raises:
            BackendMisconfigured: they tell different things, and any of them might be somebody else's.
        """
        if len({told(one) for one in found}) > 1:
            raise BackendMisconfigured(
                f"{self._statements[name].file}: returned {len(found)} rows that differ, where one is meant; "
                "let it select that one"
            )
        return found[0] if found else None

    def _dated(self, **values: object) -> dict[str, object]:
        """Values with ``today`` as the programme counts days."""
        return {**values, "today": datetime.now(self._zone).date()}
