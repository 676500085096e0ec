"""Readiness tells the truth: every CRM by name, and loudly at the start; broken SQL files stop the start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapter.bootstrap import Service
from adapter.process.embedded import EmbeddedServer
from adapter.process.serving import deliver_until_stopped
from adapter.process.signals import STOPPING
from adapter.settings import Settings
from contracts.sandbox import perx
from contracts.sandbox import running as sandbox_running
from tests.integration.processes import LOGIN, PASSWORD, Running, free_ports, run
from tests.support.waiting import until

SECRET = "planted-crm-Passw0rd"


def write(folder: Path, database: str, more: str = "") -> None:
    (folder / "koshelek-adapter.toml").write_text(
        f'[koshelek]\nlogin = "{LOGIN}"\npassword = "{PASSWORD}"\n[database]\nurl = "{database}"\n'
        f'[[cards.ranges]]\nprefix = "2900"\n{more}',
        encoding="utf-8",
    )


def ready(management: int) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{management}/health/ready", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until_looked_at(management: int, port: str = "users", state: str | None = None) -> tuple[int, Any]:
    end = time.monotonic() + 30
    while True:
        status, told = ready(management)
        now = told["crm"][port]["state"]
        if now == state or (state is None and now != "not looked at yet"):
            return status, told
        assert time.monotonic() < end, told
        time.sleep(0.05)


@pytest.fixture
def ports() -> tuple[int, int]:
    port, management = free_ports(2)
    return port, management


def serve(folder: Path, ports: tuple[int, int], **sections: str) -> Running:
    environment = {"KOSHELEK_MANAGEMENT__PORT": str(ports[1])} | sections
    return Running("serve", "--port", str(ports[0]), cwd=folder, env=environment)


def test_every_crm_is_named(tmp_path: Path, database: str, ports: tuple[int, int]) -> None:
    write(tmp_path, database, '[crm.users]\ndriver = "postgres"\n[crm.coupons]\ndriver = "postgres"\n')
    with serve(tmp_path, ports) as serving:
        serving.wait_for('"ready"')
        status, told = until_looked_at(ports[1])
        assert (status, told["status"], told["database"]) == (200, "ready", "ok")
        assert {port: crm["state"] for port, crm in told["crm"].items()} == {
            "users": "ok",
            "points": "none",
            "coupons": "ok",
        }
        assert told["crm"]["users"]["driver"] == "postgres"
        assert "since" in told["crm"]["users"]
        assert run("healthcheck", "--port", str(ports[1]), cwd=tmp_path).out == "ready\n"


@pytest.fixture
async def refused_url(postgresql: EmbeddedServer, fresh_database: str) -> Any:
    """URL of a database that refuses the password in it; ``mend`` lets it in."""
    access = postgresql.data / "pg_hba.conf"
    before = access.read_text(encoding="utf-8")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("CREATE ROLE refused LOGIN SUPERUSER PASSWORD 'another'")
    access.write_text("local all refused scram-sha-256\n" + before, encoding="utf-8")
    await connection.execute("SELECT pg_reload_conf()")
    yield fresh_database.replace("://postgres:@", f"://refused:{SECRET}@"), connection
    access.write_text(before, encoding="utf-8")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("DROP OWNED BY refused CASCADE")
    await connection.execute("DROP ROLE refused")
    await connection.close()


async def test_a_crm_that_refuses_us_is_told_at_the_start_and_when_it_is_well_again(
    tmp_path: Path, database: str, ports: tuple[int, int], refused_url: Any
) -> None:
    url, connection = refused_url
    write(tmp_path, database, f'[crm]\nurl = "{url}"\nmanage_schema = true\n')
    with serve(tmp_path, ports, KOSHELEK_MANAGEMENT__CRM_CHECK_EVERY="0.2") as serving:
        serving.wait_for('"crm_wrong"')
        (line,) = [line for line in serving.lines() if line["event"] == "crm_wrong"]
        assert line["level"] == "error"
        assert line["ports"] == ["users", "points", "coupons"]
        assert "refuses the user or the password" in line["reason"]
        assert "correct user and password in url" in line["remedy"]
        status, told = ready(ports[1])
        assert (status, told["status"]) == (200, "ready")
        assert told["crm"]["points"]["state"] == "wrong"
        assert told["crm"]["points"]["reason"] == line["reason"]
        await connection.execute(f"ALTER ROLE refused PASSWORD '{SECRET}'")
        serving.wait_for('"crm_well"')
        assert until_looked_at(ports[1], "points", "ok")[0] == 200
        assert len([line for line in serving.lines() if line["event"] == "crm_wrong"]) == 1  # said once
        assert SECRET not in serving.out + serving.err


def test_by_setting_the_adapter_is_not_ready_without_its_crm(
    tmp_path: Path, database: str, ports: tuple[int, int]
) -> None:
    (nobody,) = free_ports(1)
    write(
        tmp_path,
        database,
        f'[crm.points]\ndriver = "postgres"\nurl = "postgresql://u:{SECRET}@127.0.0.1:{nobody}/shop"\n',
    )
    with serve(tmp_path, ports, KOSHELEK_MANAGEMENT__READY_NEEDS_CRM="true") as serving:
        serving.wait_for('"ready"')  # it serves all the same: receipts are recorded
        status, told = until_looked_at(ports[1], "points")
        assert (status, told["status"]) == (503, "not ready")
        assert told["reason"].startswith("crm points: database: nothing listens on 127.0.0.1:")
        asked = run("healthcheck", "--port", str(ports[1]), cwd=tmp_path)
        assert asked.status == 1
        assert "crm points: database: nothing listens on" in asked.err


async def test_a_crm_over_http_that_refuses_us_is_told_too(
    tmp_path: Path, database: str, ports: tuple[int, int]
) -> None:
    async with sandbox_running("perx") as server:
        write(
            tmp_path,
            database,
            f'[crm.users]\ndriver = "perx"\nbase_url = "{server.base_url}"\nclient_id = "{perx.CLIENT_ID}"\n'
            f'client_secret = "{SECRET}"\nloyalty_program_id = 1\nidentifier_secret = "a secret of a test"\n',
        )
        with serve(tmp_path, ports) as serving:
            await asyncio.to_thread(serving.wait_for, '"crm_wrong"')
            status, told = await asyncio.to_thread(until_looked_at, ports[1])
            assert (status, told["crm"]["users"]["state"]) == (200, "wrong")
            assert told["crm"]["users"]["driver"] == "perx"
            assert SECRET not in serving.out + json.dumps(told)


_BROKEN = {
    "users_find": (
        "SELEC 1",
        "the database refuses it (PostgresSyntaxError, SQLSTATE 42601): "
        'syntax error at or near "SELEC" (line 2)',
    ),
    "users_get": ("SELECT id AS reference, phone FROM shop.clients", '"shop.clients" does not exist'),
    "points_balance": ("SELECT 1 AS total", "returns no column available"),
    "points_account": ("SELECT 1 AS account", "everybody's points would go to one account"),
    "points_entries": ("SELECT :acount", "did you mean :account?"),
    "points_balnce": ("SELECT 1", "did you mean points_balance.sql?"),
}


def test_a_file_that_computes_the_points_needs_the_setting_for_it(
    tmp_path: Path, database: str, ports: tuple[int, int]
) -> None:
    """Else every receipt would be held, for another amount than was asked for."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "points_credit.sql").write_text(
        "SELECT :total_kopecks / 10000 AS points WHERE :account <> :idempotency_key", encoding="utf-8"
    )
    settings = "[crm]\nsql_dir = 'sql'\nmanage_schema = true\n"
    write(tmp_path, database, settings)
    for done in (run("serve", "--port", str(*free_ports(1)), cwd=tmp_path), run("check", cwd=tmp_path)):
        assert done.status == 1
        assert "points_credit.sql: does not use :points" in done.text
        assert 'receipts.points_by = "crm"' in done.text
    write(tmp_path, database, f"[receipts]\npoints_by = 'crm'\n{settings}")
    with serve(tmp_path, ports) as serving:
        serving.wait_for('"ready"')


