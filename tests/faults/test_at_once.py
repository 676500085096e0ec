"""An adapter that delivers what it has just recorded dies, or sleeps, at every point of that."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.faults.conftest import SetStage
from tests.faults.crms import Rating
from tests.faults.launch import Plan
from tests.faults.stage import DELIVERY, TAKE_OVER, until
from tests.integration.processes import free_ports

POINTS = (
    "record.before",
    "record.after",
    "credit.before",
    "credit.after",
    "end.done.before",
    "end.done.after",
)
LATER = "credit.before", "credit.after"
BY_KEY = ["own", pytest.param("key", marks=pytest.mark.long)]


@pytest.mark.parametrize("rating", BY_KEY)
async def test_an_adapter_is_killed_at_every_point_of_delivering_at_once(
    rating: Rating, scene: SetStage
) -> None:
    stage = await scene(rating, people=200, delivery={"in_process": True})
    port, *ports = free_ports(1 + len(POINTS))
    healthy, *doomed = await asyncio.gather(
        stage.adapter(port=port),
        *(
            stage.adapter(Plan(at=(point,), skip=20, patience=TAKE_OVER), port)
            for point, port in zip(POINTS, ports, strict=True)
        ),
    )
    for _ in range(20):
        await stage.load(60, callers=32)
        if not any(one.alive for one in doomed):
            break
    assert [point for point, one in zip(POINTS, doomed, strict=True) if not one.killed] == []
    assert healthy.alive
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.held == 0
    assert verdict.credited == verdict.sent


async def test_of_somebody_the_crm_does_not_know_yet_it_comes_again_after_a_kill(scene: SetStage) -> None:
    """Recorded as sent, never sent, and refused as a doubt: the shop adds the person, and it is credited."""
    stage = await scene("own", delivery={"in_process": True})
    receipt = stage.receipt(person=7)
    customer = await stage.sql("DELETE FROM crm.customers WHERE id = 7 RETURNING phone")
    doomed = await stage.adapter(Plan(at=("credit.before",), patience=TAKE_OVER))
    await stage.send(receipt, doomed.port, timeout=1)
    await until(lambda: doomed.killed, "it was killed before it sent")
    healthy = await stage.adapter()
    await stage.settled()
    assert await stage.sql("SELECT array_agg(state || doubted) FROM koshelek.operations") == ["refusedtrue"]
    await stage.sql("INSERT INTO crm.customers (id, phone) OVERRIDING SYSTEM VALUE VALUES (7, $1)", customer)
    assert await stage.send(receipt, healthy.port) == f"credited {receipt.roubles}"
    assert await stage.send(receipt, healthy.port) == f"credited {receipt.roubles}"
    assert await stage.sql("SELECT count(*) FROM crm.points_ledger") == 1


@pytest.mark.parametrize("rating", BY_KEY)
@pytest.mark.parametrize(
    "point", ["record.after", *(pytest.param(one, marks=pytest.mark.long) for one in LATER)]
)
async def test_an_adapter_that_sleeps_meanwhile_credits_nothing_twice(
    rating: Rating, point: str, scene: SetStage
) -> None:
    """Others take over what it has marked as sent, and it wakes up with it in hand."""
    stage = await scene(rating, delivery={"in_process": True})
    sleeper = await stage.adapter(Plan(at=(point,), how="stop", patience=TAKE_OVER))
    receipt = stage.receipt()
    await stage.send(receipt, sleeper.port, timeout=1)
    await until(lambda: sleeper.frozen, "the adapter sleeps")
    awake = await stage.adapter()
    verdict = await stage.settled()
    assert verdict.credited == verdict.sent == 1, verdict
    assert await stage.send(receipt, awake.port) == f"credited {receipt.roubles}"
    sleeper.send(signal.SIGCONT)
    await until(lambda: not sleeper.frozen, "the adapter is awake")
    await asyncio.sleep(float(str(DELIVERY["call_timeout"])))  # whatever it would send now, it has sent
    await stage.load(20)
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.held == 0
    assert verdict.credited == verdict.sent == 21
