"""The calls to Xerts: their paths, as the settings spell them, and the lists that come back.

It may not know a port.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote
from zoneinfo import ZoneInfo

from crm_backends.http import HttpClient, Reply
from crm_backends.ports import BackendMisconfigured, Deadline, Written
from crm_backends.xerts import replies
from crm_backends.xerts.replies import Unreadable, XertsCoupon
from crm_backends.xerts.settings import XertsSettings

ALL_SITES = "all"


class XertsRequests:
    """The calls of the coupons port, over one client."""

    def __init__(self, client: HttpClient, settings: XertsSettings, zone: ZoneInfo) -> None:
        self.client = client
        self._settings = settings
        self._zone = zone

    async def coupons(self, site: str, device: str, deadline: Deadline) -> list[XertsCoupon]:
        """A device's coupons at a site, or at ``ALL_SITES``."""
        sites, devices = {
            "sites": ("sites", "devices"),
            "site": ("site", "device"),
            "site_devices": ("site", "devices"),
        }[self._settings.coupon_paths]
        path = f"api/coupons/{sites}/{part(site)}/{devices}/{part(device)}"
        reply = await self.client.read("GET", path, deadline=deadline)
        reason = f"status {reply.status}"
        if replies.lacks_call(reply.status, reply.body):
            raise BackendMisconfigured(
                f"xerts: has no call that lists coupons ({reason}); compare base_url and coupon_paths with "
                "the vendor's server"
            )
        if reply.status == 404 and self._settings.no_coupons == "404":
            return []
        if not reply.ok:
            raise BackendMisconfigured(
                f"xerts: does not list coupons ({reason}); compare site and occasions with the vendor's "
                "server, and see no_coupons"
            )
        try:
            return replies.coupons(reply.body, self._zone)
        except Unreadable as error:
            raise BackendMisconfigured(f"xerts: the list of coupons is unreadable: {error}") from None

    async def issue(self, site: str, device: str, deadline: Deadline) -> Reply | Written:
        """Issue a site's offers to a device."""
        path = f"api/siteOffers/{part(site)}/device/{part(device)}"
        return await self._write("POST", path, "issues coupons", deadline)

    async def use(self, site: str, device: str, code: str, deadline: Deadline) -> Reply | Written:
        """Redeem or activate a code, as ``promo`` says."""
        return await self._write("PUT", self.use_path(site, device, code), "uses a code", deadline)

    def use_path(self, site: str, device: str, code: str) -> str:
        """Where a code is redeemed or activated."""
        if self._settings.promo == "activate":
            return f"api/coupons/sites/{part(site)}/activate/{part(code)}"
        return f"api/coupons/sites/{part(site)}/devices/{part(device)}/redeem/{part(code)}"

    async def _write(self, method: str, path: str, does: str, deadline: Deadline) -> Reply | Written:
        """A write without a body."""
        answer = await self.client.write(method, path, deadline=deadline)
        if isinstance(answer, Reply) and replies.lacks_call(answer.status, answer.body):
            raise BackendMisconfigured(
                f"xerts: has no call that {does} (status {answer.status}); compare base_url and promo with "
                "the vendor's server"
            )
        return answer


def device_calls(settings: XertsSettings, device: str) -> Sequence[tuple[str, str]]:
    """Calls, as method and path, that may tell whether a device exists; the likeliest first."""
    path = f"api/{settings.device_paths}/{part(device)}"
    calls = {"exists": ("GET", f"{path}/exists"), "GET": ("GET", path), "POST": ("POST", path)}
    return list(calls.values()) if settings.device_check == "find" else [calls[settings.device_check]]


def new_device_path(settings: XertsSettings) -> str:
    """Creates a device."""
    return "api/devices" if settings.device_paths == "devices" else "api/device/"


def part(text: str) -> str:
    """A value as one segment of a path.

    Raises:
        BackendMisconfigured: it is empty or made of dots, which would lead to another call.
    """
    if not text.strip("."):
        raise BackendMisconfigured("xerts: an id that is empty or made of dots cannot be asked for")
    return quote(text, safe="")
