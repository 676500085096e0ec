"""``check`` of a foreign database in PostgreSQL: the rights of the role that runs it, rows as they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from pydantic import SecretStr

from crm_backends.ports import Deadline, Finding
from crm_backends.postgres import PostgresBackend, PostgresSettings
from crm_backends.postgres.operations import INDISPENSABLE, SQL_OPERATIONS, USUAL
from crm_backends.registry import BackendContext

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.clients (
    no int PRIMARY KEY, tel text, mail text, born date, sex text, since timestamptz DEFAULT now()
);
CREATE TABLE shop.moves (
    id serial PRIMARY KEY, client int NOT NULL REFERENCES shop.clients, points numeric(12, 2) NOT NULL,
    note text NOT NULL, doc text UNIQUE, at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE shop.lines (client int NOT NULL, at timestamptz NOT NULL, item text, kopecks bigint);
CREATE FUNCTION shop.use_code(client int, code text, doc text) RETURNS text LANGUAGE sql
    AS $$ SELECT 'done' $$;
INSERT INTO shop.clients (no, tel, mail, born, sex) VALUES
    (1, '+7 (916) 123-45-01', 'One@planted.example', '1990-05-17', 'm'),
    (2, '89161234502', 'two@planted.example', '1991-01-01', 'ж'),
    (3, '79161234503', NULL, NULL, NULL);
INSERT INTO shop.moves (client, points, note, at) VALUES
    (1, 100, 'gift', now() - interval '2 days'), (1, 5, 'more', now());
INSERT INTO shop.lines VALUES (1, now() - interval '1 day', 'Кофе', 25000);
"""
LAST_TEN = "right(regexp_replace(tel, '[^0-9]', '', 'g'), 10)"
PERSON = "no AS reference, tel AS phone, mail AS email, born AS birth_date, sex"
FILES = {
    "users_find": f"SELECT {PERSON} FROM shop.clients WHERE {LAST_TEN} = :phone_national "
    "OR lower(mail) = lower(:email)",
    "users_get": f"SELECT {PERSON} FROM shop.clients WHERE no = :customer::int",
    "users_register": "WITH new AS (SELECT max(no) + 1 AS no FROM shop.clients "
    "WHERE :idempotency_key IS NOT NULL) "
    "INSERT INTO shop.clients (no, tel, mail) SELECT no, :phone, :email FROM new RETURNING no AS reference",
    "users_update": "UPDATE shop.clients SET mail = coalesce(:email, mail) WHERE no = :customer::int "
    "RETURNING no AS reference",
    "users_set_consents": "SELECT no AS reference FROM shop.clients "
    "WHERE no = :customer::int AND cardinality(:deny) >= 0",
    "users_list_phones": "SELECT tel AS phone FROM shop.clients",
    "points_account": "SELECT no AS account FROM shop.clients WHERE no = :users_reference::int",
    "points_balance": "SELECT coalesce(sum(points), 0) AS total, coalesce(sum(points), 0) AS available "
    "FROM shop.moves WHERE client = :account::int",
    "points_entries": "SELECT points AS amount, note AS description, at FROM shop.moves "
    "WHERE client = :account::int ORDER BY at DESC LIMIT :limit",
    "points_purchases": "SELECT at, item, kopecks AS amount_kopecks FROM shop.lines "
    "WHERE client = :account::int AND at >= :since_at AND at < :until_at ORDER BY at DESC",
    "points_credit": "INSERT INTO shop.moves AS kept (client, points, note, doc) "
    "VALUES (:account::int, coalesce(:points, 0), :description, :idempotency_key) "
    "ON CONFLICT (doc) DO UPDATE SET doc = EXCLUDED.doc WHERE kept.client = EXCLUDED.client RETURNING points",
    "coupons_account": "SELECT no AS account FROM shop.clients WHERE no = :users_reference::int",
    "coupons_offers": "SELECT 1 AS reference, 'Tea' AS title WHERE :account <> ''",
    "coupons_issue": "SELECT 1 AS reference WHERE :idempotency_key IS NOT NULL AND :account <> ''",
    "coupons_redeem": "SELECT shop.use_code(:account::int, :code, :idempotency_key) AS outcome",
}
RIGHTS = """
GRANT USAGE ON SCHEMA shop TO adapter;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA shop TO adapter;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA shop TO adapter;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA shop FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA shop TO adapter;
"""


