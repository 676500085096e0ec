"""A person goes through held operations: the CRM is asked, what is there is settled, the rest is sent again.

Nothing is sent again that the CRM can be asked about, unless it was asked. Every decision is kept with who,
when and why. The commands and the console do it by this; it may not know either, nor how a CRM is asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapter.delivery.ports import Review
from adapter.delivery.recheck import Asked, Recheck, Rechecked
from adapter.loyalty.model import OperationKind, OperationState
from adapter.loyalty.ports import OperationReader
from adapter.loyalty.review import CannotDecide, Item
from adapter.settings import Settings

AT_ONCE = 500
"""Operations that are sent again in one transaction."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One person asks the CRM about held operations; what is found there is settled."""

    recheck: Recheck
    operations: OperationReader
    review: Review
    who: str
    why: str

    async def ask(self, item: Item) -> Asked:
        """Ask about one, and write down what was found."""
        operation = await self.operations.get(item.id)
        if operation is None or operation.state is not OperationState.HELD:
            return Asked(Rechecked.CANNOT_TELL, detail="it is not held any more")
        asked = await self.recheck.ask(operation, held_for=item.reason)
        written = asked.written
        if asked.answer is Rechecked.FOUND and written is not None:
            try:
                await self.review.settle(
                    item.id,
                    OperationState.DONE,
                    by=self.who,
                    note=f"{self.why}; found in the CRM",
                    points=written.points if operation.kind is OperationKind.RECEIPT else None,
                    customer=written.crm_reference,
                    occasion=occasion_of(self.recheck.programme.settings),
                )
            except CannotDecide as error:
                return Asked(Rechecked.CANNOT_TELL, detail=str(error))
        elif asked.answer is Rechecked.FOUND_TWICE and written is not None:
            await self.review.doubled(
                item.id, written.entries, by=self.who, note=f"{self.why}; found in the CRM more than once"
            )
        return asked


@dataclass(slots=True)
class Requeue:
    """What is to be sent again, sorted by whether anything has to be asked before."""

    who: str
    why: str
    without_asking: bool
    """The person knows that none of them is in the CRM."""
    known: set[int] = field(default_factory=set)
    plain: list[int] = field(default_factory=list)
    """To be sent as they are; those that are not held among them are told so by the store."""
    doubtful: list[Item] = field(default_factory=list)
    """They may have reached the CRM."""
    doubts: list[int] = field(default_factory=list)
    """Not in the CRM when it was asked; delivery looks once more, for as long as it always does."""
    kept: list[tuple[Item, Asked]] = field(default_factory=list)
    """Left alone for what the CRM has said of them."""
    unasked: list[Item] = field(default_factory=list)
    """Left alone because there was no time to ask about them."""
    left: dict[int, str] = field(default_factory=dict)
    """Left alone for what they are, each with the reason as one sentence."""
    found: int = 0
    sent: int = 0

    def sort(self, items: Sequence[Item]) -> None:
        for item in items:
            self.known.add(item.id)
            if item.state is OperationState.HELD and item.may_double:
                self.doubtful.append(item)
            else:
                self.plain.append(item.id)

    async def ask(self, asking: Asking, patience: float = float("inf")) -> None:
        """Ask the CRM about each that may have reached it, for so many seconds."""
        until = time.monotonic() + patience
        for item in self.doubtful:
            if time.monotonic() > until:
                self.unasked.append(item)
                continue
            asked = await asking.ask(item)
            if asked.answer is Rechecked.FOUND:
                self.found += 1
            elif asked.answer is Rechecked.HARMLESS:
                self.plain.append(item.id)
            elif asked.answer is Rechecked.ABSENT:
                self.doubts.append(item.id)
            else:
                self.kept.append((item, asked))

    async def send(self, review: Review) -> None:
        if self.without_asking:
            self.plain += [item.id for item in self.doubtful]
        for ids, as_doubts in ((self.plain, False), (self.doubts, True)):
            for start in range(0, len(ids), AT_ONCE):
                some = sorted(ids)[start : start + AT_ONCE]
                left = await review.requeue(some, by=self.who, note=self.why, as_doubts=as_doubts)
                self.left |= left
                self.sent += len(some) - len(left)


def occasion_of(settings: Settings) -> str | None:
    """On which a credited receipt gives coupons, where a CRM gives them."""
    return settings.coupons.receipt_occasion if settings.crm.bindings()["coupons"] is not None else None
