"""An operation as a story: its steps one after another, and what Koshelek is answered about it.

It may not know how that is drawn. Sentences are English; the pages say them in the reader's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapter.errors import TEXTS, Code, Language
from adapter.loyalty.model import FINAL, OperationKind, OperationState
from adapter.loyalty.review import Event, Item
from adapter.settings import Settings

_CALLED = {OperationKind.RECEIPT: "receipts", OperationKind.PROMO_CODE: "promo"}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened."""

    at: datetime
    what: str
    who: str | None = None
    """The person who did it; ``None``: the service."""
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller who asks about an operation gets."""

    status: int
    says: str
    """``credited``, ``accepted``, or the description that goes with the code."""
    code: str | None = None
    cause: str = ""
    remedy: str = ""
    at_first: str | None = None
    """What the first call got, where that was something else."""


def steps(item: Item, events: Sequence[Event]) -> list[Step]:
    """What happened to an operation, in order. Of its attempts only the last one's time is known."""
    told = [Step(item.recorded_at, "recorded")]
    if item.sent_at is not None:
        what = "sent to the CRM" if item.attempt <= 1 else f"sent to the CRM, attempt {item.attempt}"
        told.append(Step(item.sent_at, what))
    for event in events:
        what = f"{event.from_state} → {event.to_state}"
        if event.from_state == event.to_state:
            what = "corrected"
        elif event.attempt < item.attempt:
            what = f"attempt {event.attempt}: {what}"  # when it was sent is known of the last one alone
        told.append(Step(event.at, what, event.who, event.note))
    ends = {event.to_state for event in events}
    if item.finished_at is not None and item.state in FINAL and item.state not in ends:
        told.append(Step(item.finished_at, str(item.state)))
    return sorted(told, key=lambda step: step.at)


def answered(item: Item, settings: Settings) -> Answered | None:
    """What Koshelek is answered about it now; ``None``: it never asks about such a one."""
    if item.kind in (OperationKind.COUPONS, OperationKind.CARD):
        return None
    if item.state is OperationState.REFUSED:
        return _refusal(item.code or Code.INTERNAL, settings.koshelek.language)
    done = item.state in (OperationState.DONE, OperationState.DOUBLED)
    if item.kind is OperationKind.REGISTRATION:
        return Answered(200, "the card") if done else _refusal(Code.STILL_WORKING, settings.koshelek.language)
    if not done:
        return Answered(200, "accepted")
    waited = timedelta(seconds=getattr(settings, _CALLED[item.kind]).wait)
    late = item.finished_at is not None and item.finished_at - item.recorded_at > waited
    return Answered(200, "credited", at_first="accepted" if late else None)


def _refusal(code: Code, language: Language) -> Answered:
    entry = TEXTS[code]
    return Answered(422, entry.text(language), code.value, entry.cause, entry.remedy)
