"""How a call proves who we are: a fixed header, or a token that is fetched, kept and renewed.

The flows build headers and token requests; sending is the client's. A secret is in no ``repr``, no log and
no error that is made here.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from crm_backends.http.messages import Fault, HttpCall, Reached, Reply, TokenRefused
from crm_backends.http.settings import checked_url
from crm_backends.ports import BackendMisconfigured, Deadline

Ask = Callable[[HttpCall], Awaitable[Reply | Fault]]
"""Sends a token request once; gives a reply for 2xx and for 4xx but 429."""

_TOKEN_PATIENCE = 30.0
"""Seconds a token request may take in all; its single steps end sooner, by the settings."""


class Auth:
    """Base of the flows; by itself it sends no credentials."""

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        """Headers for one call; a fault means that there is no token and the call cannot be sent.

        A name that begins with a question mark, which no header has, is a parameter of the query.
        """
        return {}

    def renew(self, scope: str | None, sent: Mapping[str, str]) -> bool:
        """The CRM refused the headers ``sent``: forget what was in them. ``True``: others can be had."""
        return False

    async def close(self) -> None:
        """End what is under way."""


class NoAuth(Auth):
    """The CRM asks for nothing."""


class HeaderKey(Auth):
    """A key in a header of its own.

    Raises:
        BackendMisconfigured: the value cannot be sent in a header.
    """

    def __init__(self, header: str, value: str) -> None:
        if not _sendable(value):
            raise BackendMisconfigured(f"the value for the header {header} must be printable ASCII")
        self._headers = {header: value}

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        return self._headers


class Bearer(HeaderKey):
    """A fixed token (RFC 6750)."""

    def __init__(self, token: str) -> None:
        super().__init__("Authorization", f"Bearer {token}")


class Basic(HeaderKey):
    """Login and password (RFC 7617)."""

    def __init__(self, login: str, password: str) -> None:
        super().__init__("Authorization", _basic(login, password))


class Both(Auth):
    """Several flows on each call. Token requests of the later ones carry the headers of the earlier ones."""

    def __init__(self, *parts: Auth) -> None:
        self._parts = parts

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        merged: dict[str, str] = {}
        for part in self._parts:
            found = await part.headers(scope, _with_headers(ask, dict(merged)), deadline)
            if isinstance(found, Fault):
                return found
            merged.update(found)
        return merged

    def renew(self, scope: str | None, sent: Mapping[str, str]) -> bool:
        renewed = [part.renew(scope, sent) for part in self._parts]  # all of them, not up to the first
        return any(renewed)

    async def close(self) -> None:
        for part in self._parts:
            await part.close()


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    proof: Mapping[str, str]
    """The headers it goes out in."""
    until: float
    """``time.monotonic()`` seconds after which it is not used any more; infinite: until it is refused."""


class TokenAuth(Auth):
    """Base of the flows that fetch a token: one per scope, kept until shortly before it expires.

    Callers that want the same token at once wait for one request. The tokens longest unused go first when
    there are more than ``most``.
    """

    def __init__(
        self,
        *,
        header: str,
        prefix: str,
        token_fields: Sequence[str],
        ttl_field: str,
        default_ttl: float,
        margin: float,
        most: int,
        back_off: Callable[[Reply], float],
    ) -> None:
        self._header = header
        self._prefix = prefix
        self._token_fields = token_fields
        self._ttl_field = ttl_field
        self._default_ttl = default_ttl
        self._margin = margin
        self._most = most
        self._back_off = back_off
        self._not_before = 0.0
        self._tokens: OrderedDict[str | None, _Token] = OrderedDict()
        self._fetches: dict[str | None, asyncio.Task[_Token | Fault]] = {}

    def request(self, scope: str | None) -> HttpCall:
        """The token request for a scope."""
        raise NotImplementedError

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        token = self._tokens.get(scope)
        if token is not None and token.until > time.monotonic():
            self._tokens.move_to_end(scope)
            return token.proof
        fetched = await self._single_flight(scope, ask, deadline)
        return fetched if isinstance(fetched, Fault) else fetched.proof

    def renew(self, scope: str | None, sent: Mapping[str, str]) -> bool:
        token = self._tokens.get(scope)
        # Another call may have renewed it meanwhile; then that one is worth a try.
        if token is not None and token.proof.items() <= sent.items():
            del self._tokens[scope]
        return self.carried(sent)

    def carried(self, sent: Mapping[str, str]) -> bool:
        """Whether a token was in these headers."""
        return self._header in sent

    def proof(self, value: str) -> Mapping[str, str]:
        """The headers a token goes out in."""
        return {self._header: self._prefix + value}

    def granted(self, answer: Reply) -> bool:
        """Whether the CRM gives a token with this answer."""
        return answer.ok

    def told(self, answer: Reply) -> tuple[object, float]:
        """The token in an answer, and the seconds it lasts."""
        fields = answer.body if isinstance(answer.body, dict) else {}
        value = next((fields[name] for name in self._token_fields if name in fields), None)
        return value, _seconds(fields.get(self._ttl_field), self._default_ttl)

    async def close(self) -> None:
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _single_flight(self, scope: str | None, ask: Ask, deadline: Deadline) -> _Token | Fault:
        fetch = self._fetches.get(scope)
        if fetch is None:
            if (wait := self._not_before - time.monotonic()) > 0:
                return Fault("asked for tokens too often", "", Reached.NOTHING, again=True, retry_after=wait)
            # A task of its own: the caller that happened to be first may give up, the others still want it.
            fetch = self._fetches[scope] = asyncio.create_task(self._fetch(scope, ask))
        done, _ = await asyncio.wait({fetch}, timeout=deadline.remaining())
        if not done or fetch.cancelled():
            return Fault("no token in time", "", Reached.NOTHING)
        return fetch.result()

    async def _fetch(self, scope: str | None, ask: Ask) -> _Token | Fault:
        try:
            began = time.monotonic()
            answer = await ask(self.request(scope))
            if isinstance(answer, Fault):
                # For the call that wanted the token nothing was sent, and the failure is counted already.
                return replace(answer, text=f"no token: {answer.text}", reached=Reached.NOTHING, away=False)
            if self.granted(answer):
                return self._keep(scope, answer, began)
            return self._refused(answer)
        finally:
            del self._fetches[scope]

    def _keep(self, scope: str | None, answer: Reply, began: float) -> _Token | Fault:
        value, ttl = self.told(answer)
        if not isinstance(value, str) or not value or not _sendable(value):
            text = f"the token reply has no usable {' or '.join(self._token_fields)}"
            return Fault(text, reached=Reached.NOTHING, kind=BackendMisconfigured)
        token = _Token(self.proof(value), began + ttl - min(self._margin, ttl / 2))
        self._tokens[scope] = token
        if len(self._tokens) > self._most:
            self._tokens.popitem(last=False)
        return token

    def _refused(self, answer: Reply) -> Fault:
        reason = f"status {answer.status}"
        if (seconds := self._back_off(answer)) > 0:
            self._not_before = time.monotonic() + seconds
            return Fault(
                "asked for tokens too often", reason, Reached.NOTHING, again=True, retry_after=seconds
            )
        if answer.ok or answer.status in (400, 401, 403):
            return Fault("gives no token", reason, Reached.NOTHING, kind=TokenRefused, status=answer.status)
        return Fault("gives no token", reason, Reached.NOTHING, kind=BackendMisconfigured)


def _never(reply: Reply) -> float:
    return 0.0


def _as_oauth_scope(scope: str) -> Mapping[str, str]:
    return {"scope": scope}


class ClientCredentials(TokenAuth):
    """OAuth 2 client credentials (RFC 6749, 4.4), with a token per scope.

    Args:
        token_url: path below the base URL, or a whole URL.
        body: how the request's fields are sent; ``basic`` in place of ``credentials_in`` sends id and secret
            in the Authorization header instead.
        extra: further fields of each token request.
        scope_fields: fields that make the token one for the given scope; the scope of a call is any text
            the driver likes.
        token_fields: where the token is in the reply, first found.
        default_ttl: seconds a token lasts where the reply does not say.
        margin: seconds before its end at which a token is not used any more; below zero: after its end, where
            asking earlier would give the same token again.
        most: tokens kept.
        back_off: asked about each refusal. A number above zero: no token is asked for in so many seconds, and
            the refusal counts as "not now" instead of "wrong credentials".
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        body: Literal["json", "form"] = "form",
        credentials_in: Literal["body", "basic"] = "body",
        extra: Mapping[str, str] | None = None,
        scope_fields: Callable[[str], Mapping[str, str]] = _as_oauth_scope,
        token_fields: Sequence[str] = ("access_token",),
        default_ttl: float = 300.0,
        margin: float = 30.0,
        most: int = 10_000,
        back_off: Callable[[Reply], float] = _never,
    ) -> None:
        super().__init__(
            header="Authorization",
            prefix="Bearer ",
            token_fields=token_fields,
            ttl_field="expires_in",
            default_ttl=default_ttl,
            margin=margin,
            most=most,
            back_off=back_off,
        )
        self._url = checked_url(token_url) if "://" in token_url else token_url
        self._body = body
        self._scope_fields = scope_fields
        self._fields = {"grant_type": "client_credentials", **(extra or {})}
        self._request_headers: dict[str, str] = {}
        if credentials_in == "basic":
            self._request_headers["Authorization"] = _basic(client_id, client_secret)
        else:
            self._fields |= {"client_id": client_id, "client_secret": client_secret}

    def request(self, scope: str | None) -> HttpCall:
        fields = self._fields | (dict(self._scope_fields(scope)) if scope is not None else {})
        return _token_call(self._url, fields, self._body, self._request_headers)


