"""The pace at which a CRM is asked again."""

from __future__ import annotations

import time

import pytest

from adapter.delivery.retry_pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_second_s_worth_goes_at_once_and_the_rest_is_told_when_to_come(clock: list[float]) -> None:
    pace = Pace(10)
    answers = [pace.admit() for _ in range(30)]
    assert answers[:10] == [0.0] * 10
    assert all(answer >= 0.5 for answer in answers[10:])
    assert max(answers) <= 3.0  # twenty wait, at ten a second


def test_a_crowd_is_let_in_at_the_pace_and_no_faster(clock: list[float]) -> None:
    """A thousand that waited for a CRM, each coming back when it was told to."""
    pace = Pace(10)
    due, admitted = [clock[0]] * 1000, []
    while due:
        due.sort()
        clock[0] = max(clock[0], due.pop(0))
        delay = pace.admit()
        if delay:
            due.append(clock[0] + delay)
        else:
            admitted.append(clock[0])
    for start in range(100, int(max(admitted)) + 1):
        assert len([at for at in admitted if start <= at < start + 1]) <= 21
    lasted = max(admitted) - 100
    assert 95 <= lasted <= 300


def test_nobody_waits_where_nothing_is_crowded(clock: list[float]) -> None:
    pace = Pace(0.5)
    for _ in range(10):
        assert pace.admit() == 0.0
        clock[0] += 2
