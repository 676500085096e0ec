"""The Xerts driver's run of the conformance kit, over a relay to the sandbox."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from contracts.sandbox import Sandbox, running, xerts
from contracts.sandbox.xerts import Coupon, SiteOffer, Xerts
from crm_backends.conformance import BaseCoupons, BaseGeneral, Relay, RelayedRig, context
from crm_backends.model import Holder, Profile
from crm_backends.ports import Refusal
from crm_backends.xerts import BACKEND, XertsBackend, XertsSettings

WRONG_KEY = "planted-wrong-key"
OPERATIONS = {"coupons.issue": "createCoupons", "coupons.redeem": "redeemCoupon"}
ASKS_NOBODY: Mapping[str, str] = {
    "C3": "a card is a device of its own, made with its first coupons; Xerts has nobody to ask about"
}
EFFECTS = {"coupon_issued": "coupons.issue", "coupon_redeemed": "coupons.redeem"}

_numbers = itertools.count(1)


def a_driver(port: int, key: str, email: str, password: str, site: str, visit_site: str) -> XertsBackend:
    """The driver before a relay on this port of 127.0.0.1."""
    settings = XertsSettings(
        base_url=f"http://127.0.0.1:{port}",
        api_key=SecretStr(key),
        email=email,
        password=SecretStr(password),
        site=site,
        occasions={"visit": visit_site},
        any_occasion=False,
        breaker_pause=0.2,
    )
    return XertsBackend(settings, context())


def new_holder(profile: Profile) -> Holder:
    """Somebody; Xerts itself keeps no people."""
    number = next(_numbers)
    return Holder(card_number=f"29{number:011d}", users_reference=str(number), profile=profile)


class XertsRig(RelayedRig):
    """The sandbox, filled and read behind the driver's back."""

    spec = BACKEND
    secrets = (xerts.API_KEY, WRONG_KEY, xerts.EMAIL, xerts.PASSWORD)
    nobody = "00000000-0000-4000-8000-000000000000"

    def __init__(self, relay: Relay, sandbox: Sandbox) -> None:
        super().__init__(relay)
        self.sandbox = sandbox
        assert isinstance(sandbox.stand_in, Xerts)
        self.crm = sandbox.stand_in

    def build(self, *, credentials: bool = True) -> XertsBackend:
        key = xerts.API_KEY if credentials else WRONG_KEY
        port, sites = self.relay.port, (xerts.SITE_ID, xerts.OTHER_SITE_ID)
        return a_driver(port, key, xerts.EMAIL, xerts.PASSWORD, *sites)

    async def new_customer(self, profile: Profile) -> Holder:
        return new_holder(profile)

    async def ledger(self) -> Counter[str]:
        """What is no operation of the port goes by its own name, so that nothing is made in silence."""
        return Counter(EFFECTS.get(effect.kind, effect.kind) for effect in self.sandbox.ledger().effects)

    async def lose_request(self, operation: str) -> None:
        self.sandbox.fault("hang_up_before", OPERATIONS[operation])

    async def lose_reply(self, operation: str) -> None:
        self.sandbox.fault("hang_up_after", OPERATIONS[operation])

    async def offer(self, account: str) -> str:
        coupon = self._coupon(account)
        return str(self.crm.offers[coupon.site_offer.offer]["title"])

    async def occasion(self) -> str:
        return "visit"

    async def code(self, account: str) -> str:
        return self._coupon(account).code

    async def refused_codes(self, account: str) -> Mapping[str, Refusal]:
        expired = self._coupon(account)
        expired.expires = datetime.now(UTC) - timedelta(days=1)
        return {expired.code: Refusal.CODE_EXPIRED}

    def _coupon(self, device: str) -> Coupon:
        """A coupon of a new offer at a new site."""
        site, offer = str(uuid.uuid4()), str(uuid.uuid4())
        self.crm.sites[site] = {"id": site, "title": "Pop-up", "vendorId": xerts.VENDOR_ID}
        self.crm.offers[offer] = {
            "id": offer,
            "title": f"Offer {offer}",
            "description": "",
            "vendorId": xerts.VENDOR_ID,
        }
        fields = {"instanceLimit": 1, "instanceIssues": 0}
        self.crm.site_offers.append(SiteOffer(str(uuid.uuid4()), offer, site, fields))
        self.sandbox.add_customer(id=device, coupons_at=[site])
        return self.crm.coupons[-1]


@pytest.fixture
async def rig() -> AsyncIterator[XertsRig]:
    async with running("xerts") as sandbox:
        port = urlsplit(sandbox.base_url).port or 0
        async with Relay.to("127.0.0.1", port) as relay:
            yield XertsRig(relay, sandbox)


class TestGeneral(BaseGeneral):
    pass


class TestCoupons(BaseCoupons):
    divergences = ASKS_NOBODY
