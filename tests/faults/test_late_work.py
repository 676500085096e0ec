"""CRMs beyond the documented conditions: they do late what they were asked long ago."""

from __future__ import annotations

import asyncio

from tests.faults.beyond import HASTY, lines, start, until_proved
from tests.faults.conftest import SetStage
from tests.faults.crms import ProbeCrm
from tests.faults.stage import until


async def test_a_crm_that_stands_still_does_what_had_queued_up(scene: SetStage) -> None:
    """For longer than ``reconcile_after``. Awake, it answers questions before it does earlier work."""
    crm = ProbeCrm(40, punctual=False)
    stage = await scene(crm, delivery={**HASTY, "reconcile_after": 1.0, "ask_before_sending": False})
    await start(stage)
    await stage.load(12)
    await until_proved(stage)
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
    stage = await scene(crm, delivery={**HASTY, "reconcile_after": 1.0})
    await start(stage)
    await stage.load(12)
    await until_proved(stage)
    crm.sandbox.fault("slow", crm.credit, times=4, seconds=6.5)
    await stage.load(4)
    for _ in range(3):  # others are answered meanwhile: it does not look as if all writes were queued up
        await asyncio.sleep(1.0)
        await stage.load(4)
    await stage.settled()
    await asyncio.sleep(4.0)  # the CRM has finished the calls that were cut off
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


async def test_work_that_a_crm_finishes_after_the_call_was_cut_off_is_waited_for(scene: SetStage) -> None:
    crm = ProbeCrm(40, punctual=False)
    stage = await scene(crm, delivery={**HASTY, "reconcile_after": 1.0})
    await start(stage)
    await stage.load(12)
    await until_proved(stage)
    for seconds in (1.2, 1.4, 1.6, 1.8):
        crm.sandbox.fault("slow", crm.credit, times=5, seconds=seconds)
    await stage.load(30)
    verdict = await stage.settled()
    assert crm.sandbox.ledger().faults["slow"] == 20
    assert verdict.well, verdict
    assert verdict.credited == verdict.sent == 42, verdict
