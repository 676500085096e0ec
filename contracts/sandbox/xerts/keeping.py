"""What the stand-in for Xerts keeps, who may call it, and how a thing is found, made or refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from contracts.crm import Operation
from contracts.sandbox.server import Call, Found, Refused, Reply, StandIn, now
from contracts.sandbox.xerts.records import (
    API_KEY,
    CODE_LETTERS,
    STACK,
    Coupon,
    Record,
    SiteOffer,
    XertsSwitches,
    fixed,
    moment,
)


class Keeping(StandIn):
    """Base of the stand-in: its data, without a call."""

    switches: XertsSwitches
    members: dict[str, Record]
    vendors: dict[str, Record]
    sites: dict[str, Record]
    devices: dict[str, Record]
    offers: dict[str, Record]
    site_offers: list[SiteOffer]
    coupons: list[Coupon]
    _passwords: dict[str, str]
    _made: int
    """How many things have been made since the start."""
    _random: random.Random
    """For codes that are the same in every run."""

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
