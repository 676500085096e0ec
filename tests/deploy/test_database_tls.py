"""TLS to PostgreSQL: the distribution's server with certificates of an authority made here, and what is said.

The server admits nobody without TLS, and one role by a certificate alone.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.integration.processes import PASSWORD, Running, call, free_ports, run

pytestmark = pytest.mark.programs

_HOME = Path("/usr/lib/postgresql")
_USER = "postgres"
_ACCESS = """
local   all postgres             trust
hostssl all certified 0.0.0.0/0  cert
hostssl all plain     0.0.0.0/0  scram-sha-256
"""
_SECRET = "planted-password-of-the-database"


def _programs() -> Path:
    """The newest server of the distribution; skips where there is none that may be run."""
    found = sorted(_HOME.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("there is no PostgreSQL of the distribution (Debian, Ubuntu: apt-get install postgresql)")
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates with")
    return found[-1].parent


def _address() -> str:
    """An address of this machine that is not its loopback: to the adapter it is another machine's."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return str(one.address)
    pytest.skip("this machine has no address but its loopback")


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def make(self) -> Authority:
        self._openssl("req", "-x509", "-days", "2", "-subj", f"/CN={self.name}", *self._new(self.name))
        return self

    def _new(self, name: str) -> tuple[str, ...]:
        key, out = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        return ("-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(out))

    def sign(self, name: str, subject: str, alternative: str = "") -> tuple[Path, Path]:
        """A certificate and its key. ``alternative``: names of the machine."""
        more = ("-addext", f"subjectAltName={alternative}") if alternative else ()
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.folder / f"{self.name}.key"))
        self._openssl(
            "req", "-x509", *signer, "-days", "2", "-subj", f"/CN={subject}", *more, *self._new(name)
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL that speaks TLS."""

    address: str
    port: int
    files: Path
    """Folder of certificates."""
    programs: Path
    socket: Path

    def url(self, user: str = "plain", host: str | None = None, **query: str) -> str:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://{user}:{_SECRET}@{host or self.address}:{self.port}/koshelek?{words}"

    def file(self, name: str) -> str:
        return str(self.files / name)

    def sql(self, statement: str) -> str:
        """What an administrator's statement answers: columns with ``|`` between."""
        place = ("-h", str(self.socket), "-p", str(self.port), "-U", "postgres", "-d", "koshelek")
        done = subprocess.run(
            [self.programs / "psql", *place, "-qtAc", statement],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    programs, address = _programs(), _address()
    files, data = tmp_path_factory.mktemp("certificates"), Path("/tmp") / f"koshelek-tls-{os.getpid()}"
    authority = Authority(files, "authority").make()
    Authority(files, "another").make().sign("stranger", "certified")
    authority.sign("client", "certified")
    authority.sign("other", "somebody-else")
    certificate, key = authority.sign("server", "db", f"IP:{address}")
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(_USER).pw_name
        except KeyError:
            pytest.skip(f"there is no user {_USER} to run it as")

    def control(*arguments: str) -> None:
        subprocess.run(
            arguments,
            cwd="/",
            user=user,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    data.mkdir(mode=0o711)
    for source, name in ((certificate, "server.crt"), (key, "server.key"), (authority.certificate, "ca.crt")):
        shutil.copy(source, data / name)
        (data / name).chmod(0o600)
    (port,) = free_ports(1)
    try:
        if user is not None:
            for path in (data, *data.iterdir()):
                shutil.chown(path, user)
        cluster = data / "cluster"
        control(str(programs / "initdb"), "-D", str(cluster), "-U", "postgres", "--auth=trust", "--no-sync")
        (cluster / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        with (cluster / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(
                f"listen_addresses = '0.0.0.0'\nport = {port}\nfsync = off\n"
                f"unix_socket_directories = '{data}'\n"
                f"ssl = on\nssl_cert_file = '{data}/server.crt'\nssl_key_file = '{data}/server.key'\n"
                f"ssl_ca_file = '{data}/ca.crt'\n"
            )
        control(str(programs / "pg_ctl"), "-w", "-D", str(cluster), "-l", str(data / "log"), "start")
        for statement in (
            f"CREATE ROLE plain LOGIN PASSWORD '{_SECRET}'",
            "CREATE ROLE certified LOGIN IN ROLE plain",
            "CREATE DATABASE koshelek OWNER plain",
        ):
            control(
                str(programs / "psql"), "-h", str(data), "-p", str(port), "-U", "postgres", "-qc", statement
            )
        yield Server(address, port, files, programs, data)
    finally:
        if (data / "cluster" / "postmaster.pid").exists():
            control(str(programs / "pg_ctl"), "-w", "-m", "immediate", "-D", str(data / "cluster"), "stop")
        shutil.rmtree(data, ignore_errors=True)


def looked_at(folder: Path, url: str) -> dict[str, dict[str, str]]:
    """The lines of ``check`` by their subjects; no password is in any."""
    done = run(
        *("check", "--json"),
        cwd=folder,
        env={"KOSHELEK_DATABASE__URL": url, "KOSHELEK_KOSHELEK__PASSWORD": PASSWORD},
        timeout=60,
    )
    assert _SECRET not in done.text
    return {line["subject"]: line for line in map(json.loads, done.out.splitlines())}


def verified(server: Server, **query: str) -> dict[str, str]:
    return {"sslmode": "verify-full", "sslrootcert": server.file("authority.pem"), **query}


def with_client(server: Server, name: str = "client", key: str = "client") -> dict[str, str]:
    return verified(server, sslcert=server.file(f"{name}.pem"), sslkey=server.file(f"{key}.key"))


@pytest.mark.parametrize("user", ["plain", "certified"])
def test_a_line_that_is_verified_carries_serve_and_worker(server: Server, tmp_path: Path, user: str) -> None:
    """By password, and by a client certificate alone."""
    url = server.url(user, **(verified(server) if user == "plain" else with_client(server)))
    lines = looked_at(tmp_path, url)
    assert lines["database"]["state"] == "ok", lines["database"]
    assert re.fullmatch(r"TLSv1\.[23], the certificate is verified", lines["database line"]["detail"])
    assert lines["database line"]["state"] == "ok"
    port = free_ports(1)[0]
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[server]\nport = {port}\n[management]\nenabled = false\n'
        f'[database]\nurl = "{url}"\n[delivery]\nin_process = false\n[[cards.ranges]]\nprefix = "2900"\n',
        encoding="utf-8",
    )
    with Running("serve", cwd=tmp_path) as serve, Running("worker", cwd=tmp_path) as worker:
        serve.wait_for('"ready"')
        worker.wait_for('"delivering"')
        answer = call(port, "POST", "/v1/card/anonymous", {"phone": f"7916123000{len(user)}"})
        assert answer.status == 200, answer
        backends = "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        ours = server.sql(f"{backends} WHERE application_name = 'koshelek-adapter' AND usename = '{user}'")
        count, _, encrypted = ours.partition("|")
        assert int(count) >= 2
        assert encrypted == "t"


def test_a_line_that_is_not_verified_is_warned_of(server: Server, tmp_path: Path) -> None:
    for query in ({}, {"sslmode": "require"}):
        line = looked_at(tmp_path, server.url(**query))["database line"]
        assert line["state"] == "warn"
        assert line["detail"].endswith("the certificate is not verified")
        assert "sslmode=verify-full&sslrootcert=FILE" in line["remedy"]


WRONG: dict[str, tuple[Callable[[Server], str], str, str]] = {
    "another authority": (
        lambda server: server.url(**verified(server, sslrootcert=server.file("another.pem"))),
        "the TLS certificate of {place} is not trusted: self-signed certificate in certificate chain",
        "name the authority that signed it (sslrootcert=FILE in database.url)",
    ),
    "another name": (
        lambda server: server.url(host="127.0.0.1", **verified(server)),
        "is not trusted: IP address mismatch, certificate is not valid for '127.0.0.1'",
        "write the host in database.url as the certificate has it",
    ),
    "no authority": (
        lambda server: server.url(sslmode="verify-full"),
        "database.url asks for a certificate to be verified, and does not say by whose authority",
        "&sslrootcert=FILE",
    ),
    "an authority that is not there": (
        lambda server: server.url(**verified(server, sslrootcert=server.file("absent.pem"))),
        "a file for TLS that database.url names is not there",
        "correct sslrootcert",
    ),
    "an authority that is no certificate": (
        lambda server: server.url(**verified(server, sslrootcert=server.file("authority.key"))),
        "a file for TLS that database.url names cannot be used: no certificate or crl found",
        "each as PEM",
    ),
    "no TLS": (
        lambda server: server.url(sslmode="disable"),
        "{place} does not let the user into koshelek from here",
        "where that line says hostssl, end database.url with ?sslmode=require",
    ),
    "no client certificate": (
        lambda server: server.url("certified", **verified(server)),
        "{place} does not let the user into koshelek from here",
        "where it says cert or clientcert, name a certificate made out to the user (sslcert=FILE&sslkey=",
    ),
    "somebody else's client certificate": (
        lambda server: server.url("certified", **with_client(server, "other", "other")),
        "{place} does not let the user into koshelek from here",
        "made out to the user",
    ),
    "a client certificate of another authority": (
        lambda server: server.url("certified", **with_client(server, "stranger", "stranger")),
        "{place} closed the connection, as it does where it does not trust a client's certificate",
        "ssl_ca_file",
    ),
    "a key of another certificate": (
        lambda server: server.url("certified", **with_client(server, "client", "stranger")),
        "a file for TLS that database.url names cannot be used: key values mismatch",
        "sslkey the key that goes with sslcert",
    ),
    "a key that is none": (
        lambda server: server.url(
            "certified",
            **verified(server, sslcert=server.file("client.pem"), sslkey=server.file("authority.pem")),
        ),
        "a file for TLS that database.url names cannot be used: no pem",
        "each as PEM",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_with_its_remedy(server: Server, tmp_path: Path, what: str) -> None:
    url, reason, remedy = WRONG[what]
    line = looked_at(tmp_path, url(server))["database"]
    assert line["state"] == "fail"
    assert reason.format(place=f"{server.address}:{server.port}") in line["detail"]
    assert remedy in line["remedy"]


def test_serve_ends_with_the_same_sentence(server: Server, tmp_path: Path) -> None:
    url = server.url(**verified(server, sslrootcert=server.file("another.pem")))
    done = run(
        "serve",
        cwd=tmp_path,
        env={"KOSHELEK_DATABASE__URL": url, "KOSHELEK_KOSHELEK__PASSWORD": PASSWORD},
        timeout=60,
    )
    assert done.status == 1
    assert "is not trusted: self-signed certificate in certificate chain; name the authority" in done.text
