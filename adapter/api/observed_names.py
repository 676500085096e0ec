"""What callers really send, as names: of fields, parameters, headers, verbs and paths; never a value.

The contract is published in part, so on the first day nobody knows all of what comes. What no setting names
is counted, told once in the log, and kept, each with the setting that would take it in. Only callers who were
let in are looked at. A name that could be a value itself, as the key of a map can, is masked. It may not know
where names are kept.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog

from adapter.loyalty.observed import ObservedName, ReadNames, advice
from adapter.loyalty.ports import StoreUnavailable
from adapter.settings import Koshelek

log = structlog.get_logger("observed")

_EVERY = 10.0
"""Seconds between two looks at what there is to keep."""
_MOST = 500
"""Different names that one process remembers until they are kept."""
_MOST_HEADERS = 1000
"""Different sets of header names."""
_DEEPEST = 4
_MOST_NAMES = 40
MASK = "{…}"

_HEADERS = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "cache-control"),
        *("connection", "content-length", "content-type", "cookie", "date", "expect", "forwarded", "from"),
        *("host", "keep-alive", "origin", "pragma", "priority", "referer", "te", "traceparent", "tracestate"),
        *(
            "transfer-encoding",
            "user-agent",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
        ),
        *("x-forwarded-proto", "x-forwarded-prefix", "x-real-ip", "x-request-id"),
    }
)
"""Those that HTTP clients and proxies send anyway."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,39}")
"""As programs call fields. In other letters it may be somebody's name: the key of a map is a value."""
_SEGMENT = re.compile(r"v\d{1,2}|[A-Za-z][A-Za-z_.-]{0,39}")


class ObservedBook(Protocol):
    async def note(self, counted: Mapping[ObservedName, int]) -> Sequence[ObservedName]:
        """Add up what was seen; those that nobody had seen before. Raises ``StoreUnavailable``."""


def safe(name: str) -> str:
    """A name, unless it could be somebody's: a phone, a card number, an address."""
    return name if _NAME.fullmatch(name) and sum(map(str.isdigit, name)) <= 3 else MASK


def safe_path(path: str) -> str:
    """A path with everything masked that is no plain word."""
    parts = path.split("/")[:12]
    return "/".join(part if not part or _SEGMENT.fullmatch(part) else MASK for part in parts)


def names_of(value: object, before: str = "", depth: int = _DEEPEST) -> Iterator[str]:
    """Names of all fields within, as paths: ``receipt.qr``, ``items[].sum``."""
    if isinstance(value, Mapping) and depth:
        for name, inner in value.items():
            yield from names_of(
                inner, f"{before}.{safe(str(name))}" if before else safe(str(name)), depth - 1
            )
    elif isinstance(value, list) and depth and any(isinstance(item, Mapping) for item in value):
        for item in value[:10]:
            yield from names_of(item, f"{before}[]", depth - 1)
    else:
        yield before


class ObservedNames:
    """Counts what one process was sent."""

    def __init__(self, koshelek: Koshelek, base_path: str, known: Mapping[str, ReadNames]) -> None:
        """``known``: per call, which parameters and fields are read; names in lower case."""
        self._koshelek = koshelek
        self._base_path = base_path
        self._known = known
        self._counted: Counter[ObservedName] = Counter()
        self._headers: dict[tuple[str, ...], tuple[ObservedName, ...]] = {}

    def request(self, call: str, verb: str, path: str, headers: Iterable[str], query: Iterable[str]) -> None:
        """Count the names of headers and parameters of a call; for an unknown method also verb and path."""
        if call == "unknown":
            self._see([ObservedName("elsewhere", "path", f"{verb} {safe_path(path)}")])
        names = tuple(headers)
        if (unusual := self._headers.get(names)) is None:
            if len(self._headers) >= _MOST_HEADERS:
                self._headers.clear()
            unusual = self._headers[names] = tuple(
                ObservedName("every call", "header", safe(name))
                for name in sorted({name.lower() for name in names} - _HEADERS)
            )
        if unusual:
            self._see(unusual)
        if call in self._known and (given := list(query)):
            parameters = self._known[call].parameters
            self._see(ObservedName(call, "parameter", safe(n)) for n in given if n.lower() not in parameters)

    def verb(self, verb: str, path: str) -> None:
        """Count a verb that is not served at this path of the contract."""
        self._see([ObservedName("elsewhere", "verb", f"{safe(verb)} {path}")])

    def body(self, call: str, given: Mapping[str, Any]) -> None:
        """Count the names of those fields of a body that nothing reads."""
        known = self._known[call].fields if call in self._known else frozenset()
        if all(name.lower() in known and not isinstance(value, dict) for name, value in given.items()):
            return  # as nearly always
        found: dict[str, None] = {}
        for name, value in given.items():
            if name.lower() in known and not isinstance(value, Mapping):
                continue
            paths = names_of(value, safe(name))
            found |= dict.fromkeys(path for path in paths if path.lower() not in known)
        self._see(ObservedName(call, "field", name) for name in list(found)[:_MOST_NAMES])

    def missing(self, call: str, name: str) -> None:
        """Count that a call was refused because this field or parameter was missing."""
        self._see([ObservedName(call, "missing", name)])

    def _see(self, names: Iterable[ObservedName]) -> None:
        for seen in names:
            if seen in self._counted or len(self._counted) < _MOST:
                self._counted[seen] += 1

    async def keep(self, book: ObservedBook) -> None:
        """Write the counts into ``book``. A name that no process has seen before gets a line in the log."""
        counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            new = await book.note(counted)
        except StoreUnavailable:
            self._counted.update(dict(counted.most_common(_MOST)))
            return
        for seen in new:
            log.info(
                "koshelek_sends",
                call=seen.call,
                what=seen.what,
                name=seen.name,
                advice=advice(seen, self._koshelek, self._base_path),
            )

    async def run(self, book: ObservedBook) -> None:
        """Write the counts every few seconds, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(_EVERY)
                await self._keep_safely(book)
        finally:
            await self._keep_safely(book)

    async def _keep_safely(self, book: ObservedBook) -> None:
        try:
            await self.keep(book)
        except Exception as error:  # only what callers sent is not told
            log.exception("observing_failed", reason=type(error).__name__)
