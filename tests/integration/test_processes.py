"""The adapter as processes: the demo, several workers, stops and kills, TLS, and what is written down.

Everything is seen from outside: sockets, signals, exit statuses, output, and the processes left behind.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from adapter.errors import Code
from adapter.process import embedded
from crm_backends.postgres.statements import OWN_SQL
from tests.integration.processes import (
    LOGIN,
    PASSWORD,
    START_LIMIT,
    Answer,
    Running,
    alive,
    basic,
    call,
    connections_of,
    databases_in,
    free_ports,
    nobody_listens,
    process,
    run,
)

pytestmark = pytest.mark.programs

DEMO_PASSWORD = "demo"
PERSON = "79995550111"


def demo_command(port: int, management: int, *, data_dir: str = "data") -> tuple[str, ...]:
    ports = ("--port", str(port), "--management-port", str(management))
    return ("demo", *ports, "--data-dir", data_dir)


def start_demo(folder: Path, port: int, management: int) -> Running:
    return Running(*demo_command(port, management), cwd=folder)


def issue(port: int, phone: str, password: str = PASSWORD) -> str:
    """A card for the person with this phone; for the same phone the same card."""
    answer = call(port, "POST", "/v1/card/anonymous", {"phone": phone}, password=password)
    assert answer.status == 200, answer.raw
    return str(answer.json["card"]["cardNumber"])


def until(happened: Callable[[], bool], limit: float = START_LIMIT) -> None:
    end = time.monotonic() + limit
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


# --- the demo ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstRun:
    """What was seen of a demo from an empty folder to Ctrl-C."""

    folder: Path
    seconds: float
    card: str
    databases: int
    status: int
    databases_left: int
    port_free: bool


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    """A demo on a new folder: a card is issued, then Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo")
    port, management = free_ports(2)
    with start_demo(folder, port, management) as demo:
        demo.wait_for("demo is ready")
        seconds = time.monotonic() - demo.started
        card = issue(port, PERSON, DEMO_PASSWORD)
        databases = len(databases_in(folder / "data"))
        demo.interrupt()
        status = demo.ended().status
    left = len(databases_in(folder / "data"))
    return FirstRun(folder, seconds, card, databases, status, left, nobody_listens(port))


@dataclass(frozen=True)
class Demo:
    running: Running
    folder: Path
    port: int
    management: int
    seconds: float


@pytest.fixture(scope="module")
def demo(first_run: FirstRun) -> Iterator[Demo]:
    """The demo started once more on the folder of the first run."""
    port, management = free_ports(2)
    with start_demo(first_run.folder, port, management) as running:
        running.wait_for("Ctrl-C stops everything")
        yield Demo(running, first_run.folder, port, management, time.monotonic() - running.started)


def test_the_demo_starts_from_nothing_and_ctrl_c_stops_all_of_it(first_run: FirstRun) -> None:
    print(f"demo on a new folder: ready after {first_run.seconds:.1f} s")
    assert first_run.seconds < START_LIMIT
    assert first_run.databases > 0
    assert (first_run.status, first_run.databases_left, first_run.port_free) == (0, 0, True)


def test_a_second_start_is_quick_and_keeps_the_data(first_run: FirstRun, demo: Demo) -> None:
    print(f"demo on a folder that exists: ready after {demo.seconds:.1f} s")
    assert demo.seconds < START_LIMIT
    found = call(demo.port, "GET", f"/v1/card?msisdn={PERSON}", password=DEMO_PASSWORD)
    assert found.json["card"]["cardNumber"] == first_run.card


def test_the_greeting_tells_all_that_is_needed(demo: Demo) -> None:
    for fact in (f"http://127.0.0.1:{demo.port}", "Login         koshelek", "Password      demo", "data"):
        assert fact in demo.running.out
    assert demo.running.err == ""


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_three_printed_lines_answer_something_worth_seeing(demo: Demo) -> None:
    lines = re.findall(r"^ +(curl .+)$", demo.running.out, re.MULTILINE)
    answers = [
        json.loads(subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=20).stdout)
        for line in lines
    ]
    assert len(answers) == 3
    found, info, receipt = answers
    assert found["card"]["cardState"] == "active"
    assert info["card"]["cardNumber"] == found["card"]["cardNumber"]
    assert float(info["card"]["bonus"]["total"]) > 0
    assert info["card"]["bonus"]["bonuses"]
    assert receipt["status"] in ("credited", "accepted")
    assert any("а" <= letter <= "я" for letter in receipt["description"])


