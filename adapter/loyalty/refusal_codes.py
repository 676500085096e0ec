"""The error code for each refusal of a CRM. This module may not know how the CRM was asked."""

from __future__ import annotations

from adapter.errors import Code
from adapter.loyalty.model import OperationKind
from crm_backends.ports import Refusal

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


def refusal_code(kind: OperationKind, refusal: Refusal | None) -> Code | None:
    """Our code for a CRM's refusal of an operation of this kind. ``None``: no caller is told of such a
    refusal."""
    return _CODES.get(refusal or Refusal.OTHER, _OTHERWISE.get(kind))
