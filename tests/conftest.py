"""Fixtures for all tests: one real PostgreSQL for the run, a database of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from adapter.store import embedded
from adapter.store.migrate import migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.EmbeddedServer]:
    """The embedded server, started once."""
    server = embedded.start(tmp_path_factory.mktemp("postgresql"))
    try:
        yield server
    finally:
        server.stop()


def _named(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{quote(name)}?")


async def _create(server: embedded.EmbeddedServer, template: str) -> str:
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    finally:
        await connection.close()
    return name


async def _drop(server: embedded.EmbeddedServer, name: str) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def fresh_database(postgresql: embedded.EmbeddedServer) -> AsyncIterator[str]:
    """URL of a new, empty database."""
    name = await _create(postgresql, "template0")
    yield _named(postgresql.url, name)
    await _drop(postgresql, name)


@pytest.fixture(scope="session")
async def template(postgresql: embedded.EmbeddedServer) -> str:
    """Name of a migrated database that others are copied from."""
    name = await _create(postgresql, "template0")
    await migrate(_named(postgresql.url, name))
    return name


@pytest.fixture
async def database(postgresql: embedded.EmbeddedServer, template: str) -> AsyncIterator[str]:
    """URL of a new database with the adapter's schema."""
    name = await _create(postgresql, template)
    yield _named(postgresql.url, name)
    await _drop(postgresql, name)


@pytest.fixture
def project() -> Path:
    """The project's root."""
    return Path(__file__).resolve().parent.parent
