"""``check`` of a PostgreSQL CRM: every statement is planned as the role that will run it.

None is executed. Of the server's messages only those are shown that are about a statement it did not execute.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import asyncpg

from crm_backends.ports import Finding
from crm_backends.postgres import errors
from crm_backends.postgres.operations import SQL_OPERATIONS, USUAL, nearest
from crm_backends.postgres.statements import Misfit, Statement

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

_PLANNED = "koshelek_check"
_LACKING = """
    SELECT 'TABLE' AS kind, c.oid::regclass::text AS name,
           ARRAY(SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
                 WHERE NOT has_table_privilege(c.oid, privilege)) AS privileges
      FROM pg_class c WHERE c.relname = $1 AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
    UNION ALL
    SELECT 'FUNCTION', p.oid::regprocedure::text, ARRAY['EXECUTE']
      FROM pg_proc p WHERE p.proname = $1 AND NOT has_function_privilege(p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'SCHEMA', n.oid::regnamespace::text, ARRAY['USAGE']
      FROM pg_namespace n WHERE n.nspname = $1 AND NOT has_schema_privilege(n.oid, 'USAGE')
"""
# Numbers that a serial column takes; those of an identity column need no right of their own.
_SEQUENCES = """
    SELECT s.oid::regclass::text
      FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'
       AND d.refobjid = to_regclass($1)
       AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') END
"""


# What a function does inside is looked at when it runs; it is read here as far as words tell.
_BODIES = """
    SELECT p.prosrc FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.pronamespace = to_regnamespace($1) AND p.proname = $2
       AND NOT p.prosecdef AND l.lanname IN ('sql', 'plpgsql')
"""
# The second is what a session here begins with, unless it says otherwise.
_ZONES = """
    SELECT current_setting('TimeZone') AS here, reset_val AS elsewhere
      FROM pg_settings WHERE name = 'TimeZone'
"""
_IS_FUNCTION = "SELECT EXISTS (SELECT FROM pg_proc WHERE pronamespace = to_regnamespace($1) AND proname = $2)"
_ALLOWED = "SELECT has_table_privilege(to_regclass($1), $2) WHERE to_regclass($1) IS NOT NULL"
_WRITES_INTO = re.compile(r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?(\w+\.\w+)", re.IGNORECASE)
_READS_FROM = re.compile(r"\b(?:FROM|JOIN)\s+(?:ONLY\s+)?(\w+\.\w+)\b(?!\s*\()", re.IGNORECASE)
_LOCKS = re.compile(r"\bFROM\s+(\w+\.\w+)[^;]*?\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.IGNORECASE)
_CALLS = re.compile(r"\b(\w+\.\w+)\s*\(")


@dataclass(slots=True)
class Prover:
    """One look at all statements over one connection."""

    connection: Connection
    statements: Sequence[Statement]
    timeout: float
    """Seconds for one statement."""
    zone: ZoneInfo
    """In which the programme counts days, and a time without a zone is read."""
    findings: list[Finding] = field(default_factory=list)
    columns: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Of each statement that fits and may be executed: name and PostgreSQL type of what it returns."""
    role: str = ""
    _rights: dict[str, set[str]] = field(default_factory=dict)
    _without_schema: list[Misfit] = field(default_factory=list)
    """Of our own files, that the schema they speak of is not there."""
    _granted: dict[str, int] = field(default_factory=dict)
    """Remedies that were told, and for how many files more each would do."""

    async def run(self) -> list[Finding]:
        """Prepare and plan every statement; nothing is executed.

        Raises:
            BackendError: the connection was lost.
        """
        await self.connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        self.role = str(await self.connection.fetchval("SELECT quote_ident(current_user)"))
        for statement in self.statements:
            await self._prove(statement)
        self.findings += [finding_of(misfit) for misfit in gathered(self._without_schema)]
        await self._prove_functions()
        await self._compare_zones()
        self._tell_how_many()
        wrong = sum(not finding.ok for finding in self.findings)
        if self.columns:
            self._tell("statements", f"{len(self.columns)} of {len(self.statements)} fit and may be executed")
        if self._rights:
            used = (f"{', '.join(sorted(verbs))} {name}" for name, verbs in sorted(self._rights.items()))
            self._tell("rights", f"{self.role} may {'; '.join(used)}")
        if wrong == 0:
            await self._prove_sequences()
        return self.findings

    async def _prove(self, statement: Statement) -> None:
        misfit = statement.misfit or await self._misfit(statement)
        if misfit is not None:
            self._wrong(misfit)
            return
        self._look_at_columns(statement)
        self._look_at_parameters(statement)
        await self._plan(statement)

    async def _misfit(self, statement: Statement) -> Misfit | None:
        """Why the server does not take it; else its columns are known afterwards."""
        try:
            async with savepoint(self.connection):
                prepared = await self.connection.prepare(statement.text, name="", timeout=self.timeout)
                columns = [(column.name, column.type.name) for column in prepared.get_attributes()]
        except errors.DATABASE_ERRORS as error:
            if not errors.is_misfit(error):
                raise errors.on_read(statement.file, error) from None
            return await self._refused(statement, error)
        misfit = statement.compare(columns)
        if misfit is None:
            self.columns[statement.name] = columns
        return misfit

    async def _plan(self, statement: Statement) -> None:
        """Let the server plan it and look at the rights, as it would before executing it."""
        types = [SQL_OPERATIONS[statement.name].parameters[name] for name in statement.parameters]
        given = f" ({', '.join(types)})" if types else ""
        nulls = f" ({', '.join(['NULL'] * len(types))})" if types else ""
        text = statement.text.strip().removesuffix(";")
        try:
            async with savepoint(self.connection):
                await self.connection.execute(f"PREPARE {_PLANNED}{given} AS\n{text}\n", timeout=self.timeout)
                told = await self.connection.fetchval(
                    f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {_PLANNED}{nulls}", timeout=self.timeout
                )
        except errors.DATABASE_ERRORS as error:
            if not errors.is_misfit(error):
                raise errors.on_read(statement.file, error) from None
            del self.columns[statement.name]
            self._wrong(await self._refused(statement, error))
        else:
            for name, verb in _used(json.loads(told)[0]["Plan"]):
                self._rights.setdefault(name, set()).add(verb)
            for name in _CALLS.findall(_bare(text)):
                if await self.connection.fetchval(_IS_FUNCTION, *name.split(".")):
                    self._rights.setdefault(name, set()).add("EXECUTE")
        finally:
            with suppress(*errors.DATABASE_ERRORS):
                async with savepoint(self.connection):
                    await self.connection.execute(f"DEALLOCATE {_PLANNED}")

    async def _refused(self, statement: Statement, error: Exception) -> Misfit:
        if errors.sqlstate(error) != errors.NO_RIGHT:
            return refused(statement, error)
        name = str(getattr(error, "message", "")).strip().split()[-1].strip("\"'«».")
        grants = [
            f"GRANT {', '.join(privileges)} ON {row['kind']} {row['name']} TO {self.role};"
            for row in await self.connection.fetch(_LACKING, name)
            if (privileges := _asked_for(statement, row["privileges"], row["kind"]))
        ]
        problem = f"{self.role} has not the right to use {name}, so it would be refused (SQLSTATE 42501)"
        return Misfit(
            statement.file, problem, " ".join(grants) or f"GRANT the right on {name} to {self.role}"
        )

    async def _prove_functions(self) -> None:
        """Rights that a function, or one it calls, would lack inside: the server looks when it gets there."""
        todo = [name for name, verbs in self._rights.items() if "EXECUTE" in verbs]
        seen: set[str] = set()
        while todo:
            function = todo.pop()
            if function in seen:
                continue
            seen.add(function)
            schema, _, name = function.partition(".")
            for row in await self.connection.fetch(_BODIES, schema, name):
                body = _bare(row["prosrc"])
                todo += _CALLS.findall(body)
                await self._prove_body(function, body)

    async def _prove_body(self, function: str, body: str) -> None:
        needed = {(table, verb.split()[0].upper()) for verb, table in _WRITES_INTO.findall(body)}
        needed |= {(table, "SELECT") for table in _READS_FROM.findall(body)}
        needed |= {(table, "UPDATE") for table in _LOCKS.findall(body)}
        for table, verb in sorted(needed):
            allowed = await self.connection.fetchval(_ALLOWED, table, verb)
            if allowed is False:
                problem = f"{self.role} has not the right to {verb} {table}, which it does inside"
                self.findings.append(
                    Finding(function, False, problem, f"GRANT {verb} ON TABLE {table} TO {self.role};")
                )
            elif allowed:
                self._rights.setdefault(table, set()).add(verb)

    async def _prove_sequences(self) -> None:
        for name, verbs in self._rights.items():
            if "INSERT" in verbs:
                for row in await self.connection.fetch(_SEQUENCES, name):
                    sequence = row[0]
                    problem = f"{self.role} has not the right to take numbers from {sequence}"
                    grant = f"GRANT USAGE ON SEQUENCE {sequence} TO {self.role};"
                    self.findings.append(Finding(f"INSERT {name}", False, problem, grant))

    async def _compare_zones(self) -> None:
        """Where times without a zone are read: do others write them in the zone in which they are read?"""
        theirs = {statement.name: statement.file for statement in self.statements if not statement.is_ours}
        naive = [
            f"{column} of {name}.sql"
            for name in theirs
            for column, kind in self.columns.get(name, ())
            if kind == "timestamp"
        ]
        if not naive:
            return
        row = await self.connection.fetchrow(_ZONES)
        ours = datetime.now(self.zone).utcoffset()
        for name, whose in (("here", "this session counts"), ("elsewhere", "other programs count")):
            if row is not None and _offset(str(row[name])) != ours:
                self._tell(
                    "time zone",
                    f"{', '.join(naive)}: times without a zone are read as {self.zone.key}, and {whose} in "
                    f"{row[name]}",
                    f"ALTER DATABASE … SET timezone = '{self.zone.key}' if now() writes them; "
                    "or AT TIME ZONE in the file, which gives them their own",
                )
                return

    def _look_at_columns(self, statement: Statement) -> None:
        operation = SQL_OPERATIONS[statement.name]
        read = [*operation.required, *operation.optional]
        unread = [name for name, _ in self.columns[statement.name] if name not in read]
        if statement.name == "users_list_phones" or not unread:  # there every further column is told
            return
        free = [name for name in read if name not in dict(self.columns[statement.name])]
        near = [f"is {name} meant as {other}?" for name in unread if (other := nearest(name, free))]
        remedy = " ".join(near) or f"leave them out; what is read: {', '.join(read)}"
        self._tell(statement.file, f"returns {', '.join(unread)}, which nobody reads", remedy)

    def _look_at_parameters(self, statement: Statement) -> None:
        parameter, then, remedy = USUAL.get(statement.name, ("", "", ""))
        if parameter and parameter not in statement.parameters and not statement.is_ours:
            self._tell(statement.file, f"does not use :{parameter}: {then}", remedy)

    def _wrong(self, misfit: Misfit) -> None:
        if misfit.without_schema:
            self._without_schema.append(misfit)
            return
        if misfit.remedy in self._granted:
            self._granted[misfit.remedy] += 1
            return
        if misfit.remedy.startswith("GRANT "):
            self._granted[misfit.remedy] = 0
        self.findings.append(finding_of(misfit))

    def _tell_how_many(self) -> None:
        for place, finding in enumerate(self.findings):
            if more := self._granted.get(finding.remedy):
                detail = f"{finding.detail}; {more} more need the same right"
                self.findings[place] = replace(finding, detail=detail)

    def _tell(self, subject: str, detail: str, warning: str = "") -> None:
        self.findings.append(Finding(subject, True, detail, warning, warning=bool(warning)))


def _offset(zone: str) -> timedelta | None:
    """How far a zone of the server is from UTC now; ``None``: it has a name of its own making."""
    try:
        return datetime.now(ZoneInfo(zone)).utcoffset()
    except (ValueError, KeyError, OSError):
        return None


def finding_of(misfit: Misfit) -> Finding:
    return Finding(misfit.file, False, misfit.problem, misfit.remedy)


def gathered(misfits: Sequence[Misfit]) -> list[Misfit]:
    """Misfits, those of our own files told as one where they lack the schema they speak of."""
    ours = [misfit for misfit in misfits if misfit.without_schema]
    if not ours:
        return list(misfits)
    files = ", ".join(misfit.file for misfit in ours)
    subject, ends = (ours[0].file, "") if len(ours) == 1 else (f"{len(ours)} files", f": {files}")
    told = Misfit(
        subject,
        f"the adapter's own SQL is used where sql_dir has no file of that name, and {ours[0].problem}{ends}",
        ours[0].remedy,
    )
    return [told, *(misfit for misfit in misfits if not misfit.without_schema)]


def refused(statement: Statement, error: Exception) -> Misfit:
    """What is wrong with a statement that the server does not take."""
    missing = errors.undefined_object(error)
    problem = f"the database refuses it ({errors.brief(error)})"
    if missing is not None and statement.is_ours:
        return Misfit(
            statement.file,
            f"{missing} does not exist in this database",
            "see that url leads to the right database; write files of these names in sql_dir, or decline "
            "them there with the line -- unsupported: why; or let manage_schema = true create the schema crm",
            without_schema=True,
        )
    if missing is not None:
        return Misfit(
            statement.file,
            f"{problem}: {missing} does not exist",
            "correct the name in the file, or create it in the database",
        )
    if errors.sqlstate(error) in errors.STATEMENT_LOST:
        return Misfit(statement.file, problem, errors.POOLER_REMEDY)
    said = errors.said_of_statement(error, statement.text)
    return Misfit(
        statement.file,
        f"{problem}: {said}" if said else problem,
        f"correct the file; koshelek-adapter postgres statement {statement.name} prints it for psql",
    )


@asynccontextmanager
async def savepoint(connection: Connection) -> AsyncIterator[None]:
    """What fails inside leaves the transaction outside as it was."""
    async with connection.transaction():
        yield


def _bare(sql: str) -> str:
    """SQL without its comments and quoted texts."""
    return re.sub(r"--[^\n]*|'[^']*'", " ", sql)


def _asked_for(statement: Statement, privileges: Sequence[str], kind: str) -> list[str]:
    """Of the rights that lack, those the statement's own words ask for."""
    if kind != "TABLE":
        return list(privileges)
    words = set(re.findall(r"\w+", _bare(statement.text).upper()))
    return [privilege for privilege in privileges if privilege in words]


def _used(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Which tables and functions a plan touches, and how."""
    relation, function = plan.get("Relation Name"), plan.get("Function Name")
    schema = plan.get("Schema", "")
    if relation is not None:
        if plan["Node Type"] == "ModifyTable":
            yield f"{schema}.{relation}", str(plan["Operation"]).upper()
            if plan.get("Conflict Resolution") == "UPDATE":
                yield f"{schema}.{relation}", "UPDATE"
        else:
            yield f"{schema}.{relation}", "SELECT"
    if function is not None and schema != "pg_catalog":
        yield f"{schema}.{function}", "EXECUTE"
    for below in plan.get("Plans", ()):
        yield from _used(below)