class Shop:
    """A foreign database, and the role that is let into it."""

    def __init__(self, admin: asyncpg.Connection[asyncpg.Record], url: str, folder: Path) -> None:
        self.admin, self._url, self._folder = admin, url, folder

    def driver(self, **files: str) -> PostgresBackend:
        """One that works as the role, with these files in place of the good ones."""
        for name, sql in (FILES | files).items():
            (self._folder / f"{name}.sql").write_text(sql, encoding="utf-8")
        settings = PostgresSettings(
            url=SecretStr(self._url.replace("://postgres:@", "://adapter:@")), sql_dir=self._folder
        )
        return PostgresBackend(settings, BackendContext("", None, ZoneInfo("Europe/Moscow"), "RU"))

    async def check(self, **files: str) -> Sequence[Finding]:
        """What ``check`` says."""
        driver = self.driver(**files)
        before = await self._contents()
        found = await driver.check()
        assert await self._contents() == before  # it changes nothing
        said = " ".join(f"{one.subject} {one.detail} {one.remedy}" for one in found)
        for planted in ("916", "planted", "Кофе", "gift", "1990"):
            assert planted not in said
        return found

    async def _contents(self) -> list[asyncpg.Record]:
        return await self.admin.fetch(
            "SELECT (SELECT count(*) FROM shop.clients), (SELECT count(*) FROM shop.moves), "
            "(SELECT last_value FROM shop.moves_id_seq)"
        )


@pytest.fixture
async def shop(fresh_database: str, tmp_path: Path) -> AsyncIterator[Shop]:
    admin = await asyncpg.connect(fresh_database)
    await admin.execute("DROP ROLE IF EXISTS adapter")
    await admin.execute(f"CREATE ROLE adapter LOGIN; {SCHEMA} {RIGHTS}")
    yield Shop(admin, fresh_database, tmp_path)
    await admin.execute("DROP OWNED BY adapter; DROP ROLE adapter")
    await admin.close()


def wrong(found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if not one.ok or one.warning]


def about(found: Sequence[Finding], end: str) -> Finding:
    (one,) = [one for one in wrong(found) if one.subject.endswith(end)]
    return one


async def test_a_database_that_fits_is_told_with_what_was_looked_at(shop: Shop) -> None:
    found = await shop.check()
    assert wrong(found) == []
    told = {one.subject: one.detail for one in found}
    assert told["statements"] == "15 of 15 fit and may be executed"
    assert "INSERT, SELECT, UPDATE shop.moves" in told["rights"]
    assert "SELECT shop.lines" in told["rights"]
    assert told["phones"] == '3 of the list read, 3 of them written otherwise, as "99999999999"'
    assert told["sample rows"] == "3 people, 3 balances, 2 movements, 1 purchases, 3 offers read"


@pytest.mark.parametrize(
    ("revoke", "file", "grant"),
    [
        ("INSERT ON shop.moves", "points_credit.sql", "GRANT INSERT ON TABLE shop.moves TO adapter;"),
        ("UPDATE ON shop.moves", "points_credit.sql", "GRANT UPDATE ON TABLE shop.moves TO adapter;"),
        ("SELECT ON shop.lines", "points_purchases.sql", "GRANT SELECT ON TABLE shop.lines TO adapter;"),
        (
            "EXECUTE ON FUNCTION shop.use_code",
            "coupons_redeem.sql",
            "GRANT EXECUTE ON FUNCTION shop.use_code(integer,text,text) TO adapter;",
        ),
    ],
)
async def test_a_right_that_lacks_is_found_with_the_grant_that_gives_it(
    revoke: str, file: str, grant: str, shop: Shop
) -> None:
    """REVOKE INSERT once went unnoticed for three days of postponed receipts."""
    await shop.admin.execute(f"REVOKE {revoke} FROM adapter")
    one = about(await shop.check(), file)
    assert not one.ok
    assert "adapter has not the right to use" in one.detail
    assert one.remedy == grant
    await shop.admin.execute(one.remedy)
    assert wrong(await shop.check()) == []


