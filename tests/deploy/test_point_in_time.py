"""The database is restored to a moment while the CRM has gone on: nothing is doubled, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapter.process.embedded import EmbeddedServer
from tests.conftest import create_database, drop_database
from tests.deploy.test_backup import PHONES, Shop, value
from tests.faults.servers import Server, own_server
from tests.integration.processes import run

pytestmark = [pytest.mark.programs, pytest.mark.timeout(300)]


def owned(folder: Path, server: Server) -> Path:
    """A new folder of the server's user, beside its data."""
    folder.mkdir(mode=0o700)
    if server.programs.user is not None:
        shutil.chown(folder, server.programs.user)
    return folder


@contextmanager
def archiving_server() -> Iterator[tuple[Server, Path]]:
    """A server that archives its log; the archive."""
    with own_server({"archive_mode": "on", "wal_level": "replica"}) as server:
        archive = owned(server.data.parent / "archive", server)
        asyncio.run(server.execute(f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'"))
        asyncio.run(server.execute("SELECT pg_reload_conf()"))
        yield server, archive


def script(
    project: Path, server: Server, name: str, *arguments: str, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script of ``deploy/backup`` with the server's own programs."""
    return subprocess.run(
        ["sh", str(project / "deploy" / "backup" / name), *arguments],
        env={
            "PATH": f"{server.programs.folder}:{os.environ['PATH']}",
            "PGHOST": str(server.data),
            "PGUSER": "postgres",
        },
        user=user,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_restored_to_a_moment_under_a_crm_that_went_on(
    project: Path, tmp_path: Path, postgresql: EmbeddedServer
) -> None:
    crm = asyncio.run(create_database(postgresql, "template0"))
    with archiving_server() as (server, archive):
        asyncio.run(server.execute("CREATE DATABASE adapter"))
        shop = Shop(tmp_path, server.url("adapter"), crm)
        copy = owned(server.data.parent / "copies", server) / "copy"
        with shop.running(worker=True):
            card = shop.card(PHONES[0])
            shop.receipt(card, 1)
            shop.wait_until_delivered()
            done = script(project, server, "base.sh", str(copy), user=server.programs.user)
            assert done.returncode == 0, done.stderr
            shop.receipt(card, 2)
            shop.wait_until_delivered()
            moment = str(asyncio.run(value(server.url(), "SELECT clock_timestamp()::text")))
            shop.receipt(card, 3)
            new = shop.card(PHONES[1])
            shop.receipt(new, 4)
            shop.wait_until_delivered()
        credited = shop.credited()
        assert len(credited) == 4
        asyncio.run(server.execute("SELECT pg_switch_wal()"))
        asyncio.run(server.stop("fast"))  # what is not archived yet is archived now

        restored = Server(copy, server.programs)
        done = script(
            project, server, "restore-to.sh", str(copy), str(archive), moment, user=server.programs.user
        )
        assert done.returncode == 0, done.stderr
        restored.socket.with_name(f"{restored.socket.name}.lock").unlink()  # says that the first has it
        asyncio.run(restored.start())
        shop.database = restored.url("adapter")
        known = "SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt'"
        assert asyncio.run(value(shop.database, known)) == 2, "restored to another moment"
        with shop.running(worker=True):
            checked = run("check", cwd=tmp_path)
            assert checked.status == 0, checked.text
            assert shop.found(PHONES[0]) == card
            assert shop.found(PHONES[1]) == new  # issued after the moment; the CRM knows the number
            for number, document in ((card, 1), (card, 2), (card, 3), (new, 4)):
                shop.receipt(number, document)
            shop.wait_until_delivered()
        assert shop.credited() == credited
    asyncio.run(drop_database(postgresql, crm))


def test_what_is_wrong_is_told(project: Path, tmp_path: Path, postgresql: EmbeddedServer) -> None:
    server = Server(postgresql.data, postgresql.programs)
    there = tmp_path / "copy"
    there.mkdir()
    refused = script(project, server, "base.sh", str(there))
    assert (refused.returncode, refused.stderr) == (1, f"{there} exists\n")
    no_copy = script(project, server, "restore-to.sh", str(there), str(tmp_path), "2026-11-26 10:15:00+03")
    assert (no_copy.returncode, no_copy.stderr) == (1, f"{there} is no copy made by base.sh\n")
    (there / "PG_VERSION").touch()
    odd = script(project, server, "restore-to.sh", str(there), str(tmp_path), "yesterday'")
    assert odd.returncode == 1
    assert "is written as" in odd.stderr
    assert not (there / "recovery.signal").exists()
