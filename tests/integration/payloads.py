"""What operations carry, for tests that do not care what it is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from adapter.loyalty.model import OperationKind
from adapter.loyalty.payloads import Payload, PromoCodePayload, ReceiptPayload, RegistrationPayload
from crm_backends.model import FiscalReceipt, Profile

RECEIPT = ReceiptPayload(
    FiscalReceipt("private", "1", "1", 10_000, datetime(2026, 5, 19, 12, tzinfo=UTC), 1), Decimal(5)
)


def payload(kind: OperationKind) -> Payload:
    """One of this kind."""
    match kind:
        case OperationKind.RECEIPT:
            return RECEIPT
        case OperationKind.PROMO_CODE:
            return PromoCodePayload("private")
        case OperationKind.REGISTRATION:
            return RegistrationPayload(Profile(phone="+79000000000", first_name="private"))
        case _:
            raise ValueError(kind)
