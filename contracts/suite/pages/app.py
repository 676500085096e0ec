"""Which address shows what. It may not know how a service is judged, nor how a page looks."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from contracts.kit.listening import base_url
from contracts.kit.pages import is_local
from contracts.suite import runner
from contracts.suite.config import Options
from contracts.suite.language import LANGUAGES, Language, by_browser, by_locale, language
from contracts.suite.pages import forms, phone
from contracts.suite.pages.drawing import draw
from contracts.suite.pages.guard import SESSION, Guard
from contracts.suite.pages.runs import PageRun, compare
from contracts.suite.pages.sessions import Session, Sessions
from contracts.suite.playing import SCENARIOS
from contracts.suite.report.page import POLICY as REPORT_POLICY
from contracts.suite.report.page import style

STATIC = Path(__file__).with_name("static")
LARGEST_FORM = 256 * 1024
_TYPES = {
    ".html": "text/html",
    ".json": "application/json",
    ".xml": "application/xml",
    ".har": "application/json",
}


@asynccontextmanager
async def serving(host: str, port: int, defaults: Options, token: str | None = None) -> AsyncIterator[str]:
    """Serve while the context lasts; the address to open. Port 0 takes a free one. Raises ``OSError``.

    ``defaults``: what the form shows at first. ``token``: has to be in the address; without one, ``host``
    must be an address of this machine alone (``ValueError``).
    """
    if token is None and not is_local(host):
        raise ValueError("whoever can reach this address needs a token")
    served = web.AppRunner(Pages(defaults, token).application(), access_log=None, shutdown_timeout=0.5)
    await served.setup()
    try:
        await web.TCPSite(served, host, port).start()
        bound_host, bound_port = served.addresses[0][:2]
        yield base_url(bound_host, bound_port) + ("/" if token is None else f"/?token={token}")
    finally:
        await served.cleanup()


class Pages:
    """The pages of one process."""

    def __init__(self, defaults: Options, token: str | None) -> None:
        self._defaults = defaults
        self._sessions = Sessions()
        self._token = token

    def application(self) -> web.Application:
        guard = Guard(self._sessions, self._token)
        application = web.Application(middlewares=[guard.middleware], client_max_size=LARGEST_FORM)
        application.add_routes(
            [
                web.get("/", self.start),
                web.post("/runs", self.begin),
                web.get("/runs", self.history),
                web.get(r"/runs/{number:\d+}", self.run),
                web.get(r"/runs/{number:\d+}/progress", self.progress),
                web.post(r"/runs/{number:\d+}/stop", self.stop),
                web.get(r"/runs/{number:\d+}/files/{name}", self.file),
                web.post("/phone/connect", self.connect),
                web.get("/phone", self.phone),
                web.post("/phone/{call}", self.press),
                web.get("/language/{code}", self.choose_language),
                web.get("/static/page.css", _style),
                web.get("/static/live.js", _script),
            ]
        )
        application.on_shutdown.append(self._close)
        return application

    async def _close(self, application: web.Application) -> None:
        for session in self._sessions:
            session.close()

    # --- what all pages share -------------------------------------------------------------------------

    def _language(self, request: web.Request) -> Language:
        chosen = request[SESSION].language or self._defaults.language
        return language(chosen or by_browser(request.headers.get("Accept-Language", "")) or by_locale())

    def _page(self, request: web.Request, name: str, *, status: int = 200, **values: Any) -> web.Response:
        text = draw(
            name, self._language(request), session=request[SESSION], path=request.path, languages=LANGUAGES,
            **values,
        )  # fmt: skip
        return web.Response(text=text, content_type="text/html", status=status)

    async def choose_language(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["code"] not in LANGUAGES:
            raise web.HTTPNotFound
        request[SESSION].language = request.match_info["code"]
        back = request.query.get("back", "/")
        raise web.HTTPSeeOther(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/")

    # --- the form and the runs ------------------------------------------------------------------------

    def _form(self, request: web.Request, problems: dict[str, str] | None = None) -> web.Response:
        session = request[SESSION]
        return self._page(
            request, "start", forms=forms, problems=problems or {}, status=422 if problems else 200,
            values=forms.shown(self._defaults) if session.values is None else session.values,
            has_password=bool(self._password(session)), named=self._defaults.password_file is not None,
        )  # fmt: skip

    def _password(self, session: Session) -> str:
        return self._defaults.secret if session.password is None else session.password

    async def start(self, request: web.Request) -> web.Response:
        return self._form(request)

    async def _typed(self, request: web.Request) -> tuple[Options, str]:
        """Options and password of a posted form, which is remembered. Raises ``BadForm``."""
        session, posted = request[SESSION], await request.post()
        session.values = forms.typed(posted)
        if password := str(posted.get("password", "")):
            session.password = password
        elif "forget" in posted:
            session.password = ""
        password = self._password(session)
        options = forms.options_of(self._defaults, session.values, password)
        try:
            runner.targets_of(options)
            runner.refuse_selection(options)
        except runner.CannotRun as error:
            raise forms.BadForm({error.option: str(error)}) from None
        return options, password

    async def begin(self, request: web.Request) -> web.StreamResponse:
        try:
            options, password = await self._typed(request)
        except forms.BadForm as error:
            return self._form(request, error.problems)
        session = request[SESSION]
        session.started += 1
        session.keep(PageRun(session.started, options, password))
        raise web.HTTPSeeOther(f"/runs/{session.started}")

    def _asked(self, request: web.Request) -> PageRun:
        run = request[SESSION].run(int(request.match_info["number"][:9]))
        if run is None:
            raise web.HTTPNotFound(text="This session has no such run.")
        return run

    def _told(self, request: web.Request, run: PageRun) -> dict[str, Any]:
        """What a run's page needs."""
        before = request[SESSION].before(run)
        compared = None
        if before is not None and before.found is not None and run.found is not None:
            compared = compare(before.found, run.found)
        return {"run": run, "before": before, "compared": compared}

    async def run(self, request: web.Request) -> web.Response:
        return self._page(request, "run", **self._told(request, self._asked(request)))

    async def progress(self, request: web.Request) -> web.Response:
        """The part of a run's page that moves."""
        return self._page(request, "progress", **self._told(request, self._asked(request)))

    async def stop(self, request: web.Request) -> web.StreamResponse:
        run = self._asked(request)
        run.stop()
        raise web.HTTPSeeOther(f"/runs/{run.number}")

    async def history(self, request: web.Request) -> web.Response:
        session = request[SESSION]
        told = [self._told(request, run) for run in reversed(session.runs)]
        return self._page(request, "history", told=told)

    async def file(self, request: web.Request) -> web.Response:
        """A report: ``report.html`` to look at, the others, and everything in one, to keep."""
        run, name = self._asked(request), request.match_info["name"]
        files = run.files(self._language(request))
        if name == "all.zip" and files:
            return _to_keep(f"run-{run.number}.zip", _zipped(files), "application/zip")
        if name not in files:
            raise web.HTTPNotFound(text="This run has no such file.")
        kind = _TYPES.get(Path(name).suffix, "application/octet-stream")
        if name == "report.html" and "keep" not in request.query:
            headers = {"Content-Security-Policy": REPORT_POLICY}
            return web.Response(body=files[name], content_type=kind, charset="utf-8", headers=headers)
        return _to_keep(name, files[name], kind)

    # --- the phone ------------------------------------------------------------------------------------

    async def connect(self, request: web.Request) -> web.StreamResponse:
        try:
            options, password = await self._typed(request)
        except forms.BadForm as error:
            return self._form(request, error.problems)
        request[SESSION].phone.connect(options, password)
        raise web.HTTPSeeOther("/phone")

    async def phone(self, request: web.Request) -> web.Response:
        held = request[SESSION].phone
        if held.options is None:
            raise web.HTTPSeeOther("/")
        wanted = request.query.get("screen", held.screen)
        screen = next((one for one in phone.SCREENS if one.name == wanted), phone.SCREENS[0])
        if screen.name != held.screen:
            held.screen, held.note, held.rows = screen.name, None, []
        return self._page(request, "phone", phone=held, screen=screen, parts=phone, scenarios=SCENARIOS)

    async def press(self, request: web.Request) -> web.StreamResponse:
        posted = await request.post()
        names = ("what", "msisdn", "email", "birth_date", "qr", "code", "start", "end", "body")
        values = {name: str(posted[name])[: forms.LONGEST].strip() for name in names if name in posted}
        chosen = {channel: posted.get(f"channel.{channel}") for channel in phone.CHANNELS}
        allow, deny = ([name for name, said in chosen.items() if said == word] for word in ("allow", "deny"))
        await request[SESSION].phone.press(request.match_info["call"], values, allow, deny)
        raise web.HTTPSeeOther("/phone#phone")


def _zipped(files: dict[str, bytes]) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return kept.getvalue()


def _to_keep(name: str, content: bytes, kind: str) -> web.Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(body=content, content_type=kind, headers=headers)


async def _style(request: web.Request) -> web.Response:
    own = (STATIC / "page.css").read_text(encoding="utf-8")
    return web.Response(text=f"{style()}\n{own}", content_type="text/css")


async def _script(request: web.Request) -> web.Response:
    return web.Response(text=(STATIC / "live.js").read_text(encoding="utf-8"), content_type="text/javascript")
