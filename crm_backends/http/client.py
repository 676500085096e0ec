"""The client of one CRM: when a call may go out, when it may go out again, and what its answer means.

It may not know any CRM. Reads raise a ``BackendError``; writes report an outcome, and one that may have
reached the CRM is never sent a second time. See ``HTTP.md`` for what each fault ends in.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Never, Unpack, cast

import tenacity

from crm_backends.http.auth import Auth, NoAuth
from crm_backends.http.gates import Breaker, BreakerState, Bulkhead, Ticket
from crm_backends.http.messages import Details, Fault, HttpCall, Reached, Reply
from crm_backends.http.settings import HttpSettings
from crm_backends.http.wire import Answer, Exchanger, Wire
from crm_backends.ports import BackendCredentials, BackendMisconfigured, BackendUnavailable, Deadline, Written
from crm_backends.spent import charge

_LEAST = 0.02
"""Seconds below which a call is not begun: a write begun so late would only end in doubt."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
"""Bounds, in seconds, of the pause before another try; the pause itself is drawn at random below them."""


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
"""Fractions are decimal: they may be points."""
_BOM = "\ufeff".encode()
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:[/?#]|$)", re.IGNORECASE)


@dataclass(slots=True)
class WriteWatch:
    """What became of the writes that were made within ``watched_write``."""

    may_be_done: bool = False
    """Whether the CRM took one of them, or may have taken it."""


_watch: ContextVar[WriteWatch | None] = ContextVar("_watch", default=None)


@contextlib.contextmanager
def watched_write() -> Iterator[WriteWatch]:
    """Watch the writes made within, by any client."""
    watch = WriteWatch()
    mark = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(mark)


class HttpClient:
    """Calls to one CRM, over connections that are kept.

    ``name`` is what logs and errors call the backend. ``wire`` makes what sends the calls; another one shows
    or replays them.
    """

    def __init__(
        self,
        name: str,
        settings: HttpSettings,
        auth: Auth | None = None,
        wire: Callable[[HttpSettings], Exchanger] | None = None,
    ) -> None:
        self.name = name
        self._make_wire = wire
        self.settings = settings
        self._auth = auth or NoAuth()
        self._former: list[Auth] = []
        """Those that were replaced; calls that are under way may still look at them."""
        self._breaker = Breaker(
            name, settings.breaker_failures, settings.breaker_pause, settings.read_timeout
        )
        self._bulkhead = Bulkhead(settings.concurrency, settings.queue_timeout)
        self._wire: Exchanger | None = None
        self._is_open = False

    async def open(self) -> None:
        """Prepare for calls; the CRM is not asked.

        Raises:
            BackendMisconfigured: ``ca_file`` cannot be read.
        """
        self._wire = (self._make_wire or Wire)(self.settings)
        self._is_open = True

    def replace_auth(self, auth: Auth) -> None:
        """Prove by this from the next call on; calls under way end with what they began with."""
        self._former.append(self._auth)
        self._auth = auth

    async def close(self) -> None:
        for auth in (*self._former, self._auth):
            await auth.close()
        if self._wire is not None:
            await self._wire.close()
        self._is_open = False

    @contextlib.asynccontextmanager
    async def at_hand(self) -> AsyncIterator[None]:
        """Open within, whether it was or not; what was not open is closed again.

        Raises:
            BackendMisconfigured: as ``open``.
        """
        if self._is_open:
            yield
            return
        await self.open()
        try:
            yield
        finally:
            await self.close()

    @property
    def state(self) -> BreakerState:
        return self._breaker.state

    @property
    def paused(self) -> bool:
        """Whether the CRM does not answer and is not asked for the time being."""
        return self._breaker.state is not BreakerState.CLOSED

    @property
    def waiting(self) -> int:
        """Calls waiting for their turn."""
        return self._bulkhead.waiting

    @property
    def under_way(self) -> int:
        """Calls the CRM has not answered yet."""
        return self._bulkhead.under_way

    async def sign_in(self, deadline: Deadline, scope: str | None = None) -> Mapping[str, str]:
        """The headers that prove who we are; a token is fetched where there is none yet.

        Raises:
            BackendCredentials, BackendUnavailable, BackendMisconfigured: as ``read``; there is no token.
        """
        proof = await self._auth.headers(scope, self._ask, deadline)
        if isinstance(proof, Fault):
            raise proof.error(self.name)
        return proof

    async def read(self, method: str, path: str, **details: Unpack[Details]) -> Reply:
        """A call whose repetition does no harm, whatever its method.

        Gives a reply for 2xx, for the statuses to be accepted, and for 4xx other than 401, 403, 408, 429.
        ``details`` are those of ``Details``.

        Raises:
            BackendUnavailable: no connection, no whole answer, 5xx, 429, 2xx that is not JSON, too many
                calls at once, or the CRM is not asked for some seconds.
            BackendCredentials: 401 also with a new token, 403, or no token (``TokenRefused``).
            BackendMisconfigured: a redirect, or an answer that is too long; the certificate is not trusted.
            ValueError: the path has a segment of dots.
        """
        answer = await self._timed(HttpCall(method, path, **details), _read_again)
        if isinstance(answer, Fault):
            raise answer.error(self.name)
        return answer

    async def write(self, method: str, path: str, **details: Unpack[Details]) -> Reply | Written:
        """A call that changes something.

        Gives a reply for 2xx with JSON or without a body, for the statuses to be accepted, and for 4xx as
        ``read`` does; else NOT_SENT or UNKNOWN. It is sent again only if no connection was made for it, and
        after a 401 once with a new token, since the first was turned away before it was done.

        Raises:
            BackendCredentials, BackendMisconfigured: as ``read``, only where nothing can have been done.
            ValueError: the path has a segment of dots.
        """
        answer = await self._timed(HttpCall(method, path, changes=True, **details), _write_again)
        if (watch := _watch.get()) is not None:
            watch.may_be_done = watch.may_be_done or _may_be_done(answer)
        if isinstance(answer, Reply):
            return answer
        error = answer.error(self.name)
        if answer.reached is Reached.PERHAPS:
            return Written.unknown(str(error))
        if answer.kind is BackendUnavailable:
            return Written.not_sent(str(error))
        raise error

    async def _timed(self, call: HttpCall, again: Callable[[Fault], bool]) -> Reply | Fault:
        """All attempts of one call; the time they take is charged to this CRM."""
        began = time.monotonic()
        try:
            return await self._with_retries(call, again)
        finally:
            charge(self.name, began)

    async def _with_retries(self, call: HttpCall, again: Callable[[Fault], bool]) -> Reply | Fault:
        """Attempts until there is a reply, a fault that will not pass, or no time."""
        run = _Run(call)
        first = await self._attempt(run)
        if isinstance(first, Reply) or not again(first):
            return first
        answers = [first]

        async def attempt() -> Reply | Fault:
            # tenacity costs as much as a call, so it is used only after a first attempt has failed.
            return answers.pop() if answers else await self._attempt(run)

        return await tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(lambda answer: isinstance(answer, Fault) and again(answer)),
            wait=self._pause,
            stop=functools.partial(self._over, call),
            retry_error_callback=_result,
        )(attempt)

    def _over(self, call: HttpCall, state: tenacity.RetryCallState) -> bool:
        late = call.deadline.remaining() - state.upcoming_sleep < _LEAST
        return late or state.attempt_number >= self.settings.attempts

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Seconds until the next try: what the CRM asked for up to the ceiling, and a random part."""
        fault = _result(state)
        asked = fault.retry_after if isinstance(fault, Fault) else None
        most = min(_FIRST_PAUSE * 2 ** (state.attempt_number - 1), _LONGEST_PAUSE)
        jitter = random.uniform(0, most)  # noqa: S311 - no secret
        return jitter if asked is None else min(asked + jitter, self.settings.retry_after_ceiling)

    async def _attempt(self, run: _Run) -> Reply | Fault:
        """One attempt. A refused token is renewed, once for all attempts, and the call made again."""
        answer = await self._with_proof(run)
        refused = _turned_away(run.call, answer)
        if refused and not run.renewed and self._auth.renew(run.call.scope, run.proof):
            run.renewed = True
            answer = await self._with_proof(run)
        return answer

    async def _with_proof(self, run: _Run) -> Reply | Fault:
        """Send the call with the headers that prove who we are, unless the breaker is open."""
        ticket = self._breaker.admit(optional=run.call.deadline.optional)
        if ticket is None:
            return _PAUSED
        try:
            proof = await self._auth.headers(run.call.scope, self._ask, run.call.deadline)
            if isinstance(proof, Fault):
                return proof
            run.proof = proof
            return await self._send_in_turn(run.call, proof, ticket)
        finally:
            self._breaker.leave(ticket)

    async def _ask(self, call: HttpCall) -> Reply | Fault:
        """Send a token request, on the ticket of the call that needs the token."""
        return await self._send_in_turn(call, {}, None)

    async def _send_in_turn(
        self, call: HttpCall, proof: Mapping[str, str], ticket: Ticket | None
    ) -> Reply | Fault:
        """Wait for a place among the calls at once, send, and say what the answer means."""
        if self._wire is None:
            raise RuntimeError("the client is not open")
        if _DOTS.search(call.path):
            # A promo code of ".." must not climb to another endpoint.
            raise ValueError("a path may not have segments of dots")
        if not await self._bulkhead.enter(call.deadline.remaining()):
            return _NO_PLACE
        try:
            if ticket is not None and not self._breaker.stands(ticket):
                return _PAUSED
            remaining = call.deadline.remaining()
            if remaining < _LEAST:
                return _NO_TIME
            answer = await self._wire.exchange(call, proof, remaining)
        finally:
            self._bulkhead.leave()
        judged = answer if isinstance(answer, Fault) else judge(answer, call)
        if isinstance(judged, Fault) and judged.away:
            if call.deadline.optional and call.deadline.remaining() < _LEAST:
                self._breaker.cut_short(judged.reason)
            else:
                self._breaker.failed(judged.reason)
        elif ticket is not None:
            # A token that was given does not count: it would close the breaker while the CRM itself still
            # does not answer.
            self._breaker.answered()
        return judged


@dataclass(slots=True)
class _Run:
    """What the attempts of one call share."""

    call: HttpCall
    proof: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of the last attempt."""
    renewed: bool = False


