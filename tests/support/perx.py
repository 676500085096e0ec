"""What tests of the Perx driver share: settings, a customer, a receipt."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from crm_backends.model import Credit, FiscalReceipt, Profile
from crm_backends.perx import PerxBackend, PerxSettings
from crm_backends.ports import (
    Deadline,
    Written,
)

URL = "https://perx.example"
KEY = "a key of some length"
PHONE = "+79990000001"
ID = hmac.new(KEY.encode(), PHONE.encode(), hashlib.sha256).hexdigest()
ZONE = ZoneInfo("Europe/Moscow")
SINCE = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
BASE: Mapping[str, Any] = {
    "base_url": URL,
    "client_id": "client",
    "client_secret": "secret",
    "loyalty_program_id": 7,
    "identifier_secret": KEY,
    "occasions": {"visit": 11},
    "promo_codes": {"Spring": {"reward": 12}, "HELLO": {"trigger": "hello-rule"}},
    "page_size": 2,
}
ACCOUNT = {"id": 31, "identifier": ID, "personal_properties": {}}
ABSENT = {"code": 1, "message": "User account not found"}
RECEIPT = FiscalReceipt(
    "8710000101125654", "17", "42", 125050, datetime(2025, 3, 1, 15, 4, tzinfo=ZONE), calculation_type=1
)


def settings(**chosen: Any) -> PerxSettings:
    return PerxSettings.model_validate({**BASE, **chosen})


def soon() -> Deadline:
    return Deadline.after(5)


PERSON = Profile(
    phone=PHONE,
    email="a@b.ru",
    first_name="Anna",
    surname="Petrova",
    birth_date=date(1990, 5, 17),
    sex="f",
)


TOKEN: Mapping[str, Any] = {"identifier": "token", "merchant_identifier": "till", "send_phone": True}
NO_ONE = {"code": 40, "message": "absent"}


def row(number: int, points: float, **fields: object) -> dict[str, object]:
    at = f"2025-03-{20 - number:02d}T22:30:00.000Z"
    return {"id": number, "amount": points, "name": f"row {number}", "transacted_at": at, **fields}


FAILED = row(2, -500, properties={"error_message": "Insufficient points", "requested_by": "Anna P"})


async def settle(backend: PerxBackend) -> Written:
    return await backend.reconcile_credit(
        ID, Credit(Decimal(5), ""), idempotency_key="ref-1", since=SINCE, before=None, deadline=soon()
    )


def voucher(number: int, reward: int, **fields: object) -> dict[str, object]:
    told = {"id": number, "name": f"voucher {number}", "state": "issued", "reward": {"id": reward}}
    return {**told, **fields}
