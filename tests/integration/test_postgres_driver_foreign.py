"""The PostgreSQL driver over a database it has never seen: every operation through replaced SQL files.

The database is a German shop's. Phones have no plus and are not unique, keys are text, times have no zone,
money is in roubles with a decimal point, names are in one column.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from pydantic import SecretStr

from crm_backends import postgres
from crm_backends.model import ChannelConsents, Credit, FiscalReceipt, Holder, Profile
from crm_backends.ports import (
    AccountUnknown,
    BackendMisconfigured,
    Deadline,
    NotSupported,
    Outcome,
    Refusal,
    Support,
    Written,
)
from crm_backends.postgres import PostgresSettings
from crm_backends.postgres.driver import PostgresBackend
from crm_backends.registry import BackendContext

ZONE = ZoneInfo("Europe/Moscow")

TABLES = """
CREATE SEQUENCE kundennummer;
CREATE TABLE kunden (
    nr varchar(20) PRIMARY KEY DEFAULT 'K-' || nextval('kundennummer'),
    telefon bigint, mail varchar(80) UNIQUE, name text, geburtstag timestamp, geschlecht char(1),
    seit timestamp DEFAULT now(), werbung text[] DEFAULT '{}', stufe integer, aktiv boolean DEFAULT true
);
CREATE INDEX ON kunden (telefon);
CREATE TABLE buchungen (
    id serial PRIMARY KEY, kunde varchar(20) REFERENCES kunden, punkte integer NOT NULL CHECK (punkte >= 0),
    grund text, beleg text UNIQUE, am timestamp DEFAULT now(), bis timestamptz
);
CREATE TABLE kaeufe (kunde varchar(20), am date, ware text, summe numeric(10, 2), menge double precision);
CREATE TABLE gutscheine (kunde varchar(20), titel text, bis timestamptz, beleg text UNIQUE);
CREATE TABLE codes (code text PRIMARY KEY, punkte real);
CREATE TABLE karten (
    nummer char(13) PRIMARY KEY, kunde varchar(20) REFERENCES kunden, zustand text DEFAULT 'ACTIVE',
    nachfolger char(13), strichcode text
);
INSERT INTO kunden (telefon, mail, name, geburtstag, geschlecht, stufe)
VALUES (79001234567, 'anna@example.com', 'Anna Schmidt', '1990-02-03', 'w', 2),
       (79001234567, NULL, 'Otto Schmidt', NULL, 'm', NULL);
INSERT INTO buchungen (kunde, punkte, grund, am, bis)
VALUES ('K-1', 7, 'Start', '2025-01-01', 'infinity'),
       ('K-1', 5, 'Mai', '2025-05-01 00:30', '2025-12-31 22:00+00');
INSERT INTO kaeufe VALUES ('K-1', '2025-05-18', 'Brot', 199.99, 1.5);
INSERT INTO codes VALUES ('HALLO', 12.5);
"""

CUSTOMER = """
SELECT nr AS reference, '+' || telefon AS phone, mail AS email, split_part(name, ' ', 1) AS first_name,
       split_part(name, ' ', 2) AS surname, geburtstag AS birth_date,
       CASE geschlecht WHEN 'w' THEN 'f' WHEN 'm' THEN 'm' END AS sex, seit AS registered_at