async def test_a_right_that_lacks_inside_a_function_is_found(shop: Shop) -> None:
    await shop.admin.execute(
        """
        CREATE TABLE shop.used (code text);
        CREATE FUNCTION shop.note(code text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            -- INSERT INTO shop.clients is not done here
            PERFORM FROM shop.clients FOR UPDATE;
            INSERT INTO shop.used VALUES (code);
        END $$;
        CREATE OR REPLACE FUNCTION shop.use_code(client int, code text, doc text) RETURNS text
        LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM shop.note(code);
            RETURN 'done';
        END $$;
        """
    )
    (one,) = wrong(await shop.check())
    assert (one.subject, one.ok) == ("shop.note", False)
    assert one.remedy == "GRANT INSERT ON TABLE shop.used TO adapter;"
    await shop.admin.execute(one.remedy)
    assert wrong(await shop.check()) == []


async def test_a_schema_that_may_not_be_entered_is_found(shop: Shop) -> None:
    await shop.admin.execute("REVOKE USAGE ON SCHEMA shop FROM adapter")
    grant = "GRANT USAGE ON SCHEMA shop TO adapter;"
    (one,) = [one for one in wrong(await shop.check()) if one.remedy == grant]  # said once
    assert "more need the same right" in one.detail
    await shop.admin.execute(grant)
    assert wrong(await shop.check()) == []


async def test_the_sequence_of_a_serial_column_is_found(shop: Shop) -> None:
    """The server looks at that right only when the row is written."""
    await shop.admin.execute("REVOKE USAGE ON SEQUENCE shop.moves_id_seq FROM adapter")
    (one,) = wrong(await shop.check())
    assert one.remedy == "GRANT USAGE ON SEQUENCE shop.moves_id_seq TO adapter;"


@pytest.mark.parametrize(
    ("name", "sql", "says", "remedy"),
    [
        (
            "users_find",
            f"SELECT {PERSON} FROM shop.clients WHERE tel = :phone OR lower(mail) = lower(:email)",
            "does not find by its phone a customer whom users_list_phones lists",
            "compare phones in one form",
        ),
        (
            "users_find",
            f"SELECT {PERSON} FROM shop.clients WHERE :phone IS NOT NULL OR lower(mail) = lower(:email)",
            "finds by a phone people who have another one",
            "a null parameter must match nobody",
        ),
        (
            "users_find",
            f"SELECT {PERSON} FROM shop.clients WHERE {LAST_TEN} = :phone_national OR mail = :email",
            "does not find a customer by e-mail, whatever its case",
            "lower(column) = lower(:email)",
        ),
        (
            "users_get",
            f"SELECT {PERSON} FROM shop.clients WHERE no = :customer::int + 7",
            "does not find a customer by the reference that users_find gave",
            "compare the same column",
        ),
        (
            "users_list_phones",
            "SELECT '916-45' AS phone",
            '1 of 1 phones cannot be read, as "999-99"',
            "correct them",
        ),
        (
            "points_account",
            "SELECT no AS account FROM shop.clients WHERE tel = :phone",
            "returns no account for a customer who was found",
            "name it by :users_reference",
        ),
        (
            "points_balance",
            "SELECT 1::numeric AS total, 2::numeric AS available WHERE :account <> ''",
            "available is more than total",
            "total: all points that have not expired",
        ),
        (
            "points_balance",
            "SELECT sum(points) AS total, sum(points) AS available FROM shop.moves "
            "WHERE client = :account::int",
            "the column total is null in a row",
            "coalesce it",
        ),
        (
            "points_entries",
            "SELECT points AS amount, note AS description, at FROM shop.moves "
            "WHERE client = :account::int ORDER BY at",
            "is not newest first",
            "ORDER BY",
        ),
        (
            "points_purchases",
            "SELECT at - interval '3 years' AS at, item, kopecks AS amount_kopecks FROM shop.lines "
            "WHERE client = :account::int AND :since_at < :until_at",
            "returns purchases of other days",
            "at >= :since_at",
        ),
        (
            "points_purchases",
            "SELECT now() AS at, 'x' AS item, 250 AS amount_kopecks FROM generate_series(1, 6) "
            "WHERE :account <> '' AND :since_at < :until_at",
            "as roubles taken for kopecks would be",
            "(roubles * 100)::bigint",
        ),
        (
            "points_credit",
            "INSERT INTO shop.moves (client, points, note) VALUES (:account::int, :points, :description) "
            "RETURNING points",
            "does not use :idempotency_key: a receipt sent again would be credited again",
            "use :idempotency_key in it",
        ),
        (
            "users_get",
            f"SELECT {PERSON}, born AS birthdate, 1 AS card_nummer FROM shop.clients "
            "WHERE no = :customer::int",
            "returns birthdate, card_nummer, which nobody reads",
            "is card_nummer meant as card_number?",
        ),
        (
            "users_get",
            f"SELECT {PERSON} FROM shop.clients WHERE tel::bigint = 1 AND no = :customer::int",
            "fails on data that is there (InvalidTextRepresentationError, SQLSTATE 22P02)",
            "a cast that not every value can take",
        ),
        (
            "coupons_offers",
            "SELECT nextval('shop.moves_id_seq') AS reference, 'x' AS title",
            "writes, so it was not tried",
            "check --phone",
        ),
        (
            "coupons_offers",
            "SELECT 1 AS reference, 'x' AS title FORM shop",
            "(line 1)",
            "postgres statement coupons_offers",
        ),
    ],
)
async def test_rows_and_statements_that_are_not_right_are_told(
    name: str, sql: str, says: str, remedy: str, shop: Shop
) -> None:
    found = await shop.check(**{name: sql})
    said = [one for one in wrong(found) if one.subject.endswith(f"{name}.sql")]
    assert any(says in one.detail and remedy in one.remedy for one in said), found


