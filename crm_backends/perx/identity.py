"""Whom Perx knows a person as, and the little it is told about them.

Identifiers, token scopes, and the way between a ``Profile`` and an account's fields. A field that the
settings do not name never leaves through here. It may not make a call.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from crm_backends import inputs
from crm_backends.model import ChannelConsents, Customer, Profile, Sex
from crm_backends.perx.replies import moment
from crm_backends.perx.settings import PerxSettings

MERCHANT = "merchant"
"""Scope of the merchant user's token; the application's is ``None``."""
_USER = "user:"

_SAFE = re.compile(r"[!-'*-~]{1,255}")
"""An identifier goes into an OAuth scope in round brackets: none of these, no blanks, ASCII alone."""
_OURS = re.compile(r"[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def usable(identifier: str) -> bool:
    """Whether a customer may be called so on the wire."""
    return _SAFE.fullmatch(identifier) is not None


def is_ours(identifier: str) -> bool:
    """Whether it has the shape of an identifier made here, which no other CRM's number has."""
    return _OURS.fullmatch(identifier) is not None


def user_scope(identifier: str) -> str:
    """Scope of a customer's own token."""
    return _USER + identifier


def scope_fields(settings: PerxSettings, scope: str) -> Mapping[str, str]:
    """What a token request carries besides the credentials."""
    if scope == MERCHANT:
        return {"scope": "merchant_user_account", "identifier": settings.merchant_identifier or ""}
    return {"scope": f"user_account(identifier:{scope.removeprefix(_USER)})"}


def phone_identifier(settings: PerxSettings, phone: str) -> str:
    """HMAC-SHA256 of the phone (E.164), in hexadecimal: the same for the same phone, and tells nothing."""
    return _hmac(settings, phone).hex()


def key_identifier(settings: PerxSettings, idempotency_key: str) -> str:
    """A random-looking UUID, the same for each attempt of one registration, so it can be looked up."""
    return str(uuid.UUID(bytes=_hmac(settings, f"registration:{idempotency_key}")[:16], version=4))


def _hmac(settings: PerxSettings, text: str) -> bytes:
    secret = settings.identifier_secret.get_secret_value() if settings.identifier_secret else ""
    return hmac.digest(secret.encode(), text.encode(), hashlib.sha256)


def on_the_wire(settings: PerxSettings, phone: str) -> str:
    """A phone (E.164) as this tenant writes it."""
    return phone if settings.phone_plus else phone.removeprefix("+")


def own_fields(settings: PerxSettings, profile: Profile) -> dict[str, str]:
    """The account's own fields that the settings let out."""
    fields: dict[str, str] = {}
    if settings.send_names and profile.first_name is not None:
        fields["first_name"] = profile.first_name
    if settings.send_names and profile.surname is not None:
        fields["last_name"] = profile.surname
    if settings.send_phone and profile.phone is not None:
        fields["phone"] = on_the_wire(settings, profile.phone)
    return fields


def properties(settings: PerxSettings, profile: Profile) -> dict[str, object]:
    """The part of ``personal_properties`` that the settings let out."""
    chosen: dict[str, object] = {}
    for field, value in profile.given().items():
        name = settings.properties.get(cast(Any, field))
        if name is None:
            continue
        if field == "phone":
            chosen[name] = on_the_wire(settings, str(value))
        else:
            chosen[name] = value.isoformat() if isinstance(value, date) else str(value)
    return chosen


def consent_properties(prefix: str, consents: ChannelConsents) -> dict[str, object]:
    """The named channels, true where allowed."""
    allowed = {f"{prefix}{channel}": True for channel in consents.allow}
    return {**allowed, **{f"{prefix}{channel}": False for channel in consents.deny}}


def card_properties(settings: PerxSettings, number: str, barcode: str) -> dict[str, object]:
    """A card, under the names that the settings give it."""
    named = {settings.card_property: number, settings.barcode_property: barcode}
    return {name: value for name, value in named.items() if name is not None}


def card_kept(settings: PerxSettings, kept: Mapping[str, object]) -> str | None:
    """The card number among a customer's properties."""
    number = kept.get(settings.card_property) if settings.card_property is not None else None
    return str(number).strip() or None if isinstance(number, str | int) else None


def customer(
    settings: PerxSettings,
    data: Mapping[str, object],
    zone: ZoneInfo,
    region: str,
    phone: str | None = None,
) -> Customer:
    """A customer as Perx tells it; ``phone`` is the one asked for, where that is what identifies.

    ``region`` is the country of phones that are kept without a country code.
    """
    kept = data.get("personal_properties")
    kept = kept if isinstance(kept, dict) else {}
    told = {
        "first_name": data.get("first_name"),
        "surname": data.get("last_name"),
        "phone": data.get("phone"),
        "email": data.get("email"),
    }
    for field, name in settings.properties.items():
        told[field] = kept.get(name) or told.get(field)
    fields: dict[str, Any] = {
        field: value for field, value in told.items() if isinstance(value, str) and value
    }
    fields["phone"] = _phone(fields.get("phone"), region) or phone
    if "birth_date" in fields:
        fields["birth_date"] = _day(fields["birth_date"])
    if "sex" in fields:
        fields["sex"] = _sex(fields["sex"])
    identifier = str(data["identifier"])
    return Customer(
        customer_id=identifier,
        profile=Profile(**fields),
        card_number=identifier if settings.identifier == "membership" else card_kept(settings, kept),
        registered_at=moment(data.get("joined_at"), zone),
    )


def _phone(text: str | None, region: str) -> str | None:
    """In E.164; what is no phone counts as none."""
    try:
        return inputs.read_crm_phone(text, region)
    except inputs.UnreadablePhone:
        return None


def _sex(text: str) -> Sex | None:
    try:
        return inputs.sex_of(text)
    except ValueError:
        return None


def _day(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None
