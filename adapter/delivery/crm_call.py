"""Perform a recorded operation, or reconcile its doubt: the one CRM call it stands for.

Called by delivery, which has marked the operation as sent. It decides nothing about retries.
"""

from __future__ import annotations

from adapter.delivery import amounts
from adapter.loyalty.model import Operation, OperationKind
from adapter.loyalty.payloads import (
    CardPayload,
    CouponsPayload,
    PromoCodePayload,
    ReceiptPayload,
    RegistrationPayload,
)
from adapter.loyalty.ports import Port
from adapter.loyalty.programme import Programme, account_of
from crm_backends.model import Credit
from crm_backends.ports import (
    Deadline,
    NotSupported,
    ReconcilesCredit,
    ReconcilesRedeem,
    ReconcilesRegistration,
    Refusal,
    Written,
)

_DESCRIPTION = {"ru": "Покупка по чеку", "en": "Purchase by receipt"}
"""How the credit of a receipt is called in the holder's list of points."""
_PAYLOAD_MISSING = "what is to be sent is not kept in the ledger, or cannot be read"


async def perform(programme: Programme, operation: Operation, deadline: Deadline) -> Written:
    """Make the CRM call of ``operation`` and report how it ended.

    Raises ``BackendError`` or ``StoreUnavailable`` only before anything was written, so a raise means
    that nothing has reached the CRM.
    """
    payload, key = operation.payload, operation.idempotency_key
    if payload is None:
        return Written.not_sent(_PAYLOAD_MISSING)
    if isinstance(payload, RegistrationPayload):
        return await programme.users.register(payload.profile, idempotency_key=key, deadline=deadline)
    if isinstance(payload, CardPayload):
        return await _tell_card(programme, operation, payload, deadline)
    account = await crm_account(programme, operation, deadline, surely=True)
    if account is None:
        return Written.refused(Refusal.NO_SUCH_CUSTOMER)
    if isinstance(payload, ReceiptPayload) and programme.points is not None:
        credit = _credit(programme, payload)
        written = await programme.points.credit(account, credit, idempotency_key=key, deadline=deadline)
        return amounts.compared(payload, written)
    if isinstance(payload, PromoCodePayload) and programme.coupons is not None:
        return await programme.coupons.redeem(account, payload.code, idempotency_key=key, deadline=deadline)
    if isinstance(payload, CouponsPayload) and programme.coupons is not None:
        return await programme.coupons.issue(
            account, payload.occasion, idempotency_key=key, deadline=deadline
        )
    raise NotSupported(f"no CRM for {operation.kind}")


async def _tell_card(
    programme: Programme, operation: Operation, payload: CardPayload, deadline: Deadline
) -> Written:
    """Tell the users CRM of a card, unless it is no longer the one its owner has."""
    card = await programme.cards.get(operation.card_number or "")
    if programme.keeps_cards is None:
        raise NotSupported("no CRM is told of cards")
    if card is None or card.users_reference != payload.customer_id:
        return Written.refused()
    return await programme.keeps_cards.set_card(
        payload.customer_id,
        card.number,
        card.barcode_number,
        card.barcode_type,
        replaces=payload.replaces,
        idempotency_key=operation.idempotency_key,
        deadline=deadline,
    )


async def reconcile(programme: Programme, operation: Operation, deadline: Deadline) -> Written:
    """Ask the CRM what became of an operation whose outcome is unknown.

    DONE: it happened. NOT_SENT: it did not. UNKNOWN: nobody can tell. Raises ``BackendError`` or
    ``StoreUnavailable`` when the CRM or the database cannot be asked now.
    """
    payload, sent_at = operation.payload, operation.sent_at or operation.recorded_at
    if payload is None:
        return Written.unknown(_PAYLOAD_MISSING)
    if isinstance(payload, RegistrationPayload):
        if isinstance(programme.users, ReconcilesRegistration):
            return await programme.users.reconcile_register(
                payload.profile, idempotency_key=operation.idempotency_key, deadline=deadline
            )
        return Written.unknown()
    account = await crm_account(programme, operation, deadline)
    if account is None:
        return Written.unknown()
    points: object = programme.points
    coupons: object = programme.coupons
    if isinstance(payload, ReceiptPayload) and isinstance(points, ReconcilesCredit):
        found = await points.reconcile_credit(
            account,
            _credit(programme, payload),
            idempotency_key=operation.idempotency_key,
            since=sent_at,
            before=operation.before,
            deadline=deadline,
        )
        return amounts.compared(payload, found)
    if isinstance(payload, PromoCodePayload) and isinstance(coupons, ReconcilesRedeem):
        return await coupons.reconcile_redeem(
            account,
            payload.code,
            idempotency_key=operation.idempotency_key,
            since=sent_at,
            deadline=deadline,
        )
    return Written.unknown()


async def crm_account(
    programme: Programme, operation: Operation, deadline: Deadline, *, surely: bool = False
) -> str | None:
    """Whose account an operation on a card goes to; ``None`` when the CRM knows none.

    ``surely`` as for ``account_of``: something is about to be sent there.
    """
    card = operation.card or await programme.cards.get(operation.card_number or "")
    if card is None:
        return None
    port: Port = "points" if operation.kind is OperationKind.RECEIPT else "coupons"
    return await account_of(programme, card, port, deadline, surely=surely)


def _credit(programme: Programme, payload: ReceiptPayload) -> Credit:
    description = _DESCRIPTION[programme.settings.koshelek.language]
    return Credit(points=payload.points, description=description, receipt=payload.receipt)