def test_a_running_demo_is_healthy_and_its_cards_can_be_looked_at_beside_it(
    demo: Demo, first_run: FirstRun
) -> None:
    assert run("healthcheck", "--port", str(demo.management), cwd=demo.folder).out == "ready\n"
    shown = run("cards", "show", first_run.card, "--data-dir", "data", cwd=demo.folder)
    assert (shown.status, shown.err) == (0, "")
    assert "active" in shown.out


def test_a_data_folder_in_use_is_one_sentence(demo: Demo) -> None:
    done = run(*demo_command(*free_ports(2)), cwd=demo.folder)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert "in use" in line
    assert str(demo.folder / "data") in line
    assert call(demo.port, "GET", "/v1/card", password=DEMO_PASSWORD).status == 200


def test_a_port_in_use_is_one_sentence(demo: Demo, tmp_path: Path) -> None:
    free, other = free_ports(2)
    for ports, taken in (((demo.port, free), demo.port), ((other, demo.management), demo.management)):
        done = run(*demo_command(*ports), cwd=tmp_path)
        assert (done.status, done.out) == (1, "")
        (line,) = done.err.splitlines()
        assert f"port {taken} on 127.0.0.1 is in use" in line
    assert not (tmp_path / "data").exists()


def test_the_demos_ports_may_come_from_the_environment(demo: Demo, tmp_path: Path) -> None:
    """Two demos side by side; or a container, which listens where it can be reached from outside."""
    for name, taken in (("SERVER", demo.port), ("MANAGEMENT", demo.management)):
        ports = dict(zip(("SERVER", "MANAGEMENT"), map(str, free_ports(2)), strict=True)) | {name: str(taken)}
        environment = {f"KOSHELEK_{section}__PORT": port for section, port in ports.items()}
        done = run("demo", "--data-dir", "data", cwd=tmp_path, env=environment)
        assert (done.status, done.out) == (1, "")
        assert f"port {taken} on 127.0.0.1 is in use" in done.err


