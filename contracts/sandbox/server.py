"""What the stand-in servers have in common: routing and validation by OpenAPI, faults, ledger, control.

A CRM's module derives from ``StandIn`` and says what its operations do. This module may not know any CRM.
The way of a request, from its path over faults to the reply, is in one module, to be read in one go.
The requests of a CRM's API and those under ``/_sandbox/`` never meet: the latter exist only here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, ClassVar, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts import crm
from contracts.crm import Operation, Specification
from contracts.sandbox.faults import DOES_NOTHING, Fault, Faults
from contracts.sandbox.ledger import Effect, InvalidCall, Ledger

CONTROL = "/_sandbox"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_GARBAGE = "<html><head><title>Web server is down</title></head><body>Error 521</body></html>"

Found = TypeVar("Found")


class Switches(BaseModel):
    """Settings of a stand-in server; a CRM's module derives its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Call:
    """A request that the OpenAPI file allows, taken apart."""

    operation: Operation
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    headers: Mapping[str, str]

    def number(self, name: str, otherwise: int) -> int:
        """A number in the query."""
        return int(self.query[name] or otherwise)


@dataclass(frozen=True)
class Reply:
    """What to answer; ``body`` is sent as JSON, text as it is, nothing if ``None``."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The CRM says no; carries the reply. ``invalid`` says why, where the call itself is to blame."""

    def __init__(self, reply: Reply, *, invalid: str | None = None) -> None:
        super().__init__(reply.status)
        self.reply = reply
        self.invalid = invalid


@dataclass(frozen=True)
class Token:
    """A token that was issued."""

    kind: str
    subject: str
    """Whom it was issued for; empty for an application."""
    expires_at: datetime


class Tokens:
    """Tokens that are valid now."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._tokens: dict[str, Token] = {}

    def issue(self, kind: str, subject: str, seconds: float) -> str:
        """A new token; the text is different for every call of one run and the same in every run."""
        text = hashlib.sha256(f"{self._name}:{next(self._numbers)}".encode()).hexdigest()
        self._tokens[text] = Token(kind, subject, now() + timedelta(seconds=seconds))
        return text

    def find(self, text: str) -> Token | None:
        """The token, unless it is unknown or has expired."""
        token = self._tokens.get(text)
        return token if token is not None and token.expires_at > now() else None

    def forget(self, text: str) -> None:
        self._tokens.pop(text, None)

    def clear(self) -> None:
        self._tokens.clear()


Handler = Callable[[Call], Reply]


class StandIn(ABC):
    """A stand-in for one CRM. Handlers do not wait, so no request sees half a change of another."""

    name: ClassVar[str]
    title: ClassVar[str]
    credentials: ClassVar[Mapping[str, str]]
    """What it accepts, by the name a person would look for."""
    invalid_status: ClassVar[int]
    """Status of the answer to a call that the file does not allow."""
    takes: ClassVar[type[Switches]] = Switches
    """What it can be switched to; none by default."""

    def __init__(self, switches: Switches) -> None:
        self.switches = switches
        self.specification = self.describe()
        self.ledger = Ledger()
        self.faults = Faults()
        self.tokens = Tokens(self.name)
        self.handlers = self.operations()
        self.populate()

    @classmethod
    def application(cls, **switches: Any) -> web.Application:
        """The server; ``switches`` are those of ``takes``, a wrong one raises ``ValueError``."""
        return Server(cls(cls.takes(**switches))).application()

    def describe(self) -> Specification:
        """The operations of the API; by default those of the CRM's OpenAPI file."""
        return crm.load(self.name)

    @abstractmethod
    def operations(self) -> Mapping[str, Handler]:
        """What each operation of the file does, by operationId."""

    @abstractmethod
    def populate(self) -> None:
        """Put the data back to what it is at the start."""

    @abstractmethod
    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        """Raise ``Refused`` unless the credentials are right for the operation."""

    @abstractmethod
    def unauthorized(self) -> Reply:
        """The CRM's answer to a token that is not valid any more."""

    @abstractmethod
    def failure(self, status: int, reason: str) -> Reply:
        """An error in the CRM's own shape."""

    @abstractmethod
    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer for a test; raises ``ValueError`` where the values cannot be used."""

    def meant(self, operation: Operation, body: Any) -> str:
        """What faults and counts go by: the operation, or one that the body of the request names."""
        return operation.id

    def reset(self) -> None:
        """As at the start: data, ledger, faults, tokens."""
        self.ledger.clear()
        self.faults.clear()
        self.tokens.clear()
        self.populate()

    def record(
        self,
        call: Call,
        kind: str,
        *,
        customer: str | None = None,
        amount: Decimal | None = None,
        reference: str | None = None,
    ) -> None:
        """Write an effect into the ledger."""
        self.ledger.effects.append(Effect(kind, call.operation.id, customer, amount, reference))

    def new_token(self, kind: str, subject: str, seconds: float) -> str:
        """A new token, written into the ledger."""
        self.ledger.tokens_issued[kind] += 1
        return self.tokens.issue(kind, subject, seconds)

    def refuse(self, status: int, reason: str) -> NoReturn:
        """Refuse the call in the CRM's own shape."""
        raise Refused(self.failure(status, reason))


