"""Reports of Xerts about coupons."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from contracts.sandbox.server import Call, Reply, now, to_json
from contracts.sandbox.xerts.keeping import Keeping
from contracts.sandbox.xerts.records import Record, SiteOffer


class Reports(Keeping):
    """Of a vendor or a site, by day."""

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
