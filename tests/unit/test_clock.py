"""Two clocks: an age is believed as far as the database's and this process's own both tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapter.delivery import clock
from adapter.delivery.clock import DatabaseClock

from .leaping import LeapingClock

HOUR = 3600.0
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clocks:
    """Both clocks under the test's hand, and one that watches them."""

    def __init__(self, own: LeapingClock) -> None:
        self.own = own
        self.database = START
        self.watched = DatabaseClock()

    def pass_(self, seconds: float, drift: float = 0.0) -> None:
        self.own.now += seconds
        self.database += timedelta(seconds=seconds * (1 + drift))

    def read(self, takes: float = 0.0) -> datetime:
        """Read the database's clock; the answer takes so long, and was given halfway."""
        before = self.own.now
        self.pass_(takes / 2)
        told = self.database
        self.pass_(takes / 2)
        self.watched.observe(before, told, self.own.now)
        return told


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    own = LeapingClock()
    monkeypatch.setattr(clock, "time", own.module)
    return Clocks(own)


def test_before_anything_was_read_nothing_has_any_age(clocks: Clocks) -> None:
    assert clocks.watched.age(START - timedelta(days=1)) == 0


def test_while_both_run_alike_an_age_is_what_it_is(clocks: Clocks) -> None:
    sent = clocks.read()
    for _ in range(20):
        clocks.pass_(5)
        clocks.read(takes=0.1)
    assert clocks.watched.age(sent) == pytest.approx(102, abs=0.2)


def test_what_was_before_this_process_looked_is_as_old_as_its_looking(clocks: Clocks) -> None:
    clocks.read()
    clocks.pass_(7)
    assert clocks.watched.age(START - timedelta(days=1)) == pytest.approx(7)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 5.0, -5.0])
def test_after_a_jump_nothing_is_older_than_the_time_since(jump: float, clocks: Clocks) -> None:
    sent = clocks.read()
    clocks.pass_(2)
    clocks.database += timedelta(seconds=jump)
    clocks.read()
    assert clocks.watched.age(sent) <= 0.5
    clocks.pass_(10)
    clocks.read()
    # Not for ever either: what passes after the jump counts, be the moment in the future.
    assert clocks.watched.age(sent) == pytest.approx(10 if jump != -5.0 else 7, abs=0.6)


def test_there_and_back_again_counts_from_the_last_jump(clocks: Clocks) -> None:
    sent = clocks.read()
    for jump in (HOUR, -HOUR):
        clocks.pass_(3)
        clocks.database += timedelta(seconds=jump)
        clocks.read()
    clocks.pass_(4)
    clocks.read()
    assert clocks.watched.age(sent) == pytest.approx(4)


def test_an_age_is_not_made_greater_by_an_answer_that_came_late(clocks: Clocks) -> None:
    """It was read at some moment within those ten seconds; the latest counts."""
    sent = clocks.read(takes=10)
    assert clocks.watched.age(sent) == 0
    clocks.pass_(3)
    clocks.read(takes=0.1)  # now it is known better
    assert clocks.watched.age(sent) == pytest.approx(8.1, abs=0.2)


def test_clocks_that_run_apart_a_little_are_both_well(clocks: Clocks) -> None:
    sent = clocks.read()
    for _ in range(1000):
        clocks.pass_(10, drift=0.0005)
        clocks.read(takes=0.02)
    assert clocks.watched.age(sent) == pytest.approx(10_000, rel=0.01)


def test_a_database_that_tells_no_time_changes_nothing(clocks: Clocks) -> None:
    sent = clocks.read()
    clocks.pass_(2)
    clocks.watched.observe(clocks.own.now, None, clocks.own.now)
    assert clocks.watched.age(sent) == pytest.approx(2)
