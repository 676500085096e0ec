"""A process is killed at every transition of an operation: before and after each write, and around the call.

A dozen workers start, each with a point at which it dies; when all are dead, one without a plan takes over.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import SetStage
from tests.faults.crms import RATINGS, Rating
from tests.faults.launch import Plan
from tests.faults.stage import TAKE_OVER, Stage, until

SENDING = (
    "begin.before",
    "begin.after",
    "credit.before",
    "credit.after",
    "end.done.before",
    "end.done.after",
)
DOUBTING = ("end.unknown.before", "end.unknown.after")
SETTLING = ("reconcile_credit.before", "reconcile_credit.after")
AGAIN = ("again.before", "again.after")
LEASING = ("lease.before", "lease.after", "release.before", "release.after")
HOLDING = ("end.held.before", "end.held.after")

POINTS: dict[Rating, tuple[str, ...]] = {
    "own": SENDING,
    "key": (*SENDING, *DOUBTING, *AGAIN),
    "probe": (*SENDING, *DOUBTING, *SETTLING, *AGAIN),
    "compare": (*SENDING, *DOUBTING, *SETTLING, *AGAIN, *LEASING),
    "manual": (*SENDING, *DOUBTING, *HOLDING),
}


def dying_at(point: str, skip: int = 0) -> Plan:
    return Plan(at=(point,), skip=skip, patience=TAKE_OVER)


async def disturb_until(stage: Stage, over: asyncio.Event) -> None:
    """Let a third of the requests to the CRM be cut, before or after the work; refuse some connections."""
    stage.crm.line.draw = lambda _: (
        stage.chance.choice(("cut_before", "cut_after")) if stage.chance.random() < 0.3 else None
    )
    while not over.is_set():
        await asyncio.sleep(1)
        await stage.crm.line.down()
        await asyncio.sleep(0.2)
        await stage.crm.line.up()
    stage.crm.calm()


async def keep_sending(stage: Stage, over: asyncio.Event) -> None:
    while not over.is_set():
        await stage.load(5)
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    "rating", ["compare", *(pytest.param(one, marks=pytest.mark.long) for one in RATINGS if one != "compare")]
)
async def test_a_worker_is_killed_at_every_transition(rating: Rating, scene: SetStage) -> None:
    stage = await scene(rating, people=200)
    await stage.adapter()
    doomed = await asyncio.gather(*[stage.worker(dying_at(point)) for point in POINTS[rating]])
    over = asyncio.Event()
    disturbing = asyncio.create_task(disturb_until(stage, over))
    sending = asyncio.create_task(keep_sending(stage, over))
    try:
        await until(
            lambda: not any(worker.alive for worker in doomed),
            lambda: f"killed at {[p for p, w in zip(POINTS[rating], doomed, strict=True) if w.alive]}",
        )
    finally:
        over.set()
        await asyncio.gather(disturbing, sending)
    assert all(worker.killed for worker in doomed)
    await stage.worker()
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited > 0
    assert verdict.refused == 0
    if rating in ("own", "key", "probe"):
        assert verdict.held == 0
    assert verdict.credited + verdict.held == verdict.sent


async def test_an_adapter_is_killed_before_and_after_it_records(scene: SetStage) -> None:
    stage = await scene("probe")
    await stage.worker()
    for point in ("record.before", "record.after"):
        doomed = await stage.adapter(dying_at(point, skip=3))
        for _ in range(4):
            receipt = stage.receipt()
            await stage.send(receipt, doomed.port)
        await until(lambda: doomed.killed, point)  # noqa: B023
        assert receipt.answers == ["broken"]
        healthy = await stage.adapter()
        assert await stage.send(receipt, healthy.port) in ("accepted", f"credited {receipt.roubles}")
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 8
