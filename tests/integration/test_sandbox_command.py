"""`koshelek-contract sandbox` as a process: what it prints, how it ends, and how it fails."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from contracts.sandbox import MODULES, perx
from tests.integration import forks


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from contracts.cli import main; main()",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    done = forks.run("koshelek-contract", *arguments, cwd=Path.cwd(), env=os.environ, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_what_it_is_serves_and_ends(ending: signal.Signals) -> None:
    process = await start("sandbox", "perx", "--port", "0", "--set", "points_per_100=3")
    assert process.stdout is not None
    lines = []
    while "Ctrl-C" not in (line := (await asyncio.wait_for(process.stdout.readline(), 60)).decode()):
        assert line, "the command ended early"
        lines.append(line)
    text = "".join(lines)
    assert "NOT the real CRM" in text
    assert perx.CLIENT_SECRET in text
    assert re.search(r"points_per_100 +3\n", text)
    assert "/_sandbox/ledger" in text
    (url,) = re.findall(r"Base URL: (\S+)", text)

    def ledger() -> bytes:
        with urllib.request.urlopen(f"{url}/_sandbox/ledger", timeout=10) as response:
            return bytes(response.read())

    assert b'"effects": []' in await asyncio.to_thread(ledger)
    process.send_signal(ending)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"/_sandbox/ledger" in err
    assert b"Traceback" not in err


def test_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, err = run("sandbox", "xerts", "--port", str(port))
    assert (status, out) == (1, "")
    assert err.startswith(f"error: port {port} of 127.0.0.1 is in use")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("other",), "error: there is no stand-in for other; there are: perx, pegke, xerts"),
        (("xerts", "--set", "gps=round"), "error: --set: gps: Input should be 'number' or 'string'"),
        (("xerts", "--set", "colour=red"), "error: --set: colour: Extra inputs are not permitted"),
        (("xerts", "--set", "gps"), "error: --set gps: expected SWITCH=VALUE"),
        (("xerts", "--port", "0", "--host", "192.0.2.1"), "error: 192.0.2.1 is no address of this machine"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], reason: str) -> None:
    status, out, err = run("sandbox", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(reason)
    assert err.count("\n") == 1


def test_a_wrong_name_lists_the_crms() -> None:
    status, _, err = run("sandbox", "nothing")
    assert status == 1
    assert all(name in err for name in MODULES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    "words", [("koshelek-contract", "docs"), ("koshelek-adapter", "config", "reference")]
)
def test_an_output_that_takes_nothing_more_is_not_taken_for_something_else(words: tuple[str, ...]) -> None:
    program = {"koshelek-contract": "contracts.cli", "koshelek-adapter": "adapter.commands.app"}[words[0]]
    command = [sys.executable, "-c", f"from {program} import main; main()", *words[1:]]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.stderr.decode() == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 1