class Server:
    """Serves a stand-in over aiohttp."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._awake = asyncio.Event()
        self._awake.set()

    def application(self) -> web.Application:
        """Every operation of the file where the switches put it, the control endpoints, and a catch-all."""
        application = web.Application(client_max_size=4 * 1024 * 1024)
        at: dict[tuple[str, str], list[Operation]] = {}
        switches = self.stand_in.switches.model_dump()
        for operation in self.stand_in.specification.operations.values():
            at.setdefault(operation.served_at(switches), []).append(operation)
        for (method, path), operations in at.items():
            application.router.add_route(method, path, self._endpoint(operations))
        for method, path, control in (
            ("GET", "/ledger", self._show_ledger),
            ("POST", "/reset", self._reset),
            ("GET", "/faults", self._show_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
            ("POST", "/customers", self._add_customer),
        ):
            application.router.add_route(method, CONTROL + path, control)
        application.router.add_route("*", "/{anything:.*}", self._unknown)
        application[SERVER] = self
        return application

    def _endpoint(
        self, operations: list[Operation]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            for operation in operations:
                if all(request.query.get(key) == value for key, value in operation.fixed_query.items()):
                    return await self._serve(request, operation)
            return await self._unknown(request)

        return endpoint

    async def _serve(self, request: web.Request, operation: Operation) -> web.StreamResponse:
        body, unreadable = await _read_body(request, operation)
        asked = self.stand_in.meant(operation, body)
        ledger = self.stand_in.ledger
        ledger.calls[asked] += 1
        fault = self.stand_in.faults.take(asked, has_token=bool(operation.security))
        if fault is not None:
            ledger.faults[fault.fault] += 1
        await self._wait(fault)
        if fault is not None and fault.fault in DOES_NOTHING:
            reply = self._instead(fault)
        else:
            reply = self._work(request, operation, body, unreadable)
            if fault is not None:
                reply = await self._afterwards(fault, reply)
        if reply is None:
            ledger.answered(asked, "hang up")
            return _hang_up(request)
        ledger.answered(asked, str(reply.status))
        return _response(reply)

    async def _wait(self, fault: Fault | None) -> None:
        """What has to pass before any work is done; a caller that goes away meanwhile changes nothing."""
        if fault is not None and fault.fault == "slow":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.fault == "freeze":
            self._awake.clear()
            asyncio.get_running_loop().call_later(fault.seconds, self._awake.set)
        await self._awake.wait()

    def _work(self, request: web.Request, operation: Operation, body: Any, unreadable: str | None) -> Reply:
        path, query, problems = operation.read_parameters(request.match_info, request.query)
        if unreadable:
            problems.append(unreadable)
        elif operation.bodies and (body is not None or operation.body_required):
            problem = operation.body_problem(request.content_type, body)
            problems += [problem] if problem else []
        if problems:
            self._invalid(request, operation, "; ".join(problems))
        try:
            self.stand_in.authorize(operation, request.headers)
            if problems:
                self.stand_in.refuse(self.stand_in.invalid_status, problems[0])
            call = Call(operation, path, query, body, request.headers)
            return self.stand_in.handlers[operation.id](call)
        except Refused as refused:
            if refused.invalid:
                self._invalid(request, operation, refused.invalid)
            return refused.reply

    def _instead(self, fault: Fault) -> Reply | None:
        """The answer of a fault that does no work; ``None`` closes the connection."""
        match fault.fault:
            case "hang_up_before":
                return None
            case "expire_token":
                self.stand_in.tokens.clear()
                return self.stand_in.unauthorized()
            case "too_many":
                reply = self.stand_in.failure(429, "Too many requests")
                headers = {"Retry-After": f"{fault.seconds:g}"} if fault.seconds else {}
                return Reply(reply.body, reply.status, headers)
            case _:
                return self.stand_in.failure(fault.status, "Injected error; nothing was done")

    async def _afterwards(self, fault: Fault, reply: Reply) -> Reply | None:
        """The answer of a fault that comes after the work; ``None`` closes the connection."""
        match fault.fault:
            case "late":
                await asyncio.sleep(fault.seconds)
                return reply
            case "hang_up_after":
                return None
            case "garbage":
                return Reply(_GARBAGE)
            case "slow" | "freeze":
                return reply
            case _:
                return self.stand_in.failure(fault.status, "Injected error; the work was done")

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        if request.path.startswith(CONTROL):
            return _response(Reply({"error": "no such control endpoint"}, 404))
        self._invalid(request, None, "no such path, or not with this method")
        return _response(
            self.stand_in.failure(404, f"There is no method to handle {request.method} {request.path}")
        )

    def _invalid(self, request: web.Request, operation: Operation | None, reason: str) -> None:
        self.stand_in.ledger.invalid_calls.append(
            InvalidCall(request.method, request.path, operation.id if operation else None, reason)
        )

    async def _show_ledger(self, _request: web.Request) -> web.StreamResponse:
        return _response(Reply(self.stand_in.ledger.as_json()))

    async def _reset(self, _request: web.Request) -> web.StreamResponse:
        self.stand_in.reset()
        return _response(Reply({"reset": True}))

    async def _show_faults(self, _request: web.Request) -> web.StreamResponse:
        return _response(Reply({"faults": self.stand_in.faults.as_json()}))

    async def _add_fault(self, request: web.Request) -> web.StreamResponse:
        try:
            self.add_fault(Fault.model_validate(await _control_body(request)))
        except ValueError as error:
            return _response(Reply({"error": _sentence(error)}, 400))
        return await self._show_faults(request)

    def add_fault(self, fault: Fault) -> None:
        """Have a fault; raises ``ValueError`` for an operation that there is none of."""
        operations = self.stand_in.specification.operations
        if fault.operation != "*" and fault.operation not in operations:
            raise ValueError(f"no operation {fault.operation}; there are: {', '.join(sorted(operations))}")
        self.stand_in.faults.add(fault)

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self.stand_in.faults.clear()
        return await self._show_faults(request)

    async def _add_customer(self, request: web.Request) -> web.StreamResponse:
        try:
            return _response(Reply(self.stand_in.add_customer(await _control_body(request)), 201))
        except ValueError as error:
            return _response(Reply({"error": _sentence(error)}, 400))


SERVER: web.AppKey[Server] = web.AppKey("SERVER", Server)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """A moment as these CRMs print it: UTC with milliseconds and ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_time(moment: datetime, zone: tzinfo = UTC, *, milliseconds: bool = False) -> str:
    """A moment as clocks there show it, without saying where."""
    kind = "milliseconds" if milliseconds else "seconds"
    return moment.astimezone(zone).replace(tzinfo=None).isoformat(" ", kind)


