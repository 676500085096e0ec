"""What the tests of CRMs beyond the documented conditions share: how these misbehave, and are looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.crms import SandboxCrm
from tests.faults.stage import Stage, until

HASTY: dict[str, object] = {"reconcile_after": 0.7, "proof_patience": 2.0}
"""Twice ``reconcile_after`` is just longer than a request may lie on the line; see ``crms``."""


def lines(stage: Stage, event: str) -> list[Mapping[str, Any]]:
    """What adapters and workers have logged under this name."""
    found = []
    for process in (*stage.adapters, *stage.workers):
        for line in process.text().splitlines():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if said.get("event") == event:
                    found.append(said)
    return found


async def visibility(stage: Stage) -> str | None:
    state: str | None = await stage.sql("SELECT state FROM koshelek.visibility WHERE kind = 'receipt'")
    return state


def cut(stage: Stage, rate: float) -> None:
    """Cut so many of the writes, before or after they reach the CRM."""
    stage.crm.line.draw = lambda first: (
        stage.chance.choice(("cut_before", "cut_after"))
        if first.startswith(b"POST") and stage.chance.random() < rate
        else None
    )


@asynccontextmanager
async def behind(stage: Stage, switch: str, least: float, most: float) -> AsyncIterator[None]:
    """Let the CRM show what it does between ``least`` and ``most`` seconds late, each time otherwise."""
    assert isinstance(stage.crm, SandboxCrm)
    crm = stage.crm

    async def vary() -> None:
        while True:
            crm.switch(**{switch: stage.chance.uniform(least, most)})
            await asyncio.sleep(0.02)

    varying = asyncio.create_task(vary())
    try:
        yield
    finally:
        varying.cancel()
        await asyncio.gather(varying, return_exceptions=True)


async def start(stage: Stage) -> None:
    await asyncio.gather(stage.adapter(), stage.worker())


async def until_proved(stage: Stage) -> None:
    """Wait until the CRM has shown that it finds our writes."""

    async def proved() -> bool:
        return await visibility(stage) == "proved"

    await until(proved, "the CRM has shown that it finds our writes")
