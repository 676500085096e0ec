"""A TCP relay in front of a CRM: the wire, and the hands that cut it.

It passes bytes on and may not know any protocol. Where the CRM cannot lose a write by itself, as a sandbox
can, the rig says in ``is_write`` what the first bytes of a write look like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Self

from crm_backends.conformance.rig import Rig

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Loss(Enum):
    REQUEST = auto()
    REPLY = auto()


class Relay:
    """Listens on a port of 127.0.0.1; for ``async with``.

    Args:
        connect: opens a connection to the CRM itself.
        is_write: whether these bytes, as they arrive from the driver, begin the write that is to be lost;
            needed for ``lose_request`` and ``lose_reply`` only.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Streams]],
        is_write: Callable[[bytes], bool] = lambda data: False,
    ) -> None:
        self._connect = connect
        self._is_write = is_write
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._loss: _Loss | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self.port = 0

    @classmethod
    def to(cls, host: str, port: int, is_write: Callable[[bytes], bool] = lambda data: False) -> Self:
        """A relay to a TCP address."""
        return cls(lambda: asyncio.open_connection(host, port), is_write)

    async def __aenter__(self) -> Self:
        await self.back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.away()

    async def away(self) -> None:
        """Listen no more, and break every connection."""
        if self._server is not None:
            self._server.close()
            for line in self._lines:
                line.cancel()
            await asyncio.gather(*self._lines, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def silent(self) -> None:
        """Take connections and bytes, pass nothing on."""
        self._flows.clear()

    async def back(self) -> None:
        """Be well again, on the same port."""
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def lose_request(self) -> None:
        """The next write does not reach the CRM, and its connection breaks."""
        self._loss = _Loss.REQUEST

    async def lose_reply(self) -> None:
        """The next write reaches the CRM; its connection breaks when the answer begins."""
        self._loss = _Loss.REPLY

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.get_running_loop().create_task(self._line(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the driver, and one of ours to the CRM; both end together."""
        writers = [writer]
        try:
            await self._flows.wait()
            up_reader, up_writer = await self._connect()
            writers.append(up_writer)
            answer_lost = asyncio.Event()
            pumps = [
                asyncio.ensure_future(self._requests(reader, up_writer, answer_lost)),
                asyncio.ensure_future(self._answers(up_reader, writer, answer_lost)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the CRM itself is down: for the driver the line breaks
        finally:
            for one in writers:
                one.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_lost: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            if self._loss is not None and self._is_write(data):
                loss, self._loss = self._loss, None
                if loss is _Loss.REQUEST:
                    return
                answer_lost.set()
            writer.write(data)
            await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_lost: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            if answer_lost.is_set():
                return
            writer.write(data)
            await writer.drain()


class RelayedRig(Rig):
    """A rig whose driver reaches the CRM through a relay, by ``127.0.0.1`` and ``relay.port``."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    async def away(self) -> None:
        await self.relay.away()
        await asyncio.sleep(0.05)  # the driver's side notices that its connections are gone

    async def silent(self) -> None:
        await self.relay.silent()

    async def back(self) -> None:
        await self.relay.back()

    async def lose_request(self, operation: str) -> None:
        """By the relay, which has to know a write when it sees one: ``is_write``."""
        await self.relay.lose_request()

    async def lose_reply(self, operation: str) -> None:
        """The same."""
        await self.relay.lose_reply()
