"""What a run says in the end: what it could not judge is said, and can be made a failure."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.loyalty_online import clauses, untested
from contracts.loyalty_online.subjects import SUBJECTS
from contracts.suite import runner, summary
from contracts.suite.config import Options
from contracts.suite.judging import Judge
from contracts.suite.report.findings import official, verdict
from contracts.suite.results import Outcome, Run, State
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving
from tests.suite.implementations.mutants import NoPoints
from tests.suite.implementations.mutants_of_value import CreditedTwice, NeverCreditedSilently
from tests.suite.implementations.shop import OPTIONS


class WithoutPoints(Clean):
    shop_class = NoPoints


async def run(service: Clean, **given: Any) -> Run:
    async with serving(service) as url:
        chosen = {"urls": [url], "login": LOGIN, "receipt_wait": 1.0, **OPTIONS, "promo_code": None, **given}
        return await runner.run(Options(**(chosen | {"receipt_wait": 0.5})), PASSWORD)


def test_subjects_are_of_clauses_that_can_be_judged() -> None:
    for named in SUBJECTS.values():
        assert named <= clauses().keys() - untested().keys()
    assert not SUBJECTS["money"] & SUBJECTS["identity"]


async def test_money_that_was_not_judged_is_said_with_the_reason() -> None:
    found = await run(WithoutPoints(), profile="full", only=["KLO-3", "KLO-10"])
    (target,) = found.targets
    told = verdict(target)
    assert told.startswith("Keeps the contract; 16 clauses about money were not judged, because: no points ")
    assert "show within 0.5 s (receipt_wait)" in told
    assert told in summary.text(found)
    assert "identity" not in told, "it was not asked for"


async def test_the_read_profile_says_what_it_cannot_judge() -> None:
    (target,) = (await run(Clean())).targets
    assert (
        "about money were not judged, because: changes something; asked for with --profile full"
        in verdict(target)
    )


async def test_how_many_official_clauses_are_kept_is_said() -> None:
    found = await run(Clean(), profile="full", only=["KLO-1"])
    assert official(found, found.targets[0]) == "official: 16 of 16 kept"
    found = await run(Clean(), only=["KLO-1"], blocked=None)
    assert official(found, found.targets[0]) == "official: 15 of 15 kept, 1 not judged"


@pytest.fixture(scope="module")
async def whole() -> Run:
    """A full run that knows no promo code, and requires nothing."""
    return await run(Clean(), profile="full")


@pytest.mark.parametrize(
    ("require", "well"), [("identity", True), ("KLO-1", True), ("KLO-12", False), ("money", False)]
)
def test_clauses_that_are_required_have_to_be_judged(require: str, well: bool, whole: Run) -> None:
    judge = Judge(Options(profile="full", require=[require]), clauses())
    (demand,) = judge.demands(whole.targets[0].results)
    assert demand.check == "run.required_clauses"
    assert (demand.state is State.PASS) is well
    if not well:
        told = {failure.clause: failure.actual for failure in demand.failures}
        assert told["KLO-12-11"] == "not judged: needs `promo_code` in the configuration"


@pytest.mark.parametrize(("require", "well"), [("KLO-1", True), ("KLO-12", False)])
async def test_a_run_breaks_the_contract_where_what_is_required_was_not_judged(
    require: str, well: bool
) -> None:
    found = await run(Clean(), profile="full", only=["KLO-1", "KLO-12-11"], require=[require])
    assert (found.outcome is Outcome.KEEPS) is well


async def test_what_is_required_has_to_exist() -> None:
    with pytest.raises(runner.CannotRun, match="--require KLO-77: no clause is called that"):
        await run(Clean(), require=["KLO-77"])


@pytest.mark.parametrize(("most", "well"), [(0, False), (200, True)])
async def test_too_many_skips_can_be_a_failure(most: int, well: bool) -> None:
    found = await run(Clean(), max_skips=most, blocked=None, only=["find"])
    assert (found.outcome is Outcome.KEEPS) is well
    if not well:
        assert "at most 0 checks skipped" in summary.text(found)
        assert "needs `blocked` in the configuration" in summary.text(found)


class Doubles(Clean):
    shop_class = CreditedTwice


class Silent(Clean):
    shop_class = NeverCreditedSilently


async def test_what_costs_somebody_points_is_a_failure_however_the_clause_is_known() -> None:
    found = await run(Doubles(), profile="full", only=["KLO-10-41", "KLO-8-02"], strict=False)
    assert found.outcome is Outcome.BREAKS
    found = await run(Silent(), profile="full", only=["KLO-10-40"], strict=False)
    assert found.outcome is Outcome.KEEPS, "a receipt may give something else than points"
    assert "with 1 warning" in verdict(found.targets[0])
