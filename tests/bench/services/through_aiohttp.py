"""Card info through a CRM, asked with a bare aiohttp client. It may not know the adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp

from tests.bench.services import common, through


class Client:
    """One session."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/"

    async def balance(self, phone: str) -> Any:
        asked = {"q": "check_points", "phone": phone}
        async with self._session.get(self._url, params=asked) as response:
            return await response.json()

    async def history(self, phone: str) -> Any:
        form = aiohttp.FormData({"phone": phone, "page": "1"}, default_to_multipart=True)
        async with self._session.post(self._url, params={"q": "check_history"}, data=form) as response:
            return await response.json()


@asynccontextmanager
async def opened(url: str, at_once: int) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector, headers=through.HEADERS) as session:
        yield Client(session, url)


def main() -> None:
    options = through.options("a CRM through aiohttp")
    client = partial(opened, options.crm_url, options.at_once)
    common.serve(through.application(client, options.database), options.port)


if __name__ == "__main__":
    main()
