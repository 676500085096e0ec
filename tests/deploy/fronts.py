"""The programs that may stand in front of the adapter, run with the files of ``deploy/proxy``.

Of a file only names of this machine are put in other words: addresses, folders, the certificate.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.processes import free_ports


@dataclass(frozen=True)
class Place:
    """Where a front is tried."""

    folder: Path
    files: Path
    """``deploy/proxy`` of the project."""
    adapter: int
    """Port of the adapter."""
    management: int
    chain: Path
    key: Path


@dataclass(frozen=True)
class Front:
    """One that runs."""

    port: int
    folder: Path

    @property
    def written(self) -> str:
        """Everything it wrote down."""
        files = [file for file in self.folder.rglob("*.log") if file.is_file()]
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


def put(text: str, names: Mapping[str, str]) -> str:
    """The text with names replaced; each has to be in it."""
    for name, here in names.items():
        assert name in text, name
        text = text.replace(name, here)
    return text


def _nginx(place: Place, port: int) -> list[str]:
    text = (place.files / "nginx.conf").read_text(encoding="utf-8")
    names = {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "127.0.0.1:8080": f"127.0.0.1:{place.adapter}",
        "/etc/ssl/koshelek/chain.pem": str(place.chain),
        "/etc/ssl/koshelek/key.pem": str(place.key),
        "/var/log/nginx/": f"{place.folder}/",
    }
    (place.folder / "koshelek-adapter.conf").write_text(put(text, names), encoding="utf-8")
    temporary = "".join(
        f"{kind}_temp_path {place.folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (place.folder / "nginx.conf").write_text(
        f"{user}worker_processes 1;\npid {place.folder}/nginx.pid;\nerror_log stderr warn;\n"
        "events { worker_connections 1024; }\n"
        f"http {{\naccess_log off;\n{temporary}include {place.folder}/koshelek-adapter.conf;\n}}\n",
        encoding="utf-8",
    )
    return ["nginx", "-p", str(place.folder), "-c", f"{place.folder}/nginx.conf", "-g", "daemon off;"]


def _haproxy(place: Place, port: int) -> list[str]:
    both = place.folder / "chain-and-key.pem"
    both.write_bytes(place.chain.read_bytes() + place.key.read_bytes())
    text = (place.files / "haproxy.cfg").read_text(encoding="utf-8")
    names = {
        "bind :443 ": f"bind 127.0.0.1:{port} ",
        "server one 127.0.0.1:8080": f"server one 127.0.0.1:{place.adapter}",
        "check port 8081 ": f"check port {place.management} ",
        "/etc/ssl/koshelek/chain-and-key.pem": str(both),
        "/etc/haproxy/koshelek-errors": str(place.files / "haproxy-errors"),
    }
    file = place.folder / "haproxy.cfg"
    file.write_text(put(text, names), encoding="utf-8")
    return ["haproxy", "-db", "-f", str(file)]


def _caddy(place: Place, port: int) -> list[str]:
    text = (place.files / "Caddyfile").read_text(encoding="utf-8")
    names = {
        "loyalty.example.com:443": f"127.0.0.1:{port}",
        "127.0.0.1:8080": f"127.0.0.1:{place.adapter}",
        "health_port 8081": f"health_port {place.management}",
        "/etc/ssl/koshelek/chain.pem": str(place.chain),
        "/etc/ssl/koshelek/key.pem": str(place.key),
        # Only one Caddy of a machine may have its usual administration port.
        "\n{\n": "\n{\n\tadmin off\n\tauto_https disable_redirects\n",
    }
    file = place.folder / "Caddyfile"
    file.write_text(put(text, names), encoding="utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


PROGRAMS: Mapping[str, Callable[[Place, int], list[str]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "caddy": _caddy,
}


@contextmanager
def running(program: str, place: Place) -> Iterator[Front]:
    """The program on a free port until the end of the context; the test is skipped where it is missing."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip(f"there is no {program} on this machine")
    (port,) = free_ports(1)
    said = place.folder / f"{program}-said.log"
    with said.open("wb") as file:
        process = subprocess.Popen(
            PROGRAMS[program](place, port),
            stdout=file,
            stderr=file,
            env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin", "HOME": str(place.folder)},
        )
    try:
        until = time.monotonic() + 20
        while not _listens(port):
            assert process.poll() is None, said.read_text(encoding="utf-8")
            assert time.monotonic() < until, said.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield Front(port, place.folder)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
