"""Parts of the console by themselves: log-in attempts, sessions, what was counted, pictures, stories."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from adapter.errors import Code
from adapter.loyalty.model import OperationKind, OperationState
from adapter.loyalty.review import Event, Item
from adapter.loyalty.steps import untold_attempts
from adapter.ops.console.history import Sample, span
from adapter.ops.console.login import MOST_BY_ADDRESS, MOST_BY_NAME, NOBODYS, WITHIN, Doorkeeper, TooOften
from adapter.ops.console.pictures import bars, lines
from adapter.ops.console.sessions import MOST, Sessions
from adapter.ops.console.story import answered, story
from adapter.ops.metrics import Counted
from adapter.settings import Person, Settings

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
OLGA = Person(name="olga", role="operator", password="planted-password-of-olga")


def item(**more: object) -> Item:
    fields = {
        "id": 7,
        "kind": OperationKind.RECEIPT,
        "state": OperationState.HELD,
        "idempotency_key": "KEY",
        "card_number": "2900",
        "attempt": 2,
        "recorded_at": NOON,
        "sent_at": NOON + timedelta(seconds=1),
        "finished_at": None,
        "held_at": None,
        "reason": None,
        "detail": None,
        "code": None,
        "points": None,
        "crm_reference": None,
        "payload": None,
        "may_double": True,
    }
    return Item(**(fields | more))  # type: ignore[arg-type]


class Nobody:
    """A book in which nobody stands."""

    async def people(self) -> list[Person]:
        return []


# --- log-in ----------------------------------------------------------------------------------------------


async def test_failures_are_forgotten_after_a_while_and_by_success() -> None:
    now = [0.0]
    door = Doorkeeper([OLGA], Nobody(), lambda: now[0])
    for _ in range(MOST_BY_NAME - 1):
        assert await door.judge("olga", "wrong", "10.0.0.1") is None
    assert await door.judge("olga", "planted-password-of-olga", "10.0.0.1") == OLGA
    for _ in range(MOST_BY_NAME):
        assert await door.judge("olga", "wrong", "10.0.0.1") is None
    with pytest.raises(TooOften) as caught:
        await door.judge("olga", "planted-password-of-olga", "10.0.0.2")
    assert 0 < caught.value.seconds <= WITHIN
    now[0] = WITHIN + 1
    assert await door.judge("olga", "planted-password-of-olga", "10.0.0.2") == OLGA


async def test_one_address_that_tries_many_names_has_to_wait() -> None:
    names = [f"name-{number}" for number in range(MOST_BY_ADDRESS)]
    some_are_there = [OLGA, *(OLGA.model_copy(update={"name": name}) for name in names[3:])]
    door = Doorkeeper(some_are_there, Nobody())
    for name in names:
        assert await door.judge(name, "wrong", "10.0.0.1") is None
    with pytest.raises(TooOften):
        await door.judge("olga", "planted-password-of-olga", "10.0.0.1")
    assert await door.judge("olga", "planted-password-of-olga", "10.0.0.2") == OLGA


def test_nobodys_password_is_tried_for_as_long_as_somebodys() -> None:
    assert not PasswordHasher().check_needs_rehash(NOBODYS)


def test_sessions_of_nobody_push_nobody_out() -> None:
    sessions = Sessions(3600.0)
    olga = sessions.new()
    olga.person = OLGA
    for _ in range(MOST + 50):
        sessions.new()
    assert sessions.get(olga.id) is olga


def test_what_somebody_had_shown_is_hidden_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Sessions(3600.0).new()
    session.show("card 1")
    assert session.shows("card 1")
    assert not session.shows("card 2")
    monkeypatch.setattr("adapter.ops.console.sessions.SHOWN_FOR", -1.0)
    session.show("card 1")
    assert not session.shows("card 1")


# --- what was counted ------------------------------------------------------------------------------------


def sample(minute: int, within: tuple[float, ...], statuses: dict[str, float]) -> Sample:
    counted = Counted(statuses, {}, {}, {}, {}, within, (0.1, 0.2, 0.4))
    return Sample(NOON + timedelta(minutes=minute), counted, None)


def test_quantiles_come_from_what_was_counted_in_between() -> None:
    before = sample(0, (50, 50, 50, 50), {"200": 50})
    after = sample(1, (50, 150, 150, 160), {"200": 150, "422": 10})
    found = span(before, after)
    assert (found.total, found.refused, found.seconds) == (110, 10, 60)
    assert found.quantile(0.5) == pytest.approx(0.155)
    assert found.quantile(0.99) == 0.4  # beyond the last bound nothing is known
    assert (found.exceeds(0.5), found.exceeds(0.99)) == (False, True)
    assert span(after, after).quantile(0.5) is None
    assert not span(after, after).exceeds(0.99)
    assert span(sample(0, (), {}), after).total == 160


def test_pictures_are_whole_and_broken_where_nothing_is_known() -> None:
    drawn = lines([1.0, None, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], "a <b> title")
    assert drawn.count("<polyline") == 3
    assert "&lt;b&gt;" in drawn
    assert bars([0, 0], [0, 0], "nothing").count("<rect") == 0
    heights = [float(text) for text in re.findall(r'height="([\d.]+)"', bars([1, 4], [0, 2], "t"))]
    assert heights == [18.0, 72.0, 36.0]
    assert lines([], [], "empty").count("<polyline") == 0


# --- stories ---------------------------------------------------------------------------------------------


def test_a_story_is_told_in_order_with_who_and_why() -> None:
    unknown, held = OperationState.UNKNOWN, OperationState.HELD
    events = [
        Event(NOON + timedelta(seconds=0.5), None, OperationState.SENT, unknown, 1, None, None),
        Event(NOON + timedelta(seconds=5), None, unknown, held, 2, None, "outcome unknown"),
        Event(NOON + timedelta(hours=1), "olga", held, OperationState.DONE, 2, None, "seen"),
        Event(
            NOON + timedelta(hours=2),
            "olga",
            OperationState.DONE,
            OperationState.DONE,
            2,
            None,
            "other points",
        ),
    ]
    done = item(state=OperationState.DONE, finished_at=NOON + timedelta(hours=1))
    assert untold_attempts(done, events) == 1
    assert [(step.what, step.who) for step in story(done, events)] == [
        ("recorded", None),
        ("attempt 1: sent → unknown", None),
        ("sent to the CRM, attempt 2", None),
        ("unknown → held", None),
        ("held → done", "olga"),
        ("corrected", "olga"),
    ]
    usual = item(state=OperationState.DONE, attempt=1, finished_at=NOON + timedelta(seconds=2))
    assert [step.what for step in story(usual, [])] == ["recorded", "sent to the CRM", "done"]


def test_every_attempt_is_told_with_its_time_and_why_it_came_to_nothing() -> None:
    recorded, sent, unknown = OperationState.RECORDED, OperationState.SENT, OperationState.UNKNOWN
    seconds = [timedelta(seconds=number) for number in range(10)]
    events = [
        Event(NOON + seconds[2], None, sent, recorded, 1, NOON + seconds[1], "it does not answer"),
        Event(NOON + seconds[4], None, sent, unknown, 2, NOON + seconds[3], "it took too long"),
        Event(NOON + seconds[5], None, unknown, sent, 3, NOON + seconds[5], None),
    ]
    done = item(
        state=OperationState.DONE, attempt=3, sent_at=NOON + seconds[5], finished_at=NOON + seconds[6]
    )
    assert untold_attempts(done, events) == 0
    assert [((step.at - NOON).seconds, step.what, step.note) for step in story(done, events)] == [
        (0, "recorded", None),
        (1, "sent to the CRM, attempt 1", None),
        (2, "sent → recorded", "it does not answer"),
        (3, "sent to the CRM, attempt 2", None),
        (4, "sent → unknown", "it took too long"),
        (5, "sent to the CRM, attempt 3", None),
        (6, "done", None),
    ]


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [
        ("receipt", "held", (200, "accepted", None)),
        ("receipt", "done", (200, "credited", None)),
        ("receipt", "doubled", (200, "credited", None)),
        ("receipt", "refused", (422, "Начисление по чеку отклонено", "308")),
        ("registration", "sent", (422, "Запрос принят и ещё выполняется, повторите позже", "907")),
        ("registration", "done", (200, "the card", None)),
    ],
)
def test_what_koshelek_is_answered(kind: str, state: str, expected: tuple[int, str, str | None]) -> None:
    refused = Code.RECEIPT_REFUSED if state == "refused" else None
    found = answered(item(kind=OperationKind(kind), state=OperationState(state), code=refused), Settings())
    assert found is not None
    assert (found.status, found.says, found.code) == expected


def test_koshelek_asks_about_nothing_that_is_ours_alone() -> None:
    assert answered(item(kind=OperationKind.CARD), Settings()) is None


def test_a_late_credit_was_answered_as_accepted_at_first() -> None:
    late = item(state=OperationState.DONE, finished_at=NOON + timedelta(minutes=5))
    found = answered(late, Settings())
    assert found is not None
    assert found.at_first == "accepted"
