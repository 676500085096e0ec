"""Numbers for new cards and how long they last, numbers from a file, and what a person decides about a card.

It may not know where numbers are kept, nor what a file of them looks like.
"""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from aiohttp import BodyPartReader, web

from adapter import background
from adapter.loyalty.model import CardState, why_not_blocked
from adapter.loyalty.replacing import CannotReplace, replace_card
from adapter.loyalty.review import AuditAction
from adapter.loyalty.stock import Brought
from adapter.ops.console.guard import SESSION, is_token
from adapter.ops.console.pages import Pages, note_of, see
from adapter.ops.console.ports import Parts
from crm_backends.inputs import one_line
from crm_backends.ports import BackendError, Deadline

log = structlog.get_logger("console")

LARGEST_FILE = 200 * 1024 * 1024
"""Bytes: about ten million numbers."""
_PATIENCE = 10.0
"""Seconds; a person waits longer than a caller."""
_AGAIN = 2


@dataclass
class Import:
    """A file that is, or was, imported."""

    who: str
    name: str
    brought: Brought = field(default_factory=Brought)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        return not self.brought.over


class CardNumbers(Pages):
    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._import: Import | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/pool", self.pool),
            web.post("/pool/import", self.bring),
            web.get("/pool/rejected.csv", self.rejected),
            web.post("/pool/card", self.decide),
        ]

    async def until_closed(self, application: web.Application) -> AsyncIterator[None]:
        """A file that is under way when the service stops is left as far as it got."""
        yield
        if self._import is not None and self._import.task is not None:
            self._import.task.cancel()
            await asyncio.gather(self._import.task, return_exceptions=True)

    async def pool(self, request: web.Request) -> web.Response:
        under_way = self._import is not None and self._import.under_way
        return self.page(
            request,
            "pool",
            again=_AGAIN if under_way else None,
            stock=None if under_way else await self.parts.stock(),
            imported=self._import,
            barcode=self.parts.settings.cards.barcode_type,
        )

    # --- a file --------------------------------------------------------------------------------------

    async def bring(self, request: web.Request) -> web.StreamResponse:
        who, say, session = self.must_decide(request), self.language_of(request), request[SESSION]
        reader = await request.multipart()
        first = await reader.next()
        token = await first.text() if isinstance(first, BodyPartReader) and first.name == "csrf" else ""
        if not is_token(token, session):
            raise web.HTTPForbidden(text="This form is not of this session: open the page anew.")
        part = await reader.next()
        if not isinstance(part, BodyPartReader) or part.name != "file" or not part.filename:
            session.tell(say("Choose a file."), good=False)
            raise see("pool")
        if self._import is not None and self._import.under_way:
            session.tell(say("A file is being imported; wait until that is over."), good=False)
            raise see("pool")
        found = Import(who, one_line(part.filename)[:100])
        self._import = found  # before anything is awaited: the second of two at once is told to wait
        kept = tempfile.TemporaryFile()  # noqa: SIM115 - the task closes it
        try:
            while chunk := await part.read_chunk(256 * 1024):
                if kept.tell() + len(chunk) > LARGEST_FILE:
                    raise web.HTTPRequestEntityTooLarge(LARGEST_FILE, kept.tell())
                kept.write(chunk)
            await self.parts.audit.note(who, AuditAction.IMPORTED, note=found.name)
        except BaseException:
            found.brought.over = True
            self._import = None
            kept.close()
            raise
        kept.seek(0)
        text = io.TextIOWrapper(kept, encoding="utf-8", newline="")
        found.task = background.start(self._carry_out(text, found), "import")
        raise see("pool")

    async def _carry_out(self, text: io.TextIOWrapper, found: Import) -> None:
        try:
            await self.parts.bring(text, found.brought)
        except Exception as error:
            found.brought.problem = "it broke off; what was imported stays, import the file again"
            log.exception("import_failed", reason=type(error).__name__)
        finally:
            found.brought.over = True
            text.close()

    async def rejected(self, request: web.Request) -> web.Response:
        """The lines that were rejected, to download."""
        if self._import is None:
            raise see("pool")
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["line", "reason"])
        writer.writerows(self._import.brought.rejected)
        headers = {"Content-Disposition": 'attachment; filename="rejected.csv"'}
        return web.Response(text=text.getvalue(), content_type="text/csv", headers=headers)

    # --- a card --------------------------------------------------------------------------------------

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Block, unblock or replace a card."""
        who, say, session = self.must_decide(request), self.language_of(request), request[SESSION]
        posted = await request.post()
        name, note = str(posted.get("card", "")), note_of(str(posted.get("note", "")))
        number = (
            session.card_named(name) if name else one_line(str(posted.get("number", ""))).replace(" ", "")
        )
        back = see(f"cards/{name}" if name and number else "pool")
        if note is None:
            session.tell(say("Write why, in up to 500 characters: the note is kept for good."), good=False)
            raise back
        if not number or await self.parts.cards.get(number) is None:
            session.tell(say("There is no card with this number."), good=False)
            raise back
        match posted.get("do"):
            case "block":
                await self._block(request, number, who, note)
            case "unblock":
                await self.parts.audit.note(who, AuditAction.UNBLOCKED, card_number=number, note=note)
                card = await self.parts.cards.unblock(number, by=who, note=note)
                session.tell(say("The card is {state} now.", state=say(card.state if card else "unknown")))
            case "replace":
                new = one_line(str(posted.get("new", ""))).replace(" ", "")
                await self._replace(request, number, new, who, note)
            case _:
                raise web.HTTPBadRequest(text="There is no such decision.")
        raise see(f"cards/{session.name_card(number)}")

    async def _block(self, request: web.Request, number: str, who: str, note: str) -> None:
        say, session = self.language_of(request), request[SESSION]
        await self.parts.audit.note(who, AuditAction.BLOCKED, card_number=number, note=note)
        card = await self.parts.cards.block(number, by=who, note=note)
        if card is not None and card.state is CardState.BLOCKED:
            session.tell(say("The card is {state} now.", state=say("blocked")))
        elif card is not None:
            session.tell(say.sentence(why_not_blocked(card)), good=False)

    async def _replace(self, request: web.Request, number: str, new: str, who: str, note: str) -> None:
        say, session = self.language_of(request), request[SESSION]
        await self.parts.audit.note(who, AuditAction.REPLACED, card_number=number, note=note)
        deadline = Deadline.after(_PATIENCE)
        try:
            await replace_card(self.parts.programme, number, new, by=who, note=note, deadline=deadline)
        except (CannotReplace, BackendError) as error:
            told = say("Nothing was changed: {why}", why=say.sentence(str(error)))
            session.tell(told, good=False)
        else:
            session.tell(say("Another number stands in its place now."))
