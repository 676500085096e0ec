"""A PostgreSQL of a test's own, to be restarted, killed and replaced; and a pgbouncer in front of one.

What the process has committed survives any death of the processes: only the wait for the disk is left out.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from adapter.process import embedded
from adapter.process.postgresql_programs import Programs
from tests.integration.processes import free_ports

_OURS = "application_name = 'koshelek-adapter'"


@dataclass
class Server:
    """A running server; its socket lies in the data folder."""

    data: Path
    programs: Programs

    @property
    def socket(self) -> Path:
        return self.data / ".s.PGSQL.5432"

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres:@/{name}?host={self.data}"

    def control(self, *arguments: str) -> None:
        """Run ``pg_ctl`` on this server, and wait for it."""
        folder = self.programs.data_option(self.data)
        self.programs.run("pg_ctl", "-w", "-D", folder, *arguments, cwd=self.data)

    async def pg_ctl(self, *arguments: str) -> None:
        await asyncio.to_thread(self.control, *arguments)

    async def restart(self, how: Literal["fast", "immediate"]) -> None:
        """``immediate`` is a crash: the server recovers from its log."""
        await self.pg_ctl("-m", how, "restart")

    async def stop(self, how: Literal["fast", "immediate"] = "immediate") -> None:
        await self.pg_ctl("-m", how, "stop")

    async def start(self) -> None:
        await self.pg_ctl("-o", '-h "" -k .', "start")

    async def execute(self, statement: str, name: str = "postgres") -> Any:
        connection = await asyncpg.connect(self.url(name))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def script(self, statements: str, name: str) -> None:
        """Execute several statements in one of the databases.

        Once more where they met those under test in a deadlock; PostgreSQL may choose either of two.
        """
        connection = await asyncpg.connect(self.url(name))
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(asyncpg.DeadlockDetectedError),
                stop=stop_after_attempt(10),
                wait=wait_random(0, 0.2),
                reraise=True,
            ):
                with attempt:
                    await connection.execute(statements)
        finally:
            await connection.close()

    async def terminate(self) -> None:
        """End every session of the adapters and workers."""
        await self.execute(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {_OURS}")


@contextmanager
def own_server(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A new server in a temporary folder. Commits are safe from kills, not from a power cut."""
    folder = Path(tempfile.mkdtemp(prefix="koshelek-faults-"))
    folder.chmod(0o711)  # pgbouncer and a standby, where they run as another user, go in by the path
    started = embedded.start(folder)
    try:
        server = Server(started.data, started.programs)
        wanted = {"fsync": "off", "full_page_writes": "off", "log_min_messages": "fatal", **(settings or {})}
        with (server.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in wanted.items())
        server.control("-m", "fast", "restart")
        yield server
    finally:
        for pid in _postmasters(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        started.stop()
        until = time.monotonic() + 10
        while _postmasters(folder) and time.monotonic() < until:
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


def _postmasters(folder: Path) -> list[int]:
    """Servers that run in folders below this one."""
    found = []
    for file in folder.glob("*/postmaster.pid"):
        with suppress(OSError, ValueError):
            pid = int(file.read_text().split()[0])
            os.kill(pid, 0)
            found.append(pid)
    return found


async def standby_of(primary: Server) -> Server:
    """A synchronous standby beside the primary: what is committed there is here as well."""
    folder = primary.data.parent / "standby"
    folder.mkdir(mode=0o700)
    if primary.programs.user is not None:
        shutil.chown(folder, primary.programs.user)
    await asyncio.to_thread(
        primary.programs.run,
        "pg_basebackup",
        *("-h", str(primary.data), "-U", "postgres", "-R", "-c", "fast"),
        *("-D", primary.programs.data_option(folder)),
        cwd=folder,
    )
    (folder / ".s.PGSQL.5432.lock").unlink()  # copied, and says that the primary has this socket
    standby = Server(folder, primary.programs)
    await standby.start()
    await primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await primary.execute("SELECT pg_reload_conf()")
    return standby


async def promote(standby: Server) -> None:
    """Make it the primary that waits for nobody."""
    await standby.pg_ctl("promote")


def pgbouncer_program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


def _configure_pgbouncer(server: Server, port: int, size: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="koshelek-pgbouncer-"))
    user = server.programs.user
    (folder / "users.txt").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.data}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\n"
        f"default_pool_size = {size}\nmax_client_conn = 500\nserver_login_retry = 1\n"
        + (f"user = {user}\n" if user else "")
    )
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def pgbouncer(server: Server, size: int = 8) -> AsyncIterator[int]:
    """A pgbouncer in transaction mode before the server, with fewer connections than callers; its port."""
    program = pgbouncer_program()
    assert program is not None
    (port,) = free_ports(1)
    folder = _configure_pgbouncer(server, port, size)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, str(folder / "pgbouncer.ini"), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        for _ in range(200):
            assert process.returncode is None, (folder / "log").read_text()
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)
