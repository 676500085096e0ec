"""What the stand-in for Xerts has at the start, who may call it, and how a thing is found or refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from contracts.crm import Operation
from contracts.sandbox.server import (
    Call,
    Found,
    Refused,
    Reply,
    StandIn,
    now,
    stamp,
)
from contracts.sandbox.xerts.records import (
    API_KEY,
    CODE_LETTERS,
    DEVICE_ID,
    EMAIL,
    MEMBER_ID,
    OPEN_CODE,
    OTHER_SITE_ID,
    PASSWORD,
    REDEEMED_CODE,
    SITE_ID,
    STACK,
    VENDOR_ID,
    Coupon,
    NewDevice,
    Record,
    SiteOffer,
    XertsSwitches,
    fixed,
    moment,
)


class Keeping(StandIn):
    """Base of the stand-in: its data, without a call."""

    switches: XertsSwitches

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
        offer = fixed(f"offer {n}")
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
        self.site_offers.append(SiteOffer(fixed(f"site offer {n}"), offer, site, fields))

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
        return Reply({"error": {**error, "stack": STACK.format(message=message)}}, status)

    def _there(self, found: Found | None, what: str) -> Found:
        if found is None:
            self.refuse(404, f"{what} was not found")
        return found

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
        return fixed(f"made {self._made}")

    def _site(self, site: Record) -> Record:
        gps = site.get("gps")
        if gps is None:
            return site
        lng = gps.get("lng", gps.get("long"))
        kind: Callable[[Any], Any] = str if self.switches.gps == "string" else float
        return {**site, "gps": {"lat": kind(gps["lat"]), "lng": kind(lng)}}

    def _issue(self, device: str, site: str) -> list[Coupon]:
        """Coupons for every offer that the site may still issue."""
        issued = []
        for site_offer in self.site_offers:
            ends = moment(site_offer.fields.get("instanceExpiresOn"))
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
                code="".join(self._random.choices(CODE_LETTERS, k=5)),
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
