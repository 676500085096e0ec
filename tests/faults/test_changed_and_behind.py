"""CRMs beyond the documented conditions: they keep our key otherwise, or show late what they have done.

Nothing is doubled or lost, and what cannot be told is held. No CRM has read what we expect of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.faults.beyond import HASTY, behind, cut, lines, start, visibility
from tests.faults.conftest import SetStage
from tests.faults.crms import CompareCrm, ProbeCrm


@pytest.mark.parametrize(
    ("kept", "proof"),
    [
        pytest.param({"reference_case": "upper"}, "proved", id="in capitals"),
        pytest.param({"reference_case": "lower"}, "refuted", id="in small letters"),
        pytest.param({"key_length": 18}, "refuted", id="cut", marks=pytest.mark.long),
        pytest.param({"history_gap": 5}, "refuted", id="some are never shown", marks=pytest.mark.long),
    ],
)
async def test_what_a_crm_does_with_our_reference_is_found_out(
    kept: dict[str, Any], proof: str, scene: SetStage
) -> None:
    stage = await scene(ProbeCrm(40, **kept), delivery=HASTY)
    await start(stage)
    cut(stage, 0.3)
    await stage.load(60)
    stage.crm.calm()
    verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited + verdict.held == verdict.sent == 60, verdict
    assert await visibility(stage) == proof
    if proof == "proved":
        assert verdict.held == 0, verdict
        return
    assert verdict.held > 0, verdict
    why = "not found in the CRM, which does not find all of our writes"
    assert await stage.sql("SELECT count(*) FROM koshelek.operations WHERE reason = $1", why) > 0
    said = [line for line in lines(stage, "crm_visibility_changed") if line["now"] == "refuted"]
    assert len(said) == 1, said
    assert said[0]["level"] == "error"


async def test_a_history_that_is_behind_is_waited_for(scene: SetStage) -> None:
    """Longer than ``reconcile_after``: how far it is behind is learnt from what is known to be done."""
    stage = await scene(ProbeCrm(40), delivery=HASTY)
    await start(stage)
    async with behind(stage, "history_seconds", 0.4, 1.2):
        cut(stage, 0.3)
        await stage.load(40)
        stage.crm.calm()
        verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 40, verdict
    assert await stage.sql("SELECT worst_seconds FROM koshelek.visibility") > 0.4


async def test_the_late_credit_of_another_receipt_is_not_taken_for_ours(scene: SetStage) -> None:
    """By comparing, receipts of the same sum for few people, while the balance is behind."""
    # Not hasty: on a busy machine a request lies on the line for a while, and the balance is behind besides.
    stage = await scene(CompareCrm(10), delivery={"reconcile_after": 2.0, "proof_patience": 8.0})
    await start(stage)
    async with behind(stage, "balance_seconds", 0.2, 0.6):
        for rate in (0.0, 0.4, 0.4):
            cut(stage, rate)
            people = [stage.receipt(person=person, roubles=10) for person in range(1, 11)]
            await asyncio.gather(*[stage.deliver(receipt) for receipt in people])
        stage.crm.calm()
        verdict = await stage.settled()
    assert verdict.well, verdict
    assert verdict.credited + verdict.held == verdict.sent == 30, verdict
    assert verdict.credited > 15, verdict
