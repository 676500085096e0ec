"""Stand-in for Pegke: points, in both dialects at once, over the same customers.

What it is believed to do is in ``contracts/crm/pegke.yaml``. Nothing carries a reference: points given twice
are given twice. It may not know any client.

Effects: ``points_credited``. The customer is the ten-digit phone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.pegke.merchant import Merchant
from contracts.sandbox.pegke.records import (
    CLIENT_ID,
    CLIENT_SECRET,
    CONSUMER_CODE,
    CONSUMER_SECRET,
    PAGE_SIZE,
    PegkeSwitches,
)
from contracts.sandbox.pegke.site import Site
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Handler

__all__ = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "CONSUMER_CODE",
    "CONSUMER_SECRET",
    "MERCHANT_PATH",
    "PAGE_SIZE",
    "SITE_PATH",
    "Pegke",
    "PegkeSwitches",
]

SITE_PATH = "/v1"
MERCHANT_PATH = "/apiv1/"


class Pegke(Site, Merchant):
    """Both dialects, which have the customers in common."""

    name: ClassVar[str] = "pegke"
    title: ClassVar[str] = "Pegke (points)"
    takes: ClassVar[type[PegkeSwitches]] = PegkeSwitches
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "site_v1_1 base": SITE_PATH,
        "client id": CLIENT_ID,
        "client secret": CLIENT_SECRET,
        "token endpoint": f"{SITE_PATH}/oauth2/token",
        "merchant_v1 base": MERCHANT_PATH,
        "bearer": f"{CONSUMER_CODE}.{CONSUMER_SECRET}",
        "customers": ", ".join(person.local_phone for person in PEOPLE),
    }

    def operations(self) -> Mapping[str, Handler]:
        return {
            "siteToken": self.site_token,
            "siteInvalidateToken": self.site_invalidate_token,
            "siteGivePoints": self.site_give_points,
            "siteFindUser": self.site_find_user,
            "siteUserHistory": self.site_user_history,
            "merchantGivePoints": self.merchant_give_points,
            "merchantCheckPoints": self.merchant_check_points,
            "merchantCheckHistory": self.merchant_check_history,
            "merchantMyOffers": self.merchant_my_offers,
        }


application = Pegke.application