def to_json(value: Any) -> str:
    """JSON text; points that are whole are printed without a point."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of an ``Authorization: Bearer`` header."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def basic(login: str, password: str) -> str:
    """The ``Authorization`` header with these."""
    return f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"


def in_base64(told: Mapping[str, Any]) -> str:
    """JSON in base64, as a token carries what its caller may read."""
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


async def _read_body(request: web.Request, operation: Operation) -> tuple[Any, str | None]:
    """The body as data, and why it could not be read."""
    if request.content_type in _FORMS and request.content_type in operation.bodies:
        try:
            return {
                key: value for key, value in (await request.post()).items() if isinstance(value, str)
            }, None
        except ValueError as error:
            return None, f"body is no form: {error}"
    raw = await request.read()
    if not raw:
        return None, None
    if not operation.bodies:
        return None, None
    try:
        return json.loads(raw, parse_float=Decimal), None
    except ValueError:
        if request.content_type not in operation.bodies:
            return None, f"content type {request.content_type}, expected {' or '.join(operation.bodies)}"
        return None, "body is not JSON"


async def _control_body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise ValueError("body is not JSON") from None
    if not isinstance(body, dict):
        raise ValueError("body is not a JSON object")
    return body


def _sentence(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _response(reply: Reply) -> web.Response:
    if reply.body is None:
        return web.Response(status=reply.status, headers=reply.headers)
    if isinstance(reply.body, str):
        kind = "text/html" if reply.body is _GARBAGE else "application/json"
        return web.Response(text=reply.body, content_type=kind, status=reply.status, headers=reply.headers)
    return web.json_response(reply.body, status=reply.status, headers=reply.headers, dumps=to_json)


def _hang_up(request: web.Request) -> web.Response:
    """Close the connection; the response that aiohttp wants is written to nobody."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return stamp(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
