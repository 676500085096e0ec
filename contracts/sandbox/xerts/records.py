"""What the stand-in for Xerts keeps, what is there at the start, and its switches."""

from __future__ import annotations

import string
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.sandbox.server import Switches, now


def fixed(what: str) -> str:
    """An id that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"xerts-sandbox:{what}"))


API_KEY = "xerts-sandbox-key"
EMAIL = "owner@example.org"
PASSWORD = "xerts-sandbox-password"  # noqa: S105 - made up, opens nothing but this server
MEMBER_ID = fixed("member")
VENDOR_ID = fixed("vendor")
SITE_ID = fixed("site 1")
"""A site with two offers."""
OTHER_SITE_ID = fixed("site 2")
"""A site with one offer."""
DEVICE_ID = fixed("device")
"""A device that holds coupons from the start."""
REDEEMED_CODE, OPEN_CODE = "RD111", "OP222"
"""Codes of two of that device's coupons, issued at ``SITE_ID``."""

STARTED = now()
SESSION_SECONDS = 1_209_600
CODE_LETTERS = string.ascii_uppercase + string.digits
STACK = (
    "Error: {message}\n"
    "    at /srv/xerts/node_modules/loopback/lib/application.js:331:19\n"
    "    at /srv/xerts/server/boot/routes.js:42:7"
)


class XertsSwitches(Switches):
    """The contradictions of the reference, and what is not known."""

    coupon_paths: Literal["sites", "site", "site_devices"] = "sites"
    """/coupons/sites/S/devices/D, /coupons/site/S/device/D, or /coupons/site/S/devices/D."""
    device_paths: Literal["devices", "device"] = "devices"
    device_check: Literal["exists", "GET", "POST"] = "exists"
    """GET /devices/D/exists as a LoopBack has it, GET /devices/D, or POST /devices/D as the reference."""
    site_admin_method: Literal["PUT", "POST"] = "PUT"
    site_coupons_method: Literal["GET", "POST"] = "GET"
    vendor_offers_path: Literal["vendors", "vendor"] = "vendors"
    token_header: Literal["Authorization", "Authentication"] = "Authorization"  # noqa: S105 - a name
    coupon_ids: Literal["uuid", "integer"] = "uuid"
    taken_id: Literal["500", "409", "422"] = "500"
    """The answer to a new device whose id is taken; a LoopBack gives 500 or, from version 3 on, 409."""
    gps: Literal["number", "string"] = "number"
    reports: Literal["map", "list", "seed"] = "map"
    """Rows by id, a list of rows, or the text of the reference, which is not JSON."""
    trigger_radius: Literal["triggerLocationRadius", "triggerRadius"] = "triggerLocationRadius"
    session_seconds: int = Field(default=SESSION_SECONDS, ge=1)
    issue_again: bool = True
    """Whether a device that holds a site's open coupon is given another when asked for again."""


@dataclass
class SiteOffer:
    """An offer at a site."""

    id: str
    offer: str
    site: str
    fields: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, **self.fields, "offerId": self.offer, "siteId": self.site}


@dataclass
class Coupon:
    """An offer that was issued to a device."""

    number: int
    code: str
    device: str
    site_offer: SiteOffer
    created: datetime
    updated: datetime
    expires: datetime | None
    redeemed: datetime | None = None
    activated: bool = False


class NewDevice(BaseModel):
    """What ``add_customer`` takes: here a customer is a device."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1)
    device_model: str | None = None
    device_os: str | None = None
    coupons_at: list[str] = Field(default_factory=list)
    """Sites whose offers the device holds as coupons."""


Record = dict[str, Any]


def moment(text: str | None) -> datetime | None:
    """A day or a moment as text; ``None`` for neither. A day means its beginning in UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