PERSON_BY_CARD = f"SELECT 'active' AS state, {PERSON} FROM shop.clients"
MIXED_UP = {
    "users_find": (f"SELECT {PERSON} FROM shop.clients LIMIT 1", ":phone or :phone_digits"),
    "users_get": (f"SELECT {PERSON} FROM shop.clients LIMIT 1", ":customer"),
    "users_register": (
        "INSERT INTO shop.clients (no, tel, mail) VALUES (9, '1', :idempotency_key) RETURNING 9 AS reference",
        ":phone or :phone_digits",
    ),
    "users_update": ("UPDATE shop.clients SET mail = :email RETURNING no AS reference", ":customer"),
    "users_set_consents": (
        "UPDATE shop.clients SET sex = sex WHERE :allow = :deny RETURNING no AS reference",
        ":customer",
    ),
    "users_find_by_card": (f"{PERSON_BY_CARD} LIMIT 1", ":number"),
    "users_set_card": (
        "UPDATE shop.clients SET sex = :number WHERE no = 1 RETURNING no AS reference",
        ":customer",
    ),
    "points_account": ("SELECT no AS account FROM shop.clients ORDER BY no LIMIT 1", ":users_reference"),
    "points_balance": ("SELECT 1 AS total, 1 AS available", ":account"),
    "points_entries": ("SELECT points AS amount, note AS description, at FROM shop.moves", ":account"),
    "points_purchases": (
        "SELECT at, item, kopecks AS amount_kopecks FROM shop.lines WHERE at >= :since_at",
        ":account",
    ),
    "points_credit": (
        "INSERT INTO shop.moves (client, points, note, doc) VALUES (1, :points, :description, "
        ":idempotency_key) RETURNING points",
        ":account",
    ),
    "coupons_account": ("SELECT 1 AS account", ":users_reference"),
    "coupons_issue": ("SELECT 1 AS reference WHERE :idempotency_key IS NOT NULL", ":account"),
    "coupons_redeem": ("SELECT shop.use_code(:account::int, :code, 'x') AS outcome", ":idempotency_key"),
}
"""Files that mix people or money up, each without one parameter."""


