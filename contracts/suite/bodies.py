"""Reads bodies of bounded size, whatever a service sends: endless ones, and small ones that unfold to much.

It may not know what is in them.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from contracts.suite.answer import Got

LARGEST_LIST = 24 * 1024 * 1024
"""Bytes of a list of all users that are read."""
LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of any other answer."""
MOST_VALUES = 1_500_000
"""Values in a JSON body that are taken apart: a small body may have so many that they fill the memory."""
MOST_HEADERS = 200
ENCODINGS = "gzip, deflate"
"""What may be asked for; others are not unfolded."""


class _Unfolded:
    """A body under way: what has come, unfolded, up to the limit and one byte more."""

    def __init__(self, encoding: str, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit
        self._encoding = encoding.lower()
        self._inflate = zlib.decompressobj(47) if self._encoding in ("gzip", "x-gzip", "deflate") else None

    @property
    def full(self) -> bool:
        return len(self.content) > self._limit

    def feed(self, chunk: bytes) -> None:
        """Raises ``zlib.error``."""
        left = self._limit + 1 - len(self.content)
        if self._inflate is None:
            self.content += chunk[:left]
            return
        try:
            self.content += self._inflate.decompress(chunk, left)
        except zlib.error:
            if self.content or self._encoding != "deflate":
                raise
            self._inflate = zlib.decompressobj(-15)  # so do some servers
            self.content += self._inflate.decompress(chunk, left)


def has_too_many_values(body: bytes) -> bool:
    """Whether the JSON has so many values that to parse it could fill the memory."""
    return len(body) > MOST_VALUES and sum(body.count(sign) for sign in (b",", b"{", b"[")) > MOST_VALUES


async def read_body(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body, and whether there was more than ``limit`` of it. Raises ``zlib.error`` too."""
    body = _Unfolded(response.headers.get("Content-Encoding", ""), limit)
    while not body.full and (chunk := await response.content.read(2**16)):
        body.feed(chunk)
    content = bytes(body.content[:limit])
    return content, body.full or has_too_many_values(content)


async def read_bare(reader: asyncio.StreamReader) -> Got | None:
    """One HTTP answer from a bare socket; ``None`` when the service closed instead. Raises ``ValueError``."""
    line = await reader.readline()
    if not line:
        return None
    version, _, rest = line.decode("latin-1").strip().partition(" ")
    status, _, reason = rest.partition(" ")
    headers = CIMultiDict[str]()
    while (line := await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers.add(name.strip(), value.strip())
        if len(headers) > MOST_HEADERS:
            raise ValueError("too many headers")
    content, cut = await _bare_body(reader, headers, status)
    return int(status), reason, version, CIMultiDictProxy(headers), content, cut


async def _bare_body(
    reader: asyncio.StreamReader, headers: Mapping[str, str], status: str
) -> tuple[bytes, bool]:
    body = _Unfolded(headers.get("Content-Encoding", ""), LARGEST_ANSWER)
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            await _feed(reader, body, size)
            if body.full:
                break
            await reader.readline()
        else:
            await reader.readline()
    elif "Content-Length" in headers:
        await _feed(reader, body, int(headers["Content-Length"]))
    elif status not in ("204", "304"):
        while not body.full and (piece := await reader.read(2**16)):
            body.feed(piece)
    return bytes(body.content[:LARGEST_ANSWER]), body.full


async def _feed(reader: asyncio.StreamReader, body: _Unfolded, size: int) -> None:
    """So many bytes more, or until the body is full."""
    while size > 0 and not body.full:
        piece = await reader.readexactly(min(2**16, size))
        body.feed(piece)
        size -= len(piece)
