"""What ``check`` asks a Xerts: the key, every site that is named, the calls for devices and codes, the login.

It changes nothing: it asks for a device that nobody has, and with a code that no coupon can have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from crm_backends.http import HttpClient, Probe, ProbeFailed
from crm_backends.ports import BackendCredentials, Deadline
from crm_backends.xerts import replies
from crm_backends.xerts.existence import Devices, site_exists
from crm_backends.xerts.requests import ALL_SITES, XertsRequests
from crm_backends.xerts.settings import LOGIN_PATH, XertsSettings

_NO_CODE = "NO-COUPON-HAS-THIS-CODE"
_KEY = "ask the vendor for a valid api_key of this app"
_LISTS = "compare base_url and coupon_paths with the vendor's server; see also no_coupons"
_CALLS = "compare base_url, promo and device_paths with the vendor's server"


def probes(
    requests: XertsRequests, devices: Devices, settings: XertsSettings, nobody: str
) -> Iterator[Probe]:
    """The questions; ``nobody`` is the id of a device that nobody has."""
    ask = _Questions(requests, devices, settings, nobody)
    yield Probe("API key", ask.key, "reached, the API key is accepted", _KEY, _LISTS, decides=True)
    for site, setting in settings.sites().items():
        well = "there is such a site, and its coupons can be listed"
        yield Probe(setting, partial(ask.site, site, setting), well, _KEY, _LISTS)
    yield Probe("device call", ask.device_call, "tells whether a device exists", _KEY, _CALLS)
    yield Probe("code call", ask.code_call, "is there, and refuses a code that no coupon has", _KEY, _CALLS)
    if settings.session() is not None:
        yield Probe("login", ask.login, "the member is logged in", _KEY, _CALLS)


@dataclass(frozen=True)
class _Questions:
    requests: XertsRequests
    devices: Devices
    settings: XertsSettings
    nobody: str

    @property
    def _client(self) -> HttpClient:
        return self.requests.client

    async def key(self, deadline: Deadline) -> None:
        await self.requests.coupons(ALL_SITES, self.nobody, deadline)

    async def site(self, site: str, setting: str, deadline: Deadline) -> str | None:
        """A LoopBack lists no coupons for a site that does not exist, so the site itself is asked for."""
        await self.requests.coupons(site, self.nobody, deadline)
        exists = await site_exists(self._client, site, deadline)
        if exists is None:
            exists = await self._asked_by_login(site, deadline)
        if exists is None:
            return (
                "its coupons can be listed; this server does not tell whether the site exists: compare its "
                "id with the vendor's"
            )
        if not exists:
            raise ProbeFailed("there is no such site", f"correct {setting}; ask the vendor for the id")
        return None

    async def _asked_by_login(self, site: str, deadline: Deadline) -> bool | None:
        """The same by a member, where a login is set; a login that does not work has its own probe."""
        session = self.settings.session()
        if session is None:
            return None
        client = HttpClient(self._client.name, self.settings, session)
        async with client.at_hand():
            try:
                return await site_exists(client, site, deadline)
            except BackendCredentials:
                return None

    async def device_call(self, deadline: Deadline) -> str | None:
        if self.settings.create_devices == "by_issue":
            return "not asked: the issuing call creates devices"
        await self.devices.exists(self.nobody, deadline)
        return None

    async def code_call(self, deadline: Deadline) -> None:
        """Try to use a code that no coupon can have, on the device that nobody has."""
        path = self.requests.use_path(self.settings.site, self.nobody, _NO_CODE)
        reply = await self._client.read("PUT", path, deadline=deadline)
        if replies.lacks_call(reply.status, reply.body):
            raise ProbeFailed(
                f"has no call that uses a code (status {reply.status})",
                "compare base_url and promo with the vendor's server",
            )
        if reply.ok:
            raise ProbeFailed(
                "takes a code that no coupon has",
                "ask the vendor what this call does before any code is accepted",
            )

    async def login(self, deadline: Deadline) -> None:
        """Log in as a read of its own: a session more is no change anybody sees."""
        settings = self.settings
        password = settings.password.get_secret_value() if settings.password else ""
        reply = await self._client.read(
            "POST",
            LOGIN_PATH,
            json={"email": settings.email, "password": password},
            accept=(401, 403),
            deadline=deadline,
        )
        if not reply.ok:
            raise ProbeFailed(
                f"the member cannot log in (status {reply.status})",
                "correct email and password; only the management commands need them",
            )
