"""Who may see the console: the name it is opened by, sessions, forms of other sites, and the pages' policy.

It may not know what is on a page.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from adapter.ops.console.sessions import Session, Sessions
from adapter.settings import Person
from contracts.kit.pages import is_local, with_headers

COOKIE = "koshelek-console"
ROOT = "/console"
SESSION = web.RequestKey("session", Session)
LOGIN = f"{ROOT}/login"
UPLOAD = f"{ROOT}/pool/import"
_OPEN_TO_ALL = f"{ROOT}/static/"
_LANGUAGE = f"{ROOT}/language/"
_LARGEST_FORM = 64 * 1024


class Guard:
    """Lets requests in."""

    def __init__(
        self,
        sessions: Sessions,
        known: Callable[[str], Awaitable[Person | None]],
        hosts: frozenset[str],
        *,
        https: bool,
    ) -> None:
        """``known``: who has a name and may log in; ``hosts``: names it may be opened by, beside those of
        this machine."""
        self._sessions = sessions
        self._known = known
        self._hosts = hosts
        self._https = https

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await with_headers(self._answer(request, handler))

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = (request.url.host or "").strip("[]").lower()
        if not is_local(host) and host not in self._hosts:
            # A stranger's host name that leads to this address: for a browser their page would be ours.
            raise web.HTTPForbidden(
                text="The console does not answer by this name. Open it as 127.0.0.1, or add the name to "
                "console.hosts in the settings."
            )
        if request.path.startswith(_OPEN_TO_ALL):
            return await handler(request)
        # A page that refreshes itself does not show that somebody sits there.
        session = self._sessions.get(request.cookies.get(COOKIE, ""), used="again" not in request.query)
        who = None if session is None else session.person
        if session is not None and who is not None and await self._known(who.name) != who:
            # Whoever was removed, or has another role or password by now, has to log in again.
            self._sessions.end(session)
            session = None
        before_login = request.path == LOGIN or request.path.startswith(_LANGUAGE)
        if session is None or (session.person is None and not before_login):
            if request.method != "GET":
                raise web.HTTPForbidden(text="Your session is over: open the page anew and log in.")
            if not before_login:
                raise web.HTTPSeeOther(f"{LOGIN}?next={quote(request.path)}")
            session = session or self._sessions.new()
        elif request.method == "POST" and not await _is_ours(request, session):
            raise web.HTTPForbidden(text="This form is not of this session: open the page anew.")
        request[SESSION] = session
        try:
            response = await handler(request)
        except web.HTTPException as error:
            self._give_cookie(request, error)
            raise
        self._give_cookie(request, response)
        return response

    def renew(self, request: web.Request) -> Session:
        """A session with another name, for somebody who has just logged in or out."""
        old = request[SESSION]
        self._sessions.end(old)
        new = self._sessions.new()
        new.language = old.language
        request[SESSION] = new
        return new

    def _give_cookie(self, request: web.Request, response: web.StreamResponse) -> None:
        session = request[SESSION]
        if request.cookies.get(COOKIE) != session.id:
            response.set_cookie(
                COOKIE, session.id, httponly=True, samesite="Strict", secure=self._https, path=ROOT
            )


async def _is_ours(request: web.Request, session: Session) -> bool:
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    if request.path == UPLOAD:  # its page looks at the first part, before it reads the file
        return True
    if (request.content_length or 0) > _LARGEST_FORM:
        raise web.HTTPRequestEntityTooLarge(_LARGEST_FORM, request.content_length or 0)
    return is_token(str((await request.post()).get("csrf", "")), session)


def is_token(given: str, session: Session) -> bool:
    """Whether a form is of this session's pages."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())