@pytest.mark.parametrize("name", MIXED_UP)
async def test_a_file_that_mixes_people_up_is_wrong_and_stops_serve(name: str, shop: Shop) -> None:
    sql, lacking = MIXED_UP[name]
    (said,) = [one for one in await shop.check(**{name: sql}) if not one.ok]
    assert said.subject.endswith(f"{name}.sql")
    assert "does not use" in said.detail
    assert lacking in said.detail
    assert said.remedy.startswith("use ")
    (misfit,) = await shop.driver(**{name: sql}).misfits()  # of these serve ends
    assert (misfit.subject, misfit.detail) == (said.subject, said.detail)


async def test_what_mixes_people_up_is_found_though_the_database_is_away(tmp_path: Path) -> None:
    (tmp_path / "points_account.sql").write_text(MIXED_UP["points_account"][0], encoding="utf-8")
    away = PostgresSettings(url=SecretStr("postgresql://u@127.0.0.1:1/x"), sql_dir=tmp_path)
    driver = PostgresBackend(away, BackendContext("", None, ZoneInfo("Europe/Moscow"), "RU"))
    (misfit,) = await driver.misfits()
    assert "everybody's points would go to one account" in misfit.detail


def test_no_operation_for_one_person_can_do_without_naming_it() -> None:
    """Whatever is supplied to tell one person, account, card or code from others cannot be left out."""
    tells_apart = {"customer", "account", "number", "code", "users_reference", "phone"}
    for name, operation in SQL_OPERATIONS.items():
        needed = {one for group, _ in INDISPENSABLE.get(name, ()) for one in group}
        optional = {USUAL[name][0]} if name in USUAL else set()
        changes_a_phone = {"phone"} if name == "users_update" else set()
        assert set(operation.parameters) & tells_apart <= needed | optional | changes_a_phone, name


async def test_offers_of_everybody_are_asked_about_and_no_more(shop: Shop) -> None:
    found = await shop.check(coupons_offers="SELECT 1 AS reference, 'Tea' AS title")
    one = about(found, "coupons_offers.sql")
    assert (one.ok, one.warning) == (True, True)
    assert "everybody is shown the same offers" in one.detail
    assert "offers that are everybody's" in one.remedy


async def test_an_account_that_is_everybodys_is_found_though_the_parameter_is_used(shop: Shop) -> None:
    first = "SELECT no AS account FROM shop.clients WHERE :users_reference <> '' ORDER BY no LIMIT 1"
    one = about(await shop.check(points_account=first), "points_account.sql")
    assert not one.ok
    assert "returns one account for 3 of 3 customers" in one.detail
    every = "SELECT no AS account FROM shop.clients WHERE :users_reference <> ''"
    one = about(await shop.check(points_account=every), "points_account.sql")
    assert not one.ok
    assert "returns 3 accounts for one customer" in one.detail


async def test_an_account_that_two_share_is_asked_about(shop: Shop) -> None:
    shared = "SELECT greatest(no, 2) AS account FROM shop.clients WHERE no = :users_reference::int"
    one = about(await shop.check(points_account=shared), "points_account.sql")
    assert (one.ok, one.detail) == (True, "returns one account for 2 of 3 customers")


NAIVE = (
    "SELECT points AS amount, note AS description, at::timestamp AS at FROM shop.moves "
    "WHERE client = :account::int ORDER BY at DESC LIMIT :limit"
)


async def _server_zone(shop: Shop, zone: str) -> None:
    name = await shop.admin.fetchval("SELECT quote_ident(current_database())")
    await shop.admin.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")


async def test_times_without_a_zone_that_others_write_in_another_one_are_told(shop: Shop) -> None:
    await _server_zone(shop, "Etc/UTC")
    one = about(await shop.check(points_entries=NAIVE), "time zone")
    assert (one.ok, one.warning) == (True, True)
    assert one.detail == (
        "at of points_entries.sql: times without a zone are read as Europe/Moscow, "
        "and other programs count in Etc/UTC"
    )
    assert "ALTER DATABASE … SET timezone = 'Europe/Moscow'" in one.remedy


