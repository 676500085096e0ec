"""What operations carry, as the ledger keeps it: rows of the version before are read, and those of this one
by it."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from adapter.loyalty.idempotency_keys import receipt_key
from adapter.loyalty.model import OperationKind
from adapter.loyalty.payloads import (
    CardPayload,
    CouponsPayload,
    Payload,
    PayloadUnreadable,
    PromoCodePayload,
    ReceiptPayload,
    RegistrationPayload,
    payload_from_json,
)
from crm_backends.model import FiscalReceipt, Profile

MOSCOW = timezone(timedelta(hours=3))
RECEIPT = FiscalReceipt(
    "8710000101125654", "99456", "1250448795", 97_588, datetime(2018, 5, 18, 22, 5, tzinfo=MOSCOW), 1
)
PROFILE = Profile(phone="+79161234567", first_name="Анна", birth_date=date(1990, 5, 19), sex="f")

KEPT: list[tuple[Payload, str]] = [
    (
        ReceiptPayload(RECEIPT, Decimal("48.50")),
        """{"fn": "8710000101125654", "i": "99456", "fp": "1250448795", "kopecks": 97588,
            "t": "2018-05-18T22:05:00+03:00", "n": 1, "points": "48.50"}""",
    ),
    (
        ReceiptPayload(RECEIPT, None),
        """{"fn": "8710000101125654", "i": "99456", "fp": "1250448795", "kopecks": 97588,
            "t": "2018-05-18T22:05:00+03:00", "n": 1, "points": null}""",
    ),
    (PromoCodePayload("WELCOME"), """{"code": "WELCOME"}"""),
    (
        RegistrationPayload(PROFILE),
        """{"phone": "+79161234567", "first_name": "Анна", "birth_date": "1990-05-19", "sex": "f"}""",
    ),
    (CouponsPayload("birthday"), """{"occasion": "birthday"}"""),
    (CardPayload("17", None), """{"customer": "17", "replaces": null}"""),
    (CardPayload("17", "2900000000015"), """{"customer": "17", "replaces": "2900000000015"}"""),
]
"""As the version before wrote them."""


@pytest.mark.parametrize(("payload", "kept"), KEPT, ids=lambda value: getattr(value, "kind", None))
def test_the_ledger_keeps_it_under_the_names_it_always_had(payload: Payload, kept: str) -> None:
    assert payload.to_json() == json.loads(kept)
    read = payload_from_json(payload.kind, json.loads(kept))
    if isinstance(payload, RegistrationPayload):  # a person's profile compares by its fields alone
        assert isinstance(read, RegistrationPayload)
        assert read.profile.given() == payload.profile.given()
    else:
        assert read == payload


@pytest.mark.parametrize("kind", OperationKind)
def test_what_was_removed_is_none_and_what_nobody_wrote_is_unreadable(kind: OperationKind) -> None:
    assert payload_from_json(kind, {}) is None
    with pytest.raises(PayloadUnreadable) as caught:
        payload_from_json(kind, {"fn": "+79161234567", "phones": "+79161234567"})
    assert "7916" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_payload_shows_what_it_carries() -> None:
    assert all("8710000101125654" not in f"{payload!r}{payload}" for payload, _ in KEPT)
    assert all("WELCOME" not in repr(payload) and "Анна" not in repr(payload) for payload, _ in KEPT)


def test_the_key_of_a_receipt_stays_the_same_from_version_to_version() -> None:
    fiscal = "9999078900004792", "12345", "1764131111"
    assert receipt_key(*fiscal) == "EE3JVX6NHK7SVNYCK2IXCNYSJ4"
    assert receipt_key(*fiscal, 16) == "EE3JVX6NHK7SVNYC"
