"""The console's application: which address shows what, logging in and out, languages, the audit list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from adapter import background
from adapter.loyalty.review import AuditAction
from adapter.ops.console import drawing
from adapter.ops.console.cards import CardNumbers
from adapter.ops.console.check import Check
from adapter.ops.console.guard import ROOT, SESSION, Guard
from adapter.ops.console.held import Held
from adapter.ops.console.history import History
from adapter.ops.console.login import Doorkeeper, TooOften
from adapter.ops.console.now import Now
from adapter.ops.console.pages import Pages, excuses, see, whole
from adapter.ops.console.personal import Personal
from adapter.ops.console.ports import Parts
from adapter.ops.console.question import Question
from adapter.ops.console.sends import Sends
from adapter.ops.console.sessions import Sessions
from contracts.kit.language import LANGUAGES

HISTORY = web.AppKey("console_history", History)
_MOST = 100
_UNKNOWN = "somebody unknown"


def add_console(application: web.Application, parts: Parts) -> None:
    """Serve the console at ``/console/`` of the management port, whose ``/`` leads there."""
    settings = parts.settings
    sessions = Sessions(settings.console.idle_minutes * 60.0)
    hosts = frozenset({*settings.console.hosts, settings.management.host.lower()})
    doorkeeper = Doorkeeper(settings.console.people, parts.people)
    guard = Guard(sessions, doorkeeper.person, hosts, https=settings.console.https)
    console = web.Application(middlewares=[guard.middleware, excuses])
    history = History(parts.count, parts.waiting)
    numbers = CardNumbers(parts)
    subjects = (
        *(Held(parts), Question(parts), Now(parts, history), numbers),
        *(Personal(parts), Sends(parts), Check(parts)),
    )
    home = Home(parts, guard, doorkeeper)
    for pages in (home, *subjects):
        console.add_routes(pages.routes())
    console.add_routes([home.rest()])
    application.cleanup_ctx.append(numbers.until_closed)
    application[HISTORY] = history

    async def sampling(_: web.Application) -> AsyncIterator[None]:
        task = background.start(history.run(), "history")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    application.cleanup_ctx.append(sampling)
    application.add_subapp(f"{ROOT}/", console)

    async def to_console(request: web.Request) -> web.StreamResponse:
        raise see("")

    application.router.add_get("/", to_console)
    application.router.add_get(ROOT, to_console)


class Home(Pages):
    """What belongs to no subject."""

    def __init__(self, parts: Parts, guard: Guard, doorkeeper: Doorkeeper) -> None:
        super().__init__(parts)
        self._guard = guard
        self._doorkeeper = doorkeeper

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.start),
            web.get("/login", self.login_form),
            web.post("/login", self.login),
            web.post("/logout", self.logout),
            web.get("/language/{code}", self.choose_language),
            web.get("/audit", self.audit),
            web.get("/static/console.css", _style),
        ]

    def rest(self) -> web.RouteDef:
        """What is no page; after all others."""
        return web.get("/{rest:.*}", self.nothing)

    async def nothing(self, request: web.Request) -> web.Response:
        said = self.language_of(request)("There is no page with this address.")
        return self.page(request, "nothing", said=said, status=404)

    async def start(self, request: web.Request) -> web.Response:
        raise see("held")

    async def login_form(self, request: web.Request) -> web.Response:
        return self.page(request, "login", problem=None, next=request.query.get("next", ""))

    async def login(self, request: web.Request) -> web.StreamResponse:
        posted = await request.post()
        name, password = str(posted.get("name", "")).strip()[:100], str(posted.get("password", ""))[:1000]
        following, say = str(posted.get("next", "")), self.language_of(request)
        try:
            person = await self._doorkeeper.judge(name, password, request.remote or "")
        except TooOften as error:
            problem = say(
                "Too many failed attempts. Wait {minutes} min.", minutes=int(error.seconds / 60) + 1
            )
            return self.page(request, "login", problem=problem, next=following, status=429)
        # Whoever mistakes the fields types a password for a name: only a name that somebody has is kept.
        known = name if await self._doorkeeper.person(name) is not None else _UNKNOWN
        if person is None:
            await self.parts.audit.note(known, AuditAction.LOGIN_FAILED)
            problem = say("Name or password is wrong.")
            return self.page(request, "login", problem=problem, next=following, status=403)
        await self.parts.audit.note(person.name, AuditAction.LOGGED_IN)
        self._guard.renew(request).person = person
        raise web.HTTPSeeOther(following if following.startswith(f"{ROOT}/") else f"{ROOT}/")

    async def logout(self, request: web.Request) -> web.StreamResponse:
        await self.parts.audit.note(self.who(request), AuditAction.LOGGED_OUT)
        self._guard.renew(request)
        raise see("login")

    async def choose_language(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["code"] not in LANGUAGES:
            raise web.HTTPNotFound
        request[SESSION].language = request.match_info["code"]
        back = request.query.get("back", "")
        raise web.HTTPSeeOther(back if back.startswith(f"{ROOT}/") else f"{ROOT}/")

    async def audit(self, request: web.Request) -> web.Response:
        before = whole(request.query.get("before", ""))
        entries = list(await self.parts.audit.latest(_MOST + 1, before=before))
        more = entries[_MOST - 1].id if len(entries) > _MOST else None
        return self.page(request, "audit", entries=entries[:_MOST], more=more)


async def _style(request: web.Request) -> web.Response:
    return web.Response(text=drawing.style(), content_type="text/css")
