"""The stage of the benchmark: one PostgreSQL in a temporary folder, its databases, and the services.

Each service is a process of its own with its own database URL and port. It may not know what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from adapter.bootstrap import Service
from adapter.process import embedded
from adapter.process.postgresql_programs import EmbeddedError
from adapter.settings import read_settings
from adapter.store.migrate import migrate
from adapter.store.queue import enqueue
from tests.bench.load import AUTHORIZATION

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 10_000
_CHUNK = 250_000
_LINE = 20_000
_PATIENCE = 30.0

T = TypeVar("T")

_CUSTOMERS = """
    INSERT INTO crm.customers (phone, email, first_name, surname, birth_date, sex, country_code, card_number)
    SELECT '+' || 79000000000 + n, 'person' || n || '@example.org', 'Анна', 'Образцова',
           date '1950-01-01' + (n % 20000)::integer, 'f', 'RU', 2900000000000 + n
      FROM generate_series($1::bigint, $2::bigint) AS n
"""
_CARDS = """
    INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state, users_reference, issued_at)
    SELECT 2900000000000 + id, 2900000000000 + id, 'CODE_128', 'active', id, now()
      FROM crm.customers
     WHERE id BETWEEN $1 AND $2
"""

_RECEIPTS = """
    INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request)
    SELECT 'receipt', '9999078900004793:' || n || ':' || n, 2900000000001 + n % $3, '10000:1',
           jsonb_build_object('fn', '9999078900004793', 'i', n::text, 'fp', n::text, 'kopecks', 10000,
                              't', now(), 'n', 1, 'points', '5')
      FROM generate_series($1::bigint, $2::bigint) AS n
    RETURNING id
