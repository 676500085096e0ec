"""The positive control: what is looked for, how often, and what is learnt of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapter.delivery import proof
from adapter.delivery.proof import Proofs
from adapter.loyalty.model import Operation, OperationKind, OperationState
from adapter.loyalty.ports import Proof, StoreUnavailable, Visibility
from adapter.settings import Delivery
from crm_backends.ports import BackendUnavailable, Deadline, Written

from .leaping import LeapingClock

KIND = OperationKind.RECEIPT
OPERATION = Operation(
    1,
    KIND,
    "identity",
    "2900",
    "",
    None,
    OperationState.DONE,
    1,
    datetime(2026, 1, 1, tzinfo=UTC),
    "REFERENCE",
)


class Book:
    """What is kept, of one CRM, as the store keeps it."""

    def __init__(self) -> None:
        self.kept: dict[OperationKind, Visibility] = {}
        self.away = False

    async def known(self) -> Mapping[OperationKind, Visibility]:
        if self.away:
            raise StoreUnavailable
        return dict(self.kept)

    async def found(self, kind: OperationKind, seconds: float) -> Visibility:
        if self.away:
            raise StoreUnavailable
        known = self.kept.get(kind, Visibility())
        state = Proof.REFUTED if known.proof is Proof.REFUTED else Proof.PROVED
        worst = max(known.worst_seconds, seconds)
        self.kept[kind] = dataclasses.replace(known, proof=state, worst_seconds=worst, found=known.found + 1)
        return self.kept[kind]

    async def missing(self, kind: OperationKind, seconds: float) -> Visibility:
        known = self.kept.get(kind, Visibility())
        worst = max(known.worst_seconds, seconds)
        self.kept[kind] = dataclasses.replace(known, worst_seconds=worst)
        return self.kept[kind]

    async def not_found(self, kind: OperationKind) -> Visibility:
        known = self.kept.get(kind, Visibility())
        self.kept[kind] = dataclasses.replace(known, proof=Proof.REFUTED)
        return self.kept[kind]

    async def forget(self, kind: OperationKind) -> bool:
        return self.kept.pop(kind, None) is not None


class Scene:
    """A CRM that shows everything ``late`` seconds after it was done; ``None``: never."""

    def __init__(self, clock: LeapingClock) -> None:
        self.clock = clock
        self.late: float | None = 0.0
        self.cannot_tell: float = 0.0
        """For so many seconds from when it is there, what is there does not tell whose it is."""
        self.looks = 0
        self.away_until = 0.0
        self.oversleeps: Callable[[], float] = lambda: 0.0
        self.book = Book()
        self.settings = Delivery(reconcile_after=10, proof_patience=100, call_timeout=2)
        self.proofs = Proofs(self.book, self.settings, self._ask, self._found)
        self.found: list[Written] = []
        self._done_at = 0.0

    async def _ask(self, operation: Operation, deadline: Deadline) -> Written:
        self.clock.now += self.oversleeps()
        self.looks += 1
        if self.clock.now < self.away_until:
            raise BackendUnavailable("away")
        age = self.clock.now - self._done_at
        if self.late is None or age < self.late:
            return Written.not_sent()
        return Written.done() if age >= self.late + self.cannot_tell else Written.unknown()

    async def _found(self, operation: Operation, written: Written) -> None:
        self.found.append(written)

    async def confirm(self, **options: Any) -> bool:
        """An operation has been done just now; tells whether it is looked for, which is awaited."""
        due = await self.proofs.is_due(KIND)
        if due:
            await self.look(**options)
        return due

    async def look(self, **options: Any) -> None:
        self._done_at = self.clock.now
        self.proofs.look_for(OPERATION, self.clock.now, **options)
        for task in list(self.proofs._running):
            await task

    async def confirm_many(self, count: int) -> int:
        """How many of so many, one a second, were looked for."""
        due = 0
        for _ in range(count):
            self.clock.now += 1
            due += await self.confirm()
        return due

    @property
    def known(self) -> Visibility:
        return self.book.kept.get(KIND, Visibility())


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = LeapingClock()
    monkeypatch.setattr(proof, "time", clock.module)
    return Scene(clock)


def run(scene: Scene, work: Any) -> Any:
    return scene.clock.run(work)


def test_the_first_ones_are_looked_for_and_then_one_in_a_hundred(scene: Scene) -> None:
    assert run(scene, scene.confirm_many(10)) == 10
    assert scene.known.proof is Proof.PROVED
    assert scene.known.worst_seconds == 0
    scene.looks = 0
    assert run(scene, scene.confirm_many(1000)) in (9, 10)
    assert scene.looks in (9, 10)


def test_in_thin_traffic_one_an_hour_is_looked_for(scene: Scene) -> None:
    async def a_day() -> int:
        due = 0
        for _ in range(48):
            scene.clock.now += 1800
            due += await scene.confirm()
        return due

    run(scene, scene.confirm_many(10))
    assert run(scene, a_day()) in (23, 24)


def test_a_look_that_took_several_is_paid_for_by_so_many_hundreds(scene: Scene) -> None:
    run(scene, scene.confirm_many(12))
    scene.late = 3.0
    scene.looks = 0
    run(scene, scene.confirm_many(1000))
    assert scene.looks <= 10


def test_how_late_it_is_is_learnt_and_waited_for_three_times(scene: Scene) -> None:
    scene.late = 20.0
    run(scene, scene.confirm())
    assert 20 <= scene.known.worst_seconds <= 31
    assert run(scene, scene.proofs.patience(KIND)) == 3 * scene.known.worst_seconds


def test_never_less_than_the_settings_say(scene: Scene) -> None:
    run(scene, scene.confirm())
    assert run(scene, scene.proofs.patience(KIND)) == 10


def test_while_one_is_missing_the_patience_grows_with_it(scene: Scene) -> None:
    scene.late = None

    async def patience_after(seconds: float) -> float:
        scene._done_at = scene.clock.now
        scene.proofs.look_for(OPERATION, scene.clock.now)
        await asyncio.sleep(seconds)
        patience = await scene.proofs.patience(KIND)
        await scene.proofs.close()
        return patience

    assert run(scene, patience_after(30)) >= 90


def test_what_is_not_found_for_long_refutes_and_stays_so(scene: Scene) -> None:
    scene.late = None
    run(scene, scene.confirm())
    assert scene.known.proof is Proof.REFUTED
    scene.late = 0.0
    run(scene, scene.look())
    assert scene.known.proof is Proof.REFUTED
    assert not run(scene, scene.proofs.is_due(KIND))


def test_what_does_not_tell_whose_it_is_makes_nobody_wait_longer(scene: Scene) -> None:
    """Such an answer never leads to sending again. Taken for missing it made each wait grow by the last."""
    run(scene, scene.confirm())
    scene.cannot_tell = float("inf")
    for _ in range(5):
        run(scene, scene.look(not_before=run(scene, scene.proofs.patience(KIND))))
    assert scene.known.worst_seconds == 0
    assert scene.known.proof is Proof.PROVED
    assert scene.known.found == 1
    assert run(scene, scene.proofs.patience(KIND)) == 10


def test_what_tells_at_last_whose_it_is_was_as_late_as_that(scene: Scene) -> None:
    scene.cannot_tell = 40.0
    run(scene, scene.confirm())
    assert scene.known.proof is Proof.PROVED
    assert 40 <= scene.known.worst_seconds <= 61


def test_time_in_which_the_crm_did_not_answer_does_not_count(scene: Scene) -> None:
    scene.away_until = scene.clock.now + 5000
    run(scene, scene.confirm())
    assert scene.known.proof is Proof.PROVED
    assert scene.known.worst_seconds <= 4


def test_nor_does_time_for_which_this_process_was_stopped(scene: Scene) -> None:
    scene.late = 1.0
    stops = iter((0.0, 0.0, 86_400.0))
    scene.oversleeps = lambda: next(stops, 0.0)
    run(scene, scene.confirm())
    assert scene.known.worst_seconds < 10


def test_nor_does_time_for_which_the_adapters_own_database_kept_it_waiting(scene: Scene) -> None:
    scene.late = 1.0
    kept, waits = scene.book.missing, iter((0.0, 60.0))

    async def missing(kind: OperationKind, seconds: float) -> Visibility:
        scene.clock.now += next(waits, 0.0)
        return await kept(kind, seconds)

    scene.book.missing = missing  # type: ignore[method-assign]
    run(scene, scene.confirm())
    assert next(waits, None) is None
    assert scene.known.worst_seconds < 10


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_nothing_is_concluded_once_others_may_have_had_the_account(kept: int, scene: Scene) -> None:
    """What is seen then may be another's credit: it proves nothing, and tells of no double."""
    scene.late = 1.0
    answers = iter([True] * kept)

    async def keep(seconds: float) -> bool:
        return next(answers, False)

    run(scene, scene.look(keep=keep))
    assert scene.found == []
    assert scene.known.found == 0
    assert scene.looks == (0, 1, 1)[kept]


