"""nginx, haproxy and Caddy in front of the adapter, as the distribution has them, with our configurations."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from adapter.errors import TEXTS, Code
from tests.deploy.fronts import PROGRAMS, Front, Place, running
from tests.integration.processes import Running, call, free_ports
from tests.suite.test_run_against_demo import broken, run_suite, skipped

pytestmark = [pytest.mark.programs, pytest.mark.timeout(300)]

PHONE = "79161234567"
NOT_ASKED = {"common.newer_methods_are_unknown", "offers_and_lists.lists_left_out_are_refused"}
"""Checks for other versions and settings than the demo's."""


def place_in(folder: Path, project: Path, certificate: tuple[Path, Path]) -> Place:
    adapter, management = free_ports(2)
    return Place(folder, project / "deploy" / "proxy", adapter, management, *certificate)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_whole_strict_profile_passes_through(
    program: str, tmp_path: Path, project: Path, certificate: tuple[Path, Path]
) -> None:
    place = place_in(tmp_path, project, certificate)
    ports = ("--port", str(place.adapter), "--management-port", str(place.management))
    started = Running("demo", *ports, "--data-dir", "data", cwd=tmp_path)
    with started as demo, running(program, place) as front:
        demo.wait_for("Ctrl-C stops everything", limit=40)
        _wait_until_let_through(front, certificate[0])
        target = run_suite(
            tmp_path / "data" / "koshelek-contract.yaml",
            urls=[f"https://127.0.0.1:{front.port}"],
            ca_file=certificate[0],
        )
    assert broken(target) == {}
    assert {one.check: one.reason for one in target.results if one.check in skipped(target) - NOT_ASKED} == {}


def trusting(chain: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=chain)


def _wait_until_let_through(front: Front, chain: Path) -> None:
    """haproxy asks the adapter's health before it lets anything through."""
    until = time.monotonic() + 15
    while call(front.port, "GET", "/v1/card", tls=trusting(chain)).status != 401:
        assert time.monotonic() < until
        time.sleep(0.1)


def envelope(code: Code) -> dict[str, str]:
    return {"code": code.value, "description": TEXTS[code].ru}


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_own_errors_are_the_contracts(
    program: str, tmp_path: Path, project: Path, certificate: tuple[Path, Path]
) -> None:
    tls = trusting(certificate[0])
    with running(program, place_in(tmp_path, project, certificate)) as front:

        def asked(verb: str, path: str, body: bytes | None = None, more: str = "") -> dict[str, str]:
            answer = call(front.port, verb, path, body, headers={"X-More": more}, tls=tls)
            assert answer.status == 422, answer
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            return dict(answer.json)

        nobody = asked("GET", f"/v1/card?msisdn={PHONE}")
        assert nobody == envelope(Code.OVERLOADED)
        if program == "nginx":  # the others leave these to the adapter, or have no say in them
            assert asked("POST", "/v1/promo/qrCode", b"x" * 70_000) == envelope(Code.BODY_TOO_LARGE)
            assert asked("GET", f"/v1/card?email={'x' * 20_000}") == envelope(Code.BAD_REQUEST)
            assert asked("GET", f"/v1/card?msisdn={PHONE}", more="x" * 20_000) == envelope(Code.BAD_REQUEST)
            assert _said_to(front, certificate[0], b"what is this\r\n\r\n") == envelope(Code.BAD_REQUEST)
        assert PHONE not in front.written, "a log of the proxy holds a phone"


def _said_to(front: Front, chain: Path, words: bytes) -> dict[str, str]:
    """The body of the answer to something that is no HTTP."""
    plain = socket.create_connection(("127.0.0.1", front.port), timeout=10)
    with trusting(chain).wrap_socket(plain, server_hostname="127.0.0.1") as line:
        line.sendall(words)
        answer = b""
        while piece := line.recv(4096):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 422 " in head.splitlines()[0], answer
    return dict(json.loads(body))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("program", PROGRAMS)
def test_http_2_is_spoken_and_tls_1_1_is_not(
    program: str, tmp_path: Path, project: Path, certificate: tuple[Path, Path]
) -> None:
    with running(program, place_in(tmp_path, project, certificate)) as front:
        asking = ["curl", "-sS", "--cacert", str(certificate[0]), f"https://127.0.0.1:{front.port}/v1/card"]
        version = [*asking, "--http2", "-o", str(tmp_path / "body"), "-w", "%{http_version} %{http_code}"]
        done = subprocess.run(version, capture_output=True, text=True, check=False, timeout=30)
        assert done.stdout == "2 422", done
        assert json.loads((tmp_path / "body").read_text(encoding="utf-8")) == envelope(Code.OVERLOADED)
        old = subprocess.run([*asking, "--tls-max", "1.1"], capture_output=True, check=False, timeout=30)
        assert old.returncode == 35  # no common version


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_nginx_answers_a_body_that_is_too_large_in_both_versions(
    version: str, tmp_path: Path, project: Path, certificate: tuple[Path, Path]
) -> None:
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    with running("nginx", place_in(tmp_path, project, certificate)) as front:
        asking = ["curl", "-sS", "--cacert", str(certificate[0]), version, "-X", "POST"]
        asking += ["--data-binary", f"@{tmp_path / 'large'}", "-w", "\n%{http_code} %{content_type}"]
        asking.append(f"https://127.0.0.1:{front.port}/v1/promo/qrCode")
        done = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=30)
    body, _, told = done.stdout.rpartition("\n")
    assert told == "422 application/json; charset=utf-8", done
    assert json.loads(body) == envelope(Code.BODY_TOO_LARGE)


def test_every_envelope_of_the_configurations_is_of_the_catalogue(project: Path) -> None:
    files = [file for file in (project / "deploy" / "proxy").rglob("*") if file.is_file()]
    found = [
        found
        for file in files
        for found in re.findall(r'\{"code":"[^}]*"\}', file.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 5 + 3 + 4
    for text in found:
        told = json.loads(text)
        assert told == envelope(Code(told["code"]))


def test_the_files_of_haproxy_tell_their_length(project: Path) -> None:
    for file in (project / "deploy" / "proxy" / "haproxy-errors").iterdir():
        head, _, body = file.read_bytes().partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