class SessionLogin(TokenAuth):
    """A login call that gives a session token with a life time in seconds.

    Args:
        login_url: path below the base URL, or a whole URL.
        credentials: fields of the login request.
        header: the header the token goes into, after ``prefix``; LoopBack wants it raw.
        default_ttl: seconds a session lasts where the reply does not say.
        margin, back_off: as for ``ClientCredentials``.
    """

    def __init__(
        self,
        login_url: str,
        credentials: Mapping[str, str],
        *,
        body: Literal["json", "form"] = "json",
        token_field: str = "id",  # noqa: S107 - the name of a field
        ttl_field: str = "ttl",
        header: str = "Authorization",
        prefix: str = "",
        default_ttl: float = 300.0,
        margin: float = 30.0,
        back_off: Callable[[Reply], float] = _never,
    ) -> None:
        super().__init__(
            header=header,
            prefix=prefix,
            token_fields=(token_field,),
            ttl_field=ttl_field,
            default_ttl=default_ttl,
            margin=margin,
            most=1,
            back_off=back_off,
        )
        self._url = checked_url(login_url) if "://" in login_url else login_url
        self._credentials = dict(credentials)
        self._body = body

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        """One session serves all scopes."""
        return await super().headers(None, ask, deadline)

    def renew(self, scope: str | None, sent: Mapping[str, str]) -> bool:
        return super().renew(None, sent)

    def request(self, scope: str | None) -> HttpCall:
        return _token_call(self._url, self._credentials, self._body, {})


