"""The public port: which path and verb is which call, and what surrounds every call.

Whatever happens, the answer is 200, 422 or, for bad credentials, 401, with the documented content type
and, unless it is 200, the ``{code, description}`` envelope. One log line is written per request; it holds
no path, query or body, since those are personal data. This module may not know what a call means.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from adapter import background
from adapter.api import answers, calls
from adapter.api.auth import Authenticator
from adapter.api.calls import Call, Handler, Streamed
from adapter.api.observed_names import ObservedBook, ObservedNames
from adapter.api.server import LITERAL_ROUTES, UNKNOWN_ROUTE, new_request_id
from adapter.errors import Code, Refused
from adapter.loyalty.fiscal import NAMES
from adapter.loyalty.observed import places
from adapter.loyalty.ports import StoreBusy, StoreUnavailable
from adapter.loyalty.programme import Programme
from adapter.settings import Settings
from crm_backends.ports import BackendError, Deadline, NotSupported
from crm_backends.spent import Counting

log = structlog.get_logger("api")

Observer = Callable[[str, int, str | None, float], None]
"""Is told of every answer: call, status, code of the error if there is one (or "broken"), seconds."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
_TO_ANSWER = 0.2  # seconds of server.deadline
_PART = 30.0  # seconds for a part of a stream; meanwhile it may hold a database connection
_AWAY_AGAIN = 10.0
"""Seconds between two log lines that the database does not answer."""
_BROKEN = "broken"
"""In the log and the metrics, instead of an error's code: a stream broke after its status 200 was sent."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method of the contract: verbs, path below the base path, since which version."""

    name: str
    verbs: tuple[str, ...]
    path: str
    handler: Handler
    since: str = "1.0.0"


ROUTES = (
    Route("find_card", ("GET",), "/v1/card", calls.find_card),
    Route("card_info", ("GET",), "/v1/card/{cardNumber}", calls.card_info),
    Route("update_profile", ("POST", "PUT", "PATCH"), "/v1/card/{cardNumber}", calls.update_profile),
    Route("reserve_number", ("GET",), "/v1/card/anonymous", calls.reserve_number),
    Route("issue_card", ("POST",), "/v1/card/anonymous", calls.issue_card, since="1.2.0"),
    Route("all_users", ("GET",), "/v1/card/getAllUsers", calls.all_users),
    Route("all_users_extended", ("GET",), "/v1/card/getAllUsersExtended", calls.all_users_extended),
    Route("issue_reserved", ("POST",), "/v1/card/anonymous/{cardNumber}", calls.issue_reserved),
    Route("set_consents", ("PUT",), "/v1/card/{cardNumber}/communication", calls.set_consents),
    Route("purchases", ("GET",), "/v1/card/{cardNumber}/purchases", calls.purchases),
    Route("register_receipt", ("POST",), "/v1/promo/qrCode", calls.register_receipt, since="1.1.0"),
    Route("use_promo_code", ("POST",), "/v1/promo/code", calls.use_promo_code, since="1.3.0"),
)
"""Paths with a number are tried in this order, so the most frequent comes first. A literal path always goes
before them, wherever it is in the list: the router looks literal paths up in a table."""


def routes_for(settings: Settings) -> list[Route]:
    """The methods of the chosen version that are switched on."""
    koshelek = settings.koshelek
    served = _VERSIONS[: _VERSIONS.index(koshelek.api_version) + 1]
    routes = [
        route
        for route in ROUTES
        if route.since in served and (koshelek.get_all_users or not route.name.startswith("all_users"))
    ]
    if koshelek.offers_path is not None:
        routes.insert(0, Route("offers", ("GET",), koshelek.offers_path, calls.offers))
    return routes


