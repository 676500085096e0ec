"""Who may see the pages: sessions, the token in the address, forms of other sites, and the pages' own policy.

It may not know what is on a page.
"""

from __future__ import annotations

import secrets

from aiohttp import web
from aiohttp.typedefs import Handler

from contracts.kit.pages import is_local, with_headers
from contracts.suite.pages.sessions import Session, Sessions

COOKIE = "klo-session"
SESSION = web.RequestKey("session", Session)
OPEN_TO_ALL = "/static/"


class Guard:
    """Lets requests in."""

    def __init__(self, sessions: Sessions, token: str | None) -> None:
        """``token``: what the address has to hold at first; ``None``: only this machine can ask anyway."""
        self._sessions = sessions
        self._token = token

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await with_headers(self._answer(request, handler))

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._token is None and not is_local((request.url.host or "").strip("[]")):
            # A stranger's host name that leads to this address: for a browser their page would be ours.
            raise web.HTTPForbidden(text="These pages are for this machine: open them as 127.0.0.1.")
        if request.path.startswith(OPEN_TO_ALL):
            return await handler(request)
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        new = session is None
        if session is None:
            session = self._let_in(request)
        if request.method == "POST" and not await _is_ours(request, session):
            raise web.HTTPForbidden(text="This form is not of this session: open the page anew.")
        request[SESSION] = session
        if "token" in request.query:  # it need not stand there any longer
            moved = web.HTTPSeeOther(request.path)
            _give_cookie(moved, session)
            raise moved
        try:
            response = await handler(request)
        except web.HTTPException as error:
            if new:
                _give_cookie(error, session)
            raise
        if new:
            _give_cookie(response, session)
        return response

    def _let_in(self, request: web.Request) -> Session:
        if self._token is not None:
            given = request.query.get("token", "")
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                raise web.HTTPForbidden(
                    text="Open the whole address that koshelek-contract serve printed, with its token."
                )
        if request.method != "GET":
            raise web.HTTPForbidden(text="This form is of an earlier session: open the page anew.")
        return self._sessions.new()


async def _is_ours(request: web.Request, session: Session) -> bool:
    posted = await request.post()
    return secrets.compare_digest(str(posted.get("session", "")).encode(), session.secret.encode())


def _give_cookie(response: web.StreamResponse, session: Session) -> None:
    response.set_cookie(COOKIE, session.id, httponly=True, samesite="Strict", path="/")
