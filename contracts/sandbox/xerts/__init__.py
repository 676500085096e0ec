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

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.server import Handler
from contracts.sandbox.xerts.coupons import Coupons
from contracts.sandbox.xerts.management import Management
from contracts.sandbox.xerts.records import (
    API_KEY,
    DEVICE_ID,
    EMAIL,
    MEMBER_ID,
    OPEN_CODE,
    OTHER_SITE_ID,
    PASSWORD,
    REDEEMED_CODE,
    SITE_ID,
    VENDOR_ID,
    Coupon,
    SiteOffer,
    XertsSwitches,
)
from contracts.sandbox.xerts.reports import Reports
from contracts.sandbox.xerts.start import Start

__all__ = [
    "API_KEY",
    "DEVICE_ID",
    "EMAIL",
    "MEMBER_ID",
    "OPEN_CODE",
    "OTHER_SITE_ID",
    "PASSWORD",
    "REDEEMED_CODE",
    "SITE_ID",
    "VENDOR_ID",
    "Coupon",
    "SiteOffer",
    "Xerts",
    "XertsSwitches",
    "application",
]


class Xerts(Coupons, Management, Reports, Start):
    """The stand-in's data and operations."""

    name: ClassVar[str] = "xerts"
    title: ClassVar[str] = "Xerts (coupons)"
    takes: ClassVar[type[XertsSwitches]] = XertsSwitches
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


application = Xerts.application
