"""What the parts of a compiler share: expressions and calls in their scopes, mistakes collected; and auth.

It may not know any operation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crm_backends.connector.constants import look_at_header
from crm_backends.connector.expressions import read_expression
from crm_backends.connector.language import Flow, Login, Request
from crm_backends.connector.moments import ProgrammeDefaults, functions_of
from crm_backends.connector.plans import AuthPart, LoginPlan, Sending
from crm_backends.connector.problems import Path, Problem, nearest
from crm_backends.connector.reading import Loaded
from crm_backends.connector.scope import Expression, Scope, Watch, Wrong
from crm_backends.connector.templates import Fill, Templates

_SECRETS = {"secrets": "a secret goes into what is sent, never into a condition or a result"}
_NO_ANSWER = dict.fromkeys(
    ("body", "status", "headers", "content"),
    "there is no answer yet; save what is needed of an earlier step, and use steps.name.field",
)
_SECRET = re.compile(r"\bsecrets\b")
_NO_ROW = {"row": "it is there where rows are looked at one by one: in where and in the result"}
WatchAt = Callable[[Path], Watch]
_ANSWER: Mapping[str, Any] = {"body": None, "status": None, "headers": None}


class AuthCompiler:
    """Reads the ways of proving who we are, and what they are made of."""

    def __init__(self, loaded: Loaded, programme: ProgrammeDefaults, watch_at: WatchAt | None = None) -> None:
        self._loaded = loaded
        self._watch_at = watch_at
        self._model = loaded.model
        self._region = programme.region
        self.problems: list[Problem] = []
        self._templates = Templates(self._report, self._where)
        secret = {name: None for name, one in self._model.settings.items() if one.secret}
        plain = {name: None for name in self._model.settings if name not in secret}
        self._base = Scope(
            {"settings": plain, "secrets": secret, "now": None}, functions_of(programme), {**_NO_ROW}
        )

    # -- what is wrong ---------------------------------------------------------------------------------

    def _report(self, path: Path, wrong: Wrong) -> None:
        self._wrong(path, wrong.cause, wrong.remedy, wrong.fragment)

    def _wrong(
        self, path: Path, cause: str, remedy: str = "", fragment: str = "", *, key: bool = False
    ) -> None:
        self.problems.append(Problem(self._loaded.place(path, fragment, key=key), cause, remedy))

    def _where(self, path: Path) -> str:
        return str(self._loaded.place(path))

    def _expression(self, text: Any, scope: Scope, path: Path) -> Expression:
        if self._watch_at is not None:
            scope = replace(scope, watch=self._watch_at(path))
        try:
            return read_expression(text, scope, self._where(path))
        except Wrong as wrong:
            self._report(path, wrong)
            return Expression(lambda context: None, "")

    def _maybe(self, text: Any, scope: Scope, path: Path) -> Expression | None:
        return None if text is None else self._expression(text, scope, path)

    def _has(self, request: Request, scope: Scope, path: Path) -> list[Expression]:
        several = request.has or []
        return [self._expression(one, scope, (*path, "has", index)) for index, one in enumerate(several)]

    # -- scopes and calls ------------------------------------------------------------------------------

    def _sent(self, scope: Scope) -> Scope:
        return replace(scope, elsewhere={**scope.elsewhere, **_NO_ANSWER})

    def _decided(self, scope: Scope) -> Scope:
        """For conditions: no secrets."""
        names = {name: shape for name, shape in scope.names.items() if name != "secrets"}
        return replace(scope, names=names, elsewhere={**scope.elsewhere, **_SECRETS})

    def _as_it_came(self, scope: Scope) -> Scope:
        """For what is told of an answer whatever it answers."""
        return self._decided(scope).with_names(**_ANSWER)

    def _answered(self, scope: Scope) -> Scope:
        came = self._as_it_came(scope)
        return came if self._model.content is None else came.with_names(content=None)

    def _everywhere(self) -> Scope:
        """What is there at every answer."""
        return self._answered(self._base)

    def _sending(self, request: Request, scope: Scope, path: Path) -> Sending:
        found = request.method_and_path
        if found is None:
            self._wrong(path, "a call has one of get, post, put, patch, delete")
            found = ("get", "/")
        method, address = found
        body = "form" if request.form is not None else "multipart"
        form = request.form if request.form is not None else request.multipart
        auth = request.auth
        if auth not in (None, "none") and auth not in self._model.other_auth:
            self._wrong(
                (*path, "auth"), f'there is no auth "{auth}"', nearest(auth or "", self._model.other_auth)
            )
        self._look_at_headers(request.headers or {}, (*path, "headers"))
        if not isinstance(request, Login):
            self._look_at_host(request, address, (*path, method))
        return Sending(
            method=method.upper(),
            path=self._templates.path(address, scope, (*path, method)),
            query=self._fill(request.query, scope, (*path, "query")),
            headers=self._fill(request.headers, scope, (*path, "headers")),
            json=self._fill(request.json_, scope, (*path, "json")),
            form=self._fill(form, scope, (*path, body)),
            multipart=request.multipart is not None,
            auth=auth,
            takes_text=request.takes_text is True,
            where=self._where(path),
        )

    def _look_at_host(self, request: Request, address: str, path: Path) -> None:
        """Credentials go to another host only where the file says which."""
        if not self._is_elsewhere(address):
            return
        if self._model.auth and request.auth is None:
            self._wrong(
                path,
                "this host is not base_url's, and it would be sent the credentials of auth",
                "write auth: none here, or the name of one of other_auth that is meant for it",
            )
        self._look_at_secret_headers(path, "and write auth: none here")

    def _look_at_token_host(self, address: str, before: Sequence[Flow], path: Path) -> None:
        """A request for a token carries the headers of the file, and those of the flows before its own."""
        if not self._is_elsewhere(address):
            return
        self._look_at_secret_headers(path, "behind this")
        if any(flow.query is None for flow in before):
            self._wrong(
                path,
                "this host is not base_url's, and it would be sent the credentials that stand before it",
                "write this one first",
            )

    def _is_elsewhere(self, address: str) -> bool:
        return "://" in address[:8] and _origin(address) != _origin(self._model.base_url or "")

    def _look_at_secret_headers(self, path: Path, then: str) -> None:
        for name in (name for name, value in self._model.headers.items() if _SECRET.search(value)):
            self._wrong(
                path,
                f"this host is not base_url's, and it would be sent the secret in the header {name}",
                f"move the header from headers to auth, {then}",
            )

    def _look_at_headers(self, headers: Mapping[str, str], path: Path) -> None:
        for name, value in headers.items():
            try:
                look_at_header(name, value)
            except Wrong as wrong:
                self._wrong((*path, name), wrong.cause, wrong.remedy, key=bool(wrong.fragment))

    def _fill(self, value: Any, scope: Scope, path: Path) -> Fill | None:
        return None if value is None else self._templates.value(value, scope, path)

    # -- auth ------------------------------------------------------------------------------------------

    def _flows(self, parts: Sequence[Flow], path: Path) -> list[AuthPart]:
        return [self._flow(flow, parts[:index], (*path, index)) for index, flow in enumerate(parts)]

    def _flow(self, flow: Flow, before: Sequence[Flow], path: Path) -> AuthPart:
        """``before``: the flows that stand before it."""
        scope = self._sent(self._base)
        here = (*path, flow.kind)
        if flow.login is not None:
            if (found := flow.login.method_and_path) is not None:
                self._look_at_token_host(found[1], before, (*here, found[0]))
            return AuthPart("login", login=self._login(flow.login, here))
        texts: dict[str, Fill] = {}
        members: Mapping[str, Any] = {}
        if flow.oauth is not None:
            oauth = flow.oauth
            members = {"url": oauth.url, "client_id": oauth.client_id, "client_secret": oauth.client_secret}
            members = {**members, **{f"extra.{name}": text for name, text in oauth.extra.items()}}
        elif flow.bearer is not None:
            members = {"bearer": flow.bearer}
        else:
            members = dict(flow.basic.items()) if flow.basic else flow.header or flow.query or {}
        for name, text in members.items():
            at = here if flow.bearer is not None else (*here, *name.split("."))
            texts[name] = self._templates.text(text, scope, at)
        self._look_at_headers(flow.header or {}, (*here, "header"))
        if flow.oauth is not None:
            self._look_at_token_host(flow.oauth.url, before, (*here, "url"))
            self._templates.path(flow.oauth.url, scope, (*here, "url"))
        if flow.basic is not None and set(flow.basic) != {"login", "password"}:
            self._wrong(here, "basic has a login and a password")
        return AuthPart(flow.kind, texts, flow=flow)

    def _login(self, login: Login, path: Path) -> LoginPlan:
        scope = self._sent(self._base)
        answered = self._as_it_came(self._base)
        with_token = scope.with_names(token=None)
        sent = []
        flow = login.send
        self._look_at_headers(flow.header or {}, (*path, "send", "header"))
        if flow.kind not in ("bearer", "header", "query"):
            self._wrong((*path, "send"), "a token is sent as bearer, header or query")
        if flow.bearer is not None:
            fill = self._templates.text(f"Bearer {flow.bearer}", with_token, (*path, "send", "bearer"))
            sent.append(("Authorization", fill))
        for kind, mark in (("header", ""), ("query", "?")):
            for name, text in (getattr(flow, kind) or {}).items():
                sent.append(
                    (mark + name, self._templates.text(text, with_token, (*path, "send", kind, name)))
                )
        return LoginPlan(
            sending=self._sending(login, scope, path),
            token=self._expression(login.token, answered.reading(), (*path, "token")),
            lasts=self._maybe(login.lasts, answered, (*path, "lasts")),
            ok=self._maybe(login.ok, answered, (*path, "ok")),
            has=self._has(login, answered, path),
            sent=sent,
        )


def _origin(url: str) -> tuple[str, str]:
    """Where a whole URL leads; what is filled in may be any place."""
    scheme, _, rest = url.partition("://")
    return scheme.lower(), rest.partition("/")[0].lower()
