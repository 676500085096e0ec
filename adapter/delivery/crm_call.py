"""Perform a recorded operation, or reconcile its doubt: the one CRM call it stands for.

Called by delivery, which has marked the operation as sent. It decides nothing about retries.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from adapter.loyalty.model import Operation, OperationKind
from adapter.loyalty.ports import Port
from adapter.loyalty.programme import Programme, account_of
from crm_backends.model import Credit, FiscalReceipt, Profile
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


async def perform(programme: Programme, operation: Operation, deadline: Deadline) -> Written:
    """Make the CRM call of ``operation`` and report how it ended.

    Raises ``BackendError`` or ``StoreUnavailable`` only before anything was written, so a raise means
    that nothing has reached the CRM.
    """
    if operation.kind is OperationKind.REGISTRATION:
        return await programme.users.register(
            _profile(operation), idempotency_key=operation.idempotency_key, deadline=deadline
        )
    if operation.kind is OperationKind.CARD:
        return await _tell_card(programme, operation, deadline)
    account = await crm_account(programme, operation, deadline, surely=True)
    if account is None:
        return Written.refused(Refusal.NO_SUCH_CUSTOMER)
    if operation.kind is OperationKind.RECEIPT and programme.points is not None:
        return await programme.points.credit(
            account,
            _credit(programme, operation),
            idempotency_key=operation.idempotency_key,
            deadline=deadline,
        )
    if operation.kind is OperationKind.PROMO_CODE and programme.coupons is not None:
        return await programme.coupons.redeem(
            account, operation.request["code"], idempotency_key=operation.idempotency_key, deadline=deadline
        )
    if operation.kind is OperationKind.COUPONS and programme.coupons is not None:
        return await programme.coupons.issue(
            account,
            operation.request["occasion"],
            idempotency_key=operation.idempotency_key,
            deadline=deadline,
        )
    raise NotSupported(f"no CRM for {operation.kind}")


async def _tell_card(programme: Programme, operation: Operation, deadline: Deadline) -> Written:
    """Tell the users CRM of a card, unless it is no longer the one its owner has."""
    card = await programme.cards.get(operation.card_number or "")
    customer = operation.request["customer"]
    if programme.keeps_cards is None:
        raise NotSupported("no CRM is told of cards")
    if card is None or card.users_reference != customer:
        return Written.refused()
    return await programme.keeps_cards.set_card(
        customer,
        card.number,
        card.barcode_number,
        card.barcode_type,
        replaces=operation.request["replaces"],
        idempotency_key=operation.idempotency_key,
        deadline=deadline,
    )


async def reconcile(programme: Programme, operation: Operation, deadline: Deadline) -> Written:
    """Ask the CRM what became of an operation whose outcome is unknown.

    DONE: it happened. NOT_SENT: it did not. UNKNOWN: nobody can tell. Raises ``BackendError`` or
    ``StoreUnavailable`` when the CRM or the database cannot be asked now.
    """
    sent_at = operation.sent_at or operation.recorded_at
    if operation.kind is OperationKind.REGISTRATION:
        if isinstance(programme.users, ReconcilesRegistration):
            return await programme.users.reconcile_register(
                _profile(operation), idempotency_key=operation.idempotency_key, deadline=deadline
            )
        return Written.unknown()
    account = await crm_account(programme, operation, deadline)
    if account is None:
        return Written.unknown()
    points: object = programme.points
    coupons: object = programme.coupons
    if operation.kind is OperationKind.RECEIPT and isinstance(points, ReconcilesCredit):
        return await points.reconcile_credit(
            account,
            _credit(programme, operation),
            idempotency_key=operation.idempotency_key,
            since=sent_at,
            before=operation.before,
            deadline=deadline,
        )
    if operation.kind is OperationKind.PROMO_CODE and isinstance(coupons, ReconcilesRedeem):
        return await coupons.reconcile_redeem(
            account,
            operation.request["code"],
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
    card = await programme.cards.get(operation.card_number or "")
    if card is None:
        return None
    port: Port = "points" if operation.kind is OperationKind.RECEIPT else "coupons"
    return await account_of(programme, card, port, deadline, surely=surely)


def _profile(operation: Operation) -> Profile:
    fields = dict(operation.request)
    if "birth_date" in fields:
        fields["birth_date"] = date.fromisoformat(fields["birth_date"])
    return Profile(**fields)


def _credit(programme: Programme, operation: Operation) -> Credit:
    request = operation.request
    receipt = FiscalReceipt(
        fiscal_drive=request["fn"],
        document=request["i"],
        sign=request["fp"],
        total_kopecks=request["kopecks"],
        issued_at=datetime.fromisoformat(request["t"]),
        calculation_type=request["n"],
    )
    points = request["points"]
    return Credit(
        points=None if points is None else Decimal(points),
        description=_DESCRIPTION[programme.settings.koshelek.language],
        receipt=receipt,
    )
