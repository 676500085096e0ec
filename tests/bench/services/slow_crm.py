"""A CRM that takes its time: two reads of Pegke's ``merchant_v1``, and of Perx a credit and the history by
its reference, answered after a pause.

Everybody's balance is the same; every credit is confirmed, and found again. It is written on a parser alone,
so that it and not what is measured has processor time left. It may not know who asks it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

from tests.bench.services import common

BALANCE = b'{"status": "success", "data": {"phone": "9000000001", "points": 1250}}'
HISTORY = b"""{"status": "success", "data": {
    "customer": {"name": "\\u0410\\u043d\\u043d\\u0430", "phone": "9000000001", "points": 1250},
    "history": [
        {"date": "2026-03-03T12:00:00+00:00", "points": -50, "note": "Spent"},
        {"date": "2026-02-02T12:00:00+00:00", "points": 300, "note": "Earned"},
        {"date": "2026-01-01T12:00:00+00:00", "points": 1000, "note": "Welcome"}
    ],
    "page": 1, "pages": 1}}"""
KEY = f"Bearer {common.CRM_CODE}.{common.CRM_SECRET}".encode()
TOKENS = "/v4/oauth/token"
TOKEN = json.dumps({"access_token": common.CRM_SECRET, "expires_in": 7200}).encode()


class Crm:
    """What it was asked, and what it answers."""

    def __init__(self, pause: float) -> None:
        """``pause``: seconds every answer takes but those about tokens and about itself."""
        self.pause = pause
        self._asked: deque[str] = deque(maxlen=10)
        self._ids = itertools.count(1)
        self._credited: dict[str, dict[str, object]] = {}
        """Rows of Perx's history by their reference."""

    def answer(self, method: str, target: str, headers: dict[bytes, bytes], body: bytes) -> tuple[int, bytes]:
        """Status and JSON. Anything but what the drivers would send is refused."""
        url = urlsplit(target)
        if url.path == common.CRM_PATH and headers.get(b"authorization") == KEY:
            query = parse_qs(url.query)
            wanted = method, *query["q"]
            is_form = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
            if wanted == ("GET", "check_points") and len(query["phone"][0]) == 10:
                self._asked.append("GET check_points")
                return 200, BALANCE
            if wanted == ("POST", "check_history") and is_form and b'name="phone"' in body:
                self._asked.append("POST check_history")
                return 200, HISTORY
        if (method, url.path) == ("POST", TOKENS):
            return 200, TOKEN
        if (method, url.path) == ("GET", "/v4/loyalty/transactions_history"):
            return 200, self._history(parse_qs(url.query)["transaction_reference"][0])
        if (method, url.path) == ("POST", "/v4/pos/loyalty_transactions"):
            return 201, self._credit(json.loads(body))
        return 403, b"{}"

    def _credit(self, asked: Mapping[str, Any]) -> bytes:
        number, reference = next(self._ids), asked["transaction_reference"]
        self._credited[reference] = {
            "id": number,
            "amount": asked["points"],
            "name": "Credit",
            "transacted_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "transaction_details": {"type": "credit", "data": {"transaction_reference": reference}},
            "properties": {},
        }
        return json.dumps({"data": {"id": number, "points": asked["points"]}}).encode()

    def _history(self, reference: str) -> bytes:
        rows = [self._credited[reference]] if reference in self._credited else []
        meta = {"count": len(rows), "size": 100, "page": 1, "next_page": None}
        return json.dumps({"data": rows, "meta": meta}).encode()

    def told(self) -> bytes:
        """The last calls, oldest first; they are forgotten with that."""
        last = json.dumps(list(self._asked)).encode()
        self._asked.clear()
        return last


class Connection(asyncio.Protocol):
    """One caller, who waits for each answer before asking again."""

    def __init__(self, crm: Crm) -> None:
        self._crm = crm
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._target, self._body = b"", b""
        self._headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        target, method = self._target.decode(), self._parser.get_method().decode()
        if target == "/asked":
            self._send(200, self._crm.told())
            return
        status, body = self._crm.answer(method, target, self._headers, self._body)
        if target == TOKENS:
            self._send(status, body)
            return
        asyncio.get_running_loop().call_later(self._crm.pause, self._send, status, body)

    def _send(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(port: int, pause: float) -> None:
    """Answer until the process is ended."""
    make = functools.partial(Connection, Crm(pause))
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = common.parser("a slow CRM", database=False)
    parser.add_argument("--pause", type=float, required=True, help="seconds every answer takes")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.pause))


if __name__ == "__main__":
    main()
