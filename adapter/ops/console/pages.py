"""What all pages of the console share: who asks, in which language, how a page or an excuse is answered."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web

from adapter.loyalty.ports import StoreUnavailable
from adapter.ops.console.drawing import draw, language
from adapter.ops.console.guard import ROOT, SESSION
from adapter.ops.console.ports import Parts
from adapter.ops.console.sessions import Session
from contracts.kit.language import LANGUAGES, Language, by_browser

log = structlog.get_logger("console")

LONGEST_NOTE = 500
"""Characters."""

NAVIGATION = (
    ("held", "Held"),
    ("find", "A customer's question"),
    ("now", "Now"),
    ("pool", "Cards"),
    ("personal", "Personal data"),
    ("sends", "What Koshelek sends"),
    ("check", "Check"),
    ("audit", "Audit list"),
)


class Pages:
    """Base of the pages, one class a subject."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def language_of(self, request: web.Request) -> Language:
        chosen = request[SESSION].language
        return language(
            chosen
            or by_browser(request.headers.get("Accept-Language", ""))
            or self.parts.settings.koshelek.language
        )

    def page(self, request: web.Request, page: str, /, *, status: int = 200, **values: Any) -> web.Response:
        session: Session = request[SESSION]
        text = draw(
            page,
            self.language_of(request),
            self.parts.settings.zone,
            root=ROOT,
            session=session,
            path=request.path,
            navigation=NAVIGATION,
            languages=LANGUAGES,
            told=session.taken(),
            zone=self.parts.settings.koshelek.timezone,
            **values,
        )
        return web.Response(text=text, content_type="text/html", status=status)

    def must_decide(self, request: web.Request) -> str:
        """The name of the operator who asks. Raises ``HTTPForbidden`` for a reader."""
        session: Session = request[SESSION]
        if not session.may_decide or session.person is None:
            raise web.HTTPForbidden(text=self.language_of(request)("Only an operator may do this."))
        return session.person.name

    def who(self, request: web.Request) -> str:
        person = request[SESSION].person
        return "" if person is None else person.name


def see(place: str) -> web.HTTPSeeOther:
    """Go and look at another page of ours."""
    return web.HTTPSeeOther(f"{ROOT}/{place}")


def whole(text: object) -> int | None:
    """A number of an operation or of a place in a list, as the database can hold it."""
    shown = str(text)
    return int(shown) if shown.isascii() and shown.isdecimal() and len(shown) < 19 else None


def note_of(text: str) -> str | None:
    """A note in one line; ``None`` when it says nothing, or too much."""
    note = " ".join(text.split())
    return note if note and len(note) <= LONGEST_NOTE and note.isprintable() else None


@web.middleware
async def excuses(request: web.Request, handler: Any) -> web.StreamResponse:
    """What a person is told when the database does not answer, or of a defect."""
    try:
        response: web.StreamResponse = await handler(request)
    except StoreUnavailable:
        raise web.HTTPServiceUnavailable(
            text="The database does not answer. Try again; koshelek-adapter check says more."
        ) from None
    except web.HTTPException:
        raise
    except Exception as error:  # here, since the web server's own line would quote what the error quotes
        log.exception("console_defect", reason=type(error).__name__)
        raise web.HTTPInternalServerError(text="Something is wrong here; the log says what.") from None
    return response
