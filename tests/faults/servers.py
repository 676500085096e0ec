"""A PostgreSQL of a test's own, to be restarted, killed and replaced; and a pgbouncer in front of one.

What the process has committed survives any death of the processes: only the wait for the disk is left out.
"""

from __future__ import annotations

import asyncio
import atexit
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
from urllib.parse import parse_qs, urlsplit

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from adapter.store import embedded
from tests.integration.processes import free_ports

_OURS = "application_name = 'koshelek-adapter'"


@dataclass
class Server:
    """A running server: its data folder and the folder of its socket."""

    data: Path
    sockets: Path
    _wheel: Any
    """The wheel's handle: knows where the programs are and whom to run them as."""

    @property
    def socket(self) -> Path:
        return self.sockets / ".s.PGSQL.5432"

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres:@/{name}?host={self.sockets}"

    def run(self, program: str, *arguments: str, timeout: float = 60) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        subprocess.run(
            [str(self._wheel.bin_path / program), *arguments],
            check=True,
            user=self._wheel.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            cwd="/",
        )

    async def restart(self, how: Literal["fast", "immediate"]) -> None:
        """``immediate`` is a crash: the server recovers from its log."""
        await asyncio.to_thread(self.run, "pg_ctl", "-w", "-m", how, "-D", str(self.data), "restart")

    async def stop(self, how: Literal["fast", "immediate"] = "immediate") -> None:
        await asyncio.to_thread(self.run, "pg_ctl", "-w", "-m", how, "-D", str(self.data), "stop")

    async def start(self) -> None:
        await asyncio.to_thread(self.run, "pg_ctl", "-w", "-D", str(self.data), "-o", self.options, "start")

    @property
    def options(self) -> str:
        return f'-h "" -k {self.sockets}'

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
    started = embedded.start(folder)
    try:
        sockets = Path(parse_qs(urlsplit(started.url).query)["host"][0])
        server = Server(folder / "postgresql", sockets, started._server)
        wanted = {"fsync": "off", "full_page_writes": "off", "log_min_messages": "fatal", **(settings or {})}
        with (server.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in wanted.items())
        server.run("pg_ctl", "-w", "-m", "fast", "-D", str(server.data), "restart")
        yield server
    finally:
        for pid in _postmasters(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        started._address.unlink(missing_ok=True)
        started._lock.close()
        atexit.unregister(started._server._cleanup)  # it would put a lock into the folder again
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
    sockets = primary.data.parent / "standby-run"
    for each in (folder, sockets):
        each.mkdir()
        if primary._wheel.system_user is not None:
            shutil.chown(each, primary._wheel.system_user)
    folder.chmod(0o700)
    await asyncio.to_thread(
        primary.run,
        *(
            "pg_basebackup",
            "-h",
            str(primary.sockets),
            "-U",
            "postgres",
            "-D",
            str(folder),
            "-R",
            "-c",
            "fast",
        ),
    )
    standby = Server(folder, sockets, primary._wheel)
    await standby.start()
    await primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await primary.execute("SELECT pg_reload_conf()")
    return standby


async def promote(standby: Server) -> None:
    """Make it the primary that waits for nobody."""
    await asyncio.to_thread(standby.run, "pg_ctl", "-w", "-D", str(standby.data), "promote")


def pgbouncer_program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


def _configure_pgbouncer(server: Server, port: int, size: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="koshelek-pgbouncer-"))
    user = server._wheel.system_user
    (folder / "users.txt").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.sockets}\n"
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