@pytest.mark.parametrize("zone", ["Europe/Moscow", "Europe/Minsk"])  # three hours from UTC, both
async def test_a_zone_that_counts_alike_is_no_matter(shop: Shop, zone: str) -> None:
    await _server_zone(shop, zone)
    assert wrong(await shop.check(points_entries=NAIVE)) == []


async def test_times_with_a_zone_are_the_same_in_every_one(shop: Shop) -> None:
    await _server_zone(shop, "Asia/Vladivostok")
    assert wrong(await shop.check()) == []


async def test_sessions_count_in_the_zone_of_the_programme(shop: Shop) -> None:
    """What now() writes into a column without a zone is read back as the moment it was."""
    await _server_zone(shop, "Etc/UTC")
    driver = shop.driver(
        points_entries="SELECT 1 AS amount, current_setting('application_name') AS description, "
        "localtimestamp AS at WHERE :account <> '' LIMIT :limit"
    )
    await driver.open()
    (entry,) = await driver.entries("1", limit=1, deadline=Deadline.after(20))
    await driver.close()
    assert abs(entry.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert entry.description == "koshelek-adapter"


async def test_dates_that_python_does_not_have_are_told(shop: Shop) -> None:
    await shop.admin.execute("UPDATE shop.clients SET born = '20010-01-30' WHERE no = 3")
    said = [one.detail for one in wrong(await shop.check())]
    assert "holds a date or a time that only PostgreSQL has; it is read as null" in said


async def test_values_nobody_knows_are_told_by_their_shape(shop: Shop) -> None:
    await shop.admin.execute("UPDATE shop.clients SET sex = 'W7', mail = 'no address' WHERE no = 1")
    said = [one.detail for one in wrong(await shop.check())]
    assert 'sex holds another value than m and f, as "x9"; it counts as not given' in said
    assert 'email holds what is no address, as "xx xxxxxxx"' in said


async def test_states_of_cards_that_nobody_knows_are_told(shop: Shop) -> None:
    person = f"{PERSON}, '2900' || no AS card_number"
    cards = {
        "users_find": FILES["users_find"].replace(PERSON, f"{person}, 'gesperrt' AS card_state"),
        "users_find_by_card": f"SELECT 'active' AS state, {person} FROM shop.clients "
        "WHERE '2900' || no = :number",
    }
    (one,) = wrong(await shop.check(**cards))
    assert one.detail.startswith(
        "holds a state of a card that is none of active, inactive, blocked, replaced, as "
    )
    cards["users_find"] = FILES["users_find"].replace(PERSON, person)
    assert wrong(await shop.check(**cards)) == []
    cards["users_find_by_card"] = (
        f"SELECT 'active' AS state, {person} FROM shop.clients WHERE no = 9 OR :number = ''"
    )
    (one,) = wrong(await shop.check(**cards))
    assert "does not lead from the card number" in one.detail


async def test_an_empty_database_is_no_error(shop: Shop) -> None:
    await shop.admin.execute("TRUNCATE shop.clients CASCADE")
    found = await shop.check()
    assert wrong(found) == []
    assert "there is no customer yet to try with" in [one.detail for one in found]


async def test_without_a_list_of_people_it_is_said_that_nothing_was_tried(shop: Shop) -> None:
    """It once said that there was nobody, with a table full of people."""
    (one,) = wrong(await shop.check(users_list_phones="-- unsupported: too many"))
    assert (one.subject, one.ok) == ("sample rows", True)
    assert "nothing was tried" in one.detail
    assert "check --phone" in one.remedy


async def test_behind_a_pooler_the_same_is_looked_at(shop: Shop, tmp_path: Path) -> None:
    settings = PostgresSettings(url=SecretStr(shop._url), sql_dir=tmp_path, pooler=True)
    await shop.check()
    driver = PostgresBackend(settings, BackendContext("", None, ZoneInfo("Europe/Moscow"), "RU"))
    assert wrong(await driver.check()) == []
