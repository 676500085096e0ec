"""The last questions before a doubt that is missing is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from adapter.delivery import absence
from adapter.delivery.absence import Absence
from adapter.delivery.later import Later
from adapter.loyalty.model import Operation, OperationKind, OperationState
from crm_backends.ports import BackendUnavailable, Deadline, Reconciliation, Refusal, Written

from .leaping import LeapingClock

KIND = OperationKind.RECEIPT
PATIENCE = 30.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeapingClock:
    clock = LeapingClock()
    monkeypatch.setattr(absence, "time", clock.module)
    return clock


def operation(number: int, state: OperationState = OperationState.UNKNOWN) -> Operation:
    return Operation(
        number, KIND, f"i{number}", "29", "", None, state, 1, datetime(2026, 11, 26, tzinfo=UTC), f"R{number}"
    )


class Ledger:
    def __init__(self, control: Operation | None, *, written: bool) -> None:
        self._control, self._written = control, written

    async def control_operation(self, kind: OperationKind, older: float) -> Operation | None:
        return self._control

    async def written_since(self, operation: Operation) -> bool:
        return self._written


class Proofs:
    settings = type("Settings", (), {"call_timeout": 1.0})

    def __init__(self) -> None:
        self.looked_for: list[Operation] = []

    def look_for(self, operation: Operation, since: float) -> None:
        self.looked_for.append(operation)


def make(
    answers: Sequence[Written | Exception] = (), *, control: bool = False, written: bool = False
) -> tuple[Absence, Proofs]:
    left = iter(answers)

    async def ask(operation: Operation, deadline: Deadline) -> Written:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ledger: Any = Ledger(operation(1, OperationState.DONE) if control else None, written=written)
    proofs: Any = Proofs()
    return Absence(ledger, proofs, {KIND: Reconciliation.PROBE}, ask), proofs


def may_be_sent(clock: LeapingClock, asked: Absence, number: int, missing_for: float) -> bool:
    try:
        clock.run(asked.confirm(operation(number), missing_for, PATIENCE))
    except Later:
        return False
    return True


def test_where_the_crm_answers_writes_a_missing_one_is_sent_again(clock: LeapingClock) -> None:
    asked, _ = make(written=True)
    assert may_be_sent(clock, asked, 2, PATIENCE)
    asked, _ = make()
    asked.wrote(KIND)
    assert may_be_sent(clock, asked, 2, PATIENCE)


def test_where_no_write_is_answered_one_is_tried_after_long_and_the_others_wait(clock: LeapingClock) -> None:
    asked, _ = make()
    assert not may_be_sent(clock, asked, 2, PATIENCE)
    assert may_be_sent(clock, asked, 2, 3 * PATIENCE)
    assert not may_be_sent(clock, asked, 3, 3 * PATIENCE)
    clock.now += 1
    asked.wrote(KIND)  # the one that was tried got through
    assert may_be_sent(clock, asked, 3, 3 * PATIENCE)


def test_one_that_was_tried_in_vain_is_followed_by_another_later(clock: LeapingClock) -> None:
    asked, _ = make()
    assert may_be_sent(clock, asked, 2, 3 * PATIENCE)
    clock.now += 3 * PATIENCE
    assert may_be_sent(clock, asked, 3, 6 * PATIENCE)


def test_a_crm_that_misses_what_it_confirmed_gets_nothing_again(clock: LeapingClock) -> None:
    asked, proofs = make([Written.not_sent(), Written.done()], control=True, written=True)
    assert not may_be_sent(clock, asked, 2, PATIENCE)
    assert [found.id for found in proofs.looked_for] == [1]
    assert may_be_sent(clock, asked, 2, PATIENCE)


@pytest.mark.parametrize("told", [Written.unknown(), Written.refused()])
def test_a_crm_that_cannot_tell_of_what_it_confirmed_gets_nothing_again(
    told: Written, clock: LeapingClock
) -> None:
    asked, proofs = make([told, Written.done()], control=True, written=True)
    assert not may_be_sent(clock, asked, 2, PATIENCE)
    assert proofs.looked_for == []
    assert may_be_sent(clock, asked, 2, PATIENCE)


def test_what_it_confirmed_is_found_also_with_other_contents(clock: LeapingClock) -> None:
    asked, _ = make([Written.refused(Refusal.KEY_TAKEN)], control=True, written=True)
    assert may_be_sent(clock, asked, 2, PATIENCE)


def test_a_crm_that_cannot_be_asked_gets_nothing_again(clock: LeapingClock) -> None:
    asked, proofs = make([BackendUnavailable("away")], control=True, written=True)
    assert not may_be_sent(clock, asked, 2, PATIENCE)
    assert proofs.looked_for == []
