"""Use a promo code for a card: KLO-12."""

from __future__ import annotations

from datetime import timedelta

from adapter.errors import Code, Refused
from adapter.loyalty.model import Card, NewOperation, Operation, OperationKind, OperationState
from adapter.loyalty.payloads import PromoCodePayload
from adapter.loyalty.programme import Programme
from crm_backends.ports import Deadline


async def use_promo_code(programme: Programme, card: Card, code: str, deadline: Deadline) -> Operation:
    """Record the use of ``code`` and wait for the CRM's answer. Case and outer blanks of a code do not count.

    The same code for the same card again leads to the same operation and its answer. ``promo.replay`` seconds
    after it was done it is a second use, with an operation of its own. The result is done or still under way.
    Raises ``Refused``: a code whose name begins with PROMO, or NOT_SUPPORTED.
    """
    if programme.coupons is None or OperationKind.PROMO_CODE in programme.cannot:
        raise Refused(Code.NOT_SUPPORTED)
    code = code.strip()
    new = NewOperation(
        identity=f"{code.casefold()}@{card.number}",
        card_number=card.number,
        fingerprint="",
        payload=PromoCodePayload(code),
        idempotency_key=programme.new_key(OperationKind.PROMO_CODE),
    )
    operation, created = await programme.operations.record(new)
    if not created and _is_second_use(programme, operation):
        await programme.operations.retire(operation)
        operation, _ = await programme.operations.record(new)
    patience = min(programme.settings.promo.wait, deadline.remaining())
    operation = await programme.operations.wait(operation, patience)
    if operation.state is OperationState.REFUSED:
        raise Refused(operation.code or Code.PROMO_REFUSED)
    return operation


def _is_second_use(programme: Programme, operation: Operation) -> bool:
    replay = timedelta(seconds=programme.settings.promo.replay)
    return operation.state is OperationState.DONE and operation.since_finished > replay
