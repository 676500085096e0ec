"""A real Medusa with the loyalty plugin, over a database of its own, for the tests of its connector.

npm installs it once, pinned in ``package.json``; ``python -m tests.medusa`` does only that. The tests run by
``python -m pytest -m long tests/conformance/test_medusa_server.py``; they are skipped where Medusa is not to
be had. Its tables take half a minute to be made.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp

from tests.support import npm
from tests.support.npm import Missing as Missing
from tests.support.waiting import until

HERE = Path(__file__).parent
_INSTALL_SECONDS = 900.0
_COMMAND_SECONDS = 300.0
_START_SECONDS = 120.0


def modules() -> Path:
    """The folder of the installed packages.

    Raises:
        Missing: Node or npm is not there, or the packages cannot be installed.
    """
    return npm.modules(HERE / "package.json", _INSTALL_SECONDS, "--legacy-peer-deps")


@dataclass(frozen=True)
class Medusa:
    """A running server, and a way to it that is not the connector's."""

    url: str
    key: str

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of one answer; a body that is no JSON is nothing."""
        proof = {"Authorization": f"Basic {base64.b64encode(f'{self.key}:'.encode()).decode()}"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, json=body, headers=proof) as response,
        ):
            told = await response.json() if response.content_type == "application/json" else None
            return response.status, told


@asynccontextmanager
async def running(database: str) -> AsyncIterator[Medusa]:
    """A server over this empty database, given as URL; ends with the block. Raises ``Missing``."""
    installed = await asyncio.to_thread(modules)
    folder = Path(tempfile.mkdtemp(prefix="koshelek-medusa-"))
    try:
        for name in ("package.json", "medusa-config.js", "key.js"):
            shutil.copy(HERE / name, folder)
        (folder / "node_modules").symlink_to(installed)
        await _command(folder, database, "db:migrate")
        made = re.search(r"key: (\w+)", await _command(folder, database, "exec", "./key.js"))
        assert made is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Medusa(f"http://127.0.0.1:{port}", made[1])
        process = await _start(folder, database, "start", "-H", "127.0.0.1", "-p", str(port))
        try:
            await until(lambda: _is_up(server, process), "Medusa starts", _START_SECONDS)
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _is_up(server: Medusa, process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, "Medusa has ended"
    try:
        return (await server.call("GET", "/health"))[0] == 200
    except aiohttp.ClientConnectionError:
        return False


async def _command(folder: Path, database: str, *words: str) -> str:
    """What a command of Medusa's prints; a failure carries it."""
    with (folder / "log").open("w+") as log:
        process = await _start(folder, database, *words, log=log.fileno())
        try:
            status = await asyncio.wait_for(process.wait(), _COMMAND_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        log.seek(0)
        told = log.read()
    assert status == 0, f"medusa {words[0]}: {told[-2000:]}"
    return told


async def _start(
    folder: Path, database: str, *words: str, log: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    parts = urlsplit(database)
    (sockets,) = parse_qs(parts.query)["host"]
    environment = {
        **os.environ,
        # Medusa's migrations read the host alone, so the folder of the socket stands there.
        "DATABASE_URL": f"postgresql://postgres@{quote(sockets, safe='')}:5432{parts.path}",
        "MEDUSA_DISABLE_TELEMETRY": "true",
        "NODE_ENV": "production",
        "NODE_NO_WARNINGS": "1",
    }
    return await asyncio.create_subprocess_exec(
        "node", "node_modules/@medusajs/cli/cli.js", *words,
        cwd=folder, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