def test_a_data_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(*demo_command(*free_ports(2), data_dir="file/data"), cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert str(tmp_path / "file/data") in line
    assert "--data-dir" in line


def test_a_killed_demo_starts_again_and_has_lost_nothing(tmp_path: Path) -> None:
    port, management = free_ports(2)
    with start_demo(tmp_path, port, management) as killed:
        killed.wait_for("demo is ready")
        card = issue(port, PERSON, DEMO_PASSWORD)
        killed.process.kill()
        killed.process.wait(10)
    with start_demo(tmp_path, port, management) as again:
        again.wait_for("demo is ready")
        assert issue(port, PERSON, DEMO_PASSWORD) == card
        again.interrupt()
        assert again.ended().status == 0
    assert databases_in(tmp_path / "data") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_stop_during_the_start_leaves_no_database_behind(number: int, tmp_path: Path) -> None:
    port, management = free_ports(2)
    postmaster = tmp_path / "data" / "postgresql" / "postmaster.pid"

    def is_up() -> bool:
        try:
            return "ready" in postmaster.read_text(encoding="utf-8")
        except FileNotFoundError:  # initdb makes the file too, and takes it away again
            return False

    with start_demo(tmp_path, port, management) as starting:
        until(is_up)
        os.killpg(starting.process.pid, number)
        starting.ended()
    try:
        until(lambda: databases_in(tmp_path / "data") == [], limit=3)
    finally:
        for left in databases_in(tmp_path / "data"):
            left.kill()


_LOOPS = """
import asyncio, signal
from adapter.process.signals import run

inside, interrupted = False, 0

def interrupt(*_):
    global inside
    if inside:
        inside = False
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
print("ready", flush=True)
for _ in range(1000):
    try:
        inside = True
        run(lambda: asyncio.sleep(0.001))
        inside = False
    except KeyboardInterrupt:
        interrupted += 1
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(interrupted)
"""


def test_a_signal_never_meets_a_loop_half_made() -> None:
    """It came once while a loop was made, and its exception was shown with a traceback."""
    command = [sys.executable, "-W", "error", "-c", _LOOPS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        while child.poll() is None:
            child.send_signal(signal.SIGINT)
            time.sleep(0.0005)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, err) == (0, "")
    assert int(out) > 0


async def test_the_demo_leaves_a_database_of_the_environment_alone(
    tmp_path: Path, fresh_database: str
) -> None:
    """The demo is promised its own embedded database; its people must not get into a real one."""
    environment = {"KOSHELEK_DATABASE__URL": fresh_database}
    with Running(*demo_command(*free_ports(2)), cwd=tmp_path, env=environment) as running:
        until(lambda: running.process.poll() is not None or "demo is ready" in running.out)
        running.interrupt()
        running.process.wait(20)
    connection = await asyncpg.connect(fresh_database)
    try:
        assert await connection.fetchval("SELECT to_regclass('crm.customers')") is None
        assert await connection.fetchval("SELECT to_regclass('koshelek.cards')") is None
    finally:
        await connection.close()


# --- serve: workers and stops --------------------------------------------------------------------------


def settings_file(folder: Path, text: str) -> Path:
    """Settings with a password and numbers, and ``text`` after them."""
    path = folder / "koshelek-adapter.toml"
    path.write_text(
        f'[koshelek]\nlogin = "{LOGIN}"\npassword = "{PASSWORD}"\n[[cards.ranges]]\nprefix = "2900"\n{text}',
        encoding="utf-8",
    )
    return path


def serve(folder: Path, database: str | None, port: int, management: int, *options: str) -> Running:
    environment = {"KOSHELEK_MANAGEMENT__PORT": str(management)}
    if database is not None:
        environment["KOSHELEK_DATABASE__URL"] = database
    return Running("serve", "--port", str(port), *options, cwd=folder, env=environment)


def ready_count(running: Running) -> int:
    return sum(line.get("event") == "ready" for line in running.lines())


def test_two_workers_answer_a_killed_one_is_replaced_and_a_stop_ends_all(
    tmp_path: Path, database: str
) -> None:
    settings_file(tmp_path, "")
    port, management = free_ports(2)
    with serve(tmp_path, database, port, management, "--workers", "2") as serving:
        until(lambda: ready_count(serving) == 2)
        first = serving.workers()
        assert len(first) == 2
        with ExitStack() as callers:
            for _ in range(30):  # the kernel shares new connections out between the two
                caller = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                callers.callback(caller.close)
                caller.request("GET", "/v1/card", headers={"Authorization": basic(LOGIN, PASSWORD)})
                assert caller.getresponse().status == 200
            assert all(connections_of(worker, port) > 0 for worker in first)
        process(first[0]).kill()
        until(lambda: ready_count(serving) == 3)
        second = serving.workers()
        assert len(second) == 2
        assert first[0] not in second
        assert first[1] in second
        assert call(port, "GET", "/v1/card").status == 200
        assert any(line.get("event") == "worker_died" for line in serving.lines())
        serving.terminate()
        assert serving.ended().status == 0
    assert [pid for pid in second if alive(pid)] == []
    assert nobody_listens(port)


def test_workers_end_when_the_process_that_keeps_them_is_killed(tmp_path: Path, database: str) -> None:
    settings_file(tmp_path, "[management]\nenabled = false\n")
    port, unused = free_ports(2)
    with serve(tmp_path, database, port, unused, "--workers", "2") as serving:
        until(lambda: ready_count(serving) == 2)
        workers = serving.workers()
        serving.process.kill()
        serving.process.wait(10)
        try:
            until(lambda: not any(alive(pid) for pid in workers), limit=15)
        finally:
            for pid in filter(alive, workers):
                process(pid).kill()


def _sleepy_sql(folder: Path) -> Path:
    """The driver's own balance, a second late."""
    own = (OWN_SQL / "points_balance.sql").read_text(encoding="utf-8").rstrip().removesuffix(";")
    (folder / "sql").mkdir()
    (folder / "sql" / "points_balance.sql").write_text(
        f"SELECT late.total, late.available FROM (\n{own}\n) AS late, (SELECT pg_sleep(1) OFFSET 0) AS nap\n",
        encoding="utf-8",
    )
    return folder / "sql"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_under_way_is_answered_before_a_stop(workers: str, tmp_path: Path, database: str) -> None:
    folder = _sleepy_sql(tmp_path)
    settings_file(
        tmp_path, f"[management]\nenabled = false\n[crm]\nsql_dir = '{folder}'\nmanage_schema = true\n"
    )
    port, unused = free_ports(2)
    with serve(tmp_path, database, port, unused, "--workers", workers) as serving:
        until(lambda: ready_count(serving) == int(workers))
        card = issue(port, PERSON)
        seen: list[Answer] = []
        began = time.monotonic()
        asking = threading.Thread(target=lambda: seen.append(call(port, "GET", f"/v1/card/{card}")))
        asking.start()
        time.sleep(0.4)
        serving.terminate()
        asking.join(20)
        lasted = time.monotonic() - began
        done = serving.ended()
    assert done.status == 0
    assert [answer.status for answer in seen] == [200]
    assert seen[0].json["card"]["bonus"]["total"] == "0"
    assert lasted >= 1
    assert nobody_listens(port)


# --- serve: TLS ----------------------------------------------------------------------------------------


def _client_hello(version: int) -> bytes:
    """A ClientHello (RFC 5246, 7.4.1.2) whose highest version is ``version``."""
    ciphers = bytes.fromhex("c030c02fc028c027c014c013009d009c0035002f00ff")
    extensions = bytes.fromhex("000a00080006001d00170018000d000a00080804080504010501")
    body = (
        struct.pack("!H", version)
        + bytes(32)
        + b"\x00"
        + struct.pack("!H", len(ciphers))
        + ciphers
        + b"\x01\x00"
    )
    body += struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def _answer_to(port: int, hello: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(hello)
        return connection.recv(64)


def test_tls_of_1_2_and_newer_is_spoken_and_nothing_older(
    certificate: tuple[Path, Path], tmp_path: Path, database: str
) -> None:
    chain, key = certificate
    settings_file(
        tmp_path,
        f"[management]\nenabled = false\n[server]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n",
    )
    port, unused = free_ports(2)
    with serve(tmp_path, database, port, unused) as serving:
        serving.wait_for('"ready"')
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=chain)
            context.minimum_version = context.maximum_version = version
            assert call(port, "GET", "/v1/card", tls=context).status == 200
        server_hello = b"\x16\x03\x03"
        assert _answer_to(port, _client_hello(0x0303)).startswith(server_hello)
        for old in (0x0301, 0x0302):
            assert not _answer_to(port, _client_hello(old)).startswith(server_hello[:1])
        plain = _answer_to(port, b"GET /v1/card HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.startswith(b"HTTP/1.1 200")
        assert call(port, "GET", "/v1/card", tls=ssl.create_default_context(cafile=chain)).status == 200
        serving.terminate()
        done = serving.ended()
    assert (done.status, done.err) == (0, "")


# --- serve: one line per request -----------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    running: Running
    folder: Path
    port: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The adapter on an embedded database, behind a proxy at 127.0.0.1, writing all it can."""
    folder = tmp_path_factory.mktemp("served")
    settings_file(
        folder,
        '[log]\nlevel = "debug"\n[server]\ntrusted_proxies = ["127.0.0.1/32", "10.0.0.0/8"]\n',
    )
    port, management = free_ports(2)
    with serve(folder, None, port, management) as running:
        running.wait_for('"ready"')
        yield Served(running, folder, port)


def test_a_request_id_comes_back_and_stands_in_the_log(served: Served) -> None:
    answer = call(served.port, "GET", "/v1/card", headers={"X-Request-ID": "req-7.A_b"})
    assert answer.headers["X-Request-ID"] == "req-7.A_b"
    line = served.running.line_of("req-7.A_b")
    assert (line["call"], line["verb"], line["status"], line["code"]) == ("find_card", "GET", 200, None)
    assert line["ms"] >= 0


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 65, "кто", 'quote"', "<script>"])
def test_a_request_without_a_usable_id_gets_one(given: str | None, served: Served) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode().decode("latin-1")}
    made = call(served.port, "GET", "/v1/nothing", headers=headers).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert served.running.line_of(made)["code"] == Code.UNKNOWN_METHOD


@pytest.mark.parametrize(
    ("forwarded", "remote"),
    [
        (None, "127.0.0.1"),
        (["203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5, 10.1.2.3"], "203.0.113.5"),
        (["198.51.100.1, 203.0.113.5, 10.1.2.3"], "203.0.113.5"),
        (["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
        (["2001:db8::1"], "2001:db8::1"),
        (["nonsense"], "127.0.0.1"),
        (["203.0.113.5, nonsense"], "127.0.0.1"),
        (["203.0.113.5:5678"], "203.0.113.5"),
        (["203.0.113.5:5678, 10.1.2.3:80"], "203.0.113.5"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["::ffff:203.0.113.5"], "203.0.113.5"),
        (["[::ffff:203.0.113.5]:443"], "203.0.113.5"),
        (["fe80::1%eth0"], "fe80::1"),
        (['"203.0.113.5"'], "203.0.113.5"),
        (["203.0.113.5,"], "203.0.113.5"),
        ([" , 203.0.113.5 , ,"], "203.0.113.5"),
        (["203.0.113.5", ""], "203.0.113.5"),
        (["203.0.113.5, unknown"], "127.0.0.1"),
        (["203.0.113.5:http"], "127.0.0.1"),
        (["[2001:db8::1"], "127.0.0.1"),
        (["2001:db8::1]:443"], "127.0.0.1"),
        (["1.2.3.4.5:80"], "127.0.0.1"),
        ([","], "127.0.0.1"),
        # A proxy may add a line of its own instead of lengthening the caller's (HAProxy does).
        (["198.51.100.1", "203.0.113.5"], "203.0.113.5"),
    ],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(
    forwarded: list[str] | None, remote: str, served: Served
) -> None:
    request_id = f"forwarded-{time.monotonic_ns()}"
    head = "".join(f"X-Forwarded-For: {line}\r\n" for line in forwarded or [])
    request = (
        f"GET /v1/card HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(LOGIN, PASSWORD)}\r\n"
        f"X-Request-ID: {request_id}\r\n{head}Connection: close\r\n\r\n"
    )
    assert _exchange(served.port, request.encode()).startswith(b"HTTP/1.1 200")
    assert served.running.line_of(request_id)["remote"] == remote


def test_forwarded_addresses_are_not_believed_when_nobody_is_trusted(demo: Demo) -> None:
    headers = {"X-Forwarded-For": "203.0.113.5", "X-Request-ID": "untrusted-1", "X-Real-IP": "203.0.113.5"}
    call(demo.port, "GET", "/v1/card", password=DEMO_PASSWORD, headers=headers)
    assert demo.running.line_of("untrusted-1")["remote"] == "127.0.0.1"


def _exchange(port: int, request: bytes, patience: float = 5) -> bytes:
    """Send bytes as they are, and read until the other side closes or ``patience`` is over."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        connection.sendall(request)
        with suppress(TimeoutError, ConnectionError):
            while part := connection.recv(65536):
                received += part
    return received


@pytest.mark.parametrize("days", ["startDate=0001-01-01", "startDate=2026-01-01&endDate=9999-12-31"])
def test_absurd_days_are_no_defect(days: str, demo: Demo) -> None:
    (card,) = set(re.findall(r"/v1/card/(\d+)\n", demo.running.out))
    answer = call(demo.port, "GET", f"/v1/card/{card}/purchases?{days}", password=DEMO_PASSWORD)
    assert answer.status == 200 or answer.json["code"] == Code.FIELD_INVALID


# --- privacy -------------------------------------------------------------------------------------------

PHONE, OTHER_PHONE = "79165550199", "79165550288"
EMAIL = "Planted.Person@planted-example.org"
NAME, SURNAME, PATRONYMIC = "Плантагена", "Plantagenetova", "Плантовна"
BORN = "1971-03-29"
WRONG_PASSWORD = "planted-wrong-Passw0rd"
DRIVE, SIGN = "8710009876543210", "3876543219"


def qr_text() -> str:
    bought = datetime.now(ZoneInfo("Europe/Moscow")) - timedelta(hours=2)
    return f"t={bought:%Y%m%dT%H%M%S}&s=98765.43&fn={DRIVE}&i=87654321&fp={SIGN}&n=1"


def planted_forms(receipt: str) -> set[str]:
    """Every planted value in each form in which it could have been written down."""
    time_of_receipt = receipt[2:17]
    forms = {PHONE, OTHER_PHONE, PHONE[1:], OTHER_PHONE[1:], "555-01-99", "8 (916) 555"}
    forms |= {EMAIL, EMAIL.lower(), "planted-example", quote(EMAIL), quote(EMAIL.lower(), safe="")}
    for text in (NAME, SURNAME, PATRONYMIC):
        forms |= {text, text.lower(), quote(text), json.dumps(text)[1:-1], repr(text.encode())[2:-1]}
    forms |= {BORN, "1971-3-29", "1971, 3, 29", "19710329", "29.03.1971"}
    forms |= {
        receipt,
        quote(receipt, safe=""),
        time_of_receipt,
        DRIVE,
        SIGN,
        "98765.43",
        "9876543",
        "87654321",
    }
    for password in (PASSWORD, WRONG_PASSWORD):
        for pair in (f"{LOGIN}:{password}", f"{PHONE}:{password}"):
            token = base64.b64encode(pair.encode()).decode()
            forms |= {password, quote(password), token, token.rstrip("=")[:-2]}
    return forms


def _plant(port: int, receipt: str) -> list[Answer]:
    """Requests of every kind, good and bad, that hold the planted values."""
    answers: list[Answer] = []

    def send(verb: str, path: str, body: object = None, **options: object) -> Answer:
        answers.append(call(port, verb, path, body, **options))  # type: ignore[arg-type]
        return answers[-1]

    person = {"phone": PHONE, "email": EMAIL, "firstname": NAME, "surname": SURNAME, "patronymic": PATRONYMIC}
    person |= {"birthDate": BORN, "sex": "f", "locality": NAME}
    number = str(send("POST", "/v1/card/anonymous", person).json["card"]["cardNumber"])
    card = f"/v1/card/{number}"
    search = f"/v1/card?msisdn={PHONE}&email={quote(EMAIL)}&birthDate={BORN}"
    # good calls
    assert send("GET", search).json["card"]["cardNumber"] == number
    assert send("GET", card).status == 200
    assert send("PATCH", card, {"surname": SURNAME, "phone": f"+{PHONE}"}).status == 200
    assert send("PUT", f"{card}/communication", {"allow": ["sms", NAME], "deny": []}).status == 200
    assert send("POST", "/v1/promo/qrCode", {"cardNumber": number, "qrCode": receipt}).status == 200
    assert PHONE.encode() in send("GET", "/v1/card/getAllUsers").raw
    # conflicts of the database
    other = issue(port, OTHER_PHONE)
    assert send("POST", f"/v1/card/{other}", {"email": EMAIL}).json["code"] == Code.CONFLICT
    assert send("POST", f"/v1/card/{other}", {"phone": PHONE}).json["code"] == Code.CONFLICT
    assert (
        send("POST", "/v1/promo/qrCode", {"cardNumber": other, "qrCode": receipt}).json["code"]
        == Code.RECEIPT_TAKEN
    )
    changed = receipt.replace("98765.43", "98765.44")
    assert (
        send("POST", "/v1/promo/qrCode", {"cardNumber": number, "qrCode": changed}).json["code"]
        == Code.RECEIPT_DIFFERS
    )
    # wrong credentials
    assert send("GET", search, password=WRONG_PASSWORD).status == 401
    for header in (basic(PHONE, PASSWORD), f"Basic {PASSWORD}", f"Bearer {WRONG_PASSWORD}", PASSWORD):
        assert send("POST", "/v1/card/anonymous", person, headers={"Authorization": header}).status == 401
    # wrong bodies
    whole = json.dumps(person, ensure_ascii=False).encode()
    for body in (whole[:-5], whole + b"}", b"[" + whole + b"]", whole.decode().encode("cp1251"), whole * 60):
        assert send("POST", "/v1/card/anonymous", body).status == 422
    for wrong in (
        {"phone": f"{PHONE}{PHONE}"},
        {"phone": {"value": PHONE}},
        {"email": f"{EMAIL} {EMAIL}"},
        {"birthDate": f"{BORN}T00:00"},
        {"sex": NAME},
        {"firstname": [NAME]},
        {"firstname": f"{NAME}\x00"},
        {"firstname": NAME * 40},
        {"phone": PHONE, NAME: {NAME: [NAME]}, "birthDate": PHONE},
    ):
        assert send("POST", card, wrong).json["code"] == Code.FIELD_INVALID
    for wrong_qr in (
        f"{receipt}&fn={DRIVE}",
        receipt.replace("&n=1", "&n=7"),
        f"{receipt}x",
        f"{EMAIL}{receipt}",
    ):
        assert send("POST", "/v1/promo/qrCode", {"cardNumber": number, "qrCode": wrong_qr}).status == 422
    assert send("POST", "/v1/promo/qrCode", {"msisdn": PHONE, "qrCode": [receipt]}).status == 422
    assert (
        send("POST", "/v1/promo/code", {"cardNumber": number, "code": EMAIL}).json["code"]
        == Code.PROMO_UNKNOWN
    )
    assert send("POST", "/v1/promo/code", {"msisdn": OTHER_PHONE, "code": f"{PHONE}\x00"}).status == 422
    # wrong paths and parameters
    for verb, path in (
        ("GET", f"/v1/person/{PHONE}?email={quote(EMAIL)}"),
        ("DELETE", f"/v1/card/{PHONE}"),
        ("GET", f"/v1/card/{PHONE}"),
        ("GET", f"/v1/card/{quote(NAME)}"),
        ("POST", f"/v1/card/anonymous/{PHONE}"),
        ("GET", f"{card}/purchases?startDate={BORN}T1"),
        ("GET", f"/v1/card?msisdn={PHONE}x&email={quote(EMAIL)}"),
        ("GET", f"/v1/card?email={quote(EMAIL)}%00"),
        ("GET", f"/v1/card?birthDate={BORN}%FF%FE&msisdn={PHONE}"),
        ("TRACE", f"/{EMAIL}"),
    ):
        assert send(verb, path, person if verb == "POST" else None).status == 422, path
    send("GET", f"{card}/purchases?startDate={BORN}&endDate=9999-12-31")
    send("GET", f"{card}/purchases?startDate=0001-01-01&endDate={BORN}")
    # what is no HTTP, or breaks off
    head = (
        f"Host: x\r\nAuthorization: {basic(LOGIN, PASSWORD)}\r\nCookie: {EMAIL}\r\nReferer: /?m={PHONE}\r\n"
    )
    posted = f"POST /v1/card/anonymous HTTP/1.1\r\n{head}"
    for raw in (
        f"{PHONE} {EMAIL} {PASSWORD}\r\n\r\n",
        f"GET /v1/card?msisdn={PHONE} HTTP/9.9\r\n{head}\r\n",
        f"GET /v1/card?msisdn={PHONE} HTTP/1.1\r\n{head}{EMAIL}\r\n\r\n",
        f"GET /v1/card?msisdn={PHONE} HTTP/1.1\r\n{head}X-Long: {EMAIL * 2000}\r\n\r\n",
        f"GET /{PHONE * 2000} HTTP/1.1\r\n{head}\r\n",
        f"{posted}Content-Length: {PHONE}\r\n\r\n{EMAIL}",
        f"{posted}Content-Length: x{PHONE}\r\n\r\n{EMAIL}",
        f"{posted}Transfer-Encoding: chunked\r\n\r\n{PHONE}\r\n{EMAIL}\r\n",
        f"{posted}Content-Encoding: gzip\r\nContent-Length: 11\r\n\r\n{PHONE}",
    ):
        _exchange(port, raw.encode(), patience=0.3)
    return answers


async def _collide(data_dir: Path) -> None:
    """Let the database refuse a row with a planted phone; its message would quote it."""
    connection = await asyncpg.connect(embedded.running(data_dir))
    try:
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO crm.customers (phone) VALUES ($1)", f"+{PHONE}")
    finally:
        await connection.close()


def test_no_personal_data_and_no_credential_is_ever_written_down(tmp_path: Path) -> None:
    settings_file(tmp_path, '[log]\nlevel = "debug"\n[server]\nmax_body = 16384\n')
    port, management = free_ports(2)
    receipt = qr_text()
    with serve(tmp_path, None, port, management, "--data-dir", "data") as serving:
        serving.wait_for('"ready"')
        answers = _plant(port, receipt)
        asyncio.run(_collide(tmp_path / "data"))
        serving.terminate()
        done = serving.ended()
    assert all(answer.headers["Content-Type"] == "application/json; charset=utf-8" for answer in answers)
    written = {
        "standard output": done.out,
        "standard error": done.err,
        "database log": (tmp_path / "data/postgresql/log").read_text(encoding="utf-8", errors="replace"),
    }
    # The collision did reach the database, and its log is the one that was read.
    assert "duplicate key" in written["database log"]
    requests = [json.loads(line) for line in done.out.splitlines() if '"request"' in line]
    assert len(requests) >= len(answers)
    leaks = {
        (place, form) for place, text in written.items() for form in planted_forms(receipt) if form in text
    }
    assert leaks == set()
    errors = [answer for answer in answers if answer.status != 200]
    quoted = {form for answer in errors for form in planted_forms(receipt) if form in answer.raw.decode()}
    assert quoted == set()
