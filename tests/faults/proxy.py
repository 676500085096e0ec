"""A bad line: a TCP proxy that loses, delays, cuts and resets as told. It may not know what it carries.

A fault is drawn when a caller begins to say something on a connection where nothing is under way, so it hits
one request, whatever protocol that is.

Who settles a doubt some seconds later relies on what was sent being done by then or never. On a busy machine
this program may be further behind than that, so it asks the kernel how long a request has been lying here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Fault = Literal[
    "latency",
    "cut_before",
    "cut_after",
    "reset_before",
    "reset_after",
    "half_reply",
    "trickle",
    "black_hole",
    "swallow_reply",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
MEANING: dict[Fault, str] = {
    "latency": "the request arrives `delay` seconds late",
    "cut_before": "the request does not arrive, the connection is closed",
    "cut_after": "the request arrives, the connection is closed instead of the reply",
    "reset_before": "the request does not arrive, the connection is reset",
    "reset_after": "the request arrives, the connection is reset instead of the reply",
    "half_reply": "the first half of the reply comes, then the connection is closed",
    "trickle": "the reply comes a byte at a time, `delay` seconds apart",
    "black_hole": "the request does not arrive and nothing is said",
    "swallow_reply": "the request arrives and nothing is said",
}
_CHUNK = 65_536
_LAST_DATA_RECEIVED = struct.Struct("52xI")
"""Of Linux's ``struct tcp_info``: milliseconds since the last data came in."""


def lain(transport: asyncio.BaseTransport) -> float:
    """Seconds since the last byte came in on a TCP connection, read or not."""
    raw = transport.get_extra_info("socket")
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED.size)
    return float(_LAST_DATA_RECEIVED.unpack(info)[0]) / 1000


@dataclass
class Proxy:
    """Carries connections to ``target``: a port of this machine, or the path of a Unix socket."""

    target: int | Path
    delay: float = 0.4
    port: int = 0
    patience: float | None = None
    """Seconds after which a request that still lies here is not carried on: the connection is reset."""
    draw: Callable[[bytes], Fault | None] | None = None
    """Asked for each request without an ordered fault; gets the first bytes."""
    happened: Counter[str] = field(default_factory=Counter)
    _ordered: deque[Fault] = field(default_factory=deque)
    _lines: set[_Line] = field(default_factory=set)
    _visits: set[asyncio.Task[None]] = field(default_factory=set)
    _listener: socket.socket | None = None

    def order(self, *faults: Fault) -> None:
        """Let the next requests suffer these, one each."""
        self._ordered.extend(faults)

    def calm(self) -> None:
        """No more faults."""
        self._ordered.clear()
        self.draw = None

    def next_fault(self, data: bytes) -> Fault | None:
        fault = self._ordered.popleft() if self._ordered else self.draw(data) if self.draw else None
        if fault is not None:
            self.happened[fault] += 1
        return fault

    def cut_all(self) -> None:
        """Reset every connection."""
        for line in list(self._lines):
            line.reset()

    async def down(self) -> None:
        """Refuse connections, and reset those that stand."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self.cut_all()

    async def up(self) -> None:
        """Take connections; the port stays the same."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        # Not by asyncio's own server: closed in the wrong moment, it loses connections it has just accepted.
        with contextlib.suppress(OSError):
            caller, _ = listener.accept()
            visit = asyncio.create_task(self._visited(caller))
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)

    async def _visited(self, caller: socket.socket) -> None:
        try:
            line = _Line(self, *await asyncio.open_connection(sock=caller))
        except BaseException:
            caller.close()
            raise
        self._lines.add(line)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await line.carry()
        finally:
            line.close()
            self._lines.discard(line)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        await self.up()
        try:
            yield self
        finally:
            await self.down()
            await asyncio.sleep(0)  # each has begun, and will close what it has
            for visit in self._visits:
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)


class _Line:
    """One connection and its other half."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._far: asyncio.StreamWriter | None = None
        self._fault: Fault | None = None
        self._asking = False
        """Whether something was said that has not been answered yet."""
        self._over = asyncio.Event()

    async def carry(self) -> None:
        target = self._proxy.target
        if isinstance(target, int):
            reader, self._far = await asyncio.open_connection("127.0.0.1", target)
        else:
            reader, self._far = await asyncio.open_unix_connection(str(target))
        halves = [
            asyncio.create_task(self._there(self._far)),
            asyncio.create_task(self._back(reader)),
            asyncio.create_task(self._over.wait()),
        ]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    async def _there(self, far: asyncio.StreamWriter) -> None:
        while data := await self._reader.read(_CHUNK):
            if not self._asking:
                self._asking = True
                self._fault = self._proxy.next_fault(data)
            match self._fault:
                case "cut_before":
                    return
                case "reset_before":
                    self.reset()
                    return
                case "black_hole":
                    continue
                case "latency":
                    await asyncio.sleep(self._proxy.delay)
            patience = self._proxy.patience
            if patience is not None and lain(self._writer.transport) > patience:
                self._proxy.happened["behind"] += 1
                self.reset()
                return
            far.write(data)
            await far.drain()

    async def _back(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            fault, self._asking = self._fault, False
            match fault:
                case "cut_after":
                    return
                case "reset_after":
                    self.reset()
                    return
                case "half_reply":
                    self._writer.write(data[: len(data) // 2])
                    await self._writer.drain()
                    return
                case "swallow_reply":
                    continue
                case "trickle":
                    for byte in data:
                        self._writer.write(bytes([byte]))
                        await self._writer.drain()
                        await asyncio.sleep(self._proxy.delay)
            self._writer.write(data)
            await self._writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN, on both sides."""
        for writer in (self._writer, self._far):
            if writer is not None:
                raw = writer.get_extra_info("socket")
                if raw is not None and raw.family != socket.AF_UNIX:
                    with contextlib.suppress(OSError):
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        self._over.set()

    def close(self) -> None:
        for writer in (self._writer, self._far):
            if writer is not None:
                writer.close()