"""


class CannotMeasure(Exception):
    """The stage could not be set or a service gave a wrong answer; the message is one clear sentence."""


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def phone(person: int) -> str:
    """Phone of a person as it travels; ``load.lua`` counts the same way."""
    return str(79_000_000_000 + person)


def card_number(person: int) -> str:
    """Card of a person; ``load.lua`` counts the same way."""
    return str(2_900_000_000_000 + person)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one piece of database work to its end."""
    return asyncio.run(work)


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _value(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def _create_schema(url: str) -> None:
    """The adapter's schema, and that of the CRM, by the adapter's own means."""
    await migrate(url)
    service = Service(read_settings(), url)
    await service.open()
    await service.close()


async def _fill(url: str, name: str, people: int, *, cards: bool) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off")
        for first in range(1, people + 1, _CHUNK):
            last = min(first + _CHUNK - 1, people)
            await connection.execute(_CUSTOMERS, first, last)
            if cards:
                await connection.execute(_CARDS, first, last)
            if people > _CHUNK:
                say(f"  {name}: {last:,} of {people:,} people loaded")
        await connection.execute("VACUUM (ANALYZE) crm.customers")
        await connection.execute("VACUUM (ANALYZE) koshelek.cards")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _wait_in_line(url: str, count: int) -> None:
    """Receipts that were accepted and not delivered, with their jobs, as the adapter records them."""
    connection = await asyncpg.connect(url)
    try:
        for first in range(1, count + 1, _LINE):
            async with connection.transaction():
                rows = await connection.fetch(_RECEIPTS, first, min(first + _LINE - 1, count), PEOPLE)
                await enqueue(connection, [row["id"] for row in rows])
        await connection.execute("VACUUM (ANALYZE) koshelek.operations")
        await connection.execute("VACUUM (ANALYZE) koshelek.pgqueuer")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers."""

    name: str
    port: int
    pid: int

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of one request; ``None`` for an empty body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Authorization": AUTHORIZATION}
        sent = None
        if body is not None:
            sent = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=sent, headers=headers)
            response = connection.getresponse()
            received = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(received) if received else None
        except ValueError:
            return response.status, received

    def memory(self, key: str = "VmRSS") -> float:
        """Resident memory (``VmRSS``), or its peak (``VmHWM``), MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
        raise CannotMeasure(f"the system does not tell {key} of a process")

    def cpu(self) -> float:
        """Processor seconds this process has spent."""
        return _cpu(self.pid)

    def cpu_with(self, stage: Stage) -> float:
        """The same, and what the database server has spent."""
        return self.cpu() + stage.database_cpu()

    def reset_peak(self) -> None:
        """Let the peak of resident memory start from what it is now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@dataclass(slots=True)
class Stage:
    """The PostgreSQL server and what runs on it."""

    folder: Path
    server: embedded.EmbeddedServer
    without: Sequence[str] = ()
    """Parts that the adapter is measured without; see ``services.adapter``."""
    _databases: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def url(self, name: str) -> str:
        return self.server.url.replace("/postgres?", f"/{name}?")

    def value(self, url: str, statement: str) -> Any:
        """One value from the database."""
        return run(_value(url, statement))

    def database_cpu(self) -> float:
        """Processor seconds that the server's processes have spent, those that have ended, too."""
        postmaster = int((self.server.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return _cpu(postmaster, with_ended_children=True) + sum(_cpu(int(child)) for child in children)

    def execute(self, url: str, *statements: str) -> None:
        run(_execute(url, *statements))

    def filled(self, people: int, *, cards: bool = True) -> str:
        """URL of a database with so many people, each with an active card; made when first asked for.

        For reading only: who writes takes a ``copy``.
        """
        name = f"people_{people}" if cards else f"people_{people}_without_cards"
        if name not in self._databases:
            say(f"  {name}: a database with {people:,} people")
            self.execute(self.server.url, f"CREATE DATABASE {name}")
            run(_create_schema(self.url(name)))
            run(_fill(self.url(name), name, people, cards=cards))
            self._databases[name] = self.url(name)
        return self._databases[name]

    def copy(self, people: int) -> str:
        """URL of a new database with so many people, to write into."""
        self.filled(people)
        self._count += 1
        name = f"copy_{self._count}"
        self.execute(self.server.url, f"CREATE DATABASE {name} TEMPLATE people_{people}")
        return self.url(name)

    def receipts_waiting(self, url: str, count: int) -> None:
        """Let so many receipts wait for delivery there."""
        run(_wait_in_line(url, count))

    @contextlib.contextmanager
    def service(self, name: str, database: str | None, *arguments: str) -> Iterator[Running]:
        """Start ``tests.bench.services.<name>`` and stop it afterwards. Raises ``CannotMeasure``.

        Its standard output goes to /dev/null: log lines are made and written, but cost no disk.
        """
        port = _free_port()
        self._count += 1
        complaints = self.folder / f"{name}-{self._count}.stderr"
        command = [sys.executable, "-m", f"tests.bench.services.{name}"]
        command += ["--port", str(port), *arguments]
        if database is not None:
            command += ["--database", database]
        if name == "adapter":
            command += [f"--without={part}" for part in self.without]
        with complaints.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=ROOT, env=_clean_environment(), stdout=subprocess.DEVNULL, stderr=stderr
            )
        try:
            _wait_for_port(process, port, name, complaints)
            yield Running(name, port, process.pid)
            if process.poll() is not None:
                raise CannotMeasure(f"{name} died while it was measured: {_last_words(complaints)}")
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def set_up(folder: Path) -> Iterator[Stage]:
    """The embedded server, as long as the context. Raises ``CannotMeasure``."""
    try:
        server = embedded.start(folder / "data")
    except EmbeddedError as error:
        raise CannotMeasure(str(error)) from None
    try:
        yield Stage(folder, server)
    finally:
        server.stop()


def _cpu(pid: int, *, with_ended_children: bool = False) -> float:
    """Processor seconds that a process has spent; none if it has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / os.sysconf("SC_CLK_TCK")


def _clean_environment() -> dict[str, str]:
    """Without the adapter's settings: what is measured are its defaults."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("KOSHELEK_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(process: subprocess.Popen[bytes], port: int, name: str, complaints: Path) -> None:
    patience = time.monotonic() + _PATIENCE
    while time.monotonic() < patience:
        if process.poll() is not None:
            raise CannotMeasure(f"{name} did not start: {_last_words(complaints)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise CannotMeasure(f"{name} did not listen within {_PATIENCE:.0f} seconds: {_last_words(complaints)}")


def _last_words(complaints: Path) -> str:
    lines = complaints.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
