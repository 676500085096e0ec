"""Rows of the operations ledger as the objects they stand for, and back.

It may not know any statement, nor what becomes of an operation.
"""

from __future__ import annotations

import json
from decimal import Decimal

import asyncpg
import pydantic_core

from adapter.errors import Code
from adapter.loyalty.model import NewOperation, Operation, OperationKind, OperationState, former_key
from adapter.loyalty.payloads import Payload, PayloadUnreadable, payload_from_json
from crm_backends.model import Balance


def recorded(new: NewOperation, row: asyncpg.Record, *, sent: bool = False) -> Operation:
    """An operation that has just been recorded; ``sent``: as sent already."""
    return Operation(
        id=row["id"],
        kind=new.kind,
        identity=new.identity,
        card_number=new.card_number,
        fingerprint=new.fingerprint,
        payload=new.payload,
        state=OperationState.SENT if sent else OperationState.RECORDED,
        attempt=int(sent),
        recorded_at=row["recorded_at"],
        idempotency_key=new.idempotency_key,
        sent_at=row["recorded_at"] if sent else None,
        read_at=row["recorded_at"],
        card=new.card if sent else None,
    )


def new_json(new: NewOperation, *, sent: bool) -> dict[str, object]:
    """An operation as the statement that records it takes it; ``sent``: it is marked as sent at once."""
    return {
        "kind": new.kind,
        "identity": new.identity,
        "card_number": new.card_number,
        "fingerprint": new.fingerprint,
        "request": new.payload.to_json(),
        "idempotency_key": new.idempotency_key,
        "sent": sent,
    }


def operation_of(row: asyncpg.Record) -> Operation:
    kind = OperationKind(row["kind"])
    return Operation(
        id=row["id"],
        kind=kind,
        identity=row["identity"],
        card_number=row["card_number"],
        fingerprint=row["fingerprint"],
        payload=payload_of(kind, row),
        state=OperationState(row["state"]),
        attempt=row["attempt"],
        recorded_at=row["recorded_at"],
        idempotency_key=row["idempotency_key"] or former_key(kind, row["id"]),
        sent_at=row["sent_at"],
        finished_at=row["finished_at"],
        code=Code(row["code"]) if row["code"] else None,
        points=row["points"],
        crm_reference=row["crm_reference"],
        message=row["message"],
        before=balance_from(row["before"]),
        requeued_at=row["requeued_at"],
        doubted=row["doubted"],
        looked_at=row["looked_at"],
        answering_since=row["answering_since"],
        read_at=row["read_at"],
    )


def json_text(value: object) -> str:
    """JSON for a statement; a decimal is a string in it."""
    return pydantic_core.to_json(value).decode()


def payload_of(kind: OperationKind, row: asyncpg.Record) -> Payload | None:
    """What the operation carries; ``None`` as well where that cannot be read: others must not suffer."""
    try:
        return payload_from_json(kind, json.loads(row["request"] or "{}"))
    except PayloadUnreadable:
        return None


def balance_from(text: str | None) -> Balance | None:
    if text is None:
        return None
    value = json.loads(text)
    return Balance(total=Decimal(value["total"]), available=Decimal(value["available"]))


def balance_json(balance: Balance) -> str:
    return json.dumps({"total": str(balance.total), "available": str(balance.available)})