@dataclass(slots=True)
class PublicPort:
    """Everything that surrounds a call."""

    programme: Programme
    authenticator: Authenticator | None
    """``None`` lets everybody in; for measurements only, no setting leads to it."""
    observe: Observer | None = None
    observed: ObservedBook | None = None
    """Where names that nothing reads are kept; ``None``: nowhere."""
    observed_names: ObservedNames = field(init=False)
    _under_way: int = field(default=0, init=False)
    _away_told_at: float = field(default=float("-inf"), init=False)
    _away_untold: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        settings = self.programme.settings
        known = places(settings.koshelek, NAMES)
        self.observed_names = ObservedNames(settings.koshelek, settings.server.base_path, known)

    async def _keep_observed_names(self, application: web.Application) -> AsyncIterator[None]:
        assert self.observed is not None  # noqa: S101 - added only then
        task = background.start(self.observed_names.run(self.observed), "observed_names")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def application(self) -> web.Application:
        """The aiohttp application of the public port."""
        server = self.programme.settings.server
        application = web.Application(client_max_size=server.max_body)
        router = application.router
        literal = {route.path for route in ROUTES if "{" not in route.path}
        literal_routes = {}
        for route in routes_for(self.programme.settings):
            path = server.base_path + route.path
            for verb in route.verbs:
                handle = self._surround(route.name, route.handler)
                router.add_route(verb, path, handle, expect_handler=_continue)
                if route.path in literal:
                    literal_routes[verb, path] = handle
        application[LITERAL_ROUTES] = literal_routes
        application[UNKNOWN_ROUTE] = unknown = self._surround("unknown", _unknown_method)
        for path in sorted(literal):
            router.add_route("*", server.base_path + path, unknown, expect_handler=_continue)
        if self.observed is not None:
            application.cleanup_ctx.append(self._keep_observed_names)
        return application

    def _surround(
        self, name: str, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        lines = log.bind()  # bound once: an unbound logger looks its configuration up for every line

        async def handle(request: web.Request) -> web.StreamResponse:
            started = time.perf_counter()
            given = request.headers.get("X-Request-ID")
            request_id = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
            with Counting() as spent:
                response, code = await self._answer(name, request, handler, request_id)
            seconds = time.perf_counter() - started
            if self.observe is not None:
                self.observe(name, response.status, code, seconds)
            lines.info(
                "request",
                call=name,
                verb=request.method,
                status=response.status,
                code=code,
                ms=round(seconds * 1000, 2),
                remote=self._remote(request),
                request_id=request_id,
                # Shows which CRM took the time, above all if the deadline ended the call.
                **_crm_milliseconds(spent),
            )
            return response

        return handle

    async def _answer(
        self, name: str, request: web.Request, handler: Handler, request_id: str
    ) -> tuple[web.StreamResponse, str | None]:
        settings = self.programme.settings
        cut = Deadline.after(settings.server.deadline)
        try:
            if self.authenticator is not None and not await self.authenticator.accepts(
                request.headers.get("Authorization"), _to_work_in(cut)
            ):
                raise Refused(Code.UNAUTHORIZED)
            if self._under_way >= settings.server.max_requests:
                raise Refused(Code.OVERLOADED)
            self._under_way += 1
            try:
                self._observe_names(name, request)
                return await self._carry_out(name, request, handler, request_id, cut)
            finally:
                self._under_way -= 1
        except Exception as error:
            refused = _as_refusal(error, request_id)
            if refused.code is Code.DATABASE_DOWN:
                self._tell_database_away(error, request_id)
            if refused.code is Code.FIELD_MISSING and refused.field is not None:
                self.observed_names.missing(name, refused.field)
        language = settings.koshelek.language
        status = settings.koshelek.unauthorized_status if refused.code is Code.UNAUTHORIZED else 422
        response = _response(status, answers.envelope(refused, language), request_id)
        if refused.code is Code.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Basic realm="Loyalty Online API", charset="UTF-8"'
        return response, refused.code

    def _tell_database_away(self, error: Exception, request_id: str) -> None:
        """Log that the database does not answer, at most every ``_AWAY_AGAIN`` seconds.

        ``calls_before``: how many calls it failed since the last such line. Each of them has its line
        ``request``.
        """
        now = time.monotonic()
        if now - self._away_told_at < _AWAY_AGAIN:
            self._away_untold += 1
            return
        log.error(
            "database_unavailable", reason=str(error), request_id=request_id, calls_before=self._away_untold
        )
        self._away_told_at, self._away_untold = now, 0

    def _observe_names(self, name: str, request: web.Request) -> None:
        served = self._served_at(request.path) if name == "unknown" else None
        if served is not None:
            self.observed_names.verb(request.method, served)
            name = "a verb"
        query = request.query if request.query_string else ()
        self.observed_names.request(name, request.method, request.path, request.headers, query)

    def _served_at(self, path: str) -> str | None:
        """The contract's path for this ``path``, as in ``ROUTES``; ``None``: no method is served there."""
        settings = self.programme.settings
        below = path.removeprefix(settings.server.base_path).split("/")
        for route in routes_for(settings):
            parts = route.path.split("/")
            if len(parts) == len(below) and all(
                part == given or (part.startswith("{") and given not in calls.RESERVED_SEGMENTS)
                for part, given in zip(parts, below, strict=True)
            ):
                return route.path
        return None

    async def _carry_out(
        self, name: str, request: web.Request, handler: Handler, request_id: str, cut: Deadline
    ) -> tuple[web.StreamResponse, str | None]:
        """The call itself. Its own deadline ends a little before ``cut``, so that it can still answer."""
        deadline = Deadline.after(_to_work_in(cut))
        async with asyncio.timeout(cut.remaining()):
            result = await handler(Call(request, self.programme, deadline, name, self.observed_names))
            if isinstance(result, Streamed):
                first = await anext(result.parts, None)
        if isinstance(result, Streamed):
            return await _stream(request, result, first, request_id)
        return _response(200, answers.encode(result), request_id), None

    def _remote(self, request: web.Request) -> str | None:
        """The caller's address; ``X-Forwarded-For`` is believed only from a trusted proxy."""
        remote = request.remote
        trusted = self.programme.settings.server.trusted_proxies
        if not trusted or remote is None:
            return remote
        lines = request.headers.getall("X-Forwarded-For", ())  # a proxy may add one of its own
        hops = [hop for line in lines for part in line.split(",") if (hop := part.strip())]
        for hop in (remote, *reversed(hops)):
            address = _address(hop)
            if address is None:
                break
            remote = str(address)
            if not any(address in network for network in trusted):
                break
        return remote


def _to_work_in(cut: Deadline) -> float:
    """Seconds until ``cut``, less what it takes to answer."""
    seconds = cut.remaining()
    return seconds - min(_TO_ANSWER, seconds / 2)


def _crm_milliseconds(spent: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """For the log: the milliseconds that this request spent in each CRM."""
    return {"crm_ms": {name: round(seconds * 1000, 1) for name, seconds in spent.items()}} if spent else {}


_HOP = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%[^\]]*)?\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def _address(hop: str) -> IPv4Address | IPv6Address | None:
    """The address of a hop, without the port, brackets and quotes that some proxies write."""
    hop = hop.strip('"')
    written = _HOP.fullmatch(hop)
    try:
        address = ip_address(written[1] or written[2] if written else hop.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


async def _continue(request: web.Request) -> None:
    """Let the caller send the body it holds back; other expectations may be ignored (RFC 9110)."""
    if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _unknown_method(call: Call) -> answers.Json:
    raise Refused(Code.UNKNOWN_METHOD)


def _headers(request_id: str) -> CIMultiDict[str]:
    return CIMultiDict(
        {"Content-Type": answers.CONTENT_TYPE, "Server": "koshelek-adapter", "X-Request-ID": request_id}
    )


def _response(status: int, body: bytes, request_id: str) -> web.Response:
    return web.Response(status=status, body=body, headers=_headers(request_id))


async def _stream(
    request: web.Request, streamed: Streamed, part: Sequence[answers.Json] | None, request_id: str
) -> tuple[web.StreamResponse, str | None]:
    """Send an array part by part. An error on the way breaks the connection: the status is out already.

    So does a reader who takes longer than ``_PART`` for a part.
    """
    response = web.StreamResponse(status=200, headers=_headers(request_id))
    try:
        await response.prepare(request)
        opening = b"["
        while part is not None:
            async with asyncio.timeout(_PART):
                body = answers.encode(part)[1:-1]
                if body:
                    await response.write(opening + body)
                    opening = b","
                part = await anext(streamed.parts, None)
        async with asyncio.timeout(_PART):
            await response.write(b"[]" if opening == b"[" else b"]")
            await response.write_eof()
    except Exception as error:
        log.error("stream_broken", reason=type(error).__name__, request_id=request_id)
        if request.transport is not None:
            request.transport.abort()
        return response, _BROKEN
    finally:
        await streamed.parts.aclose()  # now: the garbage collector would keep its connection longer
    return response, None


def _as_refusal(error: Exception, request_id: str) -> Refused:
    """What the caller is told about an error; an unexpected error is logged."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Refused(Code.BODY_TOO_LARGE)
    if isinstance(error, TimeoutError):
        return Refused(Code.TIMED_OUT)
    if isinstance(error, StoreBusy):
        return Refused(Code.OVERLOADED)
    if isinstance(error, StoreUnavailable):
        return Refused(Code.DATABASE_DOWN)
    if isinstance(error, NotSupported):
        return Refused(Code.NOT_SUPPORTED)
    if isinstance(error, BackendError):
        log.error("crm_unavailable", reason=type(error).__name__, detail=str(error), request_id=request_id)
        return Refused(Code.CRM_DOWN)
    if isinstance(error, (web.RequestPayloadError, ConnectionError)):
        return Refused(Code.NOT_JSON)
    log.exception("defect", reason=type(error).__name__, request_id=request_id)
    return Refused(Code.INTERNAL)
