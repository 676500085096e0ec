"""``python -m tests.medusa`` installs the Medusa of the tests and says where.

``python -m tests.medusa record`` asks it anew what it answers, and writes that down.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from adapter.process import embedded

from . import Missing, answers, modules, running


async def record(database: str) -> None:
    """Write what the server over this empty database answers."""
    async with running(database) as server:
        told = await answers.asked(server.call)
    text = json.dumps(told, indent=1, ensure_ascii=False)
    answers.RECORDED.write_text(text + "\n", encoding="utf-8")


try:
    print(modules())
    if sys.argv[1:] == ["record"]:
        with tempfile.TemporaryDirectory(prefix="koshelek-medusa-") as folder:
            server = embedded.start(Path(folder))
            try:
                asyncio.run(record(server.url))
            finally:
                server.stop()
except Missing as missing:
    sys.exit(f"no Medusa: {missing}")
