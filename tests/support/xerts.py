"""What tests of the Xerts driver share: settings, a coupon in the vendor's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from crm_backends.ports import (
    Deadline,
)
from crm_backends.xerts import XertsBackend, XertsSettings
from crm_backends.xerts.management import (
    Management,
)

BASE = "https://xerts.test"
KEY = "key-1"
ZONE = ZoneInfo("Europe/Moscow")
DEVICE = "cf570da0-456e-42b8-a3ac-fa6062e9a955"
SITE, OTHER = "site-1", "site-2"
CODE = "Y2BMA"

OFFER = {
    "id": "26ce1800-5844-11e6-8af5-9d711fe30147",
    "title": "Pie of the day",
    "description": "While stocks last",
    "styleBorderColor": "green",
    "styleBackgroundColor": "magenta",
    "featureImage": "string",
    "url": None,
    "vendorId": "267a52b0-5844-11e6-8af5-9d711fe30147",
}
COUPON = {
    "id": "26db3760-5844-11e6-8af5-9d711fe30147",
    "redeemCode": CODE,
    "expiresOn": "2099-08-09T00:00:41.447Z",
    "deviceId": DEVICE,
    "createdOn": "2016-08-02T00:00:41.430Z",
    "updatedOn": "2016-08-02T01:28:08.073Z",
    "siteOfferId": "26d25dc0-5844-11e6-8af5-9d711fe30147",
    "offer": OFFER,
    "redemptionSite": {
        "id": OTHER,
        "title": "Bodeborough",
        "address": "62776 Kerluke Ville",
        "gps": {"lng": 102.2364, "lat": "-35.4664"},
        "adminId": "26a0c670-5844-11e6-8af5-9d711fe30147",
    },
    "triggers": [],
}
REDEEMED = {**COUPON, "redeemedOn": "2016-08-02T01:28:08.000Z"}
ERROR = {"error": {"status": 404, "message": "planted words", "stack": "planted stack"}}

Build = Callable[..., XertsBackend]
Manage = Callable[..., Management]


def settings(**changes: Any) -> XertsSettings:
    values: dict[str, Any] = {
        "base_url": BASE,
        "api_key": SecretStr(KEY),
        "site": SITE,
        "attempts": 1,
        "create_devices": "by_issue",
    }
    return XertsSettings(**{**values, **changes})


def soon() -> Deadline:
    return Deadline.after(5)


LIST = f"/api/coupons/sites/all/devices/{DEVICE}"
LOGIN = {"id": "token-1", "ttl": 1209600, "created": "2016-05-26T05:17:55.231Z", "userId": "member-1"}
SITE_S = "/api/sites/s/exists"
HEAD = {"totalCouponsIssued": 30, "totalCouponsRedeemed": 10, "from": "28-07-2016", "to": "14-08-2016"}