def _token_call(
    url: str, fields: Mapping[str, str], body: Literal["json", "form"], headers: Mapping[str, str]
) -> HttpCall:
    deadline = Deadline.after(_TOKEN_PATIENCE)
    if body == "json":
        return HttpCall("POST", url, deadline, json=fields, headers=headers, accept=(401, 403))
    return HttpCall("POST", url, deadline, form=fields, headers=headers, accept=(401, 403))


def _with_headers(ask: Ask, headers: Mapping[str, str]) -> Ask:
    async def asking(call: HttpCall) -> Reply | Fault:
        return await ask(replace(call, headers={**headers, **call.headers}))

    return asking


def _basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def _sendable(value: str) -> bool:
    """Whether a header can carry it. Checked here: a library's complaint would quote the secret."""
    return value.isascii() and value.isprintable()


def _seconds(value: object, default: float) -> float:
    """A life time as a reply gives it: a number, or a number as text.

    What is no time (-1, 0, nan) says that the token has no end: LoopBack's ``ttl: -1`` does so by its
    documentation. Were it taken for "over at once", every call would log in anew; a token that is over is
    refused with 401, and then another is fetched.
    """
    if isinstance(value, bool) or value is None:
        return default
    try:
        seconds = float(str(value))
    except ValueError:
        return default
    return seconds if seconds > 0 else math.inf
