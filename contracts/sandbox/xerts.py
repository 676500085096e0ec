"""Stand-in for Xerts: members, vendors, sites, offers, devices, coupons, reports.

What it does is in ``contracts/crm/xerts.yaml``. A coupon is redeemed once, afterwards its code is answered
with 404; asking again for a site's coupons issues them again. Errors carry a ``stack``, as such servers
send it, so that a client can be seen not to pass it on. Where the reference contradicts itself, a switch
chooses; where it is silent, this does as a LoopBack with its models does. It may not know any client.

Effects: ``member_created``, ``vendor_created``, ``site_created``, ``site_admin_set``, ``offer_created``,
``offer_assigned``, ``device_created``, ``coupon_issued``, ``coupon_activated``, ``coupon_redeemed``. The
customer is the device's id, the reference is the redeem code or the id of what was made.
"""

from __future__ import annotations

import json
import random
import string
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Literal, NoReturn

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from contracts.crm import Operation
from contracts.sandbox.server import (
    Call,
    Found,
    Handler,
    Refused,
    Reply,
    Server,
    StandIn,
    Switches,
    now,
    stamp,
    to_json,
)


def _fixed(what: str) -> str:
    """An id that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"xerts-sandbox:{what}"))


API_KEY = "xerts-sandbox-key"
EMAIL = "owner@example.org"
PASSWORD = "xerts-sandbox-password"  # noqa: S105 - made up, opens nothing but this server
MEMBER_ID = _fixed("member")
VENDOR_ID = _fixed("vendor")
SITE_ID = _fixed("site 1")
"""A site with two offers."""
OTHER_SITE_ID = _fixed("site 2")
"""A site with one offer."""
DEVICE_ID = _fixed("device")
"""A device that holds coupons from the start."""
REDEEMED_CODE, OPEN_CODE = "RD111", "OP222"
"""Codes of two of that device's coupons, issued at ``SITE_ID``."""

