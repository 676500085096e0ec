"""Since when a CRM has answered without a break."""

from __future__ import annotations

import pytest

from adapter.delivery import answering
from adapter.delivery.answering import Answering

from .leaping import LeapingClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeapingClock:
    clock = LeapingClock()
    monkeypatch.setattr(answering, "time", clock.module)
    return clock


def answered_after(clock: LeapingClock, crm: Answering, *pauses: float) -> float:
    for pause in pauses:
        clock.now += pause
        crm.answered()
    return crm.seconds()


def test_who_was_never_asked_has_not_answered(clock: LeapingClock) -> None:
    assert Answering(5).seconds() == 0


def test_it_counts_from_the_first_answer_to_the_last(clock: LeapingClock) -> None:
    crm = Answering(5)
    assert answered_after(clock, crm, 0, 4, 5, 3) == 12
    clock.now += 4
    assert crm.seconds() == 12, "nobody has asked since"


def test_a_failure_is_a_break(clock: LeapingClock) -> None:
    crm = Answering(5)
    answered_after(clock, crm, 0, 4)
    crm.failed()
    assert crm.seconds() == 0
    assert answered_after(clock, crm, 1, 2) == 2


def test_who_was_not_asked_for_long_may_have_been_away(clock: LeapingClock) -> None:
    crm = Answering(5)
    assert answered_after(clock, crm, 0, 5, 5.1) == 0
    assert answered_after(clock, crm, 1) == 1