_PAUSED = Fault("does not answer, and is not asked for some seconds", reached=Reached.NOTHING)
_NO_PLACE = Fault("too many calls at once", reached=Reached.NOTHING)
_NO_TIME = Fault("no time left to ask", reached=Reached.NOTHING)


def judge(answer: Answer, call: HttpCall) -> Reply | Fault:
    """What a whole answer means to whoever made ``call``."""
    status = answer.status
    body, is_json = _parsed(answer.content)
    reply = Reply(status, body, is_json, answer.headers, is_page=bool(answer.content) and not is_json)
    if status in call.accept:
        return reply
    reason = f"status {status}"
    if reply.ok:
        if is_json or not answer.content:
            return reply
        if call.liberal:
            return replace(reply, body=answer.content.decode(errors="replace"))
        return Fault("the answer is not JSON", reason)
    if status == 429:
        after = _retry_after(answer.headers)
        text = "asked too often"
        return Fault(text, reason, Reached.TURNED_AWAY, again=True, status=status, retry_after=after)
    if status in (401, 403):
        text = "refuses the credentials"
        return Fault(text, reason, Reached.TURNED_AWAY, kind=BackendCredentials, status=status)
    if 400 <= status < 500 and status != 408:
        return reply
    if status < 400:
        return Fault("answers with a redirect", reason, kind=BackendMisconfigured, status=status)
    after = _retry_after(answer.headers)
    return Fault("answers with an error", reason, away=True, again=True, status=status, retry_after=after)


def _may_be_done(answer: Reply | Fault) -> bool:
    """Whether a write may have changed something: the CRM neither refused it nor turned it away."""
    if isinstance(answer, Reply):
        return not 400 <= answer.status < 500
    return answer.reached is Reached.PERHAPS


def _turned_away(call: HttpCall, answer: Reply | Fault) -> bool:
    """Whether the token was not taken, and nothing was done."""
    if call.turned_away is not None and isinstance(answer, Reply):
        told = call.turned_away(answer)
        if told is not None:
            return told
    return answer.status == 401


def _read_again(fault: Fault) -> bool:
    return fault.again


def _write_again(fault: Fault) -> bool:
    return fault.again and fault.reached is Reached.NOTHING


def _result(state: tenacity.RetryCallState) -> Reply | Fault:
    """What the last attempt gave; attempts do not raise."""
    return cast("Reply | Fault", cast("tenacity.Future", state.outcome).result())


def _parsed(content: bytes) -> tuple[object, bool]:
    """The JSON in ``content`` and whether there is any."""
    try:
        return _JSON.decode(content.removeprefix(_BOM).decode()), True
    except (ValueError, RecursionError):
        return None, False


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3), given as a number or as a date."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
        return max(0.0, at.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
