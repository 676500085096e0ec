"""The judge sees what it is there for: a second effect, a missing one, a receipt gone, a false answer.

And what it is given is fair: a stand-in does nothing later than the adapter may count on.
"""

from __future__ import annotations

import asyncio
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.faults.conftest import SetStage
from tests.faults.crms import ProbeCrm, SandboxCrm
from tests.faults.judge import Verdict, judge
from tests.faults.stage import DRIVE, Stage


async def verdict_of(stage: Stage) -> Verdict:
    return await judge(stage.url, stage.crm, stage.receipts, DRIVE)


async def test_what_is_doubled_or_lost_is_seen(scene: SetStage) -> None:
    stage = await scene("probe")
    await asyncio.gather(stage.adapter(), stage.worker())
    await stage.load(4)
    assert (await stage.settled()).well
    assert isinstance(stage.crm, SandboxCrm)
    effects = stage.crm.sandbox.ledger().effects

    effects.append(effects[0])
    assert len((await verdict_of(stage)).duplicated) == 1
    del effects[-1]
    removed = effects.pop()
    assert len((await verdict_of(stage)).lost) == 1
    effects.append(removed)
    assert (await verdict_of(stage)).well

    first = stage.receipts[0]
    first.answers.append("credited 99999")
    assert "was told" in (await verdict_of(stage)).lost[0]
    first.answers.pop()
    await stage.sql("UPDATE koshelek.operations SET state = 'unknown' WHERE id = 1")
    assert "still unknown" in (await verdict_of(stage)).lost[0]
    await stage.sql("DELETE FROM koshelek.operation_events")
    await stage.sql("DELETE FROM koshelek.operations WHERE id = 1")
    gone = await verdict_of(stage)
    assert "not written down" in gone.lost[0]
    assert "nobody asked for" in gone.duplicated[0]


@pytest.mark.parametrize("over_the_line", [True, False])
async def test_a_busy_program_does_nothing_that_was_asked_long_ago(over_the_line: bool) -> None:
    async with ProbeCrm(1).running() as crm:
        assert isinstance(crm, ProbeCrm)
        port = crm.line.port if over_the_line else urlsplit(crm.sandbox.base_url).port
        for seconds, seen in ((0.0, 1), (0.9, 1), (0.0, 2)):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                await asyncio.sleep(0.2)  # the connection stands, on both sides
                caller.sendall(b"GET /nowhere HTTP/1.1\r\nHost: crm\r\n\r\n")
                time.sleep(seconds)  # noqa: ASYNC251 - nothing of this program runs meanwhile
                await asyncio.sleep(0.3)
                assert len(crm.sandbox.ledger().invalid_calls) == seen
