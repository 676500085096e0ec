"""Speaks HTTP to the service under test and records every exchange, redacted at once.

Follows no redirect, keeps no cookie, and sends nothing again but what was turned away for its rate: what the
service does is what is seen. For what a well-behaved client cannot send there is a bare socket. It may not
know what an answer should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from contracts.suite import bodies, repeating
from contracts.suite.address import Address, CannotConnect, basic, reason_of, tls_context
from contracts.suite.answer import Answer, Got
from contracts.suite.pacing import Pace
from contracts.suite.redaction import LONGEST_BODY, Redactor, credentials_in
from contracts.suite.results import Exchange

USUAL = {"Accept": "application/json", "User-Agent": "koshelek-contract"}
"""Headers of every request, also of those on a bare socket: some gateways turn away who sends none."""
REQUEST_ID = "X-Request-Id"
"""Header by which a request is found in the logs of the service."""
MOST_KEPT = 64 * 1024 * 1024
"""Bytes of all answers of a run that are kept; of what comes then only the beginning is."""
LEAST_KEPT = 64 * 1024
NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
REFUSALS = 3
"""After so many refusals of the agreed login in a row it may be locked out."""


class Client:
    """One service, one pair of credentials, any number of requests at once."""

    def __init__(
        self,
        address: Address,
        login: str,
        password: str,
        *,
        redactor: Redactor,
        timeout: float,
        list_timeout: float | None = None,
        ca_file: Path | None = None,
        rate: float | None = None,
        keep_values: bool = False,
    ) -> None:
        """``list_timeout``: seconds for a list of all users. ``keep_values``: see ``plain``.

        Raises ``CannotConnect``: a bad ``ca_file``.
        """
        self.address = address
        self.authorization = basic(login, password)
        self.redactor = redactor
        self.timeout = timeout
        self.list_timeout = list_timeout or timeout
        self.answers: list[Answer] = []
        """Every answer of the run, in the order in which they came."""
        self.plain: dict[int, str] | None = {} if keep_values else None
        """By the id of an exchange: the exchange with every value but credentials, for ``--show-values``."""
        self.bodies: dict[str, bytes] = {}
        """Bodies that a ``curl`` line takes from a file, by its name."""
        self.pace = Pace(rate)
        self.tls = tls_context(ca_file) if address.tls else None
        self.let_in_by = ""
        """Path of a request that was let in: it tells whether the login was locked out since."""
        self._authority = str(ca_file) if ca_file is not None and address.tls else None
        self._kept = 0
        self._refusals = 0
        self._refused: tuple[int | None, bytes] | None = None
        """Status and body of the last answer to wrong credentials."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls or True, limit=100, keepalive_timeout=2),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # see ``bodies``
            skip_auto_headers=("User-Agent", "Content-Type"),
            headers=USUAL | {"Accept-Encoding": bodies.ENCODINGS},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: int,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = "",
        probe: bool = False,
        own: bool = False,
    ) -> Answer:
        """One request. ``path`` is below the base URL and sent as it is; ``body``: bytes, else JSON.

        ``authorization``: another header, ``None`` for no header. ``probe``: it is nothing that Koshelek
        would send. ``own``: the card in the answer is one that the suite made. Raises ``CannotConnect``, and
        ``Stopped`` where the service wants no more requests.
        """
        url = self.address.url + path
        if query:
            url += "?" + urlencode(
                list(query.items() if isinstance(query, Mapping) else query), quote_via=quote
            )
        sent = CIMultiDict[str](USUAL | {REQUEST_ID: f"klo-{secrets.token_hex(6)}"})
        if authorization is not None:
            sent["Authorization"] = authorization or self.authorization
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            sent["Content-Type"] = "application/json; charset=utf-8"
        sent.update(headers or {})
        for attempt in count():
            await self.pace.turn()
            started_at, started = datetime.now(UTC), time.perf_counter()
            got, problem = await self._sent(verb, url, sent, data)
            seconds = time.perf_counter() - started
            if not self.pace.throttle(got[0], got[3], attempt):
                break
            await asyncio.sleep(secrets.randbelow(100 * (attempt + 1)) / 1000)  # not all of them at once
        if own:
            self.redactor.show(*_card_numbers(got[4]))
        answer = self._recorded(method, verb, url, sent, data, got, started_at, seconds, problem, probe=probe)
        await self._look_for_lock_out(answer)
        self.answers.append(answer)
        return answer

    async def _sent(
        self, verb: str, url: str, headers: CIMultiDict[str], data: bytes | None
    ) -> tuple[Got, str | None]:
        """What came of a request, and what the problem was where nothing came."""
        if self._session is None:
            raise RuntimeError("the client is not open")
        # The HTTP library wants large bodies as files, so as not to hold up everything else.
        content = io.BytesIO(data) if data is not None and len(data) > 2**20 else data
        a_list = "/getAllUsers" in url
        limit = self.list_timeout if a_list else self.timeout
        try:
            async with self._session.request(
                verb, URL(url, encoded=True), data=content, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit),
            ) as response:  # fmt: skip
                version = (
                    f"HTTP/{response.version.major}.{response.version.minor}" if response.version else ""
                )
                most = bodies.LARGEST_LIST if a_list else bodies.LARGEST_ANSWER
                read, cut = await bodies.read_body(response, most)
                return (response.status, response.reason or "", version, response.headers, read, cut), None
        except aiohttp.ClientConnectorError as error:
            raise CannotConnect(f"{self.address.url} does not answer: {reason_of(error)}") from None
        except TimeoutError:
            problem = f"no answer within {limit:g} s"
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection broke: {type(error).__name__}"
        except zlib.error:
            problem = "its body is not in the encoding that Content-Encoding names"
        return (None, "", "", NO_HEADERS, b"", False), problem

    async def raw(self, data: bytes, *, probe: bool = True, answers: int = 1) -> list[Answer]:
        """Send bytes as they are on a connection of its own; the answers until the service closes.

        Raises ``CannotConnect`` when there is no connection, and ``Stopped``.
        """
        for attempt in count():
            await self.pace.turn()
            started_at, started = datetime.now(UTC), time.perf_counter()
            got, problem = await self._sent_bare(data, answers)
            if not any(self.pace.throttle(one[0], one[3], attempt) for one in got):
                break
        head = data.split(b"\r\n", 1)[0].decode("latin-1")
        verb, _, target = head.partition(" ")
        url = f"{self.address.url.removesuffix(self.address.path)}{target.partition(' ')[0]}"[:200]
        seconds = time.perf_counter() - started
        if len(got) < answers:
            got.append((None, "", "", NO_HEADERS, b"", False))
            problem = problem or "the connection was closed without an answer"
        made = [
            self._recorded(
                0, verb[:20], url, CIMultiDict(), data[:1000], one, started_at, seconds,
                problem if one[0] is None else None, probe=probe, bare=True,
            )
            for one in got
        ]  # fmt: skip
        self.answers.extend(made)
        return made

    async def _sent_bare(self, data: bytes, answers: int) -> tuple[list[Got], str | None]:
        """What came of bytes on a connection of their own, and the problem where less came."""
        try:
            async with asyncio.timeout(self.timeout):
                reader, writer = await asyncio.open_connection(
                    self.address.host, self.address.port, ssl=self.tls
                )
        except (OSError, TimeoutError) as error:
            raise CannotConnect(f"{self.address.url} does not answer: {reason_of(error)}") from None
        got: list[Got] = []
        problem = None
        try:
            async with asyncio.timeout(self.timeout):
                writer.write(data)
                await writer.drain()
                while len(got) < answers and (one := await bodies.read_bare(reader)) is not None:
                    got.append(one)
        except TimeoutError:
            problem = f"no answer within {self.timeout:g} s"
        except (OSError, ValueError, asyncio.IncompleteReadError, zlib.error) as error:
            problem = f"the connection broke: {type(error).__name__}"
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)
        return got, problem

    async def _look_for_lock_out(self, answer: Answer) -> None:
        """Stop the run where the agreed login is not let in any more, since wrong ones were tried."""
        got = answer.status, answer.body
        if not answer.with_credentials:
            self._refused = got if answer.refused else self._refused
            return
        refused = answer.status in (401, 403, 423) or (answer.refused and got == self._refused)
        self._refusals = self._refusals + 1 if refused else 0
        if self._refusals < REFUSALS or self._refused is None or not self.let_in_by:
            return
        headers = CIMultiDict({"Authorization": self.authorization} | USUAL)
        (status, _, _, _, body, _), _ = await self._sent(
            "GET", self.address.url + self.let_in_by, headers, None
        )
        if status in (401, 403, 423) or (status, body) == self._refused:
            raise self.pace.stop(
                "the agreed login was let in at the beginning, and is refused since wrong ones were tried: "
                "it seems to be locked out; unlock it, and leave those out (--without credentials)"
            )
        self._refusals = 0

    def _recorded(
        self,
        method: int,
        verb: str,
        url: str,
        sent: CIMultiDict[str],
        data: bytes | None,
        got: Got,
        started_at: datetime,
        seconds: float,
        problem: str | None,
        *,
        probe: bool,
        bare: bool = False,
    ) -> Answer:
        status, reason, version, headers, content, cut = got
        hide = self.redactor
        given = sent.get("Authorization", "")
        hide.hide_authorization(given)
        agreed = self.authorization.encode() in data if bare and data else given == self.authorization
        request_headers = tuple((name, hide.header(name, value)) for name, value in sent.items())
        if bare:
            body: str | None = hide.bare((data or b"").decode("utf-8", errors="backslashreplace"))
            line = repeating.bare(self.address, body or "")
        else:
            body = None if data is None else hide.body(data, request=True)
            line = repeating.curl(
                verb, hide.text(url), request_headers, self._for_curl(data, body),
                agreed=agreed, authority=self._authority,
            )  # fmt: skip
        exchange = Exchange(
            verb=verb,
            url=hide.text(url),
            request_headers=request_headers,
            request_body=body,
            status=status,
            reason=hide.text(reason),
            http_version=version,
            response_headers=tuple((name, hide.header(name, value)) for name, value in headers.items()),
            response_body=hide.body(content, strangers="/getAllUsers" in url, refused=(status or 0) >= 400),
            started_at=started_at,
            seconds=seconds,
            curl=line,
            problem=problem,
        )
        if self.plain is not None:
            self.plain[id(exchange)] = self._plainly(exchange, url, data, content)
        told = any(
            part.encode() in content for part in credentials_in(self.authorization if agreed else given)
        )
        self._kept += len(content)
        if self._kept > MOST_KEPT and len(content) > LEAST_KEPT:
            cut, content = True, content[:LEAST_KEPT]
        return Answer(
            method, verb, status, headers, content, exchange, probe,
            tells_credentials=told, with_credentials=agreed, cut=cut,
        )  # fmt: skip

    def _for_curl(self, data: bytes | None, shown: str | None) -> str | None:
        """What a ``curl`` line says of a body: the body, or the file that it takes it from."""
        if data is None or shown is None or repeating.fits_a_line(data, shown):
            return shown
        text = data.decode("latin-1")
        if self.redactor.known(text) != text or self.redactor.known(shown) != shown or "<" in shown:
            return shown  # with somebody's value in it, it goes into no file
        name = repeating.name_of(data)
        self.bodies[name] = data
        return f"@{name}"

    def _plainly(self, exchange: Exchange, url: str, data: bytes | None, content: bytes) -> str:
        sent = "" if data is None else data[:LONGEST_BODY].decode("utf-8", "backslashreplace")
        came = content[:LONGEST_BODY].decode("utf-8", "backslashreplace")
        text = f"{exchange.verb} {url}\n{exchange.request_id}\n{sent}\n\n{exchange.status}\n{came}"
        return self.redactor.without_credentials(text)


def _card_numbers(content: bytes) -> Iterator[str]:
    """Card and barcode numbers in an answer; also a number that stands there alone."""
    try:
        waiting = [json.loads(content)]
    except (ValueError, RecursionError):
        waiting = [content[:100].decode("utf-8", "replace").strip()]
    while waiting:
        match waiting.pop():
            case dict() as value:
                yield from (str(value[key]) for key in ("cardNumber", "barcodeNumber") if key in value)
                waiting += [item for item in value.values() if isinstance(item, dict)]
            case str() | int() as value:
                yield str(value)
