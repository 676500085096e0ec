"""Occasions on which the coupons CRM gives coupons: a card was issued, a receipt was credited.

Each is recorded as an operation of its own, so that it gives once, and later if the CRM is away now. What an
occasion gives is the CRM's business and its driver's settings'; without a name in ours nothing is recorded.
"""

from __future__ import annotations

from adapter.loyalty.model import Card, NewOperation, Operation, OperationKind
from adapter.loyalty.programme import Programme


async def card_issued(programme: Programme, card: Card) -> None:
    """A person has got a card; said twice of the same card it counts once. Raises ``StoreUnavailable``."""
    await _record(programme, programme.settings.coupons.card_occasion, f"card:{card.number}", card.number)


async def receipt_credited(programme: Programme, receipt: Operation) -> None:
    """The points CRM has taken a receipt; said twice it counts once. Raises ``StoreUnavailable``."""
    occasion = programme.settings.coupons.receipt_occasion
    await _record(programme, occasion, f"receipt:{receipt.id}", receipt.card_number)


async def _record(programme: Programme, occasion: str | None, identity: str, number: str | None) -> None:
    if occasion is None or programme.coupons is None:
        return
    new = NewOperation(
        kind=OperationKind.COUPONS,
        identity=identity,
        card_number=number,
        fingerprint="",
        request={"occasion": occasion},
        reference=programme.new_reference(OperationKind.COUPONS),
    )
    await programme.operations.record(new)
