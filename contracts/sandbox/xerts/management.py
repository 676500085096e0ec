"""Calls of Xerts for members: vendors, sites, offers."""

from __future__ import annotations

from contracts.sandbox.server import Call, Refused, Reply, now, stamp
from contracts.sandbox.xerts.keeping import Keeping
from contracts.sandbox.xerts.records import SiteOffer, moment


class Management(Keeping):
    """Made and changed by whoever has logged in."""

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
                token = self.new_token("session", member["id"], seconds)
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
        if call.body.get("instanceExpiresOn") is not None and moment(call.body["instanceExpiresOn"]) is None:
            self.refuse(422, "The `SiteOffer` instance is not valid. Details: `instanceExpiresOn` is no date")
        for site_offer in self.site_offers:
            if (site_offer.offer, site_offer.site) == (offer["id"], site):
                return Reply(site_offer.as_json())
        site_offer = SiteOffer(self._next_id(), offer["id"], site, {"triggers": [], **call.body})
        self.site_offers.append(site_offer)
        self.record(call, "offer_assigned", reference=site_offer.id)
        return Reply(site_offer.as_json())