_STARTED = now()
_SESSION_SECONDS = 1_209_600
_CODE_LETTERS = string.ascii_uppercase + string.digits
_STACK = (
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
    session_seconds: int = Field(default=_SESSION_SECONDS, ge=1)
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


class Xerts(StandIn):
    """The stand-in's data and operations."""

    name: ClassVar[str] = "xerts"
    title: ClassVar[str] = "Xerts (coupons)"
    invalid_status: ClassVar[int] = 422
    credentials: ClassVar[Mapping[str, str]] = {
        "API-Key": API_KEY,
        "member e-mail": EMAIL,
        "member password": PASSWORD,
        "member": MEMBER_ID,
        "vendor": VENDOR_ID,
        "sites": f"{SITE_ID}, {OTHER_SITE_ID}",
        "device": DEVICE_ID,
        "open code": OPEN_CODE,
    }
    switches: XertsSwitches

    def operations(self) -> Mapping[str, Handler]:
        return {
            "serverStatus": self.server_status,
            "createCoupons": self.create_coupons,
            "listDeviceCoupons": self.list_device_coupons,
            "activateCoupon": self.activate_coupon,
            "redeemCoupon": self.redeem_coupon,
            "listSiteCoupons": self.list_site_coupons,
            "createDevice": self.create_device,
            "checkDevice": self.check_device,
            "checkSite": self.check_site,
            "createMember": self.create_member,
            "login": self.login,
            "createVendor": self.create_vendor,
            "createSite": self.create_site,
            "setSiteAdmin": self.set_site_admin,
            "createOffer": self.create_offer,
            "assignOffer": self.assign_offer,
            "reportVendor": self.report_vendor,
            "reportSite": self.report_site,
        }

    def populate(self) -> None:
        self._random = random.Random(2016)  # noqa: S311 - codes that are the same in every run, no secret
        self._made = 0
        self._passwords = {MEMBER_ID: PASSWORD}
        self.members: dict[str, Record] = {
            MEMBER_ID: {
                "id": MEMBER_ID,
                "email": EMAIL,
                "username": "owner",
                "firstName": "Olga",
                "lastName": "Owner",
                "status": "active",
                "appProvider": False,
                "vendorOwner": True,
                "siteOwner": True,
            }
        }
        self.vendors: dict[str, Record] = {
            VENDOR_ID: {
                "id": VENDOR_ID,
                "vendorName": "Sandbox Bakery",
                "headOfficeAddress1": "1 Flour Street",
                "headOfficeZipcode": "101000",
                "headOfficeCity": "Moscow",
                "headOfficeCountry": "Russia",
                "description": "Bread and pastries",
                "ownerId": MEMBER_ID,
            }
        }
        self.sites: dict[str, Record] = {
            key: {
                "id": key,
                "title": title,
                "address": address,
                "gps": {"lat": lat, "lng": lng},
                "vendorId": VENDOR_ID,
                "adminId": MEMBER_ID,
            }
            for key, title, address, lat, lng in (
                (SITE_ID, "Bakery at the station", "3 Station Square", 55.7766, 37.6555),
                (OTHER_SITE_ID, "Bakery in the park", "8 Park Lane", 55.7298, 37.6011),
            )
        }
        self.devices: dict[str, Record] = {
            DEVICE_ID: {"id": DEVICE_ID, "deviceModel": "iPhone 6s", "deviceOs": "iOS 9.3"}
        }
        self.offers: dict[str, Record] = {}
        self.site_offers: list[SiteOffer] = []
        self.coupons: list[Coupon] = []
        tomorrow = stamp(now() + timedelta(days=1))
        place = {"lat": 55.7766, "lng": 37.6555}
        near = {"id": "near", "triggerLocation": place, self.switches.trigger_radius: 300}
        starting: tuple[tuple[str, str, int | None, list[Record]], ...] = (
            (SITE_ID, "Second bun free", 14, []),
            (SITE_ID, "Morning coffee for half", None, [{"id": "tomorrow", "triggerOn": tomorrow}]),
            (OTHER_SITE_ID, "Pie of the day", 7, [near, {"id": "later", "timeAfterTrigger": 120}]),
        )
        for n, (site, title, days, triggers) in enumerate(starting, 1):
            self._start_offer(n, site, title, days, triggers)
        redeemed, opened = self._issue(DEVICE_ID, SITE_ID)
        redeemed.code, redeemed.redeemed = REDEEMED_CODE, now()
        opened.code = OPEN_CODE

    def _start_offer(self, n: int, site: str, title: str, days: int | None, triggers: list[Record]) -> None:
        offer = _fixed(f"offer {n}")
        self.offers[offer] = {
            "id": offer,
            "title": title,
            "description": f"{title}, while stocks last",
            "styleBorderColor": "green",
            "styleBackgroundColor": "white",
            "featureImage": f"https://example.org/offers/{n}.png",
            "url": None,
            "vendorId": VENDOR_ID,
        }
        fields: dict[str, Any] = {
            "instanceCost": 0.12,
            "instanceLimit": 1000,
            "instanceIssues": 0,
            "totalCost": 120,
            "instanceExpiresOn": (now().date() + timedelta(days=30)).isoformat(),
            "triggers": triggers,
        }
        if days is not None:
            fields["couponExpiresAfterDays"] = days
        self.site_offers.append(SiteOffer(_fixed(f"site offer {n}"), offer, site, fields))

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a device with the fields of ``NewDevice``."""
        wanted = NewDevice.model_validate(values)
        unknown = [site for site in wanted.coupons_at if site not in self.sites]
        if unknown:
            raise ValueError(f"coupons_at: no site {unknown[0]}; there are: {', '.join(self.sites)}")
        device = {"id": wanted.id, "deviceModel": wanted.device_model, "deviceOs": wanted.device_os}
        self.devices[wanted.id] = device
        for site in wanted.coupons_at:
            self._issue(wanted.id, site)
        return device

    # Credentials and errors

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        (wanted,) = operation.security
        key = headers.get("API-Key")
        if key is None:
            raise Refused(self.unauthorized(), invalid="no API-Key header")
        if key != API_KEY:
            raise Refused(self.unauthorized())
        if "session" in wanted:
            self._member(headers)

    def _member(self, headers: Mapping[str, str]) -> str:
        """Id of the member who is logged in."""
        name = self.switches.token_header
        text = headers.get(name)
        if text is None:
            raise Refused(self.unauthorized(), invalid=f"no {name} header")
        if " " in text.strip():
            raise Refused(self.unauthorized(), invalid=f"{name} holds more than the token")
        token = self.tokens.find(text.strip())
        if token is None:
            raise Refused(self.unauthorized())
        return token.subject

    def unauthorized(self) -> Reply:
        return self._error(401, "Error", "Authorization Required", code="AUTHORIZATION_REQUIRED")

    def failure(self, status: int, reason: str) -> Reply:
        if status != 422:
            return self._error(status, "Error", reason)
        details = {"codes": {"body": ["invalid"]}, "messages": {"body": [reason]}}
        return self._error(422, "ValidationError", reason, details=details)

    @staticmethod
    def _error(status: int, name: str, message: str, **more: Any) -> Reply:
        error = {"name": name, "status": status, "message": message, "statusCode": status, **more}
        return Reply({"error": {**error, "stack": _STACK.format(message=message)}}, status)

    def _there(self, found: Found | None, what: str) -> Found:
        if found is None:
            self.refuse(404, f"{what} was not found")
        return found

    # Coupons

    def server_status(self, _call: Call) -> Reply:
        return Reply({"started": stamp(_STARTED), "uptime": (now() - _STARTED).total_seconds()})

    def create_coupons(self, call: Call) -> Reply:
        site, device = call.path["siteId"], call.path["deviceId"]
        if not any(site_offer.site == site for site_offer in self.site_offers):
            self.refuse(404, "Didnt return anything.")
        if device not in self.devices:
            self.devices[device] = {"id": device, "deviceModel": None, "deviceOs": None}
            self.record(call, "device_created", customer=device, reference=device)
        issued = self._issue(device, site)
        for coupon in issued:
            self.record(call, "coupon_issued", customer=device, reference=coupon.code)
        return self._coupons(issued)

    def list_device_coupons(self, call: Call) -> Reply:
        site, device = call.path["siteId"], call.path["deviceId"]
        return self._coupons(
            coupon
            for coupon in self.coupons
            if coupon.device == device and site in ("all", coupon.site_offer.site)
        )

    def activate_coupon(self, call: Call) -> Reply:
        coupon = self._open_coupon(call)
        if not coupon.activated:
            coupon.activated, coupon.updated = True, now()
            self.record(call, "coupon_activated", customer=coupon.device, reference=coupon.code)
        return Reply({"results": self._bare(coupon)})

    def redeem_coupon(self, call: Call) -> Reply:
        coupon = self._open_coupon(call)
        if coupon.device != call.path["deviceId"]:
            self._no_coupon()
        coupon.redeemed = coupon.updated = now()
        self.record(call, "coupon_redeemed", customer=coupon.device, reference=coupon.code)
        return Reply({"results": self._bare(coupon)})

    def list_site_coupons(self, call: Call) -> Reply:
        return self._coupons(coupon for coupon in self.coupons if coupon.site_offer.site == call.path["id"])

    def _open_coupon(self, call: Call) -> Coupon:
        """The coupon with the code in the path, which can be redeemed at the site in the path."""
        for coupon in self.coupons:
            if (
                coupon.code == call.path["code"].upper()
                and coupon.site_offer.site == call.path["siteId"]
                and coupon.redeemed is None
                and (coupon.expires is None or coupon.expires > now())
            ):
                return coupon
        self._no_coupon()

    def _no_coupon(self) -> NoReturn:
        self.refuse(404, "Coupon not found honey. Check if it's already been redeemed.")

    def _issue(self, device: str, site: str) -> list[Coupon]:
        """Coupons for every offer that the site may still issue."""
        issued = []
        for site_offer in self.site_offers:
            ends = _moment(site_offer.fields.get("instanceExpiresOn"))
            if (
                site_offer.site != site
                or site_offer.fields["instanceIssues"] >= site_offer.fields["instanceLimit"]
                or (ends is not None and ends <= now())
                or (not self.switches.issue_again and self._holds(device, site_offer))
            ):
                continue
            days = site_offer.fields.get("couponExpiresAfterDays")
            until = [
                moment for moment in (ends, now() + timedelta(days=float(days)) if days else None) if moment
            ]
            self._made += 1
            coupon = Coupon(
                number=self._made,
                code="".join(self._random.choices(_CODE_LETTERS, k=5)),
                device=device,
                site_offer=site_offer,
                created=now(),
                updated=now(),
                expires=min(until, default=None),
            )
            site_offer.fields["instanceIssues"] += 1
            self.coupons.append(coupon)
            issued.append(coupon)
        return issued

    def _holds(self, device: str, site_offer: SiteOffer) -> bool:
        return any(
            coupon.device == device and coupon.site_offer is site_offer and coupon.redeemed is None
            for coupon in self.coupons
        )

    def _coupons(self, coupons: Iterable[Coupon]) -> Reply:
        return Reply({"results": [self._coupon(coupon) for coupon in coupons]})

    def _coupon(self, coupon: Coupon) -> Record:
        """A coupon as lists have it, with what it is made of."""
        site = self.sites.get(coupon.site_offer.site)
        return {
            **self._bare(coupon),
            "offer": self.offers[coupon.site_offer.offer],
            **({"redemptionSite": self._site(site)} if site else {}),
            "triggers": coupon.site_offer.fields.get("triggers", []),
        }

    def _bare(self, coupon: Coupon) -> Record:
        """A coupon as it is answered to whoever uses it."""
        integer = self.switches.coupon_ids == "integer"
        record: Record = {
            "id": coupon.number if integer else _fixed(f"coupon {coupon.number}"),
            "redeemCode": coupon.code,
            "deviceId": coupon.device,
            "createdOn": stamp(coupon.created),
            "updatedOn": stamp(coupon.updated),
            "siteOfferId": coupon.site_offer.id,
        }
        if coupon.expires is not None:
            record["expiresOn"] = stamp(coupon.expires)
        if coupon.redeemed is not None:
            record["redeemedOn"] = stamp(coupon.redeemed)
        return record

    # Devices

    def create_device(self, call: Call) -> Reply:
        device = {key: call.body.get(key) for key in ("id", "deviceModel", "deviceOs")}
        if device["id"] in self.devices:
            self.refuse(int(self.switches.taken_id), "Duplicate entry for Device.id")
        self.devices[device["id"]] = device
        self.record(call, "device_created", customer=device["id"], reference=device["id"])
        return Reply(device)

    def check_device(self, call: Call) -> Reply:
        return Reply({"exists": call.path["id"] in self.devices})

    def check_site(self, call: Call) -> Reply:
        return Reply({"exists": call.path["id"] in self.sites})

    # Management

    def create_member(self, call: Call) -> Reply:
        if any(member["email"].lower() == call.body["email"].lower() for member in self.members.values()):
            self.refuse(422, "The `Member` instance is not valid. Details: `email` is not unique")
        member = self._new(call, "member_created", {k: v for k, v in call.body.items() if k != "password"})
        self.members[member["id"]] = member
        self._passwords[member["id"]] = call.body["password"]
        return Reply(member)

    def login(self, call: Call) -> Reply:
        for member in self.members.values():
            if member["email"].lower() == call.body["email"].lower():
                if self._passwords[member["id"]] != call.body["password"]:
                    break
                seconds = self.switches.session_seconds
                self.ledger.tokens_issued["session"] += 1
                token = self.tokens.issue("session", member["id"], seconds)
                return Reply({"id": token, "ttl": seconds, "created": stamp(now()), "userId": member["id"]})
        raise Refused(self._error(401, "Error", "login failed", code="LOGIN_FAILED"))

    def create_vendor(self, call: Call) -> Reply:
        owner = self._there(self.members.get(call.path["id"]), "Member")["id"]
        if self._member(call.headers) != owner:
            raise Refused(self.unauthorized())
        vendor = self._new(call, "vendor_created", {**call.body, "ownerId": owner})
        self.vendors[vendor["id"]] = vendor
        return Reply(vendor)

    def create_site(self, call: Call) -> Reply:
        vendor = self._there(self.vendors.get(call.path["id"]), "Vendor")["id"]
        site = self._new(
            call, "site_created", {"address": None, "gps": None, **call.body, "vendorId": vendor}
        )
        self.sites[site["id"]] = site
        return Reply(self._site(site))

    def set_site_admin(self, call: Call) -> Reply:
        site = self._there(self.sites.get(call.path["id"]), "Site")
        self._owned(call, site["vendorId"])
        admin = self._there(self.members.get(call.body["adminId"]), "Member")["id"]
        if site.get("adminId") != admin:
            site["adminId"] = admin
            self.record(call, "site_admin_set", reference=site["id"])
        return Reply({"results": self._site(site)})

    def create_offer(self, call: Call) -> Reply:
        vendor = self._owned(call, call.path["id"])
        offer = self._new(call, "offer_created", {"url": None, **call.body, "vendorId": vendor})
        self.offers[offer["id"]] = offer
        return Reply(offer)

    def assign_offer(self, call: Call) -> Reply:
        offer = self._there(self.offers.get(call.path["id"]), "Offer")
        site = call.path["siteId"]
        self._owned(call, offer["vendorId"])
        if call.body.get("instanceExpiresOn") is not None and _moment(call.body["instanceExpiresOn"]) is None:
            self.refuse(422, "The `SiteOffer` instance is not valid. Details: `instanceExpiresOn` is no date")
        for site_offer in self.site_offers:
            if (site_offer.offer, site_offer.site) == (offer["id"], site):
                return Reply(site_offer.as_json())
        site_offer = SiteOffer(self._next_id(), offer["id"], site, {"triggers": [], **call.body})
        self.site_offers.append(site_offer)
        self.record(call, "offer_assigned", reference=site_offer.id)
        return Reply(site_offer.as_json())

    def _owned(self, call: Call, vendor_id: str) -> str:
        """Id of a vendor, which must be the logged-in member's."""
        vendor = self._there(self.vendors.get(vendor_id), "Vendor")
        if vendor["ownerId"] != self._member(call.headers):
            raise Refused(self.unauthorized())
        return vendor_id

    def _new(self, call: Call, kind: str, fields: Mapping[str, Any]) -> Record:
        record = {**fields, "id": self._next_id()}
        self.record(call, kind, reference=record["id"])
        return record

    def _next_id(self) -> str:
        self._made += 1
        return _fixed(f"made {self._made}")

    def _site(self, site: Record) -> Record:
        gps = site.get("gps")
        if gps is None:
            return site
        lng = gps.get("lng", gps.get("long"))
        kind: Callable[[Any], Any] = str if self.switches.gps == "string" else float
        return {**site, "gps": {"lat": kind(gps["lat"]), "lng": kind(lng)}}

    # Reports

    def report_vendor(self, call: Call) -> Reply:
        vendor = self._owned(call, call.path["id"])
        parts = {key: site["title"] for key, site in self.sites.items() if site["vendorId"] == vendor}
        return self._report(call, "sites", parts, lambda site_offer: site_offer.site)

    def report_site(self, call: Call) -> Reply:
        site = self._there(self.sites.get(call.path["id"]), "Site")
        self._owned(call, site["vendorId"])
        parts = {key: vendor["vendorName"] for key, vendor in self.vendors.items() if key == site["vendorId"]}
        here = site["id"]
        return self._report(
            call, "vendors", parts, lambda site_offer: site["vendorId"] if site_offer.site == here else ""
        )

    def _report(
        self, call: Call, name: str, parts: Mapping[str, str], part_of: Callable[[SiteOffer], str]
    ) -> Reply:
        """A report on the coupons of a period, a row for each part."""
        first = self._day(call.query["from"])
        last = self._day(call.query["to"]) if call.query["to"] else now().date()
        rows: list[Record] = []
        for key, label in parts.items():
            coupons = [coupon for coupon in self.coupons if part_of(coupon.site_offer) == key]
            rows.append(
                {
                    "id": key,
                    "label": label,
                    "activeOffers": sum(part_of(site_offer) == key for site_offer in self.site_offers),
                    "couponsIssued": sum(first <= coupon.created.date() <= last for coupon in coupons),
                    "couponsRedeemed": sum(
                        coupon.redeemed is not None and first <= coupon.redeemed.date() <= last
                        for coupon in coupons
                    ),
                }
            )
        head = {
            "totalCouponsIssued": sum(row["couponsIssued"] for row in rows),
            "totalCouponsRedeemed": sum(row["couponsRedeemed"] for row in rows),
        }
        tail = {"from": f"{first:%d-%m-%Y}", "to": f"{last:%d-%m-%Y}"}
        match self.switches.reports:
            case "list":
                return Reply({**head, name: rows, **tail})
            case "map":
                return Reply({**head, name: {row["id"]: row for row in rows}, **tail})
            case _:
                inner = ", ".join(f"{json.dumps(row['id'])} : {to_json(row)}" for row in rows)
                return Reply(f'{to_json(head)[:-1]}, "{name}": [{inner}], {to_json(tail)[1:]}')

    def _day(self, text: str) -> date:
        try:
            return datetime.strptime(text, "%d-%m-%Y").replace(tzinfo=UTC).date()
        except ValueError:
            self.refuse(422, f"{text} is not a day as dd-mm-yyyy")


def _moment(text: str | None) -> datetime | None:
    """A day or a moment as text; ``None`` for neither. A day means its beginning in UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def application(**switches: Any) -> web.Application:
    """The server; ``switches`` are those of ``XertsSwitches``, a wrong one raises ``ValueError``."""
    return Server(Xerts(XertsSwitches(**switches))).application()
