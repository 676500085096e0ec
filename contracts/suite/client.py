"""Speaks HTTP to the service under test and records every exchange, redacted at once.

Follows no redirect, keeps no cookie, retries nothing: what the service does is what is seen. For what a
well-behaved client cannot send there is a bare socket. It may not know what an answer should be.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shlex
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from contracts.suite.redaction import LONGEST_BODY, Redactor, credentials_in
from contracts.suite.results import Exchange

_Got = tuple[int | None, str, str, CIMultiDictProxy[str], bytes]
"""Status, reason, HTTP version, headers and body; without a status there was no answer."""

USUAL = {"Accept": "application/json", "User-Agent": "koshelek-contract"}
"""Headers of every request, also of those on a bare socket: some gateways turn away who sends none."""

REQUEST_ID = "X-Request-Id"
"""Header by which a request is found in the logs of the service."""

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that are read; a list of all users is long."""


class _NoJson:
    """In place of a value: the body is no JSON."""

    def __repr__(self) -> str:
        return "no JSON"


NO_JSON = _NoJson()


class CannotConnect(Exception):
    """Nothing answers at the base URL; the message says what is wrong and holds no personal value."""


@dataclass(frozen=True)
class Answer:
    """What came back, as it is. It stays in memory; the ``exchange`` is what may be shown."""

    method: int
    """Number of the method that was called; 0: none of them."""
    verb: str
    status: int | None
    headers: CIMultiDictProxy[str]
    body: bytes
    exchange: Exchange
    probe: bool = False
    """Whether Koshelek would never send such a request: a wrong verb, a body that is no JSON, no HTTP."""
    tells_credentials: bool = False
    """Whether the body holds the credentials that were sent with the request."""
    with_credentials: bool = False
    """Whether the agreed credentials were sent."""
    cut: bool = False
    """Whether there was more than ``LARGEST_ANSWER``, so that ``body`` is only its beginning."""

    @cached_property
    def json(self) -> Any:
        """The body as JSON, ``NO_JSON`` where it is none; an empty body is none.

        Read leniently, whatever its encoding and whatever follows the first text: encoding and form are
        clauses of their own.
        """
        try:
            text = self.body.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
            return json.JSONDecoder().raw_decode(text)[0]
        except (ValueError, RecursionError):
            return NO_JSON

    @property
    def is_one_json_text(self) -> bool:
        """Whether the body is JSON and nothing else."""
        try:
            json.loads(self.body.decode("utf-8", errors="replace"))
        except (ValueError, RecursionError):
            return False
        return True

    @property
    def ok(self) -> bool:
        """A success of whichever status; the statuses are a clause of their own."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """An error of whichever status; the statuses are a clause of their own."""
        return self.status is not None and self.status >= 400

    @property
    def is_empty(self) -> bool:
        return not self.body.strip()

    def at(self, *keys: str | int) -> Any:
        """The value at a path, names compared without case; ``None`` where there is nothing."""
        value = self.json
        for key in keys:
            if isinstance(value, dict) and isinstance(key, str):
                value = next((item for name, item in value.items() if name.lower() == key.lower()), None)
            elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
                value = value[key]
            else:
                return None
        return value

    def text_at(self, *keys: str | int) -> str | None:
        """The elementary value at a path as text, whatever its type: typing is a clause of its own."""
        value = self.at(*keys)
        if value is None or isinstance(value, (dict, list)):
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def in_short(self) -> str:
        """The answer in a few words, redacted: for the end of a sentence."""
        if self.status is None:
            return f"no answer: {self.exchange.problem}"
        body = self.exchange.response_body
        shown = body if len(body) <= 300 else f"{body[:300]}…"
        return f"{self.status} {shown}" if body else f"{self.status} with an empty body"


def basic(login: str, password: str) -> str:
    """The ``Authorization`` header of RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service is."""

    url: str
    """Base URL without a slash at the end; the paths of the contract (``/v1/…``) follow it."""
    host: str
    port: int
    tls: bool
    path: str

    @property
    def authority(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str, base_path: str = "") -> Address:
        """Raises ``ValueError`` when ``text`` is no HTTP URL."""
        parts = urlsplit(text if "//" in text else f"https://{text}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{text} is no base URL; expected https://host[:port][/base/path]")
        if parts.username or parts.password:
            raise ValueError("a base URL holds no credentials; use --login and --password-file")
        path = (parts.path.rstrip("/") + "/" + base_path.strip("/")).rstrip("/")
        tls = parts.scheme == "https"
        return cls(
            f"{parts.scheme}://{parts.netloc}{path}",
            parts.hostname,
            parts.port or (443 if tls else 80),
            tls,
            path,
        )


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
        """By the id of an exchange, the same with all values but credentials: for a file of this machine."""
        self.bodies: dict[str, bytes] = {}
        """Bodies that a ``curl`` line takes from a file, by its name."""
        self.tls = _context(ca_file) if address.tls else None
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls or True, limit=100, keepalive_timeout=2),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            skip_auto_headers=("User-Agent", "Content-Type"),
            headers=USUAL,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is not open")
        return self._session

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
        would send. ``own``: the card in the answer is one that the suite made. Raises ``CannotConnect``.
        """
        session = self._open()
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
        # The HTTP library wants large bodies as files, so as not to hold up everything else.
        content = io.BytesIO(data) if data is not None and len(data) > 2**20 else data
        started_at, started = datetime.now(UTC), time.perf_counter()
        got: _Got
        problem = None
        limit = self.list_timeout if "/getAllUsers" in path else self.timeout
        try:
            async with session.request(
                verb, URL(url, encoded=True), data=content, headers=sent, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit),
            ) as response:  # fmt: skip
                version = (
                    f"HTTP/{response.version.major}.{response.version.minor}" if response.version else ""
                )
                read = bytearray()
                while len(read) <= LARGEST_ANSWER and (chunk := await response.content.read(2**20)):
                    read += chunk
                got = (response.status, response.reason or "", version, response.headers, bytes(read))
        except aiohttp.ClientConnectorError as error:
            raise CannotConnect(f"{self.address.url} does not answer: {_reason(error)}") from None
        except TimeoutError:
            problem = f"no answer within {limit:g} s"
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection broke: {type(error).__name__}"
        if problem is not None:
            got = (None, "", "", CIMultiDictProxy(CIMultiDict()), b"")
        seconds = time.perf_counter() - started
        if own:
            self.redactor.show(*_card_numbers(got[-1]))
        answer = self._recorded(method, verb, url, sent, data, got, started_at, seconds, problem, probe=probe)
        self.answers.append(answer)
        return answer

    async def raw(self, data: bytes, *, probe: bool = True, answers: int = 1) -> list[Answer]:
        """Send bytes as they are on a connection of its own; the answers until the service closes.

        Raises ``CannotConnect`` when there is no connection.
        """
        started_at, started = datetime.now(UTC), time.perf_counter()
        try:
            async with asyncio.timeout(self.timeout):
                reader, writer = await asyncio.open_connection(
                    self.address.host, self.address.port, ssl=self.tls
                )
        except (OSError, TimeoutError) as error:
            raise CannotConnect(f"{self.address.url} does not answer: {_reason(error)}") from None
        got: list[_Got] = []
        problem = None
        try:
            async with asyncio.timeout(self.timeout):
                writer.write(data)
                await writer.drain()
                while len(got) < answers and (one := await _read_answer(reader)) is not None:
                    got.append(one)
        except TimeoutError:
            problem = f"no answer within {self.timeout:g} s"
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            problem = f"the connection broke: {type(error).__name__}"
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)
        head = data.split(b"\r\n", 1)[0].decode("latin-1")
        verb, _, target = head.partition(" ")
        url = f"{self.address.url.removesuffix(self.address.path)}{target.partition(' ')[0]}"[:200]
        seconds = time.perf_counter() - started
        if len(got) < answers:
            empty: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
            got.append((None, "", "", empty, b""))
            problem = problem or "the connection was closed without an answer"
        made = [
            self._recorded(
                0,
                verb[:20],
                url,
                CIMultiDict(),
                data[:1000],
                one,
                started_at,
                seconds,
                problem if one[0] is None else None,
                probe=probe,
                bare=True,
            )
            for one in got
        ]
        self.answers.extend(made)
        return made

    def _plainly(self, exchange: Exchange, url: str, data: bytes | None, content: bytes) -> str:
        sent = "" if data is None else data[:LONGEST_BODY].decode("utf-8", "backslashreplace")
        came = content[:LONGEST_BODY].decode("utf-8", "backslashreplace")
        text = f"{exchange.verb} {url}\n{exchange.request_id}\n{sent}\n\n{exchange.status}\n{came}"
        return self.redactor.without_credentials(text)

    def _curl(
        self,
        verb: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        data: bytes | None,
        body: str | None,
        *,
        agreed: bool,
    ) -> str:
        """A shell line that sends the request again; a long body, or one that is no text, from a file."""
        words = ["curl", "-sS", "-i", "--path-as-is"]
        if self._ca_file is not None and self.address.tls:
            words += ["--cacert", str(self._ca_file)]
        if verb == "HEAD":
            words.append("-I")
        elif verb != "GET" or body is not None:
            words += ["-X", verb]
        for name, value in headers:
            if name.lower() == "authorization" and value == "Basic ***":
                words += ["-u", "LOGIN:PASSWORD" if agreed else "WRONG:PAIR"]
            elif name not in (*USUAL, REQUEST_ID):
                words += ["-H", f"{name}: {value}"]
        if body is not None and data is not None:
            if body.encode() == data and len(data) <= 1000:
                words += ["--data-binary", body]
            elif self.redactor.known(text := data.decode("latin-1")) == text:
                name = f"body-{hashlib.sha256(data).hexdigest()[:12]}.bin"
                self.bodies[name] = data
                words += ["--data-binary", f"@{name}"]
            else:
                words += ["--data-binary", body[:1000]]
        return shlex.join([*words, url])

    def _recorded(
        self,
        method: int,
        verb: str,
        url: str,
        sent: CIMultiDict[str],
        data: bytes | None,
        got: _Got,
        started_at: datetime,
        seconds: float,
        problem: str | None,
        *,
        probe: bool,
        bare: bool = False,
    ) -> Answer:
        status, reason, version, headers, content = got
        cut, content = len(content) > LARGEST_ANSWER, content[:LARGEST_ANSWER]
        hide = self.redactor
        given = sent.get("Authorization", "")
        hide.hide_authorization(given)
        agreed = self.authorization.encode() in data if bare and data else given == self.authorization
        shown_url = hide.text(url)
        request_headers = tuple((name, hide.header(name, value)) for name, value in sent.items())
        strangers = "/getAllUsers" in url
        if bare:
            text = (data or b"").decode("utf-8", errors="backslashreplace")
            text = re.sub(r"(?i)(authorization: *\w*) [^\r\n]*", r"\1 ***", text)
            body: str | None = hide.text(text)
        else:
            body = None if data is None else hide.body(data, request=True)
        exchange = Exchange(
            verb=verb,
            url=shown_url,
            request_headers=request_headers,
            request_body=body,
            status=status,
            reason=hide.text(reason),
            http_version=version,
            response_headers=tuple((name, hide.header(name, value)) for name, value in headers.items()),
            response_body=hide.body(content, strangers=strangers, refused=(status or 0) >= 400),
            started_at=started_at,
            seconds=seconds,
            curl=_nc(self.address, body or "")
            if bare
            else self._curl(verb, shown_url, request_headers, data, body, agreed=agreed),
            problem=problem,
        )
        if self.plain is not None:
            self.plain[id(exchange)] = self._plainly(exchange, url, data, content)
        told = any(
            part.encode() in content for part in credentials_in(self.authorization if agreed else given)
        )
        return Answer(
            method, verb, status, headers, content, exchange, probe,
            tells_credentials=told, with_credentials=agreed, cut=cut,
        )  # fmt: skip


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


