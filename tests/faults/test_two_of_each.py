"""Two adapters and two workers on one PostgreSQL: any is killed under load, and a pooler stands between."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults import crms
from tests.faults.conftest import SetStage
from tests.faults.crms import RATINGS, Rating
from tests.faults.servers import own_server, pgbouncer, pgbouncer_program
from tests.faults.stage import Nursery, Process, Stage, set_up, until


async def kill_and_replace(stage: Stage, times: int) -> None:
    """Kill any of the four, and start another in its place, as often as told."""
    places: list[Process] = [*stage.adapters, *stage.workers]
    for _ in range(times):
        place = stage.chance.randrange(len(places))
        killed = places[place]
        killed.send(signal.SIGKILL)
        await until(lambda: not killed.alive, "it was killed")  # noqa: B023
        replace: Callable[[], Awaitable[Process]] = stage.adapter if killed.port else stage.worker
        places[place] = await replace()


@pytest.mark.parametrize(
    "rating", ["probe", *(pytest.param(one, marks=pytest.mark.long) for one in RATINGS if one != "probe")]
)
async def test_any_of_them_is_killed_under_load(rating: Rating, scene: SetStage) -> None:
    stage = await scene(rating, people=200)
    await asyncio.gather(stage.adapter(), stage.adapter(), stage.worker(), stage.worker())
    killing = asyncio.create_task(kill_and_replace(stage, 6))
    while not killing.done():
        await stage.load(50)
    await killing
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert sum(one.killed for one in (*stage.adapters, *stage.workers)) == 6
    assert verdict.credited + verdict.held == verdict.sent
    if rating != "manual":
        assert verdict.held == 0


@pytest.mark.parametrize("rating", ["manual", pytest.param("compare", marks=pytest.mark.long)])
async def test_a_rolling_restart_leaves_no_doubt(rating: Rating, scene: SetStage) -> None:
    """A stop lets calls under way finish: nothing is cut off in the middle, so nothing has to be settled."""
    stage = await scene(rating, people=200, patient=True)
    await asyncio.gather(stage.adapter(), stage.adapter(), stage.worker(), stage.worker())
    stage.crm.line.delay = 0.3
    stage.crm.line.draw = lambda _: "latency"

    async def restart() -> None:
        for process in (*stage.workers, *stage.adapters):
            process.send(signal.SIGTERM)
            await until(lambda: not process.alive, "it stopped")  # noqa: B023
            assert process.status == 0, process.text()[-2000:]
            await (stage.adapter() if process.port else stage.worker())

    restarting = asyncio.create_task(restart())
    while not restarting.done():
        await stage.load(50)
    await restarting
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent, verdict


async def test_adapters_that_deliver_themselves_need_no_worker(scene: SetStage) -> None:
    stage = await scene("compare", delivery={"in_process": True})
    await asyncio.gather(stage.adapter(), stage.adapter())
    await stage.load(50)
    killed = stage.adapters[0]
    killed.send(signal.SIGKILL)
    await until(lambda: not killed.alive, "it was killed")
    await stage.load(50)
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 100


@pytest.mark.skipif(
    pgbouncer_program() is None,
    reason="there is no pgbouncer here (Debian, Ubuntu: apt-get install pgbouncer)",
)
@pytest.mark.parametrize("idle", [0.0, pytest.param(25.0, marks=pytest.mark.long)])
async def test_behind_pgbouncer_in_transaction_mode(idle: float, nursery: Nursery, tmp_path: Path) -> None:
    """Fewer server connections than callers; a worker is killed, and the server ends every session."""
    with own_server() as server:
        for name in ("adapter", "crm"):
            await server.execute(f"CREATE DATABASE {name}")
        crm = crms.make("probe", 40, server.url("crm"))
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(pgbouncer(server))
            stage = await stack.enter_async_context(
                set_up(
                    nursery,
                    tmp_path,
                    server.url("adapter"),
                    crm,
                    reached_by=f"postgresql://postgres@127.0.0.1:{port}/adapter?sslmode=disable",
                    database={"pooler": True},
                )
            )
            pooled = stage.over_line
            await asyncio.gather(*[stage.adapter(settings=pooled) for _ in range(2)])
            await asyncio.gather(*[stage.worker(settings=pooled) for _ in range(2)])
            await stage.load(60)
            await asyncio.sleep(idle)
            assert not [worker for worker in stage.workers if "delivery_interrupted" in worker.text()]
            stage.workers[0].send(signal.SIGKILL)
            await stage.load(60)
            await server.terminate()
            await stage.load(60)
            verdict = await stage.settled()
            assert verdict.well, verdict
            assert verdict.credited == verdict.sent == 180
