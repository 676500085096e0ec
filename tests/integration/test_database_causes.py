"""Why a database cannot be used, as a person is told it: a reason and a remedy for each cause, with names.

The causes are real: a real server refuses, a real port has nobody, a real line speaks no TLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from adapter.process.embedded import EmbeddedServer
from adapter.store.migrate import SchemaUnfit, migrate
from crm_backends.database import Cause, cause_of, url_problem
from tests.integration.processes import free_ports

SECRET = "planted-Passw0rd"


async def cause(url: str, timeout: float = 10) -> Cause:
    """Connect, and tell why that was not possible; the password is in none of it."""
    with pytest.raises(
        (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)
    ) as why:
        await asyncio.wait_for(asyncpg.connect(url), timeout)
    found = cause_of(why.value, url, "crm.url")
    assert SECRET not in str(found)
    assert "guest" not in str(found)  # half of what opens the door
    assert ";" not in found.reason  # it parts the two where they are told in one line
    return found


@pytest.fixture
async def guest(postgresql: EmbeddedServer, fresh_database: str) -> AsyncIterator[str]:
    """URL of a role ``guest`` that needs a password."""
    access = postgresql.data / "pg_hba.conf"
    before = access.read_text(encoding="utf-8")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")
    lines = "local all guest scram-sha-256\nlocal all stranger reject\n"
    access.write_text(lines + before, encoding="utf-8")
    await connection.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(0.2)
    yield fresh_database.replace("://postgres:@", f"://guest:{SECRET}@")
    access.write_text(before, encoding="utf-8")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("DROP OWNED BY guest; DROP ROLE guest")
    await connection.close()


async def test_a_wrong_password_names_percent_encoding(guest: str) -> None:
    found = await cause(guest.replace(SECRET, "other"))
    assert "refuses the user or the password" in found.reason
    assert "crm.url" in found.remedy
    assert "@ as %40" in found.remedy


async def test_a_role_that_is_not_let_in_is_told_of_the_role_and_pg_hba(guest: str) -> None:
    found = await cause(guest.replace("://guest", "://stranger"))
    assert "does not let the user into test_" in found.reason
    for word in ("CREATE ROLE with LOGIN", "pg_hba.conf", "sslmode=require"):
        assert word in found.remedy


async def test_a_database_that_is_not_there_is_named_with_the_way_to_make_it(guest: str) -> None:
    name = urlsplit(guest).path
    found = await cause(guest.replace(f"{name}?", "/Shop?"))
    assert found.reason.startswith("there is no database Shop on the socket in /")
    assert found.remedy == "correct its name in crm.url"  # it is no CRM's that we would create
    own = cause_of(asyncpg.InvalidCatalogNameError(), guest.replace(f"{name}?", "/Shop?"), "database.url")
    assert 'CREATE DATABASE "Shop" OWNER <user of the URL>' in own.remedy


async def test_a_role_that_may_not_connect_is_told_of_the_grant(guest: str, fresh_database: str) -> None:
    name = urlsplit(guest).path.removeprefix("/")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    await connection.close()
    found = await cause(guest)
    assert found.reason.startswith(f"the user has not the right to use the database {name} on ")
    assert found.remedy == f"GRANT CONNECT ON DATABASE {name} TO <user of the URL>"
    own = cause_of(asyncpg.InsufficientPrivilegeError(), guest, "database.url")
    assert own.remedy == f"GRANT CONNECT, CREATE ON DATABASE {name} TO <user of the URL>"


async def test_a_schema_of_another_role_is_named_with_its_owner(guest: str, database: str) -> None:
    name = urlsplit(database).path
    with pytest.raises(SchemaUnfit, match="schema koshelek in the database belongs to the role postgres"):
        await migrate(guest.replace(f"{urlsplit(guest).path}?", f"{name}?"))


async def test_a_server_without_a_connection_left_is_told(guest: str, fresh_database: str) -> None:
    name = urlsplit(guest).path.removeprefix("/")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    found = await cause(guest)
    await connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    await connection.close()
    assert "no connection left" in found.reason
    assert "max_connections" in found.remedy


async def test_a_port_where_nobody_listens_is_named() -> None:
    (port,) = free_ports(1)
    for host in ("127.0.0.1", "localhost"):
        found = await cause(f"postgresql://guest:{SECRET}@{host}:{port}/shop")
        assert found.reason == f"nothing listens on {host}:{port}"
        assert "crm.url" in found.remedy


async def test_the_port_of_the_environment_is_named_where_the_url_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("PGPORT", str(port))
    found = await cause(f"postgresql://guest:{SECRET}@127.0.0.1/shop")
    assert found.reason == f"nothing listens on 127.0.0.1:{port}"


async def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = await cause(f"postgresql://guest:{SECRET}@/shop?host={quote(str(tmp_path))}")
    assert found.reason == f"nothing listens on the socket in {tmp_path}"


async def test_a_name_that_is_not_known_is_named() -> None:
    found = await cause(f"postgresql://guest:{SECRET}@no-such-host.invalid/shop")
    assert found.reason == "the name no-such-host.invalid is not known on this machine"
    assert "DNS" in found.remedy


async def _talking(first: bytes, *, tls: ssl.SSLContext | None = None) -> tuple[asyncio.Server, int]:
    """Something that answers the first message (a request for TLS) in this way; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(first)
        await writer.drain()
        if tls is not None:
            with suppress(OSError, ssl.SSLError):
                await writer.start_tls(tls)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


