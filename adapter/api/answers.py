"""Answers as the contract wants them: JSON whose every elementary field is a string, at any depth.

``encode`` is the only way a body gets out of the public port, so string typing cannot be forgotten. It may
not know how a request is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pydantic_core

from adapter.errors import Language, Refused
from adapter.loyalty.holder import CardInfo
from adapter.loyalty.model import Card, CardState, Operation, OperationState
from crm_backends.model import ListedPhone, Offer, Purchase

CONTENT_TYPE = "application/json; charset=utf-8"

Json = str | int | bool | Decimal | date | datetime | Mapping[str, "Json"] | Sequence["Json"] | None
"""What a handler may return; the elementary values become strings, ``None`` drops the field."""


def points_text(points: Decimal) -> str:
    """Points, not hundredths, without trailing zeros: ``12``, ``12.5`` (KLO-3)."""
    text = str(points)
    if "E" in text:
        text = f"{points:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def stringify(value: Json) -> Any:
    """The value with every elementary field as a string (official); fields that are ``None`` are left out."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Decimal):
        return points_text(value)
    if isinstance(value, (dict, Mapping)):  # dict first: checking for Mapping takes longer
        return {
            key: item if type(item) is str else stringify(item)  # most fields are text: saves the call
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, (list, tuple)):
        return [stringify(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def envelope(refused: Refused, language: Language) -> bytes:
    """The body of every answer that is not 200: ``{"code": …, "description": …}``."""
    return encode({"code": refused.code, "description": refused.description(language)})


def encode(value: Json) -> bytes:
    """The body for ``value``: string-typed JSON in UTF-8; ``None`` is the empty body."""
    if value is None:
        return b""
    strings = stringify(value)
    try:
        return pydantic_core.to_json(strings)
    except pydantic_core.PydanticSerializationError:  # half a surrogate pair, from a CRM
        return json.dumps(strings, ensure_ascii=False).encode("utf-8", errors="replace")


def card_json(card: Card) -> dict[str, Json]:
    """The card object (official). Reserved, ownerless and blocked cards are shown as inactive."""
    return {
        "cardNumber": card.number,
        "cardState": "active" if card.state is CardState.ACTIVE else "inactive",
        "barcode": {"barcodeNumber": card.barcode_number, "barcodeType": card.barcode_type},
    }


def found_card_json(card: Card) -> dict[str, Json]:
    return {"card": card_json(card)}


def card_info_json(info: CardInfo) -> dict[str, Json]:
    """KLO-3."""
    bonuses: list[Json] = [
        {"description": entry.description, "amount": entry.amount, "validUntil": entry.valid_until}
        for entry in info.entries
    ]
    bonus: dict[str, Json] = {
        "total": info.balance.total,
        "available": info.balance.available,
        "bonuses": bonuses,
    }
    return {"card": {**card_json(info.card), "bonus": bonus}}


def _local(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
    return None if moment is None else moment.astimezone(zone).replace(microsecond=0)


def purchase_json(purchase: Purchase, zone: ZoneInfo) -> dict[str, Json]:
    """KLO-7; the amount is in kopecks, the date in the programme's zone."""
    return {
        "date": _local(purchase.at, zone),
        "item": purchase.item,
        "amount": purchase.amount_kopecks,
        "quantity": purchase.quantity,
        "location": purchase.location,
        "bonuses": purchase.bonuses,
    }


def offer_json(offer: Offer, zone: ZoneInfo) -> dict[str, Json]:
    """KLO-8 (inferred)."""
    return {
        "id": offer.offer_id,
        "title": offer.title,
        "description": offer.description,
        "code": offer.code,
        "validFrom": _local(offer.valid_from, zone),
        "validUntil": _local(offer.valid_until, zone),
        "imageUrl": offer.image_url,
        "url": offer.url,
    }


def operation_json(operation: Operation, texts: Mapping[OperationState, str]) -> dict[str, Json]:
    """Answer of KLO-10 and KLO-12 (inferred): how the operation ended, and the points if they are known.

    An operation that the CRM has done more than once counts as done for the holder.
    """
    done = operation.state in (OperationState.DONE, OperationState.DOUBLED)
    return {
        "status": "credited" if done else "accepted",
        "points": operation.points if done else None,
        "description": (operation.message if done else None) or texts[operation.state],
    }


def listed_phones_json(phones: Sequence[str]) -> list[str]:
    """KLO-9, a part of the array."""
    return [phone.removeprefix("+") for phone in phones]


def listed_users_json(phones: Sequence[ListedPhone]) -> list[Json]:
    """KLO-9 extended, a part of the array."""
    return [
        {
            "phone": listed.phone.removeprefix("+"),
            "params": [{"name": name, "value": value} for name, value in listed.params.items()],
        }
        for listed in phones
    ]
