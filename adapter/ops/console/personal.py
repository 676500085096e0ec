"""What the law lets a person ask for (152-FZ, GDPR): everything that is kept of them, or that it be removed.

For operators. The phone is remembered by the session alone; no address and no note of ours holds it. It
may not know where anything is kept.
"""

from __future__ import annotations

import json

from aiohttp import web

from adapter.loyalty.personal_data import KnownPerson, NoPhone, StillOpen
from adapter.loyalty.review import AuditAction
from adapter.ops.console.guard import SESSION
from adapter.ops.console.pages import Pages, note_of, see
from crm_backends.inputs import one_line
from crm_backends.ports import BackendError

_TYPED = "person"
"""What the session calls the phone."""
_MOST_NAMED = 10


class Personal(Pages):
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/personal", self.form),
            web.post("/personal", self.find),
            web.post("/personal/export", self.export),
            web.post("/personal/erase", self.erase),
        ]

    async def form(self, request: web.Request) -> web.Response:
        person = await self._known(request) if request[SESSION].may_decide else None
        return self.page(request, "personal", person=person)

    async def find(self, request: web.Request) -> web.StreamResponse:
        self.must_decide(request)
        session, say = request[SESSION], self.language_of(request)
        session.typed[_TYPED] = one_line(str((await request.post()).get("phone", "")))[:80]
        if (person := await self._known(request)) is not None:
            await self.parts.audit.note(self.who(request), AuditAction.SEARCHED, note="person")
            if not person.customer_ids:
                session.tell(say("The users CRM knows nobody with this phone."), good=False)
        raise see("personal")

    async def _known(self, request: web.Request) -> KnownPerson | None:
        """The person who was asked for last; says why where that is nobody."""
        session, say = request[SESSION], self.language_of(request)
        phone = session.typed.get(_TYPED)
        if not phone:
            return None
        try:
            return await self.parts.personal_data.find(phone)
        except NoPhone:
            session.tell(say("This is no phone. Write it with the country code."), good=False)
        except BackendError as error:
            session.tell(say.sentence(f"the CRM cannot be asked whose the phone is: {error}"), good=False)
        session.typed.pop(_TYPED)
        return None

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Everything that is kept of the person, as a file."""
        who = self.must_decide(request)
        person = await self._known(request)
        if person is None:
            raise see("personal")
        try:
            found = await self.parts.personal_data.export(person, by=who)
        except BackendError as error:
            say = self.language_of(request)
            request[SESSION].tell(say.sentence(f"the CRM does not tell what it keeps: {error}"), good=False)
            raise see("personal") from None
        await self.parts.audit.note(who, AuditAction.EXPORTED)
        headers = {"Content-Disposition": 'attachment; filename="person.json"'}
        text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def erase(self, request: web.Request) -> web.StreamResponse:
        who, say, session = self.must_decide(request), self.language_of(request), request[SESSION]
        posted = await request.post()
        why = note_of(str(posted.get("note", "")))
        if why is None:
            session.tell(say("Write why, in up to 500 characters: the note is kept for good."), good=False)
            raise see("personal")
        if "sure" not in posted:
            session.tell(say("Tick that you are sure: what is erased does not come back."), good=False)
            raise see("personal")
        person = await self._known(request)
        if person is None:
            raise see("personal")
        await self.parts.audit.note(who, AuditAction.ERASED, note=why)
        try:
            erased = await self.parts.personal_data.erase(person, by=who)
        except StillOpen as still:
            numbers = ", ".join(str(number) for number in still.ids[:_MOST_NAMED])
            told = say(
                "Nothing was erased: operations of this person are not over ({numbers}).", numbers=numbers
            )
            session.tell(f"{told} {say('Wait for them, or settle them, then erase the person.')}", good=False)
            raise see("personal") from None
        except BackendError as error:
            session.tell(say.sentence(f"the CRM did not forget the person: {error}"), good=False)
            session.tell(say("Erase the person once more when the CRM answers."), good=False)
            raise see("personal") from None
        session.typed.pop(_TYPED, None)
        rows = sum(erased.rows.values()) + erased.in_our_crm
        session.tell(say("The person is erased; rows removed or emptied: {number}", number=rows))
        if erased.others:
            ids = ", ".join(person.customer_ids) or say("none found")
            told = say("Erase the person there, too, or the next call of Koshelek finds them again:")
            session.tell(f"{told} {', '.join(erased.others)} ({ids})", good=False)
        raise see("personal")
