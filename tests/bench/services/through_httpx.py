"""Card info through a CRM, asked with stock httpx on its own transport. It may not know the adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx

from tests.bench.services import common, through


class Client:
    """One client."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = f"{url}/"

    async def balance(self, phone: str) -> Any:
        response = await self._client.get(self._url, params={"q": "check_points", "phone": phone})
        return response.json()

    async def history(self, phone: str) -> Any:
        form = {"phone": (None, phone), "page": (None, "1")}
        response = await self._client.post(self._url, params={"q": "check_history"}, files=form)
        return response.json()


@asynccontextmanager
async def opened(url: str, at_once: int) -> AsyncIterator[Client]:
    limits = httpx.Limits(max_connections=at_once or None, max_keepalive_connections=at_once or None)
    async with httpx.AsyncClient(
        limits=limits, headers=through.HEADERS, timeout=10, trust_env=False
    ) as client:
        yield Client(client, url)


def main() -> None:
    options = through.options("a CRM through httpx")
    client = partial(opened, options.crm_url, options.at_once)
    common.serve(through.application(client, options.database), options.port)


if __name__ == "__main__":
    main()
