"""What ``check`` asks a Xerts: the key, every site that is named, the calls for devices and codes, the login.

It changes nothing: it asks for a device that nobody has, and with a code that no coupon can have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from crm_backends.http import HttpClient
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    Deadline,
    Finding,
)
from crm_backends.xerts import answers
from crm_backends.xerts.existence import Devices, site_exists
from crm_backends.xerts.settings import LOGIN, XertsSettings

_SECONDS = 10.0
_NO_CODE = "NO-COUPON-HAS-THIS-CODE"
_KEY_REMEDY = "ask the vendor for a valid api_key of this app"
_LIST_REMEDY = "compare base_url and coupon_paths with the vendor's server; see also no_coupons"
_AWAY_REMEDY = "look at base_url, and whether this machine may connect to it; then ask the vendor"


@dataclass(frozen=True)
class Check:
    """One look at a server, over a client that is open."""

    http: HttpClient
    settings: XertsSettings
    devices: Devices
    lists: Callable[[str, str, Deadline], Awaitable[object]]
    """Lists the coupons of a site (or of ``all``) and a device."""
    nobody: str
    """The id of a device that nobody has."""

    async def findings(self) -> Sequence[Finding]:
        """All findings; where the key does not work the others could only repeat it."""
        first = await self._looked("API key", self._key, _LIST_REMEDY)
        if not first.ok:
            return [first]
        found = [first]
        for site, setting in self.settings.sites().items():
            found.append(await self._looked(setting, partial(self._site, site, setting), _LIST_REMEDY))
        found.append(await self._looked("device call", self._device_call, ""))
        found.append(await self._looked("code call", self._code_call, ""))
        if self.settings.session() is not None:
            found.append(await self._looked("login", self._login, _KEY_REMEDY))
        return found

    async def _looked(self, subject: str, look: Callable[[], Awaitable[Finding]], remedy: str) -> Finding:
        """What ``look`` finds, or what keeps it from looking; ``remedy`` is for settings that are wrong."""
        try:
            return await look()
        except BackendError as error:
            detail, _, said = str(error).partition("; ")
            if isinstance(error, BackendCredentials):
                return Finding(subject, False, detail, _KEY_REMEDY)
            if isinstance(error, BackendMisconfigured):
                return Finding(subject, False, detail, said or remedy)
            return Finding(subject, False, str(error), _AWAY_REMEDY)

    async def _key(self) -> Finding:
        await self.lists("all", self.nobody, self._soon())
        return Finding("API key", True, "reached, the API key is accepted")

    async def _site(self, site: str, setting: str) -> Finding:
        """A LoopBack lists no coupons for a site that there is none of, so the site itself is asked for."""
        await self.lists(site, self.nobody, self._soon())
        exists = await site_exists(self.http, site, self._soon())
        if exists is None:
            exists = await self._asked_by_login(site)
        if exists is None:
            return Finding(
                setting,
                True,
                "its coupons can be listed; whether there is such a site this server does not tell, so "
                "compare its id with the vendor's",
            )
        if not exists:
            return Finding(
                setting, False, "there is no such site", f"correct {setting}; ask the vendor for the id"
            )
        return Finding(setting, True, "there is such a site, and its coupons can be listed")

    async def _asked_by_login(self, site: str) -> bool | None:
        """The same by a member, where a login is set; a login that does not work has its own finding."""
        session = self.settings.session()
        if session is None:
            return None
        http = HttpClient("xerts", self.settings, session)
        await http.open()
        try:
            return await site_exists(http, site, self._soon())
        except BackendCredentials:
            return None
        finally:
            await http.close()

    async def _device_call(self) -> Finding:
        if self.settings.create_devices == "by_issue":
            return Finding("device call", True, "not asked: the issuing call creates devices")
        await self.devices.exists(self.nobody, self._soon())
        return Finding("device call", True, "tells whether a device exists")

    async def _code_call(self) -> Finding:
        """Try to use a code that no coupon can have, on the device that nobody has."""
        path = self.settings.use_path(self.settings.site, self.nobody, _NO_CODE)
        reply = await self.http.read("PUT", path, deadline=self._soon())
        if answers.lacks_call(reply.status, reply.body):
            return Finding(
                "code call",
                False,
                f"has no call that uses a code (status {reply.status})",
                "compare base_url and promo with the vendor's server",
            )
        if reply.ok:
            return Finding(
                "code call",
                False,
                "takes a code that no coupon has",
                "ask the vendor what this call does before any code is accepted",
            )
        return Finding("code call", True, "is there, and refuses a code that no coupon has")

    async def _login(self) -> Finding:
        """Log in as a read of its own: a session more is no change anybody sees."""
        settings = self.settings
        password = settings.password.get_secret_value() if settings.password else ""
        reply = await self.http.read(
            "POST",
            LOGIN,
            json={"email": settings.email, "password": password},
            accept=(401, 403),
            deadline=self._soon(),
        )
        if reply.ok:
            return Finding("login", True, "the member is logged in")
        return Finding(
            "login",
            False,
            f"the member cannot log in (status {reply.status})",
            "correct email and password; only the management commands need them",
        )

    @staticmethod
    def _soon() -> Deadline:
        return Deadline.after(_SECONDS)
