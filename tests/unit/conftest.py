"""What unit tests of a driver's wire shape share: calls go through httpx, where respx can see them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import httpx
import pytest

from crm_backends.http import client
from crm_backends.http.messages import Fault, HttpCall
from crm_backends.http.settings import HttpSettings
from crm_backends.http.wire import HEADERS, Answer, body_of

_NOBODY_TRUSTED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing leaves this process; to read whom one could trust takes longer than most of these tests."""


class HttpxWire:
    """Puts a call together as ``wire.Wire`` does, for respx to look at."""

    def __init__(self, settings: HttpSettings) -> None:
        self._base = settings.base_url.rstrip("/")
        self._client = httpx.AsyncClient(timeout=None, trust_env=False, cookies=None, verify=_NOBODY_TRUSTED)

    async def close(self) -> None:
        await self._client.aclose()

    async def exchange(self, call: HttpCall, proof: Mapping[str, str], seconds: float) -> Answer | Fault:
        path = call.path
        url = httpx.URL(path if "://" in path[:8] else f"{self._base}/{path.removeprefix('/')}")
        if call.params:
            url = url.copy_merge_params(call.params)
        try:
            body, described = body_of(call)
            headers = {**HEADERS, **proof, **described, **call.headers}
            request = httpx.Request(call.method, url, headers=headers, content=body)
            response = await self._client.send(request)
        except (httpx.HTTPError, ValueError, RuntimeError) as error:
            return Fault("no whole answer", type(error).__name__, away=True, again=True)
        return Answer(response.status_code, response.content, response.headers)


@pytest.fixture(autouse=True)
def _through_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Wire", HttpxWire)
