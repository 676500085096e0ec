"""Fixtures for all tests: one real PostgreSQL for the run, a database of its own for each test."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog

from adapter.bootstrap import Service
from adapter.process import embedded
from adapter.settings import Settings
from adapter.store.migrate import migrate

from .collecting import pytest_collection as pytest_collection
from .collecting import pytest_collection_modifyitems as pytest_collection_modifyitems
from .collecting import pytest_sessionstart as pytest_sessionstart

_numbers = itertools.count(1)

# What a script starts in its background ignores Ctrl-C, and so would every process that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# structlog's own beginning writes the values of all variables of a traceback, which takes seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

_connections: Any = asyncpg.Connection
_ask_for_types = _connections._introspect_types
_types: dict[frozenset[int], Any] = {}
_FIRST_OF_USERS = 16_384
"""Numbers of types from here on differ from database to database."""


async def _known_types(self: asyncpg.Connection[Any], oids: list[int], timeout: float | None) -> Any:
    """What ``text[]`` and the like are, asked for once instead of on every connection: it takes the server
    longer than all else that most tests want of theirs."""
    asked = frozenset(oids)
    if asked not in _types:
        answer = await _ask_for_types(self, oids, timeout)
        if max(asked) >= _FIRST_OF_USERS:
            return answer
        _types[asked] = answer
    return _types[asked]


_connections._introspect_types = _known_types

_MEMORY = Path("/dev/shm")
_ROOM = 8 << 30
"""Bytes that have to be free in memory before databases are kept there; they take a tenth of it."""


def _roomy() -> Path | None:
    """A folder in memory, where there is one: a new database is hundreds of files."""
    try:
        return _MEMORY if shutil.disk_usage(_MEMORY).free > _ROOM else None
    except OSError:
        return None


@pytest.fixture(scope="session")
async def postgresql() -> AsyncIterator[embedded.EmbeddedServer]:
    """The embedded server, started once; it does not wait for the disk, since it need not survive.

    Its folder is not one of pytest's: those are cleaned up by other runs on the same machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="koshelek-tests-", dir=_roomy()))
    server = embedded.start(folder)
    try:
        connection = await asyncpg.connect(server.url)
        # Nor does it tidy up databases that last for a second.
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


_used: dict[str, list[str]] = defaultdict(list)
"""By its server: databases that whoever makes the next one drops, since a connection takes that long."""


async def create_database(server: embedded.EmbeddedServer, template: str) -> str:
    """URL of a new database copied from ``template``."""
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(server.url)
    try:
        used = _used[server.url]
        while used:
            await connection.execute(f"DROP DATABASE IF EXISTS {used.pop()} WITH (FORCE)")
        # By its files: by the log, which is meant for small ones, takes the server twice the time.
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    finally:
        await connection.close()
    return server.url.replace("/postgres?", f"/{name}?")


async def drop_database(server: embedded.EmbeddedServer, url: str) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {_name_of(url)} WITH (FORCE)")
    finally:
        await connection.close()


def _name_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


@pytest.fixture
async def fresh_database(postgresql: embedded.EmbeddedServer) -> AsyncIterator[str]:
    """URL of a new, empty database."""
    url = await create_database(postgresql, "template0")
    yield url
    _used[postgresql.url].append(_name_of(url))


@pytest.fixture(scope="session")
async def template(postgresql: embedded.EmbeddedServer) -> str:
    """Name of a migrated database that others are copied from; the tables of the own CRM are there, too."""
    url = await create_database(postgresql, "template0")
    await migrate(url)
    service = Service(Settings.model_construct(), url)
    await service.open()
    await service.close()
    return _name_of(url)


@pytest.fixture
async def database(postgresql: embedded.EmbeddedServer, template: str) -> AsyncIterator[str]:
    """URL of a new database with the adapter's schema."""
    url = await create_database(postgresql, template)
    yield url
    _used[postgresql.url].append(_name_of(url))


@pytest.fixture
def project() -> Path:
    """The project's root."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on this machine")
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {chain}".split(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return chain, key