def test_while_the_account_is_kept_what_is_seen_counts(scene: Scene) -> None:
    async def keep(seconds: float) -> bool:
        return True

    run(scene, scene.look(keep=keep))
    assert scene.known.found == 1
    assert scene.found == [Written.done()]


def test_at_most_a_few_are_looked_for_at_once(scene: Scene) -> None:
    scene.late = None

    async def many() -> int:
        due = 0
        for _ in range(20):
            if await scene.proofs.is_due(KIND):
                due += 1
                scene.proofs.look_for(OPERATION, scene.clock.now)
        await scene.proofs.close()
        return due

    assert run(scene, many()) == 4


def test_a_database_that_is_away_loses_what_was_learnt_and_nothing_else(scene: Scene) -> None:
    ended: list[bool] = []

    async def afterwards() -> None:
        ended.append(True)

    async def work() -> None:
        await scene.proofs.of(KIND)
        scene.book.away = True
        await scene.look(afterwards=afterwards)
        scene.book.away = False
        await scene.look(afterwards=afterwards)

    run(scene, work())
    assert ended == [True, True]
    assert scene.known.found == 1
    assert scene.proofs._missing == {}


def test_a_doubt_that_was_found_late_is_waited_for_from_then_on(scene: Scene) -> None:
    with capture_logs() as logs:
        run(scene, scene.proofs.found_late(KIND, 40.0))
    assert run(scene, scene.proofs.patience(KIND)) == 120
    assert [(one["event"], one["seconds"]) for one in logs if "seconds" in one] == [("crm_was_late", 40.0)]


