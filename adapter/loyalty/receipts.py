"""Register a cash receipt for a card: KLO-10.

Every accepted receipt is recorded durably before it is answered. The first card wins. The same receipt again
leads to the same operation and gets the answer that is true of it by then.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapter.errors import Code, Refused
from adapter.loyalty.earning import admit, points_for
from adapter.loyalty.fiscal import parse_receipt
from adapter.loyalty.idempotency_keys import receipt_key
from adapter.loyalty.model import Card, NewOperation, Operation, OperationKind, OperationState
from adapter.loyalty.payloads import ReceiptPayload
from adapter.loyalty.programme import Programme, in_its_place
from crm_backends.ports import Deadline


async def register_receipt(
    programme: Programme, card: Card, values: Mapping[str, str], deadline: Deadline
) -> Operation:
    """Record the receipt whose QR ``values`` are given, and wait a little for its points.

    The result is done (with points) or still under way. Raises ``Refused``: QR_UNREADABLE,
    RECEIPT_FROM_FUTURE, RECEIPT_KIND, RECEIPT_TOO_OLD, RECEIPT_TOO_SMALL,
    RECEIPT_TOO_LARGE, RECEIPT_TAKEN, RECEIPT_DIFFERS, NOT_SUPPORTED, or the code a CRM's refusal led to.
    """
    if programme.points is None or OperationKind.RECEIPT in programme.cannot:
        raise Refused(Code.NOT_SUPPORTED)
    rule = programme.settings.receipts
    now = programme.now()
    zone, padded = programme.settings.zone, rule.fiscal_drive == "padded"
    receipt = parse_receipt(values, zone, now, pad_drive=padded)
    admit(receipt, rule, now)
    new = NewOperation(
        identity=f"{receipt.fiscal_drive}:{receipt.document}:{receipt.sign}",
        card_number=card.number,
        fingerprint=f"{receipt.total_kopecks}:{receipt.calculation_type}",
        payload=ReceiptPayload(receipt, points_for(receipt, rule)),
        idempotency_key=receipt_key(
            receipt.fiscal_drive,
            receipt.document,
            receipt.sign,
            programme.key_lengths[OperationKind.RECEIPT],
        ),
        card=card,
    )
    operation, _ = await programme.operations.record(new)
    if operation.card_number != card.number and not await _has_replaced(
        programme, card, operation.card_number
    ):
        raise Refused(Code.RECEIPT_TAKEN)
    if operation.fingerprint != new.fingerprint:
        raise Refused(Code.RECEIPT_DIFFERS)
    operation = await programme.operations.wait(operation, min(rule.wait, deadline.remaining()))
    if operation.state is OperationState.REFUSED:
        raise Refused(operation.code or Code.RECEIPT_REFUSED)
    return operation


async def _has_replaced(programme: Programme, card: Card, number: str | None) -> bool:
    """Whether the card has replaced the one with this number."""
    former = None if number is None or card.replaces is None else await programme.cards.get(number)
    return former is not None and (await in_its_place(programme, former)).number == card.number
