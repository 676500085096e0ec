"""CRMs beyond the documented conditions: nothing is doubled or lost, and what cannot be told is held.

They keep our reference otherwise than it was given, show late or never what they have done, stand still and
then do what had queued up, and finish what was cut off. No CRM has read what we expect of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.faults.conftest import SetStage
from tests.faults.crms import CompareCrm, ProbeCrm, SandboxCrm
from tests.faults.stage import Stage, until

HASTY: dict[str, object] = {"settle_after": 0.5, "proof_patience": 2.0}
LOOK = "listTransactionsHistory"


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


@pytest.mark.parametrize(
    ("kept", "proof"),
    [
        pytest.param({"reference_case": "upper"}, "proved", id="in capitals"),
        pytest.param({"reference_case": "lower"}, "refuted", id="in small letters"),
        pytest.param({"reference_length": 18}, "refuted", id="cut", marks=pytest.mark.long),
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
    """Longer than ``settle_after``: how far it is behind is learnt from what is known to be done."""
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
    stage = await scene(CompareCrm(10), delivery={"settle_after": 0.8, "proof_patience": 5.0})
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


async def test_a_crm_that_stands_still_does_what_had_queued_up(scene: SetStage) -> None:
    """For longer than ``settle_after``. Awake, it answers questions before it does what was asked before."""
    crm = ProbeCrm(40, punctual=False)
    stage = await scene(crm, delivery={**HASTY, "settle_after": 1.0, "ask_before_sending": False})
    await start(stage)
    await stage.load(12)
    await until(lambda: _proved(stage), "the CRM has shown that it finds our writes")
    crm.sandbox.fault("freeze", crm.credit, seconds=3)
    crm.sandbox.fault("slow", crm.credit, times=20, seconds=3.6)
    await stage.load(30)
    crm.calm()
    verdict = await stage.settled()
    assert crm.sandbox.ledger().faults["slow"] >= 10
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 42, verdict


async def test_what_was_done_twice_after_all_is_found_and_waits_for_a_person(scene: SetStage) -> None:
    """A call that is finished when it has long been sent again: nobody could know that beforehand."""
    crm = ProbeCrm(40, punctual=False)
    stage = await scene(crm, delivery={**HASTY, "settle_after": 1.0})
    await start(stage)
    await stage.load(12)
    await until(lambda: _proved(stage), "the CRM has shown that it finds our writes")
    crm.sandbox.fault("slow", crm.credit, times=4, seconds=4.5)
    await stage.load(4)
    await stage.settled()
    await asyncio.sleep(2.0)  # the CRM has finished the calls that were cut off
    twice = {str(reference) for reference, times in (await crm.effects()).items() if times > 1}
    assert twice

    async def known() -> bool:
        rows = "SELECT array_agg(reference) FROM koshelek.operations WHERE state = 'doubled'"
        return set(await stage.sql(rows) or ()) == twice

    await until(known, "each is known to be there twice", 20)
    entries = "SELECT array_agg(DISTINCT array_length(string_to_array(crm_reference, ', '), 1))"
    doubled = f"{entries} FROM koshelek.operations WHERE state = 'doubled'"
    assert await stage.sql(doubled) == [2]
    assert len(lines(stage, "done_twice_in_the_crm")) == len(twice)


async def _proved(stage: Stage) -> bool:
    return await visibility(stage) == "proved"


async def test_work_that_a_crm_finishes_after_the_call_was_cut_off_is_waited_for(scene: SetStage) -> None:
    crm = ProbeCrm(40, punctual=False)
    stage = await scene(crm, delivery={**HASTY, "settle_after": 1.0})
    await start(stage)
    await stage.load(12)
    await until(lambda: _proved(stage), "the CRM has shown that it finds our writes")
    for seconds in (1.2, 1.4, 1.6, 1.8):
        crm.sandbox.fault("slow", crm.credit, times=5, seconds=seconds)
    await stage.load(30)
    verdict = await stage.settled()
    assert crm.sandbox.ledger().faults["slow"] == 20
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 42, verdict
