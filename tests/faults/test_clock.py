"""Clocks jump, and processes sleep: what is decided by time is decided by two clocks that agree."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.faults.beyond import until_proved
from tests.faults.conftest import SetStage
from tests.faults.crms import CompareCrm, ProbeCrm, Rating
from tests.faults.launch import Plan
from tests.faults.stage import DELIVERY, TAKE_OVER, Stage, until
from tests.integration.clocks import DATABASE_CLOCK, MOVE_DATABASE_CLOCK

HOUR, WEEK = 3600.0, 7 * 86_400.0


@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(HOUR, id="an hour ahead", marks=pytest.mark.long),
        pytest.param(-HOUR, id="an hour behind"),
        pytest.param(WEEK, id="a week ahead", marks=pytest.mark.long),
    ],
)
async def test_a_clock_jumps_under_load(ahead: float, scene: SetStage) -> None:
    """Of one adapter and one worker; the others keep the time. Doubts are reconciled, none is held."""
    stage = await scene("compare")
    jumping = Plan(clock=ahead, patience=TAKE_OVER)
    await asyncio.gather(stage.adapter(jumping), stage.worker(jumping), stage.adapter(), stage.worker())
    await stage.load(20)
    for process in (stage.adapters[0], stage.workers[0]):
        process.send(signal.SIGUSR1)
    stage.crm.line.draw = lambda _: (
        stage.chance.choice(("cut_before", "cut_after")) if stage.chance.random() < 0.2 else None
    )
    await stage.load(60)
    await stage.crm.line.down()
    await stage.load(10)
    await stage.crm.line.up()
    stage.crm.calm()
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 90, verdict
    assert all(process.alive for process in (*stage.adapters, *stage.workers))


async def _more_than(least: int, stage: Stage, count: str) -> bool:
    return int(await stage.sql(count)) > least


@pytest.mark.parametrize(
    ("rating", "jumps"),
    [
        ("probe", (HOUR, -HOUR)),
        pytest.param("probe", (-HOUR, 0.0, HOUR), marks=pytest.mark.long),
        pytest.param("compare", (-HOUR, HOUR), marks=pytest.mark.long),
        pytest.param("compare", (HOUR, 0.0), marks=pytest.mark.long),
    ],
)
async def test_the_clock_of_the_database_jumps_under_load(
    rating: Rating, jumps: Sequence[float], scene: SetStage
) -> None:
    """Nothing is taken for older than it is, and nothing waits for the clock to come round again.

    It jumps when there are doubts, looked for and not found yet or not; the CRM will still do what they
    are about.
    """
    crm = ProbeCrm(40, punctual=False) if rating == "probe" else CompareCrm(40, punctual=False)
    stage = await scene(crm, beforehand=DATABASE_CLOCK, delivery={"reconcile_after": 2.5})
    await asyncio.gather(stage.adapter(), stage.worker(), stage.worker())
    await stage.load(15)
    doubts = "SELECT count(*) FROM koshelek.operations WHERE state = 'unknown'"
    looked_for = f"{doubts} AND looked_at IS NOT NULL"
    for ahead, many in zip(jumps, (doubts, looked_for, doubts), strict=False):
        crm.sandbox.fault("slow", crm.credit, times=8, seconds=4.0)
        await stage.load(15)
        await until(functools.partial(_more_than, 2, stage, many), many)
        await stage.sql(MOVE_DATABASE_CLOCK, ahead)
        await stage.load(5)
    crm.calm()
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited + verdict.held == verdict.sent, verdict
    assert verdict.held == 0 or rating == "compare", verdict
    # It was this clock that they went by, the queue too.
    far = timedelta(seconds=abs(jumps[0]) / 2)
    recorded = "SELECT max(abs(extract(epoch FROM recorded_at - clock_timestamp()))) FROM koshelek.operations"
    queued = "SELECT max(abs(extract(epoch FROM created - clock_timestamp()))) FROM koshelek.pgqueuer_log"
    for statement in (recorded, queued):
        assert float(await stage.sql(statement)) > far.total_seconds(), statement


@pytest.mark.parametrize("rating", [pytest.param("probe", marks=pytest.mark.long), "compare"])
@pytest.mark.parametrize(
    "point",
    [
        pytest.param("begin.before", marks=pytest.mark.long),
        "begin.after",
        "credit.send.before",
        "credit.send.after",  # it has left by then, and is not still to be written on waking
    ],
)
async def test_who_sleeps_before_the_call_does_not_send_when_others_have(
    rating: Rating, point: str, scene: SetStage
) -> None:
    """A worker is frozen, as a paused machine is, with a receipt in hand; another sends it meanwhile."""
    stage = await scene(rating)
    await asyncio.gather(stage.adapter(), stage.worker())
    # Where nothing was ever found, doubts wait; the CRM has to prove itself by others.
    await asyncio.gather(*[stage.deliver(stage.receipt(person=person)) for person in range(11, 16)])
    await until_proved(stage)
    stage.workers[0].send(signal.SIGTERM)
    await until(lambda: not stage.workers[0].alive, "the first worker has stopped")
    # The first request of a credit may be for a token.
    skip = 1 if point.startswith("credit.send") else 0
    sleeper = await stage.worker(Plan(at=(point,), skip=skip, how="stop", patience=TAKE_OVER))
    first = [stage.receipt(person=person, roubles=10) for person in range(1, 6)]
    await asyncio.gather(*[stage.deliver(receipt) for receipt in first])
    await until(lambda: sleeper.frozen, "the worker sleeps")
    await stage.worker()
    # Others of the same people and the same sums: who compares balances must not be deceived.
    second = [stage.receipt(person=person, roubles=10) for person in range(1, 6)]
    await asyncio.gather(*[stage.deliver(receipt) for receipt in second])
    verdict = await stage.settled()
    assert verdict.credited == 15, verdict
    sleeper.send(signal.SIGCONT)
    await until(lambda: not sleeper.frozen, "the worker is awake")
    await stage.load(20)
    await asyncio.sleep(float(str(DELIVERY["call_timeout"])))  # whatever it would send now, it has sent
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 35
