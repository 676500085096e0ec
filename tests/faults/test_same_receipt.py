"""The same receipt a thousand times from fifty connections to two adapters: one effect, one answer."""

from __future__ import annotations

import asyncio
import time

import pytest

from adapter.errors import Code
from tests.faults.conftest import SetStage
from tests.faults.crms import RATINGS, Rating
from tests.faults.judge import Receipt
from tests.faults.stage import Stage

TIMES, CALLERS = 1000, 50


async def send_all(stage: Stage, receipt: Receipt, ports: list[int]) -> list[tuple[float, float, str]]:
    """When each call began and ended, and what it was told."""
    told: list[tuple[float, float, str]] = []
    left = iter(range(TIMES))

    async def caller(port: int) -> None:
        for _ in left:
            began = time.monotonic()
            answer = await stage.send(receipt, port)
            told.append((began, time.monotonic(), answer))

    await asyncio.gather(*[caller(ports[number % len(ports)]) for number in range(CALLERS)])
    return told


@pytest.mark.parametrize(
    "rating", ["compare", *(pytest.param(one, marks=pytest.mark.long) for one in RATINGS if one != "compare")]
)
async def test_one_effect_and_every_answer_agrees(rating: Rating, scene: SetStage) -> None:
    stage = await scene(rating)
    ports = [(await stage.adapter()).port for _ in range(2)]
    await asyncio.gather(stage.worker(), stage.worker())
    receipt = stage.receipt(roubles=62)
    if rating != "manual":
        stage.crm.line.order("cut_after")
    told = await send_all(stage, receipt, ports)
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert (verdict.sent, verdict.credited) == (1, 1)
    assert (await stage.crm.effects()).total() == 1
    assert len(told) == TIMES
    assert {answer for _, _, answer in told} <= {"accepted", "credited 62"}
    credited = [ended for _, ended, answer in told if answer == "credited 62"]
    assert credited, "the last calls are told the result"
    assert not [began for began, _, answer in told if began > min(credited) and answer == "accepted"]
    assert await stage.send(receipt, ports[0]) == "credited 62"


async def test_another_card_and_another_sum_are_told_so_whichever_adapter_they_ask(scene: SetStage) -> None:
    stage = await scene("probe")
    ports = [(await stage.adapter()).port for _ in range(2)]
    await stage.worker()
    receipt = stage.receipt(person=1, roubles=62)
    other_card = Receipt(2, stage.receipts[0].card[:-1] + "2", receipt.document, 62)
    other_sum = Receipt(1, receipt.card, receipt.document, 63)
    await stage.deliver(receipt)
    answers = await asyncio.gather(
        *[stage.send(other, port) for other in (other_card, other_sum) for port in ports for _ in range(10)]
    )
    assert set(answers[:20]) == {Code.RECEIPT_TAKEN}
    assert set(answers[20:]) == {Code.RECEIPT_DIFFERS}
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert (await stage.crm.effects()).total() == 1
