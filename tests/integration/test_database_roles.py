"""Least rights: an owner's role makes the tables, the service's role reads and writes alone.

The roles are real ones of the server; what they may not do, PostgreSQL refuses.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

import crm_backends.postgres
from adapter.store import migrate as migrating
from adapter.store.migrate import SchemaUnfit, latest_version, migrate, schema_version
from adapter.store.queue import queries
from crm_backends.postgres.database import SCHEMA_VERSION
from tests.faults.proxy import Proxy
from tests.integration.conftest import new_phone
from tests.integration.processes import PASSWORD, Ended, Running, call, free_ports, run

OWNER, SERVICE = "roles_owner", "roles-service"
"""The second one has to be quoted."""


@dataclass(frozen=True)
class Roles:
    """A database without tables, a role that may make them, and one that may do nothing yet."""

    database: str
    owner: str
    service: str


@pytest.fixture
async def roles(fresh_database: str) -> AsyncIterator[Roles]:
    name = urlsplit(fresh_database).path.removeprefix("/")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(
        f'CREATE ROLE {OWNER} LOGIN; CREATE ROLE "{SERVICE}" LOGIN; '
        f"GRANT CREATE ON DATABASE {name} TO {OWNER}"
    )
    try:
        yield Roles(
            fresh_database,
            fresh_database.replace("://postgres:", f"://{OWNER}:"),
            fresh_database.replace("://postgres:", f"://{SERVICE}:"),
        )
    finally:
        await connection.execute(f'DROP OWNED BY {OWNER}, "{SERVICE}"; DROP ROLE {OWNER}, "{SERVICE}"')
        await connection.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def settings(folder: Path, url: str, port: int = 8080, more: str = "") -> None:
    (folder / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{url}"\n[server]\nport = {port}\n'
        f'[management]\nenabled = false\n[[cards.ranges]]\nprefix = "2900"\n{more}',
        encoding="utf-8",
    )


def prepare(folder: Path, roles: Roles, *arguments: str) -> Ended:
    (folder / "owner-url").write_text(roles.owner, encoding="utf-8")
    return run("database", "prepare", "--owner-url-file", "owner-url", *arguments, cwd=folder, timeout=60)


async def granted(folder: Path, roles: Roles) -> list[str]:
    """Tables made by the owner, and the rights given that were printed; returns the statements."""
    settings(folder, roles.service)
    done = await asyncio.to_thread(prepare, folder, roles)
    assert done.status == 0, done.text
    statements = [line for line in done.out.splitlines() if not line.startswith("--")]
    async with connected(roles.database) as connection:
        for statement in statements:
            await connection.execute(statement)
    return statements


def line_of(found: Ended, subject: str) -> dict[str, str]:
    (one,) = [line for line in map(json.loads, found.out.splitlines()) if line["subject"] == subject]
    return dict(one)


async def test_what_prepare_prints_is_all_that_the_services_role_needs(tmp_path: Path, roles: Roles) -> None:
    statements = await granted(tmp_path, roles)
    assert all(statement.startswith("GRANT ") for statement in statements)
    assert all(statement.endswith(f'TO "{SERVICE}";') for statement in statements)
    done = await asyncio.to_thread(prepare, tmp_path, roles)
    assert f"-- {SERVICE} has every right it needs" in done.out
    assert "GRANT" not in done.out
    checked = await asyncio.to_thread(run, "check", "--json", cwd=tmp_path)
    assert checked.status == 0, checked.text
    rights = line_of(checked, "rights")
    assert (rights["state"], rights["detail"]) == (
        "ok",
        f'"{SERVICE}" may read and write the adapter\'s tables',
    )
    async with connected(roles.service) as connection:
        for statement in (
            "CREATE TABLE koshelek.other ()",
            "ALTER TABLE koshelek.cards ADD COLUMN other int",
            "DROP TABLE koshelek.consents",
            "TRUNCATE koshelek.operations",
            "CREATE TABLE crm.other ()",
            "CREATE SCHEMA other",
            "UPDATE koshelek.schema_version SET version = 1",
            "DELETE FROM koshelek.console_audit",
            "DELETE FROM koshelek.card_events",
            "DELETE FROM koshelek.operation_events",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_serve_and_worker_work_with_a_role_that_may_change_no_table(
    tmp_path: Path, roles: Roles
) -> None:
    await granted(tmp_path, roles)
    (port,) = free_ports(1)
    settings(tmp_path, roles.service, port, "[delivery]\nin_process = false\n")
    phone = new_phone()

    def use() -> None:
        with (
            Running("serve", cwd=tmp_path, name="serve") as serve,
            Running("worker", cwd=tmp_path, name="worker") as worker,
        ):
            serve.wait_for('"ready"')
            worker.wait_for('"delivering"')
            card = call(port, "POST", "/v1/card/anonymous", {"phone": phone}).json["card"]["cardNumber"]
            receipt = "t={}&s=1000.00&fn=8710000101125654&i=77&fp=1250448795&n=1"
            answer = call(
                port,
                "POST",
                "/v1/promo/qrCode",
                {"qrCode": receipt.format(_an_hour_ago()), "cardNumber": card},
            )
            assert answer.status == 200, answer.raw
            until = time.monotonic() + 15
            while call(port, "GET", f"/v1/card/{card}").json["card"]["bonus"]["total"] == "0":
                assert time.monotonic() < until, worker.out
                time.sleep(0.1)
            consents = call(port, "PUT", f"/v1/card/{card}/communication", {"allow": ["sms"], "deny": []})
            assert consents.status == 200

    await asyncio.to_thread(use)
    csv = tmp_path / "numbers.csv"
    csv.write_text("number\n4600000000017\n", encoding="utf-8")
    done = await asyncio.to_thread(run, "cards", "import", "numbers.csv", cwd=tmp_path)
    assert done.status == 0, done.text


def _an_hour_ago() -> str:
    return f"{datetime.now(ZoneInfo('Europe/Moscow')) - timedelta(hours=1):%Y%m%dT%H%M}"


async def test_prepare_takes_back_what_an_older_version_gave(tmp_path: Path, roles: Roles) -> None:
    await granted(tmp_path, roles)
    async with connected(roles.owner) as connection:
        await connection.execute(f'GRANT DELETE ON koshelek.console_audit TO "{SERVICE}"')
    taken = f'REVOKE DELETE ON TABLE koshelek.console_audit FROM "{SERVICE}";'
    done = await asyncio.to_thread(prepare, tmp_path, roles)
    assert taken in done.out.splitlines(), done.text
    done = await asyncio.to_thread(prepare, tmp_path, roles, "--grant")
    assert taken in done.out.splitlines(), done.text
    assert "REVOKE" not in (await asyncio.to_thread(prepare, tmp_path, roles)).out
    async with connected(roles.service) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM koshelek.console_audit")


async def test_prepare_leaves_a_database_that_the_service_does_not_use(tmp_path: Path, roles: Roles) -> None:
    name = urlsplit(roles.service).path.removeprefix("/")
    settings(tmp_path, roles.service.replace(f"/{name}", f"/{name}_restored"))
    done = await asyncio.to_thread(prepare, tmp_path, roles)
    assert done.status == 1, done.text
    assert f"leads to the database {name} on " in done.err
    assert f"database.url to the database {name}_restored on " in done.err
    assert OWNER not in done.text
    async with connected(roles.database) as connection:
        assert not await connection.fetchval("SELECT to_regnamespace('koshelek') IS NOT NULL")
    settings(tmp_path, roles.service)
    done = await asyncio.to_thread(prepare, tmp_path, roles)
    assert done.out.startswith(f"-- the database {name} on "), done.text


async def test_prepare_gives_the_rights_itself_when_asked(tmp_path: Path, roles: Roles) -> None:
    settings(tmp_path, roles.owner)  # as a job that has the owner's URL alone
    done = await asyncio.to_thread(run, "database", "prepare", "--role", SERVICE, "--grant", cwd=tmp_path)
    assert done.status == 0, done.text
    settings(tmp_path, roles.service)
    done = await asyncio.to_thread(run, "check", cwd=tmp_path)
    assert done.status == 0, done.text


async def test_prepare_names_a_role_that_is_not_there(tmp_path: Path, roles: Roles) -> None:
    settings(tmp_path, roles.owner)
    done = await asyncio.to_thread(run, "database", "prepare", "--role", "nobody", cwd=tmp_path)
    assert done.status == 1
    assert "there is no role nobody" in done.err
    assert "CREATE ROLE" in done.err


async def test_without_tables_or_rights_the_service_says_who_has_to_prepare(
    tmp_path: Path, roles: Roles
) -> None:
    settings(tmp_path, roles.service)
    done = await asyncio.to_thread(run, "serve", cwd=tmp_path)
    assert done.status == 1
    assert "no tables of the adapter" in done.err
    assert "database prepare" in done.err
    await migrate(roles.owner)
    done = await asyncio.to_thread(run, "serve", cwd=tmp_path)
    assert done.status == 1
    assert f"belongs to the role {OWNER}, and the user of database.url may not use it" in done.err


async def test_behind_the_schema_the_service_says_who_has_to_prepare(
    tmp_path: Path, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = migrating.migrations()[:-1]
    with monkeypatch.context() as patched:
        patched.setattr("adapter.store.migrate.migrations", lambda: before)
        await migrate(roles.owner)
    async with connected(roles.database) as connection:
        await connection.execute(
            f'GRANT USAGE ON SCHEMA koshelek TO "{SERVICE}"; '
            f'GRANT SELECT ON ALL TABLES IN SCHEMA koshelek TO "{SERVICE}"'
        )
    with pytest.raises(SchemaUnfit, match="may not change its tables, which are of an older version"):
        await migrate(roles.service)


async def test_check_tells_of_rights_that_lack_and_of_those_that_are_too_many(
    tmp_path: Path, roles: Roles
) -> None:
    await granted(tmp_path, roles)
    async with connected(roles.database) as connection:
        await connection.execute(f'REVOKE UPDATE, DELETE ON koshelek.cards FROM "{SERVICE}"')
        lacking = line_of(await asyncio.to_thread(run, "check", "--json", cwd=tmp_path), "rights")
        assert lacking["state"] == "fail"
        assert lacking["remedy"] == f'GRANT UPDATE, DELETE ON TABLE koshelek.cards TO "{SERVICE}";'
        await connection.execute(lacking["remedy"])
        await connection.execute(f'GRANT CREATE ON SCHEMA koshelek TO "{SERVICE}"')
    more = line_of(await asyncio.to_thread(run, "check", "--json", cwd=tmp_path), "rights")
    assert (more["state"], more["detail"]) == (
        "warn",
        f'"{SERVICE}" may do more than serve and worker need: may make tables',
    )
    settings(tmp_path, roles.owner)
    more = line_of(await asyncio.to_thread(run, "check", "--json", cwd=tmp_path), "rights")
    assert more["state"] == "warn"
    assert more["detail"].endswith("owns tables, may make tables, may make schemas")
    settings(tmp_path, roles.database)
    more = line_of(await asyncio.to_thread(run, "check", "--json", cwd=tmp_path), "rights")
    assert more["detail"].endswith("is a superuser")


# -- versions ------------------------------------------------------------------------------------------


async def _planned(url: str) -> list[str]:
    async with connected(url) as connection:
        return list((await queries(AsyncpgDriver(connection)).plan_upgrade()).statements)


async def test_an_older_programs_queue_library_leaves_the_tables_of_a_newer_one(database: str) -> None:
    async with connected(database) as connection:
        await connection.execute("ALTER TABLE koshelek.pgqueuer ALTER COLUMN priority SET DEFAULT 7")
        assert await _planned(database)  # what our library would take back
        await connection.execute("COMMENT ON SCHEMA koshelek IS 'pgqueuer 99.0.1'")
        await migrate(database)
        assert await _planned(database)
        await connection.execute("COMMENT ON SCHEMA koshelek IS 'pgqueuer 1.5.9'")
        await migrate(database)
        assert not await _planned(database)


async def test_tables_made_by_this_queue_library_are_not_compared_at_every_start(database: str) -> None:
    async with connected(database) as connection:
        await connection.execute("ALTER TABLE koshelek.pgqueuer ALTER COLUMN priority SET DEFAULT 7")
        await migrate(database)
        assert await _planned(database)


async def test_an_older_program_starts_beside_newer_tables_where_they_allow_it(database: str) -> None:
    newest = latest_version() + 1
    async with connected(database) as connection:
        await connection.execute(
            "INSERT INTO koshelek.schema_version (version, name, runs_from) VALUES ($1, 'later', $2)",
            newest,
            latest_version(),
        )
        assert await migrate(database) == (newest, newest)
        await connection.execute(
            "UPDATE koshelek.schema_version SET runs_from = NULL WHERE version = $1", newest
        )
        with pytest.raises(SchemaUnfit, match="install the newer version"):
            await migrate(database)
        assert await schema_version(connection) == newest


async def test_an_older_program_leaves_newer_tables_of_the_crm(tmp_path: Path, database: str) -> None:
    settings(tmp_path, database)
    done = await asyncio.to_thread(run, "database", "prepare", cwd=tmp_path)
    assert done.status == 0, done.text
    mark = "SELECT obj_description('crm'::regnamespace)"
    newer = f"koshelek-adapter schema {SCHEMA_VERSION + 1}"
    async with connected(database) as connection:
        assert await connection.fetchval(mark) == f"koshelek-adapter schema {SCHEMA_VERSION}"
        await connection.execute(f"COMMENT ON SCHEMA crm IS '{newer}'")
        done = await asyncio.to_thread(run, "database", "prepare", cwd=tmp_path)
        assert done.status == 0, done.text
        assert await connection.fetchval(mark) == newer


def test_the_crms_schema_has_a_new_number_when_it_is_changed() -> None:
    """The number alone tells an older schema from a newer one: raise it with every change of the file."""
    text = Path(crm_backends.postgres.__file__).with_name("schema.sql").read_bytes()
    assert (SCHEMA_VERSION, hashlib.sha256(text).hexdigest()[:16]) == (3, "f9bf35128d899495")


# -- the line to the database ----------------------------------------------------------------------------


async def test_an_open_line_to_another_machine_is_told(tmp_path: Path, database: str) -> None:
    (folder,) = parse_qs(urlsplit(database).query)["host"]
    async with Proxy(Path(f"{folder}/.s.PGSQL.5432")).running() as proxy:
        # An address of this machine that does not look like one.
        url = f"postgresql://postgres@0.0.0.0:{proxy.port}{urlsplit(database).path}"
        settings(tmp_path, url)
        line = line_of(await asyncio.to_thread(run, "check", "--json", cwd=tmp_path), "database line")
    assert line["state"] == "warn"
    assert "not encrypted" in line["detail"]
    assert "sslmode=verify-full" in line["remedy"]
