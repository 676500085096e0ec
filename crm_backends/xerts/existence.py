"""Whether a site or a device is there, and the making of devices that are not.

The documentation has one call that asks for a device and none that asks for a site; a LoopBack has its own.
It may not know what coupons are.
"""

from __future__ import annotations

from collections import OrderedDict

from crm_backends.http import HttpClient
from crm_backends.ports import (
    BackendCredentials,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
)
from crm_backends.xerts import replies
from crm_backends.xerts.requests import device_calls, new_device_path, part
from crm_backends.xerts.settings import XertsSettings

_KNOWN_DEVICES = 10_000
_REFUSED = (401, 403)


async def site_exists(http: HttpClient, site: str, deadline: Deadline) -> bool | None:
    """Whether there is a site; ``None``: this server does not tell whoever asks with this proof.

    Raises a ``BackendError`` where it does not answer.
    """
    path = f"api/sites/{part(site)}"
    for call in (f"{path}/exists", path):
        reply = await http.read("GET", call, accept=_REFUSED, deadline=deadline)
        told = replies.existence(reply.status, reply.body, site)
        if told is not None:
            return told
    return None


class Devices:
    """The devices of one server; those that are known to exist are not asked for again."""

    def __init__(self, http: HttpClient, settings: XertsSettings) -> None:
        self._http = http
        self._settings = settings
        self._known: OrderedDict[str, None] = OrderedDict()
        """Longest unused first."""
        self._way = 0
        """Which of the calls told last; it is asked first."""

    async def ensure(self, device: str, deadline: Deadline) -> None:
        """Create the device if there is none. Its id is ours, so a repetition does no harm.

        Raises:
            BackendError: it is not known whether the device exists.
        """
        if self._settings.create_devices == "by_issue":
            return
        if device in self._known:
            self._known.move_to_end(device)
            return
        if not await self.exists(device, deadline):
            await self.create(device, deadline)
        self._known[device] = None
        if len(self._known) > _KNOWN_DEVICES:
            self._known.popitem(last=False)

    async def exists(self, device: str, deadline: Deadline) -> bool:
        """Whether there is such a device.

        Raises:
            BackendMisconfigured: none of the calls that may be used tells.
            BackendError: as every read.
        """
        refused = False
        calls = device_calls(self._settings, device)
        for way in sorted(range(len(calls)), key=lambda way: way != self._way):
            method, path = calls[way]
            reply = await self._http.read(method, path, accept=_REFUSED, deadline=deadline)
            told = replies.existence(reply.status, reply.body, device)
            if told is not None:
                self._way = way
                return told
            refused = refused or reply.status in _REFUSED
        if refused:
            raise BackendCredentials("xerts: the API key may not ask whether a device exists")
        raise BackendMisconfigured(
            "xerts: has no call that tells whether a device exists; ask the vendor for it and set "
            'device_check and device_paths, or set create_devices = "by_issue"'
        )

    async def create(self, device: str, deadline: Deadline) -> None:
        """Create the device; one that another call has created meanwhile will do.

        Raises:
            BackendError: it is not known whether the device exists.
        """
        settings = self._settings
        body = {"id": device, "deviceModel": settings.device_model, "deviceOs": settings.device_os}
        # Sent as a read: a repetition does no harm, and a device in doubt leaves the coupons in no doubt.
        # A LoopBack answers 500, 409 or 422 to an id that another call has created meanwhile. So that 500 is
        # read as an answer: the question that follows tells, and counts, whether the server is in trouble.
        answer = await self._http.read(
            "POST", new_device_path(settings), json=body, accept=(500,), deadline=deadline
        )
        if answer.ok:
            return
        reason = f"status {answer.status}"
        if replies.lacks_call(answer.status, answer.body):
            raise BackendMisconfigured(
                f"xerts: has no call that creates devices ({reason}); compare device_paths with the vendor's "
                'server, or set create_devices = "by_issue"'
            )
        if await self.exists(device, deadline):
            return
        if answer.status == 500:
            raise BackendUnavailable(f"xerts: cannot create a device now ({reason})")
        raise BackendMisconfigured(
            f"xerts: refuses to create devices ({reason}); ask the vendor what a device needs, or set "
            'create_devices = "by_issue"'
        )
