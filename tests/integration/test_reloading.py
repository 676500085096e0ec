"""SIGHUP: other passwords and another certificate without a dropped connection, in one process or several."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.integration.processes import LOGIN, PASSWORD, Running, basic, call, free_ports, process

pytestmark = pytest.mark.programs

OTHER = "planted-other-Passw0rd"


def write(folder: Path, database: str, more: str = "") -> None:
    (folder / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    (folder / "koshelek-adapter.toml").write_text(
        f'[koshelek]\nlogin = "{LOGIN}"\npassword_file = "password"\n[management]\nenabled = false\n'
        f'[database]\nurl = "{database}"\n[[cards.ranges]]\nprefix = "2900"\n{more}',
        encoding="utf-8",
    )


def hang_up(serving: Running, count: int, event: str = "reloaded") -> list[dict[str, Any]]:
    """Send the signal to the one process that a service manager knows; the lines that come of it."""

    def lines() -> list[dict[str, Any]]:
        return [line for line in serving.lines() if line.get("event") == event]

    before, end = len(lines()), time.monotonic() + 20
    serving.process.send_signal(signal.SIGHUP)
    while len(lines()) < before + count:
        assert serving.process.poll() is None, serving.err
        assert time.monotonic() < end, serving.out
        time.sleep(0.05)
    return lines()[before:]


def ask(caller: http.client.HTTPConnection, password: str) -> int:
    caller.request("GET", "/v1/card", headers={"Authorization": basic(LOGIN, password)})
    answer = caller.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize("workers", [1, 2])
def test_another_password_is_taken_up_on_connections_that_stand(
    workers: int, tmp_path: Path, database: str
) -> None:
    write(tmp_path, database)
    (port,) = free_ports(1)
    options = ("--port", str(port), "--workers", str(workers))
    with Running("serve", *options, cwd=tmp_path) as serving:
        _until_ready(serving, workers)
        callers = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(12)]
        sockets = []
        for caller in callers:
            assert ask(caller, PASSWORD) == 200
            sockets.append(caller.sock)
        (tmp_path / "password").write_text(f"{OTHER}\n", encoding="utf-8")
        for line in hang_up(serving, workers):
            assert line["changed"] == ["koshelek.password"]
            assert line["needs_restart"] == []
        for caller, sock in zip(callers, sockets, strict=True):
            assert ask(caller, PASSWORD) == 401
            assert ask(caller, OTHER) == 200
            assert caller.sock is sock
            caller.close()
        if workers == 2:  # one that is started anew has it as well
            process(serving.workers()[0]).kill()
            _until_ready(serving, workers + 1)
            assert {call(port, "GET", "/v1/card", password=OTHER).status for _ in range(20)} == {200}
        assert OTHER not in serving.out + serving.err
        serving.terminate()
        assert serving.ended().status == 0


def _until_ready(serving: Running, count: int) -> None:
    end = time.monotonic() + 30
    while sum(line.get("event") == "ready" for line in serving.lines()) < count:
        assert serving.process.poll() is None, serving.err
        assert time.monotonic() < end, serving.out
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_another_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    workers: int, certificate: tuple[Path, Path], tmp_path: Path, database: str
) -> None:
    chain, key = (Path(shutil.copy(path, tmp_path)) for path in certificate)
    write(tmp_path, database, f"[server]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n")
    (port,) = free_ports(1)
    options = ("--port", str(port), "--workers", str(workers))
    with Running("serve", *options, cwd=tmp_path) as serving:
        _until_ready(serving, workers)
        trusting = ssl.create_default_context(cafile=chain)
        caller = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)
        assert ask(caller, PASSWORD) == 200
        old = ssl.get_server_certificate(("127.0.0.1", port))
        subprocess.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {chain}".split(),
            check=True,
            capture_output=True,
            timeout=60,
        )
        hang_up(serving, workers)
        seen = {ssl.get_server_certificate(("127.0.0.1", port)) for _ in range(10)}
        assert old not in seen
        assert len(seen) == 1
        assert ask(caller, PASSWORD) == 200
        caller.close()
        # A broken one changes nothing.
        key.write_text("nonsense", encoding="utf-8")
        for line in hang_up(serving, workers, "reload_refused"):
            assert line["problems"][0].startswith("server.tls_key: ")
        assert {ssl.get_server_certificate(("127.0.0.1", port)) for _ in range(5)} == seen


def test_settings_that_cannot_be_used_change_nothing_and_others_need_a_restart(
    tmp_path: Path, database: str
) -> None:
    write(tmp_path, database)
    (port,) = free_ports(1)
    file = tmp_path / "koshelek-adapter.toml"
    text = file.read_text(encoding="utf-8")
    with Running("serve", "--port", str(port), cwd=tmp_path) as serving:
        serving.wait_for('"ready"')
        file.write_text(text + "[server]\nprot = 1\n", encoding="utf-8")
        (line,) = hang_up(serving, 1, "reload_refused")
        assert line["problems"] == ['server.prot: unknown key; did you mean "port"?']
        assert line["level"] == "error"
        (tmp_path / "password").write_text("", encoding="utf-8")
        (line,) = hang_up(serving, 1, "reload_refused")
        assert call(port, "GET", "/v1/card").status == 200
        file.write_text(text, encoding="utf-8")
        for unfit in ("fifteen-letters", "$argon2id$v=19$m=65536,t=3,p=4$"):
            (tmp_path / "password").write_text(unfit, encoding="utf-8")
            (line,) = hang_up(serving, 1, "reload_refused")
            assert line["problems"][0].startswith("koshelek.password: ")
            assert unfit not in serving.out
            assert call(port, "GET", "/v1/card").status == 200
        (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")
        file.write_text(text + "[server]\nmax_body = 2048\n", encoding="utf-8")
        (line,) = hang_up(serving, 1)
        assert (line["changed"], line["needs_restart"]) == ([], ["server.max_body"])


async def test_a_database_password_that_was_changed_is_taken_up(
    tmp_path: Path, fresh_database: str, postgresql: Any
) -> None:
    access = postgresql.data / "pg_hba.conf"
    before = access.read_text(encoding="utf-8")
    admin = await asyncpg.connect(fresh_database)
    await admin.execute(f"CREATE ROLE changing LOGIN SUPERUSER PASSWORD '{OTHER}'")
    access.write_text("local all changing scram-sha-256\n" + before, encoding="utf-8")
    await admin.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(0.2)
    (tmp_path / "url").write_text(
        fresh_database.replace("postgres:@", f"changing:{OTHER}@"), encoding="utf-8"
    )
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[koshelek]\nlogin = "{LOGIN}"\npassword = "{PASSWORD}"\n[management]\nenabled = false\n'
        '[database]\nurl_file = "url"\n[crm]\nurl_file = "url"\nmanage_schema = true\n[[cards.ranges]]\n',
        encoding="utf-8",
    )
    (port,) = free_ports(1)
    try:
        with Running("serve", "--port", str(port), cwd=tmp_path) as serving:
            serving.wait_for('"ready"')
            assert call(port, "GET", "/v1/card?msisdn=79000000001").status == 200
            await admin.execute("ALTER ROLE changing PASSWORD 'planted-third'")
            (tmp_path / "url").write_text(
                fresh_database.replace("postgres:@", "changing:planted-third@"), encoding="utf-8"
            )
            (line,) = hang_up(serving, 1)
            assert line["changed"] == ["crm.coupons", "crm.points", "crm.users", "database.url"]
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'"
            )
            await asyncio.sleep(0.5)
            answers = [call(port, "GET", "/v1/card?msisdn=79000000001") for _ in range(5)]
            assert {answer.status for answer in answers[1:]} == {200}
            assert "planted" not in json.dumps(serving.lines())
    finally:
        access.write_text(before, encoding="utf-8")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.execute("DROP OWNED BY changing CASCADE")
        await admin.execute("DROP ROLE changing")
        await admin.close()
