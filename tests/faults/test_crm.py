"""The CRM and the line to it fail: before and after the work, in every way a line and a server can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.faults.conftest import SetStage
from tests.faults.crms import RATINGS, Rating, SandboxCrm
from tests.faults.proxy import FAULTS, Fault
from tests.faults.stage import Stage, until

RATED = ["compare", *(pytest.param(one, marks=pytest.mark.long) for one in RATINGS if one != "compare")]


async def all_ended(stage: Stage, rating: Rating) -> None:
    """Nothing lost and nothing doubled; held is what only a person can tell."""
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.refused == 0
    assert verdict.credited + verdict.held == verdict.sent, verdict
    if rating != "manual":
        assert verdict.held == 0, verdict


@pytest.mark.parametrize("rating", RATED)
async def test_every_fault_of_the_line_hits_a_credit(rating: Rating, scene: SetStage) -> None:
    stage = await scene(rating)
    await asyncio.gather(stage.adapter(), stage.worker(), stage.worker())
    await stage.load(5)
    left: list[Fault] = [*FAULTS, *FAULTS]

    def draw(first: bytes) -> Fault | None:
        writes = rating == "key" or first.startswith(b"POST")
        return left.pop() if left and writes else None

    stage.crm.line.draw = draw
    stage.crm.line.delay = 0.3
    while left:
        await stage.load(10)
    # On a busy machine the line is "behind" as well, which is no fault that was drawn.
    assert set(stage.crm.line.happened) - {"behind"} == set(FAULTS)
    await all_ended(stage, rating)


@pytest.mark.parametrize("rating", ["compare", pytest.param("probe", marks=pytest.mark.long)])
async def test_the_crm_refuses_connections_for_a_while(rating: Rating, scene: SetStage) -> None:
    stage = await scene(rating)
    await asyncio.gather(stage.adapter(), stage.worker())
    await stage.crm.line.down()
    await stage.load(20)
    assert stage.answers["credited"] == 0
    await stage.crm.line.up()
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 20


@pytest.mark.parametrize("rating", ["probe", "compare", pytest.param("manual", marks=pytest.mark.long)])
async def test_every_fault_of_the_server_hits_a_credit(rating: Rating, scene: SetStage) -> None:
    """5xx before and after the work, late answers, hang-ups, garbage, 429 storms, tokens that end midway."""
    stage = await scene(rating)
    crm = stage.crm
    assert isinstance(crm, SandboxCrm)
    await asyncio.gather(stage.adapter(), stage.worker(), stage.worker())
    await stage.load(5)
    for fault in crm.faults:
        for status in (500, 502, 503, 504) if fault in ("error_before", "error_after") else (500,):
            crm.sandbox.fault(
                fault,
                crm.credit,
                times=30 if fault == "too_many" else 1,
                seconds=1.3 if fault == "late" else 0,
                status=status,
            )
    while len(crm.sandbox.stand_in.faults.as_json()) > 0:
        await stage.load(10)
    assert set(crm.sandbox.ledger().faults) == set(crm.faults)
    await all_ended(stage, rating)


def _codes(answers: Sequence[str]) -> set[str]:
    return {answer.partition(" ")[0] for answer in answers}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rating", RATINGS)
async def test_a_bad_line_for_long(rating: Rating, scene: SetStage) -> None:
    """A third of all requests suffer something, for 600 receipts."""
    stage = await scene(rating)
    await asyncio.gather(stage.adapter(), stage.worker(), stage.worker())
    stage.crm.line.draw = lambda _: stage.chance.choice(FAULTS) if stage.chance.random() < 0.3 else None
    await stage.load(600)
    stage.crm.calm()
    verdict = await stage.settled(120)
    assert verdict.well, verdict
    assert _codes([answer for receipt in stage.receipts for answer in receipt.answers]) <= {
        "credited",
        "accepted",
    }
    await until(lambda: all(worker.alive for worker in stage.workers), "no worker died of it")