def _nc(address: Address, text: str) -> str:
    """What a bare socket sent, as a shell line."""
    if address.tls:
        tool = f"openssl s_client -quiet -connect {address.authority}"
    else:
        tool = f"nc {address.host} {address.port}"
    escaped = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
    return f"printf '%b' {shlex.quote(escaped[:1000])} | {tool}"


async def _read_answer(reader: asyncio.StreamReader) -> _Got | None:
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
    content = b""
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            content += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif "Content-Length" in headers:
        content = await reader.readexactly(int(headers["Content-Length"]))
    elif status not in ("204", "304"):
        while len(content) < LARGEST_ANSWER and (piece := await reader.read(2**20)):
            content += piece
    return int(status), reason, version, CIMultiDictProxy(headers), content


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise CannotConnect(f"--ca-file: {ca_file} holds no certificate in PEM form") from None
    except OSError as error:
        raise CannotConnect(f"--ca-file: cannot read {ca_file}: {error.strerror}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted ({error.certificate_error}); see --ca-file"
    inner = getattr(error, "os_error", error)
    if isinstance(inner, ssl.SSLError):
        return f"TLS failed ({inner.reason or type(inner).__name__})"
    if isinstance(inner, TimeoutError):
        return "no connection in time"
    number = getattr(inner, "errno", None)
    if number and number > 0:
        return os.strerror(number).lower()
    return getattr(inner, "strerror", None) or type(inner).__name__