@pytest.mark.parametrize("name", _BROKEN)
def test_a_broken_sql_file_stops_the_start(name: str, tmp_path: Path, database: str) -> None:
    sql, says = _BROKEN[name]
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / f"{name}.sql").write_text(f"-- a file of the partner's\n{sql}\n", encoding="utf-8")
    write(tmp_path, database, "[management]\nenabled = false\n[crm]\nsql_dir = 'sql'\nmanage_schema = true\n")
    done = run("serve", "--port", str(*free_ports(1)), cwd=tmp_path)
    assert (done.status, '"ready"' in done.out) == (1, False)
    (line,) = done.err.splitlines()
    assert says in line
    assert f"sql/{name}.sql" in line
    assert "; " in line


def test_a_folder_that_is_not_there_stops_several_workers_once(tmp_path: Path, database: str) -> None:
    write(tmp_path, database, "[management]\nenabled = false\n[crm]\nsql_dir = 'absent'\n")
    done = run("serve", "--workers", "2", "--port", str(*free_ports(1)), cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    tried = f"{tmp_path / 'absent'} (relative paths count from the working directory)"
    assert done.err == f"error: {tried}: there is no such folder; correct sql_dir\n"


def test_what_a_port_needs_that_another_crm_serves_is_not_looked_at(
    tmp_path: Path, database: str, ports: tuple[int, int]
) -> None:
    """A partner who brings files for the users alone has no schema crm for the points."""
    (tmp_path / "sql").mkdir()
    person = "SELECT 'x' AS reference, :phone AS phone"
    for name, sql in {
        "users_find": f"{person} WHERE :email IS NULL",
        "users_get": "SELECT :customer AS reference, '+79000000000' AS phone",
        "users_register": f"{person}, :idempotency_key",
        "users_update": "SELECT :customer AS reference",
        "users_set_consents": "SELECT :customer AS reference WHERE :allow <> :deny",
        "users_list_phones": "SELECT '+79000000000' AS phone",
    }.items():
        (tmp_path / "sql" / f"{name}.sql").write_text(sql, encoding="utf-8")
    write(tmp_path, database, "[crm.users]\ndriver = 'postgres'\nsql_dir = 'sql'\n")
    with serve(tmp_path, ports) as serving:
        serving.wait_for('"ready"')
        assert until_looked_at(ports[1])[1]["crm"]["users"]["state"] == "ok"
    assert run("check", cwd=tmp_path).status == 0


async def test_a_worker_that_stops_is_not_ready_while_deliveries_are_finished(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = asyncio.Event()
    stop_delivery = Service.stop_delivery

    async def takes_its_time(self: Service) -> None:
        await finished.wait()
        await stop_delivery(self)

    monkeypatch.setattr(Service, "stop_delivery", takes_its_time)
    (management,) = free_ports(1)

    async def asked() -> tuple[int, Any]:
        try:
            return await asyncio.to_thread(ready, management)
        except urllib.error.URLError:
            return 0, {}

    async def says(status: int) -> bool:
        return (await asked())[0] == status

    working = asyncio.create_task(
        deliver_until_stopped(Settings.model_construct(), database, management_port=management)
    )
    try:
        await until(lambda: says(200), "the worker is ready")
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: says(503), "it is not ready any more")
        assert (await asked())[1]["reason"] == "the process is stopping"
    finally:
        finished.set()
        await working
        for number in STOPPING:
            asyncio.get_running_loop().remove_signal_handler(number)
    assert await says(0)
