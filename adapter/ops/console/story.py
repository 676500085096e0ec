"""An operation as a story: its steps in sentences, and what Koshelek is answered about it.

It may not know how that is drawn. Sentences are English; the pages say them in the reader's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from adapter.errors import TEXTS, Code, Language
from adapter.loyalty.model import OperationKind, OperationState
from adapter.loyalty.review import Event, Item
from adapter.loyalty.steps import CORRECTED, RECORDED, SENT, Step, steps
from adapter.settings import Settings

_CALLED = {OperationKind.RECEIPT: "receipts", OperationKind.PROMO_CODE: "promo"}


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


def story(item: Item, events: Sequence[Event]) -> list[Step]:
    """What happened to an operation, in order.

    A change names its attempt where the step "sent" of that attempt was not kept.
    """
    told = steps(item, events)
    sent = {step.attempt for step in told if step.what == SENT}
    return [replace(step, what=_sentence(step, step.attempt in sent, item.attempt > 1)) for step in told]


def _sentence(step: Step, is_told: bool, one_of_several: bool) -> str:
    if step.what == SENT:
        return f"{SENT}, attempt {step.attempt}" if one_of_several else SENT
    if step.what in (RECORDED, CORRECTED) or not step.attempt or is_told:
        return step.what
    return f"attempt {step.attempt}: {step.what}"


def answered(item: Item, settings: Settings) -> Answered | None:
    """What Koshelek is answered about it now; ``None``: Koshelek never asks about this kind."""
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