FROM kunden
"""
PHONE_NUMBER = "substr(:phone, 2)::bigint"
ACCOUNT = f"SELECT nr AS account FROM kunden WHERE telefon = {PHONE_NUMBER} AND :users_reference IN (nr, '')"

SQL = {
    "users_find": f"{CUSTOMER} WHERE telefon = {PHONE_NUMBER} OR mail = lower(:email)",
    "users_get": f"{CUSTOMER} WHERE nr = :customer",
    "users_register": f"""
        INSERT INTO kunden (telefon, mail, name)
        SELECT {PHONE_NUMBER}, lower(:email), concat_ws(' ', :first_name, :surname)
        WHERE NOT EXISTS (SELECT FROM kunden WHERE telefon = {PHONE_NUMBER})
        RETURNING nr AS reference""",
    "users_update": """
        UPDATE kunden SET mail = coalesce(lower(:email), mail) WHERE nr = :customer RETURNING nr AS reference;
        """,
    "users_set_consents": """
        UPDATE kunden SET werbung = ARRAY(
            SELECT unnest(werbung || :allow) EXCEPT SELECT unnest(:deny) ORDER BY 1)
        WHERE nr = :customer RETURNING nr AS reference""",
    "users_list_phones": """
        SELECT '+' || telefon AS phone, stufe AS "level", aktiv AS active FROM kunden ORDER BY nr""",
    "points_account": ACCOUNT,
    "coupons_account": ACCOUNT,
    "points_balance": """
        SELECT sum(punkte) AS total, sum(punkte) AS available FROM buchungen WHERE kunde = :account
        GROUP BY kunde""",
    "points_entries": """
        SELECT punkte AS amount, grund AS description, am AS at, bis AS valid_until
        FROM buchungen WHERE kunde = :account ORDER BY am DESC LIMIT :limit""",
    "points_purchases": """
        SELECT am AS at, ware AS item, (summe * 100)::bigint AS amount_kopecks, menge AS quantity
        FROM kaeufe WHERE kunde = :account AND am BETWEEN :since AND :until""",
    "points_credit": """
        -- don't forget: punkte::int rounds
        WITH buchung AS (
            INSERT INTO buchungen (kunde, punkte, grund, beleg)
            SELECT :account, coalesce(:points, :total_kopecks / 10000), :description, :idempotency_key
            ON CONFLICT (beleg) DO UPDATE SET beleg = EXCLUDED.beleg
            RETURNING id, punkte
        )
        SELECT punkte AS points, id AS reference, 'Danke: ' || punkte AS message FROM buchung""",
    "coupons_offers": """
        SELECT beleg AS reference, titel AS title, bis AS valid_until FROM gutscheine
        WHERE kunde = :account""",
    "coupons_issue": """
        INSERT INTO gutscheine VALUES (:account, :occasion, '-infinity', :idempotency_key)
        ON CONFLICT (beleg) DO UPDATE SET titel = gutscheine.titel RETURNING beleg AS reference""",
    "coupons_redeem": """
        SELECT CASE code WHEN 'ALT' THEN 'code_expired' WHEN 'TOR' THEN 'offen' ELSE 'done' END AS outcome,
               punkte AS points
        FROM codes WHERE code = upper(:code) AND :account <> '' AND :idempotency_key <> ''""",
}


ON_CARDS = {
    "users_find_by_card": """
        SELECT zustand AS state, nachfolger AS replaced_by, strichcode AS barcode, kunden.nr AS reference,
               '+' || telefon AS phone
        FROM karten LEFT JOIN kunden ON kunden.nr = kunde WHERE nummer = :number""",
    "users_set_card": """
        WITH neu AS (
            INSERT INTO karten AS alt (nummer, kunde, strichcode)
            SELECT :number, nr, :barcode FROM kunden WHERE nr = :customer
              AND NOT EXISTS (SELECT FROM karten WHERE kunde = nr AND nummer <> :number
                                                   AND nummer IS DISTINCT FROM :replaces)
            ON CONFLICT (nummer) DO UPDATE SET kunde = EXCLUDED.kunde, strichcode = EXCLUDED.strichcode
                WHERE coalesce(alt.kunde, EXCLUDED.kunde) = EXCLUDED.kunde
            RETURNING kunde
        )
        SELECT nr AS reference, CASE WHEN EXISTS (SELECT FROM neu) THEN 'done' ELSE 'conflict' END AS outcome
        FROM kunden WHERE nr = :customer""",
}


def soon() -> Deadline:
    return Deadline.after(20)


@pytest.fixture
async def database(fresh_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(TABLES)
    yield connection
    await connection.close()


@pytest.fixture
async def crm(
    database: asyncpg.Connection[asyncpg.Record], fresh_database: str, tmp_path: Path
) -> AsyncIterator[PostgresBackend]:
    for name, sql in SQL.items():
        (tmp_path / f"{name}.sql").write_text(sql, encoding="utf-8")
    settings = PostgresSettings(url=SecretStr(fresh_database), sql_dir=tmp_path, statement_timeout=20)
    driver = PostgresBackend(settings, BackendContext("", None, ZONE, "RU"))
    await driver.open()
    yield driver
    await driver.close()


async def test_all_files_fit_and_no_schema_is_made(
    crm: PostgresBackend, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    found = await crm.check()
    assert [finding for finding in found if not finding.ok] == []
    assert "15 of 15 fit and may be executed" in [finding.detail for finding in found]
    told = [finding.detail for finding in found]
    assert "not in sql_dir: the CRM is not asked about card numbers" in told
    assert "not in sql_dir: the CRM is not told the numbers of new cards" in told
    # What is said is true: the file keeps no promise for what comes twice, the server may be anywhere.
    warned = {Path(finding.subject).stem for finding in found if finding.warning}
    assert warned - {"time zone"} == {"users_register"}
    assert await database.fetchval("SELECT to_regnamespace('crm')") is None


async def test_without_files_for_cards_the_driver_has_no_such_operations(crm: PostgresBackend) -> None:
    for operation in ("users.find_by_card", "users.set_card"):
        capability = crm.capabilities[operation]
        assert capability.support is Support.NOT_IMPLEMENTED
        assert capability.note.endswith(f"there is no {operation.replace('.', '_')}.sql")
    assert not crm.find_tells_card_state
    with pytest.raises(NotSupported, match=r"users_find_by_card\.sql"):
        await crm.find_by_card("1", deadline=soon())
    with pytest.raises(NotSupported, match=r"users_set_card\.sql"):
        await crm.set_card("K-1", "1", "1", "QR_CODE", replaces=None, idempotency_key="r", deadline=soon())


async def test_with_files_for_cards_they_are_found_and_set(
    fresh_database: str, database: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    for name, sql in {**SQL, **ON_CARDS}.items():
        (tmp_path / f"{name}.sql").write_text(sql, encoding="utf-8")
    settings = PostgresSettings(url=SecretStr(fresh_database), sql_dir=tmp_path, statement_timeout=20)
    crm = PostgresBackend(settings, BackendContext("", None, ZONE, "RU"))
    await crm.open()
    try:
        assert "17 of 17 fit and may be executed" in [finding.detail for finding in await crm.check()]
        # Numbers of a fixed width are told without the blanks that fill them up.
        await database.execute("INSERT INTO karten (nummer, nachfolger) VALUES ('P-1', NULL), ('P-2', 'P-1')")
        plastic = await crm.find_by_card("P-1", deadline=soon())
        assert plastic is not None
        assert (plastic.number, plastic.state, plastic.customer) == ("P-1", "active", None)
        old = await crm.find_by_card("P-2", deadline=soon())
        assert old is not None
        assert old.replaced_by == "P-1"

        async def give(customer: str, number: str, replaces: str | None = None) -> Written:
            return await crm.set_card(
                customer,
                number,
                f"*{number}*",
                "CODE_128",
                replaces=replaces,
                idempotency_key="r",
                deadline=soon(),
            )

        for _ in range(2):
            assert await give("K-1", "P-1") == Written.done("K-1")
        assert await give("K-2", "P-1") == Written.refused(Refusal.CONFLICT)
        assert await give("K-1", "N-1") == Written.refused(Refusal.CONFLICT)
        assert await give("K-1", "N-1", replaces="P-1") == Written.done("K-1")
        assert await give("K-9", "N-9") == Written.refused(Refusal.NO_SUCH_CUSTOMER)
        anna = await crm.find_by_card("P-1", deadline=soon())
        assert anna is not None
        assert anna.customer is not None
        assert (anna.customer.customer_id, anna.barcode) == ("K-1", "*P-1*")
        await database.execute("UPDATE karten SET zustand = 'lost'")
        with pytest.raises(
            BackendMisconfigured, match=r"users_find_by_card\.sql: the column state has a value"
        ):
            await crm.find_by_card("P-1", deadline=soon())
    finally:
        await crm.close()


async def test_people_are_found_though_a_phone_has_several(crm: PostgresBackend) -> None:
    anna, otto = await crm.find(phone="+79001234567", email=None, birth_date=None, deadline=soon())
    assert anna.profile == Profile(
        phone="+79001234567",
        email="anna@example.com",
        first_name="Anna",
        surname="Schmidt",
        birth_date=date(1990, 2, 3),
        sex="f",
    )
    assert otto.customer_id == "K-2"
    assert anna.registered_at is not None
    assert anna.registered_at.utcoffset() is not None
    got = await crm.get("K-2", deadline=soon())
    assert got is not None
    assert got.profile.sex == "m"


async def test_people_are_registered_updated_and_asked_for_consent(
    crm: PostgresBackend, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    new = Profile(phone="+79005550000", email="Neu@example.com", first_name="Neu")
    assert await crm.register(new, idempotency_key="r1", deadline=soon()) == Written.done("K-3")
    assert await crm.register(new, idempotency_key="r1", deadline=soon()) == Written.refused(Refusal.CONFLICT)
    taken = await crm.update("K-3", Profile(email="ANNA@example.com"), deadline=soon())
    assert taken == Written.refused(Refusal.CONFLICT)
    assert await crm.update("K-3", Profile(email="b@example.com"), deadline=soon()) == Written.done("K-3")
    consents = ChannelConsents(frozenset({"sms", "push"}), frozenset({"call"}))
    assert await crm.set_consents("K-3", consents, deadline=soon()) == Written.done("K-3")
    assert await database.fetchval("SELECT werbung FROM kunden WHERE nr = 'K-3'") == ["push", "sms"]


async def test_further_columns_of_the_list_are_named_values(crm: PostgresBackend) -> None:
    (batch,) = [batch async for batch in crm.list_users()]
    assert [(listed.phone, dict(listed.params)) for listed in batch] == [
        ("+79001234567", {"level": "2", "active": "true"}),
        ("+79001234567", {"active": "true"}),
    ]


async def test_points_come_in_the_shape_of_the_model(crm: PostgresBackend) -> None:
    holder = Holder("1", "K-1", Profile(phone="+79001234567"))
    assert await crm.points_account(holder, deadline=soon()) == "K-1"
    assert await crm.coupons_account(holder, deadline=soon()) == "K-1"
    balance = await crm.balance("K-1", deadline=soon())
    assert (balance.total, type(balance.available)) == (Decimal(12), Decimal)
    with pytest.raises(AccountUnknown) as none_yet:
        await crm.balance("K-2", deadline=soon())
    assert none_yet.value.has_nothing
    may, start = await crm.entries("K-1", limit=5, deadline=soon())
    assert (may.valid_until, start.valid_until) == (date(2026, 1, 1), None)
    assert may.at == datetime(2025, 5, 1, 0, 30, tzinfo=ZONE)
    day = date(2025, 5, 18)
    (line,) = await crm.purchases("K-1", since=day, until=day, deadline=soon())
    assert (line.at, line.amount_kopecks) == (datetime(2025, 5, 18, tzinfo=ZONE), 19999)
    assert (line.quantity, line.location, line.bonuses) == (Decimal("1.5"), "", Decimal(0))


async def test_a_credit_counts_once(crm: PostgresBackend) -> None:
    receipt = FiscalReceipt("0001", "2", "3", 97588, datetime(2025, 5, 18, 22, 5, tzinfo=ZONE), 1)
    ends = await asyncio.gather(
        *(
            crm.credit("K-1", Credit(None, "Beleg", receipt), idempotency_key="op-1", deadline=soon())
            for _ in range(10)
        )
    )
    assert {(end.outcome, end.points, end.message) for end in ends} == {
        (Outcome.DONE, Decimal(9), "Danke: 9")
    }
    assert (await crm.balance("K-1", deadline=soon())).total == 21
    refused = await crm.credit("K-1", Credit(Decimal(-1), "x"), idempotency_key="op-2", deadline=soon())
    assert refused == Written.refused(Refusal.OTHER)
    nobody = await crm.credit("K-9", Credit(Decimal(1), "x"), idempotency_key="op-3", deadline=soon())
    assert nobody == Written.refused(Refusal.OTHER)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT NULL::int AS points", "its column points is null"),
        ("SELECT 'NaN'::numeric AS points", "its column points is no number"),
        ("SELECT -5 AS points", "its column points is negative"),
        ("SELECT 5 AS points FROM generate_series(1, 2)", "returned 2 rows, and one is read"),
        (
            "SELECT 5 AS points, 'okay' AS outcome",
            "its outcome is 'okay'; the words are done, other, conflict",
        ),
        (
            "SELECT 5 AS points, 'Anna 89161234567' AS outcome",
            'its outcome is of the shape "xxxx 99999999999"',
        ),
        ("SELECT 5 AS points, NULL AS outcome", "its outcome is null"),
    ],
)
async def test_what_cannot_be_read_of_a_credit_is_never_done(
    fresh_database: str, database: asyncpg.Connection[asyncpg.Record], tmp_path: Path, sql: str, says: str
) -> None:
    """A doubt with its reason: the file, what it returned, and what it may return."""
    where = "WHERE :account <> '' AND :idempotency_key <> '' AND :points > 0"
    (tmp_path / "points_credit.sql").write_text(f"SELECT * FROM ({sql}) AS told {where}", encoding="utf-8")
    settings = PostgresSettings(url=SecretStr(fresh_database), sql_dir=tmp_path)
    driver = PostgresBackend(settings, BackendContext("", None, ZONE, "RU"))
    await driver.open()
    written = await driver.credit("K-1", Credit(Decimal(5), "x"), idempotency_key="k", deadline=soon())
    await driver.close()
    assert written == Written.unknown()
    assert "points_credit.sql: " in (written.reason or "")
    assert says in (written.reason or "")


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("points_account", "SELECT nr AS account FROM kunden WHERE :users_reference <> ''"),
        ("coupons_account", "SELECT nr AS account FROM kunden WHERE :users_reference <> ''"),
        ("points_balance", "SELECT n AS total, n AS available "
         "FROM generate_series(1, 2) AS n WHERE :account <> ''"),
        ("users_get", f"{CUSTOMER} WHERE :customer <> ''"),
        ("users_find_by_card", "SELECT 'active' AS state, nr AS reference, '' AS phone FROM kunden "
         "WHERE :number <> ''"),
    ],
)  # fmt: skip
async def test_of_several_rows_where_one_is_meant_none_is_taken(
    fresh_database: str,
    database: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
    name: str,
    sql: str,
) -> None:
    (tmp_path / f"{name}.sql").write_text(sql, encoding="utf-8")
    settings = PostgresSettings(url=SecretStr(fresh_database), sql_dir=tmp_path)
    driver = PostgresBackend(settings, BackendContext("", None, ZONE, "RU"))
    await driver.open()
    holder = Holder("1", "K-1", Profile(phone="+79001234567"))
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "points_account": lambda: driver.points_account(holder, deadline=soon()),
        "coupons_account": lambda: driver.coupons_account(holder, deadline=soon()),
        "points_balance": lambda: driver.balance("K-1", deadline=soon()),
        "users_get": lambda: driver.get("K-1", deadline=soon()),
        "users_find_by_card": lambda: driver.find_by_card("1", deadline=soon()),
    }
    with pytest.raises(BackendMisconfigured, match=rf"{name}\.sql: returned 2 rows that differ"):
        await asked[name]()
    await driver.close()


async def test_coupons_are_given_listed_and_used(
    crm: PostgresBackend, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    for _ in range(2):
        assert await crm.issue("K-1", "Besuch", idempotency_key="op-1", deadline=soon()) == Written.done(
            "op-1"
        )
    (offer,) = await crm.offers("K-1", deadline=soon())
    assert (offer.title, offer.offer_id, offer.valid_until, offer.code) == ("Besuch", "op-1", None, None)
    used = await crm.redeem("K-1", "hallo", idempotency_key="op-2", deadline=soon())
    assert used == Written.done(points=Decimal("12.5"))
    unknown = await crm.redeem("K-1", "nix", idempotency_key="op-3", deadline=soon())
    assert unknown == Written.refused(Refusal.CODE_UNKNOWN)
    await database.execute("INSERT INTO codes VALUES ('ALT', 0), ('TOR', 0)")
    expired = await crm.redeem("K-1", "alt", idempotency_key="op-4", deadline=soon())
    assert expired == Written.refused(Refusal.CODE_EXPIRED)
    assert (await crm.redeem("K-1", "tor", idempotency_key="op-5", deadline=soon())) == Written.unknown()


async def test_a_null_where_a_value_must_be_names_file_and_column(
    crm: PostgresBackend, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute("UPDATE buchungen SET am = NULL")
    with pytest.raises(BackendMisconfigured, match=r"points_entries\.sql: the column at is null"):
        await crm.entries("K-1", limit=5, deadline=soon())


async def test_the_example_of_the_readme_fits_the_tables_it_speaks_of(
    fresh_database: str, tmp_path: Path
) -> None:
    text = (Path(postgres.__file__).parent / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"`sql/(\w+)\.sql`\n```sql\n(.*?)```", text, re.DOTALL)
    for name, sql in examples:
        (tmp_path / f"{name}.sql").write_text(sql, encoding="utf-8")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(
        "CREATE SCHEMA shop; CREATE TABLE shop.clients (client_no text, tel text, mail text, born date);"
        "CREATE TABLE shop.moves (client_no text, points numeric(14, 2), note text, doc text UNIQUE);"
        "INSERT INTO shop.clients VALUES ('7', '79001234567', 'A@example.com', '1990-02-03')"
    )
    await connection.close()
    settings = PostgresSettings(url=SecretStr(fresh_database), sql_dir=tmp_path, statement_timeout=20)
    crm = PostgresBackend(settings, BackendContext("", None, ZONE, "RU"))
    await crm.open()
    (anna,) = await crm.find(phone="+79001234567", email="a@EXAMPLE.com", birth_date=None, deadline=soon())
    assert (anna.customer_id, anna.profile.phone) == ("7", "+79001234567")
    taken = Written.refused(Refusal.KEY_TAKEN)
    done = Written.done(points=Decimal("5.13"))
    receipt = FiscalReceipt("0001", "2", "3", 97588, datetime(2025, 5, 18, 22, 5, tzinfo=ZONE), 1)
    for account, asked, expected in (
        ("7", Decimal("5.125"), done),
        ("7", Decimal("5.125"), done),
        ("7", Decimal(6), taken),
        ("8", Decimal("5.125"), taken),
        ("7", None, done),
    ):
        end = await crm.credit(account, Credit(asked, "x", receipt), idempotency_key="OP1", deadline=soon())
        assert end == expected
    for _ in range(2):
        end = await crm.credit("7", Credit(None, "x", receipt), idempotency_key="OP2", deadline=soon())
        assert end == Written.done(points=Decimal(9))
    await crm.close()
    assert [name for name, _ in examples] == ["users_find", "points_credit"]
