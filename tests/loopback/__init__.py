"""A LoopBack of version 2 or 3 with the models of Xerts, for the tests of its driver.

npm installs both, pinned in ``package.json``, into a cache of the user's, outside of the project, once for
each content of that file; ``python -m tests.loopback`` does only that. Where Node or npm is missing, or the
packages cannot be had, ``Missing`` says why and the tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import npm
from tests.support.npm import Missing as Missing

HERE = Path(__file__).parent
VERSIONS = ("2", "3")
_INSTALL_SECONDS = 300.0
_START_SECONDS = 60.0


def modules() -> Path:
    """The folder of the installed packages.

    Raises:
        Missing: Node or npm is not there, or the packages cannot be installed.
    """
    return npm.modules(HERE / "package.json", _INSTALL_SECONDS)


@dataclass(frozen=True)
class LoopBack:
    """A running server: what a driver has to know, and what the tests see behind its back."""

    version: str
    url: str
    key: str
    email: str
    password: str
    member: str
    vendor: str
    site: str
    """A site with one offer."""
    offer: str

    async def seen(self, what: str, **query: str) -> Any:
        """What the server tells the tests: ``calls``, ``models``, or a new ``coupon`` of a device."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/tests/{what}", params=query) as response,
        ):
            return await response.json()


@asynccontextmanager
async def running(version: str, *words: str) -> AsyncIterator[LoopBack]:
    """A server of its own; ends with the block. Raises ``Missing``."""
    folder = await asyncio.to_thread(modules)
    environment = {**os.environ, "NODE_PATH": str(folder), "NODE_NO_WARNINGS": "1"}
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            "node", str(HERE / "server.js"), version, *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, env=environment,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
            if not line:
                errors.seek(0)
                raise RuntimeError(f"LoopBack {version} does not start: {errors.read().decode()}")
            yield LoopBack(version, **json.loads(line))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
