"""What tests of the Pegke driver share: settings of both dialects, a customer, a credit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from crm_backends.model import Balance, Credit, Holder, Profile
from crm_backends.pegke import PegkeBackend, PegkeSettings
from crm_backends.ports import (
    Deadline,
    Written,
)
from crm_backends.registry import BackendContext

SITE: dict[str, Any] = {"dialect": "site_v1_1", "client_id": "id", "client_secret": "s3cret"}
LOOK_UPS: dict[str, Any] = {"balance_path": "entity/user/balance", "history_path": "entity/user/history"}
MERCHANT: dict[str, Any] = {"dialect": "merchant_v1", "consumer_code": "CODE", "consumer_secret": "SECRET"}

SITE_BASE = "https://dashboard.pegke.com/v1"
MERCHANT_BASE = "https://dashboard.pegke.com/apiv1/"
TOKEN = {
    "access_token": "907c762e069589c2cd2a229cdae7b8778caa9f07",
    "expires_in": 3600,
    "refresh_token": "43018382188f462f6b0e5784dd44c36f476ccce6",
    "scope": None,
    "token_type": "Bearer",
}
"""The one reply the draft prints, for success of whatever."""
TEN = Credit(Decimal(10), "Purchase")
PHONE = "9826471001"


def settings(*parts: Mapping[str, Any], **more: Any) -> PegkeSettings:
    values: dict[str, Any] = {"attempts": 1}
    for part in (*parts, more):
        values |= part
    return PegkeSettings.model_validate(values)


def context(region: str = "IN") -> BackendContext:
    zone = ZoneInfo("Asia/Kolkata")
    return BackendContext(database_url="", database_pool=None, timezone=zone, region=region)


def soon() -> Deadline:
    return Deadline.after(5)


def holder(phone: str | None = "+919826471001", email: str | None = "a@example.org") -> Holder:
    return Holder("2900000000001", "C00042", Profile(phone=phone, email=email))


async def give(backend: PegkeBackend, credit: Credit = TEN, account: str = PHONE) -> Written:
    return await backend.credit(account, credit, idempotency_key="r-1", deadline=soon())


async def settle(
    backend: PegkeBackend, before: Balance | None = None, since: datetime | None = None
) -> Written:
    sent = since or datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    return await backend.reconcile_credit(
        PHONE, TEN, idempotency_key="r-1", since=sent, before=before, deadline=soon()
    )


def points(number: int) -> Balance:
    return Balance(Decimal(number), Decimal(number))