@pytest.mark.parametrize("seconds", [0.0, 0.04])
def test_what_was_late_by_nothing_is_found_and_not_late(scene: Scene, seconds: float) -> None:
    before = run(scene, scene.proofs.patience(KIND))
    with capture_logs() as logs:
        run(scene, scene.proofs.found_late(KIND, seconds))
    assert "crm_was_late" not in [one["event"] for one in logs]
    assert run(scene, scene.proofs.patience(KIND)) == before
    assert (scene.known.found, scene.known.proof) == (1, Proof.PROVED)


def test_what_was_sent_again_is_looked_for_ever_more_rarely_until_it_is_there_twice(scene: Scene) -> None:
    twice = dataclasses.replace(Written.done(), entries=("1", "2"))

    async def ask(operation: Operation, deadline: Deadline) -> Written:
        scene.looks += 1
        return twice if scene.looks == 3 else Written.done()

    async def watched() -> float:
        began = scene.clock.now
        scene.proofs.ask = ask
        scene.proofs.watch(OPERATION, 5.0)
        await asyncio.gather(*scene.proofs._watched)
        return scene.clock.now - began

    assert run(scene, watched()) == 5 + 15 + 45
    assert scene.found[-1] is twice
    assert run(scene, watched()) < 10 * scene.settings.proof_patience, "and not for ever"
    assert scene.looks <= 8


def test_others_are_told_while_it_is_missing(scene: Scene) -> None:
    """They have doubts as well, and would take for absent what is only late, or never shown."""
    scene.late = None
    others = Proofs(scene.book, scene.settings, scene._ask, scene._found)

    async def patience_after(seconds: float) -> float:
        scene._done_at = scene.clock.now
        scene.proofs.look_for(OPERATION, scene.clock.now)
        await asyncio.sleep(seconds)
        patience = await others.patience(KIND)
        await scene.proofs.close()
        return patience

    assert run(scene, patience_after(30)) >= 60
    assert scene.known.proof is Proof.NOT_PROVED
