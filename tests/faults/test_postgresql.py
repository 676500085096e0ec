"""The adapter's database fails under load: restarts, ended sessions, a full disk, cut lines, a failover."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults import crms
from tests.faults.crms import Rating
from tests.faults.proxy import Fault, Proxy
from tests.faults.servers import Server, own_server, promote, standby_of
from tests.faults.stage import Nursery, Stage, set_up

_numbers = iter(range(1, 1000))

MISFORTUNE = """
CREATE OR REPLACE FUNCTION public.misfortune() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.08 THEN
        IF TG_ARGV[0] = 'end' THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
        ELSE
            RAISE EXCEPTION 'a fault of the test' USING ERRCODE = TG_ARGV[0];
        END IF;
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
"""
TABLES = ("koshelek.operations", "koshelek.pgqueuer", "koshelek.account_leases")


def misfortune(what: str, when: str) -> str:
    """Triggers that make one change in twelve fail: ``when`` it is executed, or as late as at the commit."""
    made = [MISFORTUNE]
    for table in TABLES:
        made.append(f"DROP TRIGGER IF EXISTS misfortune ON {table};")
        kind, moment = {
            "execute": ("TRIGGER", "BEFORE INSERT OR UPDATE OR DELETE"),
            "commit": ("CONSTRAINT TRIGGER", "AFTER INSERT OR UPDATE OR DELETE"),
        }[when]
        deferred = "DEFERRABLE INITIALLY DEFERRED" if when == "commit" else ""
        made.append(
            f"CREATE {kind} misfortune {moment} ON {table} {deferred} "
            f"FOR EACH ROW EXECUTE FUNCTION public.misfortune('{what}');"
        )
    return "\n".join(made)


NO_MISFORTUNE = "".join(f"DROP TRIGGER IF EXISTS misfortune ON {table};" for table in TABLES)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as server:
        yield server


SetStage = Callable[..., Awaitable[tuple[Stage, Proxy]]]


@pytest.fixture
async def own_scene(nursery: Nursery, tmp_path: Path) -> AsyncIterator[SetStage]:
    """Sets a stage on a server, which is also reached over a bad line."""
    async with AsyncExitStack() as stack:

        async def set_one(server: Server, rating: Rating, **options: Any) -> tuple[Stage, Proxy]:
            name = f"faults_{next(_numbers)}"
            for database in (name, f"{name}_crm"):
                await server.execute(f"CREATE DATABASE {database}")
            crm = crms.make(rating, 40, server.url(f"{name}_crm"))
            line = await stack.enter_async_context(Proxy(server.socket, delay=0.3).running())
            reached_by = f"postgresql://postgres@127.0.0.1:{line.port}/{name}?sslmode=disable"
            stage = await stack.enter_async_context(
                set_up(nursery, tmp_path, server.url(name), crm, reached_by=reached_by, **options)
            )
            return stage, line

        yield set_one


async def under_load(stage: Stage, receipts: int, trouble: Awaitable[None]) -> None:
    """Send receipts while the trouble lasts, and at least so many."""
    making = asyncio.ensure_future(trouble)
    sent = 0
    while sent < receipts or not making.done():
        await stage.load(20)
        sent += 20
    await making


async def all_is_well(stage: Stage) -> None:
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent, verdict


@pytest.mark.parametrize("rating", ["probe", pytest.param("key", marks=pytest.mark.long)])
async def test_restarts_and_ended_sessions_under_load(
    rating: Rating, server: Server, own_scene: SetStage
) -> None:
    stage, _ = await own_scene(server, rating)
    await asyncio.gather(stage.adapter(), stage.worker(), stage.worker())

    async def trouble() -> None:
        await asyncio.sleep(0.3)
        await server.restart("fast")
        for _ in range(4):
            await asyncio.sleep(0.3)
            await server.terminate()
        await server.restart("immediate")

    await under_load(stage, 100, trouble())
    await all_is_well(stage)


@pytest.mark.parametrize("rating", ["compare", pytest.param("probe", marks=pytest.mark.long)])
async def test_sessions_end_and_the_disk_is_full_at_execute_and_at_commit(
    rating: Rating, server: Server, own_scene: SetStage
) -> None:
    """A session's end, class 53 (disk full) and class 40 (deadlock), in the tables of operations and jobs."""
    stage, _ = await own_scene(server, rating)
    await asyncio.gather(stage.adapter(), stage.worker(), stage.worker())
    for what in ("end", "53100", "40P01"):
        for when in ("execute", "commit"):
            await server.script(misfortune(what, when), _name(stage))
            await stage.load(15)
    await server.script(NO_MISFORTUNE, _name(stage))
    await all_is_well(stage)


def _name(stage: Stage) -> str:
    return stage.url.partition("?")[0].rpartition("/")[2]


async def test_a_bad_line_to_the_database(server: Server, own_scene: SetStage) -> None:
    """Statements and commits that arrive or do not, whose answers are lost."""
    stage, line = await own_scene(server, "probe", database={"statement_timeout": 1.0})
    over_line = stage.over_line
    await asyncio.gather(
        stage.adapter(settings=over_line), stage.worker(settings=over_line), stage.worker(settings=over_line)
    )
    faults: tuple[Fault, ...] = (
        *("cut_before", "cut_after", "reset_before", "reset_after", "half_reply", "latency"),
        *("swallow_reply", "black_hole"),
    )
    for fault in faults:
        line.order(fault, fault, fault)
        await stage.load(15)
    line.calm()
    assert set(line.happened) == set(faults)
    await all_is_well(stage)


async def test_failover_to_a_standby_at_another_address(own_scene: SetStage) -> None:
    with own_server() as primary:
        stage, line = await own_scene(primary, "probe")
        standby = await standby_of(primary)
        over_line = stage.over_line
        await asyncio.gather(
            stage.adapter(settings=over_line),
            stage.worker(settings=over_line),
            stage.worker(settings=over_line),
        )

        async def trouble() -> None:
            await asyncio.sleep(0.5)
            await primary.stop("immediate")
            await line.down()
            await promote(standby)
            line.target = standby.socket
            await line.up()

        name = _name(stage)
        await under_load(stage, 100, trouble())
        stage.url = standby.url(name)
        await all_is_well(stage)
