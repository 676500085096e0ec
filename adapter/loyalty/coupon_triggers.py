"""What a new card or a credited receipt leads to: coupons, and telling the users CRM of the card.

Each is recorded as an operation of its own, so that it is done once, and done later if the CRM does not
answer now. Which coupons an occasion gives is set in the driver or in the CRM. If ``[coupons]`` names no
occasion, nothing is recorded.
"""

from __future__ import annotations

from adapter.loyalty.model import Card, NewOperation, Operation, OperationKind
from adapter.loyalty.payloads import CardPayload, CouponsPayload
from adapter.loyalty.programme import Programme
from crm_backends.model import Customer


async def card_issued(programme: Programme, card: Card) -> None:
    """A person got a card. A second call for the same card does nothing. Raises ``StoreUnavailable``.

    A card that replaces another does not count as a new card.
    """
    if card.replaces is None:
        occasion = programme.settings.coupons.card_occasion
        await _record(programme, occasion, f"card:{card.number}", card.number)


async def card_to_be_told(programme: Programme, card: Card, owner: Customer) -> None:
    """Have the users CRM told of its customer's card, unless the CRM told us of it.

    A second call for the same card and owner does nothing. Raises ``StoreUnavailable``.
    """
    if programme.keeps_cards is None or card.users_reference is None or owner.card_number == card.number:
        return
    new = NewOperation(
        identity=f"{card.number}@{card.users_reference}",
        card_number=card.number,
        fingerprint="",
        payload=CardPayload(card.users_reference, card.replaces),
        idempotency_key=programme.new_key(OperationKind.CARD),
    )
    await programme.operations.record(new)


async def receipt_credited(programme: Programme, receipt: Operation) -> None:
    """A receipt was credited. A second call for the same one does nothing. Raises ``StoreUnavailable``."""
    occasion = programme.settings.coupons.receipt_occasion
    await _record(programme, occasion, f"receipt:{receipt.id}", receipt.card_number)


async def _record(programme: Programme, occasion: str | None, identity: str, number: str | None) -> None:
    if occasion is None or programme.coupons is None or OperationKind.COUPONS in programme.cannot:
        return
    new = NewOperation(
        identity=identity,
        card_number=number,
        fingerprint="",
        payload=CouponsPayload(occasion),
        idempotency_key=programme.new_key(OperationKind.COUPONS),
    )
    await programme.operations.record(new)
