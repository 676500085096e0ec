"""Calls of Xerts about coupons and devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from contracts.sandbox.server import Call, Reply, now, stamp
from contracts.sandbox.xerts.keeping import Keeping
from contracts.sandbox.xerts.records import STARTED, Coupon, Record, fixed


class Coupons(Keeping):
    """Issued for a device at a site, activated, redeemed."""

    def server_status(self, _call: Call) -> Reply:
        return Reply({"started": stamp(STARTED), "uptime": (now() - STARTED).total_seconds()})

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
            "id": coupon.number if integer else fixed(f"coupon {coupon.number}"),
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
