"""A CRM that answers as it is told and keeps every request as it came over the socket.

For tests of what leaves the real client: request line, headers and body, byte for byte. Routes are written as
in respx, so that a test reads the same whether its CRM is mocked or real. It may not know any driver.
"""

from __future__ import annotations

import json as codec
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.test_utils import RawTestServer
from multidict import CIMultiDict


@dataclass(frozen=True)
class Recorded:
    """One request."""

    method: str
    target: str
    """As in the request line: path and query, encoded."""
    headers: Mapping[str, str]
    """Names in any case."""
    content: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The parameters, decoded."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The body as JSON; ``None`` where there is none."""
        return codec.loads(self.content) if self.content else None

    @property
    def form(self) -> dict[str, str]:
        """The fields of a multipart body."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = cast("list[Message]", message_from_bytes(head + self.content).get_payload())
        return {
            str(part.get_param("name", header="content-disposition")): str(part.get_payload())
            for part in parts
        }


@dataclass(frozen=True)
class Told:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, status_code: int = 200, *, json: object = None, text: str | None = None, **headers: str
    ) -> Told:
        if text is not None:
            return cls(status_code, text.encode(), headers)
        if json is None:
            return cls(status_code, b"", headers)
        body = codec.dumps(json).encode()
        return cls(status_code, body, {"Content-Type": "application/json", **headers})


Answering = Callable[[Recorded], Told]


@dataclass
class Route:
    """Requests of one method and path, and what they are answered."""

    answers: list[Told] | Answering = field(default_factory=lambda: [Told()])
    requests: list[Recorded] = field(default_factory=list)

    @property
    def call_count(self) -> int:
        return len(self.requests)

    @property
    def last(self) -> Recorded:
        return self.requests[-1]

    @property
    def only(self) -> Recorded:
        """The one request there was."""
        (request,) = self.requests
        return request

    def respond(self, status_code: int = 200, **told: Any) -> Route:
        """Answer each request so."""
        self.answers = [Told.of(status_code, **told)]
        return self

    def respond_in_turn(self, *told: Told) -> Route:
        """Answer the requests one after the other, the last answer for all that follow."""
        self.answers = list(told)
        return self

    def answered_by(self, answering: Answering) -> Route:
        """Let a function answer."""
        self.answers = answering
        return self

    def answer(self, request: Recorded) -> Told:
        self.requests.append(request)
        if callable(self.answers):
            return self.answers(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Recorder:
    """The CRM. What nobody told it to answer is answered with 500, and fails the test in the end."""

    url: str = ""
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    requests: list[Recorded] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def request(self, method: str, path: str) -> Route:
        """The requests of this method and path, whatever their query; asked again, the same route."""
        return self.routes.setdefault((method, path), Route())

    def get(self, path: str) -> Route:
        return self.request("GET", path)

    def post(self, path: str) -> Route:
        return self.request("POST", path)

    def put(self, path: str) -> Route:
        return self.request("PUT", path)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = CIMultiDict((name.decode(), value.decode()) for name, value in request.raw_headers)
        recorded = Recorded(request.method, request.raw_path, headers, await request.read())
        self.requests.append(recorded)
        route = self.routes.get((recorded.method, recorded.path))
        if route is None:
            self.unexpected.append(f"{recorded.method} {recorded.target}")
            return web.Response(status=500)
        told = route.answer(recorded)
        return web.Response(status=told.status, body=told.body, headers=told.headers)


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """A recorder on a port of this machine."""
    recorder = Recorder()
    server = RawTestServer(recorder.handle)
    await server.start_server()
    recorder.url = str(server.make_url("")).rstrip("/")
    try:
        yield recorder
    finally:
        await server.close()
    assert recorder.unexpected == [], "requests nobody expected"