async def test_a_server_without_tls_is_told_apart() -> None:
    server, port = await _talking(b"N")
    found = await cause(f"postgresql://guest:{SECRET}@127.0.0.1:{port}/shop?sslmode=require")
    server.close()
    assert found.reason.startswith(f"127.0.0.1:{port} speaks no TLS")
    assert "sslmode=require" in found.remedy


async def test_a_certificate_nobody_trusts_is_told_apart(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server, port = await _talking(b"S", tls=context)
    url = f"postgresql://guest:{SECRET}@127.0.0.1:{port}/shop?sslmode=verify-full&sslrootcert=system"
    found = await cause(url.replace("=system", f"={ssl.get_default_verify_paths().openssl_cafile}"))
    server.close()
    assert found.reason.startswith(f"the TLS certificate of 127.0.0.1:{port} is not trusted: ")
    assert "sslrootcert" in found.remedy


async def test_a_file_of_the_url_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "absent.pem"
    found = await cause(f"postgresql://guest:{SECRET}@127.0.0.1:9/shop?sslmode=verify-ca&sslrootcert={file}")
    assert found.reason == "a file for TLS that crm.url names is not there"
    assert "sslrootcert" in found.remedy


async def test_what_is_no_postgresql_is_told_apart() -> None:
    async def mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.local ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(mail, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await cause(f"postgresql://guest:{SECRET}@127.0.0.1:{port}/shop?sslmode=disable")
    server.close()
    assert f"127.0.0.1:{port}" in found.reason
    assert "PostgreSQL answers there and nothing else" in found.remedy


async def test_silence_is_told_apart() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        found = await cause(f"postgresql://guest:{SECRET}@127.0.0.1:{port}/shop", timeout=0.5)
    assert found.reason == f"127.0.0.1:{port} does not answer in time"
    assert "firewall" in found.remedy


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://guest:{SECRET}#1@db.local/shop", "written percent-encoded"),
        (f"postgresql://guest:{SECRET}/1@db.local/shop", "written percent-encoded"),
        (f"postgresql://guest:1@{SECRET}/1@db.local/shop", "written percent-encoded"),
        (f"postgresql://guest:{SECRET}@db.local/shop?sslmode=yes", "write one of disable, allow, prefer"),
        (f"postgresql://guest:{SECRET} 1@db.local/shop", "written percent-encoded"),
        (f"postgresql://guest:{SECRET}@db.local:5432x/shop", "written percent-encoded"),
        (f"postgresql://guest:{SECRET}@db.local", "names no database; write postgresql://"),
        (f"postgresql://guest:{SECRET}@db.local/", "names no database"),
        (f"mysql://guest:{SECRET}@db.local/shop", "does not begin with postgresql://"),
        ("db.local", "does not begin with postgresql://"),
    ],
)
def test_a_url_that_cannot_be_right_says_what_to_write(url: str, says: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert says in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://guest@db.local/shop",
        f"postgres://guest:{quote('p@ss#1/ %', safe='')}@db.local:5432/shop?sslmode=require",
        "postgresql:///shop?host=/run/postgresql",
        "postgresql://guest@one.local:5432,two.local:5433/shop",
        "postgresql://guest@/?host=/run/postgresql&dbname=shop",
        "postgresql://[::1]:5432/shop",
    ],
)
def test_a_url_that_can_be_right_is_left_to_the_server(url: str) -> None:
    assert url_problem(url) is None
