"""Receipts in doubt over the stand-in for Perx, which wait for a person: for commands and console."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapter.loyalty.model import Operation, OperationState
from contracts.sandbox import Sandbox, perx
from crm_backends.model import Credit
from crm_backends.ports import Deadline, Outcome

from .conftest import Adapter, new_phone

QR = "/v1/promo/qrCode"


def over_perx(crm: Sandbox) -> dict[str, dict[str, Any]]:
    """Settings of an adapter over the stand-in that records receipts and delivers them when it is told to."""
    return {
        "crm": {
            "driver": "perx",
            "base_url": crm.base_url,
            "client_id": perx.CLIENT_ID,
            "client_secret": perx.CLIENT_SECRET,
            "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
            "identifier_secret": "only for tests, and long enough",
            "occasions": {"visit": perx.COFFEE},
        },
        "receipts": {"wait": 0},
        "coupons": {"receipt_occasion": "visit"},
        "delivery": {"retry_first": 0.05, "reconcile_after": 0.3, "call_timeout": 1.0},
    }


async def held(adapter: Adapter, *, times: int, phone: str | None = None, qr: str | None = None) -> Operation:
    """A receipt in doubt that waits for a person; the CRM has it so many times."""
    if adapter.service._worker_task is None or adapter.service._worker_task.done():
        await adapter.service.start_delivery()
    card = await adapter.issue(phone=phone or new_phone())
    await adapter.service.stop_delivery()
    assert (await adapter.post(QR, {"qrCode": qr or adapter.qr(), "cardNumber": card})).status == 200
    operations = adapter.service.operations
    newest = "SELECT max(id) FROM koshelek.operations WHERE kind = 'receipt'"
    operation = await operations.begin(await adapter.sql(newest))
    assert operation is not None
    points = adapter.service.programme.points
    owner = await adapter.service.cards.get(card)
    assert points is not None
    assert owner is not None
    account = owner.points_reference or owner.users_reference or ""
    for _ in range(times):
        written = await points.credit(
            account,
            Credit(points=Decimal(62), description=""),
            idempotency_key=operation.idempotency_key,
            deadline=Deadline.after(5),
        )
        assert written.outcome is Outcome.DONE
    await operations.end(operation, OperationState.UNKNOWN)
    await operations.end(operation, OperationState.HELD, reason="outcome unknown")
    await adapter.sql("DELETE FROM koshelek.pgqueuer WHERE payload = $1", str(operation.id).encode())
    return operation
