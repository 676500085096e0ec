"""What the stand-in for Xerts has from the start, and what a test may add."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from contracts.sandbox.server import now, stamp
from contracts.sandbox.xerts.keeping import Keeping
from contracts.sandbox.xerts.records import (
    DEVICE_ID,
    EMAIL,
    MEMBER_ID,
    OPEN_CODE,
    OTHER_SITE_ID,
    PASSWORD,
    REDEEMED_CODE,
    SITE_ID,
    VENDOR_ID,
    NewDevice,
    Record,
    SiteOffer,
    fixed,
)


class Start(Keeping):
    """One member, a bakery of theirs with two sites, offers at both, a device with coupons."""

    def populate(self) -> None:
        self._random = random.Random(2016)  # noqa: S311 - codes that are the same in every run, no secret
        self._made = 0
        self._passwords = {MEMBER_ID: PASSWORD}
        self.members = {
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
        self.vendors = {
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
        self.sites = {
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
        self.devices = {DEVICE_ID: {"id": DEVICE_ID, "deviceModel": "iPhone 6s", "deviceOs": "iOS 9.3"}}
        self.offers = {}
        self.site_offers = []
        self.coupons = []
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
