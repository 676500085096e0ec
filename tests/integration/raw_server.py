"""A server made of bare sockets that misbehaves as told, and counts what it has seen.

It reads requests itself, so that "seen" means: these bytes have arrived, whatever was answered. It knows
HTTP only as far as the faults need it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    """One request that arrived completely."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Visit:
    """One connection, and what a behaviour can do with it."""

    server: RawServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> Seen | None:
        """The next request, counted; ``None`` when there is none, with what came of it counted too."""
        head = b""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        except asyncio.IncompleteReadError as error:
            self.server.partly += bool(head or error.partial)
            return None
        except (OSError, ValueError):
            self.server.partly += 1
            return None
        seen = Seen(method, target, headers, body)
        self.server.seen.append(seen)
        return seen

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
        await self.writer.drain()

    async def json(self, status: int, body: object = None, *headers: str) -> None:
        await self.send(answer(status, json.dumps(body or {}).encode(), *headers))

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Visit], Awaitable[None]]


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer of HTTP/1.1."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class RawServer:
    """Counts requests; ``behave`` is what it does with the connections."""

    behave: Behaviour
    port: int = 0
    """Chosen at the start when it is zero."""
    seen: list[Seen] = field(default_factory=list)
    """Requests that arrived completely."""
    partly: int = 0
    """Requests of which only a part arrived."""
    connections: int = 0
    sent: int = 0
    """Bytes of an endless answer that could be written."""
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self.behave(Visit(self, reader, writer))
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RawServer]:
        tasks: set[asyncio.Task[None]] = set()

        def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._visited(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(visited, "127.0.0.1", self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()


# -- behaviours: each handles one connection -------------------------------------------------------------


async def well(visit: Visit) -> None:
    """Answers every request."""
    while await visit.request():
        await visit.json(200, {"ok": True})


async def hangs_up_at_once(visit: Visit) -> None:
    visit.writer.close()


async def resets_at_once(visit: Visit) -> None:
    visit.reset()


async def hangs_up_after_reading(visit: Visit) -> None:
    await visit.request()


async def resets_after_reading(visit: Visit) -> None:
    await visit.request()
    visit.reset()


async def knows_no_tls(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 400 this is plain HTTP\r\n\r\n")


async def never_answers(visit: Visit) -> None:
    await visit.request()
    await asyncio.sleep(60)


def says(*parts: bytes) -> Behaviour:
    """Reads a request, sends these bytes and hangs up."""

    async def behaviour(visit: Visit) -> None:
        if await visit.request():
            await visit.send(*parts)

    return behaviour


def says_each_time(*parts: bytes) -> Behaviour:
    """Answers every request of a connection with these bytes."""

    async def behaviour(visit: Visit) -> None:
        while await visit.request():
            await visit.send(*parts)

    return behaviour


async def endless(visit: Visit) -> None:
    """Announces and sends 100 MB."""
    await visit.request()
    chunk = b"x" * 65_536
    await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _ in range(1600):
        await visit.send(chunk)
        visit.server.sent += len(chunk)


async def drips(visit: Visit) -> None:
    """One byte a second."""
    await visit.request()
    for byte in answer(200, b'{"ok": true}'):
        await visit.send(bytes([byte]))
        await asyncio.sleep(1)


def well_once_then(then: Behaviour) -> Behaviour:
    """Answers the first request of each connection well, and the next one on it as told."""

    async def behaviour(visit: Visit) -> None:
        if await visit.request():
            await visit.json(200, {"first": True})
            await then(visit)

    return behaviour


@asynccontextmanager
async def full_backlog() -> AsyncIterator[int]:
    """A port on which a connection is never made and never refused: the queue of its listener is full."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await loop.sock_connect(filler, listener.getsockname())
        yield listener.getsockname()[1]


def unused_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
