"""An older backup is restored while the CRM has gone on: no points are doubled, and none are lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from adapter.process.embedded import EmbeddedServer
from tests.conftest import create_database, drop_database
from tests.integration.processes import PASSWORD, Answer, Running, call, free_ports, run

PHONES = ("79161230001", "79161230002")


@dataclass
class Shop:
    """A service over one database, and a CRM in another."""

    folder: Path
    database: str
    crm: str
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def write_settings(self) -> None:
        (self.folder / "koshelek-adapter.toml").write_text(
            f'[koshelek]\npassword = "{PASSWORD}"\n[server]\nport = {self.port}\n'
            f'[management]\nenabled = false\n[database]\nurl = "{self.database}"\n'
            f'[crm]\ndriver = "postgres"\nurl = "{self.crm}"\nmanage_schema = true\n'
            '[delivery]\nin_process = false\n[receipts]\nwait = 0\n[[cards.ranges]]\nprefix = "2900"\n',
            encoding="utf-8",
        )

    @contextmanager
    def running(self, *, worker: bool) -> Iterator[None]:
        self.write_settings()
        with ExitStack() as stack:
            stack.enter_context(Running("serve", cwd=self.folder)).wait_for('"ready"')
            if worker:
                stack.enter_context(Running("worker", cwd=self.folder)).wait_for('"delivering"')
            yield

    def card(self, phone: str) -> str:
        return str(self._call("POST", "/v1/card/anonymous", {"phone": phone}).json["card"]["cardNumber"])

    def receipt(self, card: str, document: int) -> Answer:
        moment = datetime.now(ZoneInfo("Europe/Moscow")) - timedelta(hours=1)
        qr = f"t={moment:%Y%m%d}T0001&s=1000.00&fn=8710000101125654&i={document}&fp=1250448795&n=1"
        return self._call("POST", "/v1/promo/qrCode", {"qrCode": qr, "cardNumber": card})

    def _call(self, verb: str, path: str, body: object = None) -> Answer:
        answer = call(self.port, verb, path, body)
        assert answer.status == 200, answer.raw
        return answer

    def found(self, phone: str) -> str:
        return str(self._call("GET", f"/v1/card?msisdn={phone}").json["card"]["cardNumber"])

    def wait_until_delivered(self) -> None:
        open_ones = "SELECT count(*) FROM koshelek.operations WHERE state NOT IN ('done', 'refused')"
        until = time.monotonic() + 30
        while asyncio.run(value(self.database, open_ones)):
            assert time.monotonic() < until
            time.sleep(0.1)

    def credited(self) -> list[int]:
        """Whose credits the CRM's ledger has, one after the other."""
        sql = "SELECT array_agg(customer_id ORDER BY id) FROM crm.points_ledger"
        return list(asyncio.run(value(self.crm, sql)))


async def value(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.fixture
async def databases(postgresql: EmbeddedServer) -> AsyncIterator[list[str]]:
    """Three empty ones."""
    urls = [await create_database(postgresql, "template0") for _ in range(3)]
    yield urls
    for url in urls:
        await drop_database(postgresql, url)


def script(
    project: Path, server: EmbeddedServer, name: str, url: str, file: Path
) -> subprocess.CompletedProcess[str]:
    """Run a script of ``deploy/backup`` with the server's own programs."""
    (folder,) = parse_qs(urlsplit(url).query)["host"]
    return subprocess.run(
        ["sh", str(project / "deploy" / "backup" / name), str(file)],
        env={
            "PATH": f"{server.programs.folder}:{os.environ['PATH']}",
            "PGHOST": folder,
            "PGUSER": "postgres",
            "PGDATABASE": urlsplit(url).path.removeprefix("/"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_restored_older_backup_under_a_crm_that_went_on(
    project: Path, tmp_path: Path, postgresql: EmbeddedServer, databases: list[str]
) -> None:
    before, after, crm = databases
    shop, file = Shop(tmp_path, before, crm), tmp_path / "koshelek.dump"
    with shop.running(worker=True):
        card = shop.card(PHONES[0])
        shop.receipt(card, 1)
        shop.wait_until_delivered()
    with shop.running(worker=False):
        shop.receipt(card, 2)  # recorded, and on its way while the backup is made
        done = script(project, postgresql, "backup.sh", before, file)
        assert done.returncode == 0, done.stderr
        assert file.stat().st_mode & 0o777 == 0o600
    with shop.running(worker=True):
        shop.receipt(card, 3)
        new = shop.card(PHONES[1])
        shop.receipt(new, 4)
        shop.wait_until_delivered()
    credited = shop.credited()
    assert len(credited) == 4

    done = script(project, postgresql, "restore.sh", after, file)
    assert done.returncode == 0, done.stderr
    shop.database = after
    with shop.running(worker=True):
        checked = run("check", cwd=tmp_path)
        assert checked.status == 0, checked.text
        assert shop.found(PHONES[0]) == card
        assert shop.found(PHONES[1]) == new  # issued after the backup; the CRM knows the number
        for number, document in ((card, 1), (card, 2), (card, 3), (new, 4)):
            shop.receipt(number, document)
        shop.wait_until_delivered()
    assert shop.credited() == credited


def test_a_copy_that_failed_leaves_nothing(
    project: Path, tmp_path: Path, postgresql: EmbeddedServer, database: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    failing = programs / "pg_dump"
    failing.write_text(
        '#!/bin/sh\nfor one; do case $one in --file=*) echo half > "${one#--file=}";; esac; done\nexit 1\n'
    )
    failing.chmod(0o755)
    folder = tmp_path / "backups"
    folder.mkdir()
    done = subprocess.run(
        ["sh", str(project / "deploy" / "backup" / "backup.sh"), str(folder / "koshelek.dump")],
        env={"PATH": f"{programs}:{postgresql.programs.folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert list(folder.iterdir()) == []


def test_a_database_that_is_in_use_is_not_written_into(
    project: Path, tmp_path: Path, postgresql: EmbeddedServer, database: str
) -> None:
    file = tmp_path / "koshelek.dump"
    assert script(project, postgresql, "backup.sh", database, file).returncode == 0
    again = script(project, postgresql, "backup.sh", database, file)
    assert (again.returncode, again.stderr) == (1, f"{file} exists\n")
    done = script(project, postgresql, "restore.sh", database, file)
    assert done.returncode == 1
    assert "not empty" in done.stderr
