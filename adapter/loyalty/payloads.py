"""What an operation carries to the CRM, one class per kind, and how the ledger keeps it as JSON.

The version before this one and the version after it read the same JSON, so a key never changes its meaning,
and a new key is optional. Payloads may hold personal data: they leave the database only towards the CRM, and
``repr`` does not show them. This module may not know the database, nor how a CRM is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Self, TypeAlias

from adapter.loyalty.model import OperationKind
from crm_backends.frozen import dataclass
from crm_backends.model import FiscalReceipt, Profile

Json: TypeAlias = Mapping[str, Any]


class PayloadUnreadable(Exception):
    """No version of this program can have written this payload; the message names the kind."""


@dataclass(frozen=True, slots=True, repr=False)
class ReceiptPayload:
    """A cash receipt whose points are to be credited."""

    kind: ClassVar = OperationKind.RECEIPT
    receipt: FiscalReceipt
    points: Decimal | None
    """Points it earns; ``None``: the CRM computes them."""

    def to_json(self) -> Json:
        receipt, points = self.receipt, self.points
        return {
            "fn": receipt.fiscal_drive,
            "i": receipt.document,
            "fp": receipt.sign,
            "kopecks": receipt.total_kopecks,
            "t": receipt.issued_at.isoformat(),
            "n": receipt.calculation_type,
            "points": None if points is None else str(points),
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        receipt = FiscalReceipt(
            fiscal_drive=value["fn"],
            document=value["i"],
            sign=value["fp"],
            total_kopecks=value["kopecks"],
            issued_at=datetime.fromisoformat(value["t"]),
            calculation_type=value["n"],
        )
        points = value["points"]
        return cls(receipt, None if points is None else Decimal(points))


@dataclass(frozen=True, slots=True, repr=False)
class PromoCodePayload:
    """A promo code that a card holder uses."""

    kind: ClassVar = OperationKind.PROMO_CODE
    code: str

    def to_json(self) -> Json:
        return {"code": self.code}

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(value["code"])


@dataclass(frozen=True, slots=True, repr=False)
class RegistrationPayload:
    """A person who is to be registered with the users CRM; removed once that has ended."""

    kind: ClassVar = OperationKind.REGISTRATION
    profile: Profile

    def to_json(self) -> Json:
        return {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in self.profile.given().items()
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        fields = dict(value)
        if "birth_date" in fields:
            fields["birth_date"] = date.fromisoformat(fields["birth_date"])
        return cls(Profile(**fields))


@dataclass(frozen=True, slots=True, repr=False)
class CouponsPayload:
    """The coupons that an occasion gives."""

    kind: ClassVar = OperationKind.COUPONS
    occasion: str
    """The occasion's name, as in the settings of the coupons driver."""

    def to_json(self) -> Json:
        return {"occasion": self.occasion}

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(value["occasion"])


@dataclass(frozen=True, slots=True, repr=False)
class CardPayload:
    """A card that the users CRM is to be told of."""

    kind: ClassVar = OperationKind.CARD
    customer_id: str
    """The owner, when the operation was recorded; the users CRM's id."""
    replaces: str | None
    """The number that this card replaced."""

    def to_json(self) -> Json:
        return {"customer": self.customer_id, "replaces": self.replaces}

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(value["customer"], value["replaces"])


Payload: TypeAlias = ReceiptPayload | PromoCodePayload | RegistrationPayload | CouponsPayload | CardPayload

_CLASSES: Mapping[OperationKind, type[Payload]] = {
    payload.kind: payload
    for payload in (ReceiptPayload, PromoCodePayload, RegistrationPayload, CouponsPayload, CardPayload)
}


def payload_from_json(kind: OperationKind, value: Json) -> Payload | None:
    """The payload of an operation of this kind; ``None``: it was removed when the operation had ended.

    Raises ``PayloadUnreadable``.
    """
    try:
        return _CLASSES[kind].from_json(value) if value else None
    except (KeyError, TypeError, ValueError, ArithmeticError):
        raise PayloadUnreadable(f"the payload of a {kind} cannot be read") from None  # it may be quoted
