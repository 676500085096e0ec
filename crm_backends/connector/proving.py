"""How a connector's calls prove who we are: the flows of ``http.auth``, made of what the file says.

It may not know any operation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from crm_backends.connector.functions import decimal
from crm_backends.connector.plans import AuthPart, LoginPlan, Program
from crm_backends.connector.scope import CannotTell, Expression, Lacks
from crm_backends.connector.sending import details_of, headers_of
from crm_backends.connector.templates import Fill
from crm_backends.connector.values import Unfit, kind
from crm_backends.http import Auth, Basic, Bearer, Both, ClientCredentials, HeaderKey, NoAuth, Reply
from crm_backends.http.auth import Ask, TokenAuth
from crm_backends.http.messages import Fault, HttpCall, Reached
from crm_backends.ports import BackendMisconfigured, Deadline

_PATIENCE = 30.0
"""Seconds a login may take in all; its single steps end sooner, by the settings."""
_MARGIN = 30.0
"""Seconds before its end at which a token is not used any more."""


def auth_of(program: Program, statics: Mapping[str, Any]) -> Auth:
    """The flow of all calls of a connector; the scope of a call names another one.

    ``statics``: ``settings`` and ``secrets``.

    Raises:
        BackendMisconfigured: a credential cannot be sent.
    """
    flows = {name: _joined([_flow(part, statics) for part in parts]) for name, parts in program.flows.items()}
    chosen: Auth = _Chosen({**flows, "none": NoAuth()}) if len(flows) > 1 or program.model.auth else NoAuth()
    return Both(_Fresh(program.headers, statics), chosen) if program.headers else chosen


def can_renew(program: Program) -> bool:
    """Whether there is a token that is fetched, so that another one may be taken."""
    return any(part.kind in ("login", "oauth") for parts in program.flows.values() for part in parts)


def logins_of(program: Program, statics: Mapping[str, Any]) -> frozenset[str]:
    """Paths whose answers carry a token."""
    parts = [part for flow in program.flows.values() for part in flow]
    logins = {str(part.login.sending.path(statics)) for part in parts if part.login is not None}
    return frozenset(logins | {str(part.texts["url"](statics)) for part in parts if part.kind == "oauth"})


def _joined(parts: Sequence[Auth]) -> Auth:
    return parts[0] if len(parts) == 1 else Both(*parts)


def _flow(part: AuthPart, statics: Mapping[str, Any]) -> Auth:
    if part.login is not None:
        return _Login(part.login, statics)
    try:
        texts = {name: fill(statics) for name, fill in part.texts.items()}
    except CannotTell as error:
        raise BackendMisconfigured(str(error)) from None
    match part.kind:
        case "basic":
            return Basic(texts["login"], texts["password"])
        case "bearer":
            return Bearer(texts["bearer"])
        case "header":
            return _joined([HeaderKey(name, value) for name, value in texts.items()])
        case "query":
            return _joined([HeaderKey(f"?{name}", value) for name, value in texts.items()])
        case "oauth":
            oauth = part.flow.oauth if part.flow is not None else None
            assert oauth is not None  # noqa: S101 - it is what the kind says
            return ClientCredentials(
                texts["url"],
                texts["client_id"],
                texts["client_secret"],
                body=oauth.body,
                credentials_in=oauth.credentials_in,
                extra={name.partition(".")[2]: text for name, text in texts.items() if "." in name},
                scope_fields=lambda scope: {},
                default_ttl=float(oauth.lasts),
            )
        case _:
            return NoAuth()


class _Chosen(Auth):
    """The flow that a call names, or the one of every call."""

    def __init__(self, flows: Mapping[str | None, Auth]) -> None:
        self._flows = flows

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        return await self._flows[scope].headers(None, ask, deadline)

    def renew(self, scope: str | None, sent: Mapping[str, str]) -> bool:
        return self._flows[scope].renew(None, sent)

    async def close(self) -> None:
        for flow in self._flows.values():
            await flow.close()


class _Fresh(Auth):
    """Headers that are made anew for each attempt: an identifier, a time."""

    def __init__(self, fill: Fill, statics: Mapping[str, Any]) -> None:
        self._fill = fill
        self._statics = statics

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        try:
            made = self._fill({**self._statics, "now": datetime.now(UTC)})
        except CannotTell as error:
            return Fault(str(error), reached=Reached.NOTHING, kind=BackendMisconfigured)
        return {name: value if isinstance(value, str) else str(value) for name, value in made.items()}


class _Login(TokenAuth):
    """A login described in the file."""

    def __init__(self, plan: LoginPlan, statics: Mapping[str, Any]) -> None:
        super().__init__(
            header=plan.sent[0][0],
            prefix="",
            token_fields=("token",),
            ttl_field="",
            default_ttl=math.inf,
            margin=_MARGIN,
            most=1,
            back_off=lambda reply: 0.0,
        )
        self._plan = plan
        self._statics = statics

    async def headers(self, scope: str | None, ask: Ask, deadline: Deadline) -> Mapping[str, str] | Fault:
        try:
            return await super().headers(None, ask, deadline)
        except CannotTell as error:
            return Fault(str(error), reached=Reached.NOTHING, kind=BackendMisconfigured)

    def renew(self, scope: str | None, sent: Mapping[str, str]) -> bool:
        return super().renew(None, sent)

    def request(self, scope: str | None) -> HttpCall:
        path, details = details_of(
            self._plan.sending, {**self._statics, "now": datetime.now(UTC)}, Deadline.after(_PATIENCE)
        )
        details["accept"] = (401, 403)
        return HttpCall(self._plan.sending.method, path, **details)

    def granted(self, answer: Reply) -> bool:
        return answer.ok and self._unmet(answer) is None

    def _unmet(self, answer: Reply) -> Expression | None:
        """What a good answer has and this one has not."""
        context = _answered(answer, self._statics)
        for one in self._plan.has:
            if not one.is_there(context):
                return one
        ok = self._plan.ok
        return ok if ok is not None and not ok.holds(context) else None

    def _refused(self, answer: Reply) -> Fault:
        """Where the status is good it is ``ok`` that refuses, if the answer has what that reads. Else the
        answer says neither yes nor no, as a proxy's does: an outage, and no matter of credentials."""
        if not answer.ok or (unmet := self._unmet(answer)) is None:
            return super()._refused(answer)
        if unmet is self._plan.ok and _shows(unmet, _answered(answer, self._statics)):
            text = f"gives no token: the login's ok does not hold ({unmet.where})"
            return replace(super()._refused(answer), text=text)
        text = f"gives no token: the login's answer lacks {unmet.text} ({unmet.where})"
        return Fault(text, f"status {answer.status}", Reached.NOTHING)

    def told(self, answer: Reply) -> tuple[object, float]:
        context = _answered(answer, self._statics)
        token = self._plan.token.value(context)
        if not isinstance(token, str) or not token:
            what = "empty" if token == "" else kind(token)
            raise CannotTell(
                f"{self._plan.token.where}: the login's answer has no token here, this is {what}"
            )
        lasts = self._plan.lasts.value(context) if self._plan.lasts is not None else None
        return token, _seconds(lasts)

    def proof(self, value: str) -> Mapping[str, str]:
        context = {**self._statics, "now": datetime.now(UTC), "token": value}
        return {name: fill(context) for name, fill in self._plan.sent}


def _shows(condition: Expression, context: Mapping[str, Any]) -> bool:
    """Whether the answer has anything of what a condition reads."""
    try:
        condition.shown(context)
    except Lacks:
        return False
    return True


def _answered(answer: Reply, statics: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "settings": statics["settings"],
        "now": datetime.now(UTC),
        "body": answer.body,
        "status": answer.status,
        "headers": headers_of(answer),
    }


def _seconds(lasts: object) -> float:
    """How long a token lasts; without an end where the reply does not say, or says what is no time."""
    if isinstance(lasts, datetime):
        left = lasts.timestamp() - time.time()
        return left if left > 0 else math.inf
    try:
        seconds = decimal(lasts)  # of a header it is text
    except Unfit:
        return math.inf
    return float(seconds) if seconds is not None and seconds > 0 else math.inf
