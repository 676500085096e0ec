"""What the PostgreSQL driver finds wrong beforehand, and what it reports when things break midway."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from pydantic import SecretStr

from crm_backends.model import Credit, Profile
from crm_backends.ports import (
    AccountUnknown,
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Finding,
    Outcome,
    Refusal,
    Written,
)
from crm_backends.postgres import PostgresSettings
from crm_backends.postgres.driver import PostgresBackend
from crm_backends.postgres.operations import SQL_OPERATIONS
from crm_backends.registry import BackendContext

PHONE = "+79001234567"
FIVE = Credit(Decimal(5), "five")
SLOW_CREDIT = """
INSERT INTO crm.points_ledger (customer_id, amount, remaining, description, reference)
SELECT :account::bigint, :points, :points, :description, :idempotency_key FROM pg_sleep({seconds})
RETURNING amount AS points
"""
Make = Callable[..., PostgresBackend]


def soon() -> Deadline:
    return Deadline.after(20)


@pytest.fixture
async def make(fresh_database: str, tmp_path: Path) -> AsyncIterator[Make]:
    """Build a driver with its own pool over the own schema, with the given SQL files replaced."""
    made: list[PostgresBackend] = []

    def build(
        url: str = fresh_database, *, timeout: float = 20, pooler: bool = False, **files: str
    ) -> PostgresBackend:
        for name, sql in files.items():
            (tmp_path / f"{name}.sql").write_text(sql, encoding="utf-8")
        settings = PostgresSettings(
            url=SecretStr(url), sql_dir=tmp_path, manage_schema=True, statement_timeout=timeout, pooler=pooler
        )
        driver = PostgresBackend(settings, BackendContext("", None, ZoneInfo("Europe/Moscow"), "RU"))
        made.append(driver)
        return driver

    yield build
    for driver in made:
        await driver.close()


@pytest.fixture
async def admin(fresh_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(fresh_database)
    yield connection
    await connection.close()


async def opened(driver: PostgresBackend) -> str:
    """Open a driver and register somebody; the reference."""
    await driver.open()
    written = await driver.register(Profile(phone=PHONE), idempotency_key="r", deadline=soon())
    assert written.crm_reference
    return written.crm_reference


def bad(findings: object) -> list[Finding]:
    assert isinstance(findings, list)
    return [finding for finding in findings if not finding.ok]


# -- check ---------------------------------------------------------------------------------------------


async def test_check_says_per_file_what_does_not_fit(make: Make) -> None:
    driver = make(
        user_get="SELECT 1",
        users_find="SELECT id AS reference, phone FROM crm.customers WHERE phone = :msisdn OR email = :mail",
        users_get="SELECT id AS referenz, phone FROM crm.customers WHERE id = :customer::bigint",
        points_balance="SELECT sum(remaining) AS total, 'x' AS available FROM crm.points_ledger",
        points_entries="SELECT amount, description, created AS at FROM crm.points_ledger",
        coupons_offers="SELECT id AS reference, title FROM angebote WHERE :account <> ''",
        coupons_redeem="SELEKT",
    )
    await driver.open()
    findings = await driver.check()
    said = {Path(finding.subject).name: f"{finding.detail} | {finding.remedy}" for finding in bad(findings)}
    assert said["user_get.sql"] == "is not the name of an operation | did you mean users_get.sql?"
    assert "uses :msisdn, which this operation does not supply" in said["users_find.sql"]
    assert "returns no column reference" in said["users_get.sql"]
    assert "is it the column referenz?" in said["users_get.sql"]
    assert "returns the column available as text | return numeric" in said["points_balance.sql"]
    assert 'SQLSTATE 42703): "created" does not exist' in said["points_entries.sql"]
    assert 'SQLSTATE 42P01): "angebote" does not exist' in said["coupons_offers.sql"]
    assert "SQLSTATE 42601" in said["coupons_redeem.sql"]
    assert [finding.detail for finding in findings if finding.ok][1] == "9 of 15 fit and may be executed"


async def test_check_works_before_open_and_changes_nothing(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    driver = make()
    findings = await driver.check()
    assert findings[0].ok
    assert findings[0].detail.startswith("connected to ")
    (missing,) = bad(findings)  # one cause, one line
    assert missing.subject == "17 files"
    assert '"crm.customers" does not exist in this database' in missing.detail
    assert "users_find.sql, users_get.sql" in missing.detail
    assert "see that url leads to the right database" in missing.remedy
    assert await admin.fetchval("SELECT to_regnamespace('crm')") is None


async def test_a_file_of_ours_among_theirs_is_called_ours(
    fresh_database: str, admin: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    for name in SQL_OPERATIONS:
        if name != "points_entries":
            (tmp_path / f"{name}.sql").write_text("-- unsupported\n", encoding="utf-8")
    settings = PostgresSettings(url=SecretStr(fresh_database), sql_dir=tmp_path)
    driver = PostgresBackend(settings, BackendContext("", None, ZoneInfo("Europe/Moscow"), "RU"))
    said = {Path(one.subject).name: one for one in bad(await driver.check())}
    ours = said["points_entries.sql"]
    assert "the adapter's own SQL is used where sql_dir has no file of that name" in ours.detail
    assert "them there with the line -- unsupported: why" in ours.remedy


async def test_check_says_where_it_is_connected(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """As the server tells it: a variable of the environment may lead elsewhere than the URL says."""
    name = await admin.fetchval("SELECT current_database()")
    port = await admin.fetchval("SELECT current_setting('port')")
    (first, *_) = await make().check()
    assert first.detail.startswith(f"connected to {name} on port {port} of ")
    assert " as postgres, PostgreSQL 1" in first.detail


async def test_check_of_a_database_that_is_down_says_so(make: Make) -> None:
    (finding,) = await make("postgresql://u:secret@127.0.0.1:1/x").check()
    assert not finding.ok
    assert finding.detail == "nothing listens on 127.0.0.1:1"
    assert "start PostgreSQL there, or correct host and port in url" in finding.remedy
    assert "secret" not in str(finding)


async def test_a_file_that_does_not_fit_stops_its_operation_before_anything_is_sent(make: Make) -> None:
    driver = make(
        users_get="SELECT 1 AS x WHERE :kunde = ''",
        points_credit="UPDATE crm.customers SET surname = 'changed' RETURNING 1 AS punkte",
    )
    account = await opened(driver)
    with pytest.raises(BackendMisconfigured, match=r"users_get\.sql: uses :kunde"):
        await driver.get(account, deadline=soon())
    with pytest.raises(BackendMisconfigured, match=r"points_credit\.sql: returns no column points"):
        await driver.credit(account, FIVE, idempotency_key="op", deadline=soon())
    (found,) = await driver.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
    assert found.profile.surname is None


async def test_a_misnamed_file_stops_everything(make: Make) -> None:
    driver = make(user_find="SELECT 1")
    await driver.open()
    with pytest.raises(BackendMisconfigured, match=r"did you mean users_find\.sql"):
        await driver.get("1", deadline=soon())


# -- no connection -------------------------------------------------------------------------------------


async def test_a_database_that_is_down_fails_no_start_and_nothing_is_sent(make: Make) -> None:
    driver = make("postgresql://u:p@127.0.0.1:1/x")
    await driver.open()
    with pytest.raises(BackendUnavailable):
        await driver.balance("1", deadline=soon())
    with pytest.raises(BackendUnavailable):
        await anext(driver.list_phones())
    assert await driver.credit("1", FIVE, idempotency_key="op", deadline=soon()) == Written.not_sent()


async def test_a_refusal_by_no_row_and_a_database_that_is_away_say_why(make: Make) -> None:
    away = make("postgresql://u:p@127.0.0.1:1/x")
    written = await away.credit("1", FIVE, idempotency_key="op", deadline=soon())
    assert written == Written.not_sent()
    assert written.reason
    driver = make()
    await driver.open()
    written = await driver.credit("999", FIVE, idempotency_key="op", deadline=soon())
    assert written == Written.refused(Refusal.NO_SUCH_CUSTOMER)
    assert written.reason == "points_credit.sql: returned no row, which means no_such_customer"


async def test_a_driver_that_was_not_opened_or_has_no_time_sends_nothing(make: Make) -> None:
    driver = make()
    assert await driver.credit("1", FIVE, idempotency_key="op", deadline=soon()) == Written.not_sent()
    account = await opened(driver)
    assert (
        await driver.credit(account, FIVE, idempotency_key="op", deadline=Deadline.after(0))
        == Written.not_sent()
    )
    with pytest.raises(BackendUnavailable, match="no time left"):
        await driver.balance(account, deadline=Deadline.after(0))


async def test_a_full_pool_is_not_sent(fresh_database: str, make: Make) -> None:
    settings = PostgresSettings(
        url=SecretStr(fresh_database), manage_schema=True, pool_size=1, statement_timeout=20
    )
    driver = PostgresBackend(settings, BackendContext("", None, ZoneInfo("UTC"), "RU"))
    account = await opened(driver)
    listing = driver.list_phones()
    await anext(listing)
    assert (
        await driver.credit(account, FIVE, idempotency_key="o", deadline=Deadline.after(0.2))
        == Written.not_sent()
    )
    await listing.aclose()  # type: ignore[attr-defined]
    assert (await driver.credit(account, FIVE, idempotency_key="o", deadline=soon())).outcome is Outcome.DONE
    await driver.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://u:planted@127.0.0.1:9/x?target_session_attrs=planted", BackendMisconfigured),
        ("postgresql://u:planted@nowhere.invalid/x", BackendUnavailable),
    ],
)
async def test_a_wrong_url_is_told_without_its_text(make: Make, url: str, kind: type[BackendError]) -> None:
    driver = make(url)
    await driver.open()
    with pytest.raises(kind) as caught:
        await driver.balance("1", deadline=soon())
    assert "planted" not in "".join(traceback.format_exception(caught.value))


async def test_an_unknown_role_is_a_matter_of_credentials(
    make: Make, fresh_database: str, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    await admin.execute("DROP ROLE IF EXISTS locked_out; CREATE ROLE locked_out NOLOGIN")
    parts = urlsplit(fresh_database)
    driver = make(parts._replace(netloc=f"locked_out:p@{parts.netloc.rpartition('@')[2]}").geturl())
    await driver.open()
    with pytest.raises(BackendCredentials):
        await driver.balance("1", deadline=soon())
    assert await driver.credit("1", FIVE, idempotency_key="op", deadline=soon()) == Written.not_sent()
    await admin.execute("DROP ROLE locked_out")


async def test_the_schema_is_made_by_the_first_call_when_the_start_could_not(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    driver = make()
    await admin.execute("CREATE SCHEMA crm; CREATE VIEW crm.customers AS SELECT 1 AS x")
    await driver.open()
    with pytest.raises(BackendMisconfigured, match=r"schema\.sql"):
        await driver.balance("1", deadline=soon())
    await admin.execute("DROP SCHEMA crm CASCADE")
    with pytest.raises(AccountUnknown):
        await driver.balance("1", deadline=soon())


# -- broken midway -------------------------------------------------------------------------------------


async def _until_sleeping(admin: asyncpg.Connection[asyncpg.Record]) -> int:
    """The process of the statement that sleeps."""
    while True:
        pid = await admin.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        )
        if isinstance(pid, int):
            return pid
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("pooler", [False, True])
async def test_a_write_whose_server_process_ends_is_unknown(
    make: Make, admin: asyncpg.Connection[asyncpg.Record], pooler: bool
) -> None:
    driver = make(points_credit=SLOW_CREDIT.format(seconds=30), pooler=pooler)
    account = await opened(driver)
    write = asyncio.create_task(driver.credit(account, FIVE, idempotency_key="op", deadline=soon()))
    await admin.execute("SELECT pg_terminate_backend($1)", await _until_sleeping(admin))
    assert await write == Written.unknown()
    assert (await driver.balance(account, deadline=soon())).total == 0


async def test_a_write_the_server_cancelled_was_not_sent(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    driver = make(points_credit=SLOW_CREDIT.format(seconds=30))
    account = await opened(driver)
    write = asyncio.create_task(driver.credit(account, FIVE, idempotency_key="op", deadline=soon()))
    await admin.execute("SELECT pg_cancel_backend($1)", await _until_sleeping(admin))
    assert await write == Written.not_sent()


@pytest.mark.parametrize("pooler", [False, True])
async def test_a_write_that_takes_too_long_is_unknown_and_the_driver_goes_on(
    make: Make, pooler: bool
) -> None:
    driver = make(points_credit=SLOW_CREDIT.format(seconds=30), pooler=pooler)
    account = await opened(driver)
    assert (
        await driver.credit(account, FIVE, idempotency_key="op", deadline=Deadline.after(0.5))
        == Written.unknown()
    )
    assert (await driver.balance(account, deadline=soon())).total == 0


async def test_a_read_that_is_cut_off_is_unavailable(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    driver = make(points_balance="SELECT 1 AS total, 1 AS available FROM pg_sleep(30) WHERE :account <> ''")
    await driver.open()
    read = asyncio.create_task(driver.balance("1", deadline=soon()))
    await admin.execute("SELECT pg_terminate_backend($1)", await _until_sleeping(admin))
    with pytest.raises(BackendUnavailable, match="no answer from the database"):
        await read
    with pytest.raises(BackendUnavailable, match="TimeoutError"):
        await driver.balance("1", deadline=Deadline.after(0.3))


@contextlib.asynccontextmanager
async def _wire(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A TCP relay to the server: its URL, and the scissors."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
    port = int(query.get("port", [str(parts.port or 5432)])[0])
    writers: list[asyncio.StreamWriter] = []
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if host.startswith("/"):
            up_reader, up_writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            up_reader, up_writer = await asyncio.open_connection(host, port)
        writers.extend((writer, up_writer))
        pumps.update(
            (asyncio.create_task(pump(reader, up_writer)), asyncio.create_task(pump(up_reader, writer)))
        )

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    credentials = parts.netloc.rpartition("@")[0]
    where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()

    try:
        yield f"postgresql://{credentials}@{where}{parts.path}?sslmode=disable", cut
    finally:
        server.close()
        cut()
        await asyncio.gather(*pumps)
        await server.wait_closed()


async def test_a_write_whose_line_is_cut_is_unknown_and_settled_by_its_reference(
    make: Make, fresh_database: str, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    slow = (Path(__file__).parents[2] / "crm_backends/postgres/sql/points_credit.sql").read_text(
        encoding="utf-8"
    )
    slow = slow.replace("AS earned", "AS earned CROSS JOIN pg_sleep(0.6)")
    async with _wire(fresh_database) as (url, cut):
        driver = make(url, points_credit=slow)
        account = await opened(driver)
        write = asyncio.create_task(driver.credit(account, FIVE, idempotency_key="op", deadline=soon()))
        await _until_sleeping(admin)
        cut()
        assert await write == Written.unknown()
        # The server does not know yet, goes on and commits; the same reference waits for that.
        settled = await driver.credit(account, FIVE, idempotency_key="op", deadline=soon())
        assert (settled.outcome, settled.points) == (Outcome.DONE, Decimal(5))
        assert (await driver.balance(account, deadline=soon())).total == 5


async def test_an_idle_connection_the_server_closed_is_replaced(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    driver = make()
    account = await opened(driver)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    await asyncio.sleep(0.3)
    assert (await driver.credit(account, FIVE, idempotency_key="op", deadline=soon())).outcome is Outcome.DONE


async def test_a_reference_that_is_there_already_leaves_a_careless_statement_in_doubt(make: Make) -> None:
    driver = make(points_credit=SLOW_CREDIT.format(seconds=0))
    account = await opened(driver)
    assert (await driver.credit(account, FIVE, idempotency_key="op", deadline=soon())).outcome is Outcome.DONE
    assert await driver.credit(account, FIVE, idempotency_key="op", deadline=soon()) == Written.unknown()


async def test_a_table_that_goes_away_later_is_a_misfit_and_changes_nothing(
    make: Make, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    driver = make()
    account = await opened(driver)
    assert (await driver.credit(account, FIVE, idempotency_key="op", deadline=soon())).outcome is Outcome.DONE
    await admin.execute("ALTER TABLE crm.points_ledger RENAME TO elsewhere")
    with pytest.raises(BackendMisconfigured, match="42P01"):
        await driver.balance(account, deadline=soon())
    with pytest.raises(BackendMisconfigured, match="42P01"):
        await driver.credit(account, FIVE, idempotency_key="op-2", deadline=soon())


async def test_no_error_carries_a_value(make: Make) -> None:
    driver = make(
        users_get="SELECT :customer::date AS reference, 'x' AS phone",
        users_list_phones="SELECT '+7' || (1 / (length('planted') - 7)) AS phone",
    )
    await driver.open()
    with pytest.raises(BackendMisconfigured, match="SQLSTATE 22") as caught:
        await driver.get(PHONE, deadline=soon())
    assert PHONE not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(BackendMisconfigured, match="22012") as listed:
        await anext(driver.list_phones())
    assert "planted" not in "".join(traceback.format_exception(listed.value))
    refused = await driver.register(Profile(phone="planted"), idempotency_key="r", deadline=soon())
    assert refused == Written.refused(Refusal.OTHER)
