"""Perform a recorded operation: turn it into the one CRM call it stands for.

Called by delivery, which has marked the operation as sent. It decides nothing about retries.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from adapter.catalogue import Code
from adapter.loyalty.model import Operation, OperationKind
from adapter.loyalty.programme import Programme, account_of
from crm_backends.model import Credit, FiscalReceipt, Profile
from crm_backends.ports import Deadline, Refusal, Written

_CODES = {
    Refusal.CONFLICT: Code.CONFLICT,
    Refusal.CODE_UNKNOWN: Code.PROMO_UNKNOWN,
    Refusal.CODE_NOT_YET_VALID: Code.PROMO_NOT_YET_VALID,
    Refusal.CODE_EXPIRED: Code.PROMO_EXPIRED,
    Refusal.CODE_USED: Code.PROMO_USED,
    Refusal.CODE_EXHAUSTED: Code.PROMO_EXHAUSTED,
}
_OTHERWISE = {
    OperationKind.RECEIPT: Code.RECEIPT_REFUSED,
    OperationKind.PROMO_CODE: Code.PROMO_REFUSED,
    OperationKind.REGISTRATION: Code.REGISTRATION_REFUSED,
}
_DESCRIPTION = {"ru": "Покупка по чеку", "en": "Purchase by receipt"}
"""How the credit of a receipt is called in the holder's list of points."""


def refusal_code(kind: OperationKind, refusal: Refusal | None) -> Code:
    """Our code for a CRM's refusal of an operation of this kind."""
    return _CODES.get(refusal or Refusal.OTHER, _OTHERWISE[kind])


async def perform(programme: Programme, operation: Operation, deadline: Deadline) -> Written:
    """Make the CRM call of ``operation`` and report how it ended.

    Raises ``BackendError`` or ``StoreUnavailable`` only before anything was written, so a raise means
    that nothing has reached the CRM.
    """
    if operation.kind is OperationKind.REGISTRATION:
        fields = dict(operation.request)
        if "birth_date" in fields:
            fields["birth_date"] = date.fromisoformat(fields["birth_date"])
        profile = Profile(**fields)
        return await programme.users.register(profile, reference=operation.reference, deadline=deadline)
    card = await programme.cards.get(operation.card_number or "")
    if card is None:
        return Written.refused(Refusal.NO_SUCH_CUSTOMER)
    if operation.kind is OperationKind.RECEIPT:
        account = await account_of(programme, card, "points", deadline)
        if account is None or programme.points is None:
            return Written.refused(Refusal.NO_SUCH_CUSTOMER)
        credit = _credit(operation, _DESCRIPTION[programme.settings.koshelek.language])
        return await programme.points.credit(
            account, credit, reference=operation.reference, deadline=deadline
        )
    account = await account_of(programme, card, "coupons", deadline)
    if account is None or programme.coupons is None:
        return Written.refused(Refusal.NO_SUCH_CUSTOMER)
    return await programme.coupons.redeem(
        account, operation.request["code"], reference=operation.reference, deadline=deadline
    )


def _credit(operation: Operation, description: str) -> Credit:
    request = operation.request
    receipt = FiscalReceipt(
        fiscal_drive=request["fn"],
        document=request["i"],
        sign=request["fp"],
        total_kopecks=request["kopecks"],
        settled_at=datetime.fromisoformat(request["t"]),
        settlement=request["n"],
    )
    points = request["points"]
    return Credit(
        points=None if points is None else Decimal(points), description=description, receipt=receipt
    )
