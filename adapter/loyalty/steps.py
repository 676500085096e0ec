"""What happened to an operation, one step after another.

It may not know who reads it, nor how it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapter.loyalty.model import FINAL, OperationState
from adapter.loyalty.review import Event, Item

RECORDED, SENT, CORRECTED = "recorded", "sent to the CRM", "corrected"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened."""

    at: datetime
    what: str
    """``RECORDED``, ``SENT``, ``CORRECTED``, a state in which it ended, or a change: ``sent → unknown``."""
    attempt: int | None = None
    """The attempt it belongs to; ``None``: to none."""
    who: str | None = None
    """The person who did it; ``None``: the service."""
    note: str | None = None


def steps(item: Item, events: Sequence[Event]) -> list[Step]:
    """What happened to an operation, in order. Of attempts after the tenth the last one alone is known."""
    told = [Step(item.recorded_at, RECORDED)]
    told += [Step(at, SENT, attempt) for attempt, at in _sent(item, events).items()]
    for event in events:
        if event.to_state is OperationState.SENT:
            continue
        same = event.from_state == event.to_state
        what = CORRECTED if same else f"{event.from_state} → {event.to_state}"
        told.append(Step(event.at, what, event.attempt, event.who, event.note))
    ends = {event.to_state for event in events}
    if item.finished_at is not None and item.state in FINAL and item.state not in ends:
        told.append(Step(item.finished_at, str(item.state)))
    return sorted(told, key=lambda step: step.at)


def untold_attempts(item: Item, events: Sequence[Event]) -> int:
    """Attempts whose times were not kept."""
    return max(0, item.attempt - len(_sent(item, events)))


def _sent(item: Item, events: Sequence[Event]) -> dict[int, datetime]:
    """When each attempt was sent, as far as it was kept."""
    sent = {event.attempt: event.at for event in events if event.to_state is OperationState.SENT}
    sent |= {event.attempt: event.sent_at for event in events if event.attempt and event.sent_at}
    if item.attempt and item.sent_at is not None:
        sent[item.attempt] = item.sent_at
    return sent
