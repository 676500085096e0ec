"""What Xerts answers, as plain frozen data. It may not know how it was asked.

The vendor's own samples disagree: ids are UUIDs or integers, coordinates numbers or text, single models are
wrapped in ``results`` or not. All of that is read. What cannot be read raises ``Unreadable``, whose text
names fields only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from crm_backends.model import Offer


class Unreadable(ValueError):
    """The answer is not of the documented shape."""


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """Degrees."""

    lat: Decimal
    lng: Decimal


@dataclass(frozen=True, slots=True)
class XertsTrigger:
    """One condition that is to be met on the holder's device before a coupon is active.

    The server stores nothing about it, and nothing here evaluates it.
    """

    reference: str
    at: datetime | None = None
    after_minutes: Decimal | None = None
    """Minutes after the coupon was issued."""
    location: GeoPoint | None = None
    radius: Decimal | None = None
    """Metres around ``location``."""
    polygon: tuple[GeoPoint, ...] = ()
    fires_after: object = None
    """The trigger that has to fire first, as the server gives it."""
    minutes_after_trigger: Decimal | None = None
    """Minutes after the trigger before this one in the list."""
    raw: Mapping[str, object] = field(default_factory=dict, repr=False)
    """All that came, untouched."""


@dataclass(frozen=True, slots=True)
class XertsSite:
    reference: str
    title: str
    address: str | None = None
    gps: GeoPoint | None = None
    admin: str | None = None


@dataclass(frozen=True, slots=True)
class XertsOffer:
    reference: str
    title: str
    description: str = ""
    border_color: str | None = None
    background_color: str | None = None
    image_url: str | None = None
    url: str | None = None
    vendor: str | None = None


@dataclass(frozen=True, slots=True)
class XertsCoupon:
    """An offer that was issued to a device."""

    reference: str
    code: str
    device: str | None
    site_offer: str | None
    created_at: datetime | None
    expires_at: datetime | None
    """As the server gives it."""
    redeemed_at: datetime | None
    """Set when, and only when, the coupon has been redeemed."""
    offer: XertsOffer | None
    site: XertsSite | None
    triggers: tuple[XertsTrigger, ...]

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_open(self, now: datetime) -> bool:
        """Neither redeemed nor expired."""
        return self.redeemed_at is None and not self.is_expired(now)

    def has_code(self, code: str) -> bool:
        """Whether this is its code, in capitals or not."""
        return self.code.casefold() == code.casefold()

    def as_offer(self) -> Offer:
        """The coupon as the port shows it. Triggers have no place there."""
        offer = self.offer
        return Offer(
            offer_id=self.reference,
            title=(offer and offer.title) or self.code,
            description=offer.description if offer else "",
            code=self.code,
            valid_until=self.expires_at,
            image_url=offer.image_url if offer else None,
            url=offer.url if offer else None,
        )


# -- coupons -------------------------------------------------------------------------------------------


def coupons(body: object, zone: ZoneInfo) -> list[XertsCoupon]:
    """A list of coupons; times are given in ``zone``."""
    listed = unwrapped(body)
    if not isinstance(listed, list):
        raise Unreadable("no list of coupons")
    return [coupon(item, zone) for item in listed]


def coupon(body: object, zone: ZoneInfo) -> XertsCoupon:
    """One coupon."""
    fields = object_of(unwrapped(body), "a coupon")
    triggers = fields.get("triggers") or []
    if not isinstance(triggers, list):
        raise Unreadable("triggers is no list")
    return XertsCoupon(
        reference=identifier(fields, "id"),
        code=identifier(fields, "redeemCode"),
        device=_optional_id(fields.get("deviceId")),
        site_offer=_optional_id(fields.get("siteOfferId")),
        created_at=moment_of(fields, "createdOn", zone),
        expires_at=moment_of(fields, "expiresOn", zone),
        redeemed_at=moment_of(fields, "redeemedOn", zone),
        offer=_offer(fields["offer"]) if fields.get("offer") else None,
        site=_site(fields["redemptionSite"]) if fields.get("redemptionSite") else None,
        triggers=tuple(_trigger(item, zone) for item in triggers),
    )


def _offer(value: object) -> XertsOffer:
    fields = object_of(value, "offer")
    return XertsOffer(
        reference=identifier(fields, "id"),
        title=text_of(fields, "title") or "",
        description=text_of(fields, "description") or "",
        border_color=text_of(fields, "styleBorderColor"),
        background_color=text_of(fields, "styleBackgroundColor"),
        image_url=_link(fields, "featureImage"),
        url=_link(fields, "url"),
        vendor=_optional_id(fields.get("vendorId")),
    )


def _site(value: object) -> XertsSite:
    fields = object_of(value, "redemptionSite")
    return XertsSite(
        reference=identifier(fields, "id"),
        title=text_of(fields, "title") or "",
        address=text_of(fields, "address"),
        gps=_point(fields["gps"]) if fields.get("gps") else None,
        admin=_optional_id(fields.get("adminId")),
    )


def _trigger(value: object, zone: ZoneInfo) -> XertsTrigger:
    fields = object_of(value, "a trigger")
    polygon = fields.get("triggerLocationPoly") or []
    if not isinstance(polygon, list):
        raise Unreadable("triggerLocationPoly is no list")
    radius = "triggerLocationRadius" if "triggerLocationRadius" in fields else "triggerRadius"
    return XertsTrigger(
        reference=identifier(fields, "id"),
        at=moment_of(fields, "triggerOn", zone),
        after_minutes=number_of(fields, "triggerAfterMinutes"),
        location=_point(fields["triggerLocation"]) if fields.get("triggerLocation") else None,
        radius=number_of(fields, radius),
        polygon=tuple(_point(corner) for corner in polygon),
        fires_after=fields.get("firesAfter"),
        minutes_after_trigger=number_of(fields, "timeAfterTrigger"),
        raw=fields,
    )


# -- what is there ----------------------------------------------------------------------------------------


def existence(status: int, body: object, identifier: str) -> bool | None:
    """Whether the thing with this identifier exists; ``None``: the answer does not say.

    Asked in one of two ways, for ``{"exists": true}`` or for the thing itself.
    """
    fields = unwrapped(body)
    if status == 404:
        error = fields.get("error") if isinstance(fields, Mapping) else None
        unknown = isinstance(error, Mapping) and error.get("code") == "MODEL_NOT_FOUND"
        return False if unknown else None
    if not 200 <= status < 300 or not isinstance(fields, Mapping):
        return None
    known = fields.get("exists")
    if isinstance(known, bool):
        return known
    return True if _optional_id(fields.get("id")) == identifier else None


_ROUTE = re.compile(r"\b[A-Z]{3,7} /")


def lacks_call(status: int, body: object) -> bool:
    """Whether an answer says that there is no such call, not that there is no such site, device or coupon.

    A LoopBack says both with 404. What its router says names the method and the path, in any language; what
    a model says does not. A 404 that is no error of a LoopBack comes from something before it.
    """
    if status in (405, 406):
        return True
    if status != 404:
        return False
    error = body.get("error") if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    return not isinstance(message, str) or _ROUTE.search(message) is not None


# -- single values -------------------------------------------------------------------------------------


def unwrapped(body: object) -> object:
    """What is in ``results``, or the body itself."""
    return body["results"] if isinstance(body, Mapping) and "results" in body else body


def identifier(fields: Mapping[str, object], name: str) -> str:
    """An identifier, which may be a number."""
    found = _optional_id(fields.get(name))
    if found is None:
        raise Unreadable(f"{name} is missing")
    return found


def _optional_id(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def object_of(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is expected and not there")
    return value


def text_of(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _link(fields: Mapping[str, object], name: str) -> str | None:
    """A URL; the samples have the word "string" in its place."""
    text = text_of(fields, name)
    return text if text is not None and text.lower().startswith(("https://", "http://")) else None


def moment_of(fields: Mapping[str, object], name: str, zone: ZoneInfo) -> datetime | None:
    """A moment; without an offset it is UTC, as such servers keep time."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(zone)
    except (ValueError, OverflowError):
        raise Unreadable(f"{name} is no date") from None


def number_of(fields: Mapping[str, object], name: str) -> Decimal | None:
    """A number, which may be text."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise Unreadable(f"{name} is no number") from None
    if isinstance(value, bool) or not number.is_finite():
        raise Unreadable(f"{name} is no number")
    return number


def _point(value: object) -> GeoPoint:
    fields = object_of(value, "a place")
    lat = number_of(fields, "lat")
    lng = number_of(fields, "lng" if "lng" in fields else "long")
    if lat is None or lng is None:
        raise Unreadable("lat or lng is missing")
    return GeoPoint(lat, lng)
