"""The ledger of a stand-in server: what was asked of it and what came of it.

A test compares what a driver believes with what is written here. It may not know any CRM.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Effect:
    """One lasting change."""

    kind: str
    """Such as ``points_credited``; each CRM's module lists its own."""
    operation: str
    """The operationId that caused it."""
    customer: str | None = None
    """The CRM's own name for whom it happened to."""
    amount: Decimal | None = None
    """Points, where points moved; never negative."""
    reference: str | None = None
    """The caller's reference, or the code of a coupon."""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class InvalidCall:
    """A request that the CRM's API does not allow."""

    method: str
    path: str
    operation: str | None
    reason: str
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Ledger:
    """Everything since the start or the last reset."""

    effects: list[Effect] = field(default_factory=list)
    invalid_calls: list[InvalidCall] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """Requests seen, by operationId."""
    answers: dict[str, Counter[str]] = field(default_factory=dict)
    """By operationId: how often each status was answered; ``hang up`` where the connection was closed."""
    tokens_issued: Counter[str] = field(default_factory=Counter)
    """By kind of token."""
    faults: Counter[str] = field(default_factory=Counter)
    """Faults that happened, by kind."""

    def select(
        self, kind: str | None = None, *, reference: str | None = None, customer: str | None = None
    ) -> list[Effect]:
        """The effects that agree with everything given."""
        return [
            effect
            for effect in self.effects
            if kind in (None, effect.kind)
            and reference in (None, effect.reference)
            and customer in (None, effect.customer)
        ]

    def count(
        self, kind: str | None = None, *, reference: str | None = None, customer: str | None = None
    ) -> int:
        """How many effects agree with everything given."""
        return len(self.select(kind, reference=reference, customer=customer))

    def total(self, kind: str, *, reference: str | None = None, customer: str | None = None) -> Decimal:
        """Sum of the amounts of the effects that agree with everything given, in points."""
        chosen = self.select(kind, reference=reference, customer=customer)
        return sum((effect.amount for effect in chosen if effect.amount is not None), Decimal(0))

    def answered(self, operation: str, how: str) -> None:
        """Count one answer to ``operation``."""
        self.answers.setdefault(operation, Counter())[how] += 1

    def clear(self) -> None:
        """Forget everything; whoever holds this ledger sees it empty."""
        for collection in (
            self.effects,
            self.invalid_calls,
            self.calls,
            self.answers,
            self.tokens_issued,
            self.faults,
        ):
            collection.clear()

    def as_json(self) -> dict[str, Any]:
        """The ledger as the control endpoint shows it."""
        kinds = sorted({effect.kind for effect in self.effects})
        references = Counter(effect.reference for effect in self.effects if effect.reference is not None)
        return {
            "effects": [asdict(effect) for effect in self.effects],
            "totals": {kind: {"count": self.count(kind), "amount": self.total(kind)} for kind in kinds},
            "references": dict(references),
            "tokens_issued": dict(self.tokens_issued),
            "calls": dict(self.calls),
            "answers": {operation: dict(counter) for operation, counter in self.answers.items()},
            "invalid_calls": [asdict(call) for call in self.invalid_calls],
            "faults": dict(self.faults),
        }
