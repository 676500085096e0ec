"""A stop under load: whoever's connection was made gets an answer."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.processes import LOGIN, PASSWORD, basic, free_ports
from tests.integration.test_processes import ready_count, serve, settings_file
from tests.integration.test_readiness import ready
from tests.support.waiting import until

pytestmark = pytest.mark.programs

CALLERS = 64
STOPS = 3


def _request(*, keeps: bool) -> bytes:
    head = "GET /v1/card?msisdn=79990000001 HTTP/1.1\r\nHost: adapter\r\n"
    close = "" if keeps else "Connection: close\r\n"
    return f"{head}{close}Authorization: {basic(LOGIN, PASSWORD)}\r\n\r\n".encode()


async def _call_on(port: int, ends: Counter[str], tls: ssl.SSLContext | None, *, keeps: bool) -> bool:
    """Calls on one connection until it is closed; ``False``: nobody takes it any more.

    They are ``answered`` or, where a connection was made and no whole answer came, ``cut``; ``cut later``,
    where an answer had come over it before.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    except ConnectionRefusedError:
        return False
    except OSError as error:
        ends[f"cut ({type(error).__name__})"] += 1
        return True
    cut = "cut"
    try:
        while True:
            writer.write(_request(keeps=keeps))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200 "), head
            length = re.search(r"Content-Length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            ends["answered"] += 1
            cut = "cut later"
            if re.search("Connection: close", head, re.IGNORECASE) or not keeps:
                return True
    except (OSError, asyncio.IncompleteReadError) as error:
        ends[f"{cut} ({type(error).__name__})"] += 1
        return True
    finally:
        writer.close()


async def _load(port: int, ends: Counter[str], tls: ssl.SSLContext | None, *, keeps: bool) -> None:
    """Callers without a pause, each until it finds nobody."""

    async def caller() -> None:
        while await _call_on(port, ends, tls, keeps=keeps):
            pass

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def _holds(ends: Counter[str], workers: int, least: int) -> None:
    """Whoever's connection was made was answered; but for one that the system made in the very moment in
    which a process closed the port, which nobody can take."""
    assert ends["answered"] > least
    assert set(ends) <= {"answered", "cut (ConnectionResetError)"}, ends
    assert ends.total() - ends["answered"] <= STOPS * workers, ends


async def _stopped(
    folder: Path,
    database: str,
    settings: str,
    workers: int,
    *,
    keeps: bool,
    tls: ssl.SSLContext | None = None,
) -> Counter[str]:
    """How calls ended over some stops."""
    settings_file(folder, f"[management]\nenabled = false\n{settings}")
    port, unused = free_ports(2)
    ends: Counter[str] = Counter()
    for _ in range(STOPS):
        with serve(folder, database, port, unused, "--workers", str(workers)) as running:
            await until(lambda: ready_count(running) == workers, "it is ready")
            loading = asyncio.create_task(_load(port, ends, tls, keeps=keeps))
            await asyncio.sleep(1.5)
            running.terminate()
            await asyncio.wait_for(loading, 30)
            assert (await asyncio.to_thread(running.ended)).status == 0
    return ends


@pytest.mark.parametrize("keeps", [False, True], ids=["connection-per-call", "kept-connections"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_nobody_is_cut_off_by_a_stop(workers: int, keeps: bool, tmp_path: Path, database: str) -> None:
    ends = await _stopped(tmp_path, database, "", workers, keeps=keeps)
    _holds(ends, workers, 100 * STOPS)


async def test_a_body_that_is_still_on_its_way_is_read_and_no_more_is_asked_for(
    tmp_path: Path, database: str
) -> None:
    settings_file(tmp_path, "")
    port, management = free_ports(2)
    body = b'{"phone": "79990000001"}'
    head = f"POST /v1/card/anonymous HTTP/1.1\r\nHost: adapter\r\nContent-Length: {len(body)}\r\n"
    with serve(tmp_path, database, port, management) as running:
        await until(lambda: ready_count(running) == 1, "it is ready")
        assert (await asyncio.to_thread(ready, management))[0] == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}Authorization: {basic(LOGIN, PASSWORD)}\r\n\r\n".encode())
        await asyncio.sleep(0.3)
        running.terminate()
        await asyncio.sleep(0.1)
        status, told = await asyncio.to_thread(ready, management)
        assert (status, told["reason"]) == (503, "the process is stopping")
        writer.write(body)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert (await asyncio.to_thread(running.ended)).status == 0


async def test_nor_while_tls_is_agreed_upon(
    certificate: tuple[Path, Path], tmp_path: Path, database: str
) -> None:
    chain, key = certificate
    settings = f"[server]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n"
    tls = ssl.create_default_context(cafile=chain)
    ends = await _stopped(tmp_path, database, settings, 1, keeps=False, tls=tls)
    _holds(ends, 1, 50 * STOPS)
