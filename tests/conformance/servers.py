"""A rig over a real server, which loses nothing by itself: the relay before it does.

It may not know any CRM.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from crm_backends.conformance import Relay, RelayedRig


class ServerRig(RelayedRig):
    """A driver before a relay to this server."""

    writes: ClassVar[Mapping[str, re.Pattern[bytes]]]
    """Operation -> how the request that does it begins."""

    def __init__(self, url: str) -> None:
        port = urlsplit(url).port or 0
        super().__init__(Relay(lambda: asyncio.open_connection("127.0.0.1", port), self._is_lost))
        self._lost = ""

    async def lose_request(self, operation: str) -> None:
        self._lost = operation
        await super().lose_request(operation)

    async def lose_reply(self, operation: str) -> None:
        self._lost = operation
        await super().lose_reply(operation)

    def _is_lost(self, data: bytes) -> bool:
        return bool(self.writes[self._lost].match(data))
