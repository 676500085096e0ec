"""Sample rows of a PostgreSQL CRM, read by the very statements and judged: what would Koshelek get?

A few people of the list are found, with their points, purchases and offers. Of a value its shape is shown,
never what it says. All is in one module: each judgement is a few lines over the same few rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import asyncpg

from crm_backends import inputs
from crm_backends.model import CRM_CARD_STATES, Holder, Profile
from crm_backends.ports import Finding
from crm_backends.postgres import errors, rows, statements
from crm_backends.postgres.checking import savepoint
from crm_backends.postgres.statements import Statement

if TYPE_CHECKING:
    from crm_backends.postgres.checking import Connection

T = TypeVar("T")

_PHONES, _PEOPLE, _ENTRIES = 300, 5, 50
_LIST_TIMEOUT = 60.0  # seconds: a partner's ORDER BY may sort everybody
_DAYS = 365
_STRANGERS = 3
"""People of the list with one account, from which on it is a mistake and not a family."""
_WRITES = "25006"  # refused in a read-only transaction


@dataclass(slots=True)
class Samples:
    """One look at a few rows of every reading statement."""

    connection: Connection
    statements: Mapping[str, Statement]
    """Statements that fit the database, by operation."""
    columns: Mapping[str, list[tuple[str, str]]]
    zone: ZoneInfo
    region: str
    timeout: float
    findings: list[Finding] = field(default_factory=list)
    _read: Counter[str] = field(default_factory=Counter)
    _said: set[tuple[str, str]] = field(default_factory=set)
    _accounts: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """Per operation that names accounts: each account, and the people it was named for."""

    async def run(self) -> list[Finding]:
        """Read and judge; each thing that is wrong is told once.

        Raises:
            BackendError: the connection was lost.
        """
        people = await self._people(await self._phones())
        for person in people:
            await self._money(person)
            await self._offers(person)
        self._judge_accounts()
        if self._read["people"]:
            read = ", ".join(f"{count} {what}" for what, count in self._read.items())
            self.findings.append(Finding("sample rows", True, f"{read} read"))
        elif "users_find" in self.statements and "users_list_phones" not in self.statements:
            self.findings.append(
                Finding(
                    "sample rows",
                    True,
                    "nothing was tried: people are taken from users_list_phones, which is not here",
                    "koshelek-adapter check --phone tries one customer",
                    warning=True,
                )
            )
        elif "users_find" in self.statements and not self.findings:
            self.findings.append(Finding("sample rows", True, "there is no customer yet to try with"))
        return self.findings

    # -- people ----------------------------------------------------------------------------------------

    async def _phones(self) -> list[str]:
        """A few phones in E.164, from different places of the list."""
        found = await self._fetch("users_list_phones", {}, most=_PHONES)
        phones: list[str] = []
        other: Counter[str] = Counter()
        wrong: Counter[str] = Counter()
        for row in found:
            value = row["phone"]
            try:
                phone = inputs.read_crm_phone(value, self.region)
            except inputs.UnreadablePhone as error:
                wrong[str(error)] += 1
                continue
            if phone is not None:
                phones.append(phone)
                if phone != value:
                    other[inputs.shape(value)] += 1
        if wrong:
            shape, _ = wrong.most_common(1)[0]
            self._say(
                "users_list_phones",
                f"{wrong.total()} of {len(found)} phones cannot be read, as {shape}; these people "
                "are not listed",
                "correct them in the CRM, or select the column that holds the phone",
                fails=not phones,
            )
        if phones:
            shape = (
                f", {other.total()} of them written otherwise, as {other.most_common(1)[0][0]}"
                if other
                else ""
            )
            self.findings.append(Finding("phones", True, f"{len(phones)} of the list read{shape}"))
        return phones[:: max(1, len(phones) // _PEOPLE)][:_PEOPLE]

    async def _people(self, phones: Sequence[str]) -> list[Holder]:
        people = []
        for phone in phones:
            found = await self._fetch("users_find", rows.find_values(phone, None, None))
            if "users_find" not in self.statements:
                break
            same = [row for row in found if self._phone(row) == phone]
            if len(same) < len(found):
                self._say(
                    "users_find",
                    "finds by a phone people who have another one",
                    "ask for that phone alone; a null parameter must match nobody",
                    fails=True,
                )
            if same:
                people.append(await self._person(same[0], phone))
            elif not found:
                self._say(
                    "users_find",
                    "does not find by its phone a customer whom users_list_phones lists",
                    "compare phones in one form on both sides (:phone, :phone_digits, :phone_national); the "
                    "driver's page shows how, with the index it needs",
                    fails=True,
                )
        return people

    def _phone(self, row: asyncpg.Record) -> str | None:
        try:
            return inputs.read_crm_phone(row["phone"], self.region)
        except inputs.UnreadablePhone:
            return None

    async def _person(self, row: asyncpg.Record, phone: str) -> Holder:
        self._read["people"] += 1
        reference, email = row["reference"], row.get("email")
        if reference is None:
            self._say("users_find", "returns a null reference", "select the customer's key", fails=True)
        self._judge_person("users_find", row)
        again = await self._fetch("users_get", {"customer": str(reference)})
        if not any(str(other["reference"]) == str(reference) for other in again):
            self._say(
                "users_get",
                "does not find a customer by the reference that users_find gave",
                "compare the same column with :customer, cast to its type",
                fails=True,
            )
        if email and (address := inputs.read_email(email)) is not None:
            by_email = await self._fetch("users_find", rows.find_values(None, address.upper(), None))
            if not any(str(other["reference"]) == str(reference) for other in by_email):
                self._say(
                    "users_find",
                    "does not find a customer by e-mail, whatever its case",
                    "lower(column) = lower(:email), with an index on lower(column)",
                )
        card = str(row.get("card_number") or "").strip()
        if card:
            await self._card(card, str(reference))
        profile = Profile(phone=phone, email=email)
        return Holder(card or "0", str(reference), profile)

    async def _card(self, number: str, reference: str) -> None:
        """The number of a customer's card leads to that customer."""
        found = await self._fetch("users_find_by_card", {"number": number})
        for row in found:
            self._judge_state("users_find_by_card", row["state"])
        if not any(str(row["reference"]) == reference for row in found):
            self._say(
                "users_find_by_card",
                "does not lead from the card number that users_find tells to its owner",
                "return the owner's key AS reference; the number is compared as text",
                fails=True,
            )

    def _judge_state(self, operation: str, state: str | None) -> None:
        if state is None or state.strip().lower() not in CRM_CARD_STATES:
            self._say(
                operation,
                f"holds a state of a card that is none of {', '.join(CRM_CARD_STATES)}, "
                f"as {inputs.shape(state)}",
                "CASE … WHEN … THEN 'active' … END AS state, or card_state in users_find",
                fails=True,
            )

    def _judge_person(self, operation: str, row: asyncpg.Record) -> None:
        email, sex = row.get("email"), row.get("sex")
        if row.get("card_state") is not None:
            self._judge_state(operation, row["card_state"])
        if email and not inputs.is_left_out(email) and inputs.read_email(email) is None:
            self._say(
                operation,
                f"email holds what is no address, as {inputs.shape(email)}",
                "correct it in the CRM",
            )
        if sex and not inputs.is_left_out(sex):
            try:
                inputs.sex_of(sex)
            except ValueError:
                self._say(
                    operation,
                    f"sex holds another value than m and f, as {inputs.shape(sex)}; it counts as not given",
                    "CASE sex WHEN … THEN 'm' WHEN … THEN 'f' END AS sex",
                )
        born = row.get("birth_date")
        if born is not None and not 1900 <= born.year <= datetime.now(self.zone).year:
            self._say(operation, "birth_date holds years of birth that cannot be", "return null for those")

    # -- points, purchases, offers -----------------------------------------------------------------------

    async def _money(self, person: Holder) -> None:
        account = await self._account("points_account", person)
        if account is None:
            return
        today = datetime.now(self.zone).date()
        for row in await self._fetch("points_balance", {"account": account, "today": today}):
            balance = self._form("points_balance", row, rows.balance)
            if balance is not None:
                self._read["balances"] += 1
                if balance.available > balance.total or balance.total < 0:
                    self._say(
                        "points_balance",
                        "available is more than total, or the total is negative",
                        "total: all points that have not expired; available: those of them to spend now",
                    )
        await self._entries(account, today)
        await self._purchases(account, today)

    async def _entries(self, account: str, today: date) -> None:
        values = {"account": account, "limit": _ENTRIES, "today": today}
        tomorrow = datetime.now(self.zone) + timedelta(days=1)
        last = None
        for row in await self._fetch("points_entries", values, most=_ENTRIES):
            entry = self._form("points_entries", row, lambda row: rows.entry(row, self.zone))
            if entry is None:
                continue
            self._read["movements"] += 1
            if entry.at > tomorrow:
                self._say("points_entries", "at lies in the future", "the last day is valid_until, not at")
            if last is not None and entry.at > last:
                self._say("points_entries", "is not newest first", "ORDER BY … DESC LIMIT :limit")
            last = entry.at

    async def _purchases(self, account: str, today: date) -> None:
        since = today - timedelta(days=_DAYS)
        first = datetime.combine(since, time.min, self.zone)
        end = datetime.combine(today + timedelta(days=1), time.min, self.zone)
        values = {"account": account, "since": since, "until": today, "since_at": first, "until_at": end}
        small = seen = 0
        for row in await self._fetch("points_purchases", values, most=_PHONES):
            purchase = self._form("points_purchases", row, lambda row: rows.purchase(row, self.zone))
            if purchase is None:
                continue
            self._read["purchases"] += 1
            seen += 1
            small += abs(purchase.amount_kopecks) < 500
            if not first <= purchase.at < end:
                self._say(
                    "points_purchases",
                    "returns purchases of other days than were asked for",
                    "WHERE at >= :since_at AND at < :until_at",
                    fails=True,
                )
        if seen >= 5 and small == seen:
            self._say(
                "points_purchases",
                "all amounts are below five roubles, as roubles taken for kopecks would be",
                "(roubles * 100)::bigint AS amount_kopecks",
            )

    async def _offers(self, person: Holder) -> None:
        account = await self._account("coupons_account", person)
        if account is not None:
            values = {"account": account, "today": datetime.now(self.zone).date()}
            for row in await self._fetch("coupons_offers", values, most=_PHONES):
                if self._form("coupons_offers", row, lambda row: rows.offer(row, self.zone)) is not None:
                    self._read["offers"] += 1

    async def _account(self, operation: str, person: Holder) -> str | None:
        """The account of a person's points or coupons; without one, a finding says so."""
        if operation not in self.statements:
            return None
        found = await self._fetch(operation, rows.holder_values(person))
        if operation in self.statements and (not found or found[0]["account"] is None):
            self._say(
                operation,
                "returns no account for a customer who was found: their points or coupons are never shown",
                "name it by :users_reference where it is the same database",
            )
            return None
        if not found:
            return None
        named = {str(row["account"]) for row in found}
        if len(named) > 1:
            self._say(
                operation,
                f"returns {len(named)} accounts for one customer, and only one can be meant",
                "name it by :users_reference, which is one customer's alone",
                fails=True,
            )
            return None
        account = named.pop()
        self._accounts.setdefault(operation, {}).setdefault(account, set()).add(person.users_reference)
        return account

    def _judge_accounts(self) -> None:
        """One account of several customers: somebody's points would go to another."""
        for operation, owners in self._accounts.items():
            people = sum(map(len, owners.values()))
            most = max(map(len, owners.values()))
            if most > 1:
                self._say(
                    operation,
                    f"returns one account for {most} of {people} customers",
                    "compare :users_reference, :phone or :card_number with a column; right only where people "
                    "share an account",
                    fails=most == people and people >= _STRANGERS,
                )

    # -- reading -----------------------------------------------------------------------------------------

    def _form(self, operation: str, row: asyncpg.Record, form: Callable[[asyncpg.Record], T]) -> T | None:
        try:
            return form(row)
        except (KeyError, rows.RowError) as error:
            self._say(
                operation,
                f"the column {error.args[0]} is null in a row",
                "coalesce it, or leave the row out",
                fails=True,
            )
            return None

    async def _fetch(
        self, operation: str, values: Mapping[str, object], most: int = 20
    ) -> list[asyncpg.Record]:
        """Some rows of a statement. None if it may not be tried, or if it fails; then a finding says why."""
        statement = self.statements.get(operation)
        if statement is None:
            return []
        timeout = _LIST_TIMEOUT if operation == "users_list_phones" else self.timeout
        arguments = statement.arguments(values)
        try:
            return await self._some(statement.text, arguments, most, timeout)
        except errors.UNREADABLE:
            self._say(
                operation,
                "holds a date or a time that only PostgreSQL has; it is read as null",
                "correct it in the CRM",
            )
        except errors.DATABASE_ERRORS as error:
            self._failed(statement, error)
            return []
        limited = statements.within_limits(statement.text, self.columns[operation])
        try:
            return await self._some(limited, arguments, most, timeout)
        except (*errors.UNREADABLE, *errors.DATABASE_ERRORS) as error:
            self._failed(statement, error)
            return []

    async def _some(
        self, text: str, arguments: Sequence[object], most: int, timeout: float
    ) -> list[asyncpg.Record]:
        async with savepoint(self.connection):
            cursor = await self.connection.cursor(text, *arguments, timeout=timeout)
            return await cursor.fetch(most, timeout=timeout)

    def _failed(self, statement: Statement, error: Exception) -> None:
        if errors.sqlstate(error)[:2] not in ("", "22", "23", "25", "42", "57", "P0"):
            raise errors.on_read(statement.file, error) from None
        self.statements = {name: other for name, other in self.statements.items() if other is not statement}
        if errors.sqlstate(error) == _WRITES:
            self._said.add((statement.file, ""))
            self.findings.append(
                Finding(
                    statement.file,
                    True,
                    "writes, so it was not tried",
                    "koshelek-adapter check --phone tries it for one person",
                    warning=True,
                )
            )
        elif isinstance(error, TimeoutError) or errors.sqlstate(error)[:2] == "57":
            self._say_of(
                statement,
                f"took longer than {self.timeout:g} seconds",
                f"an index may be missing: koshelek-adapter postgres statement {statement.name} | psql URL",
                fails=True,
            )
        else:
            self._say_of(
                statement,
                f"fails on data that is there ({errors.brief(error)})",
                "a cast that not every value can take; compare as text, or leave such rows out",
                fails=True,
            )

    def _say(self, operation: str, detail: str, remedy: str, *, fails: bool = False) -> None:
        statement = self.statements.get(operation)
        if statement is not None:
            self._say_of(statement, detail, remedy, fails=fails)

    def _say_of(self, statement: Statement, detail: str, remedy: str, *, fails: bool) -> None:
        if (statement.file, detail) not in self._said:
            self._said.add((statement.file, detail))
            self.findings.append(Finding(statement.file, not fails, detail, remedy, warning=not fails))
