"""What the law lets a person ask for (152-FZ, GDPR): everything that is kept of them, or that it be removed.

For operators. Who was found has a name of its own in the session, which is in the address of the page: a page
shows, downloads and erases the one it was opened for, whatever is looked for in another window. It may not
know where anything is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiohttp import web

from adapter.loyalty.personal_data import KnownPerson, NoPhone, SeveralPeople, StillOpen
from adapter.loyalty.review import AuditAction
from adapter.ops.console.guard import SESSION
from adapter.ops.console.pages import Pages, note_of, see
from crm_backends.inputs import one_line
from crm_backends.ports import BackendError

_MOST_NAMED = 10


class Personal(Pages):
    def routes(self) -> list[web.RouteDef]:
        person = r"/personal/{name:[\w-]{6,20}}"
        return [
            web.get("/personal", self.form),
            web.post("/personal", self.find),
            web.get(person, self.show),
            web.post(f"{person}/export", self.export),
            web.post(f"{person}/erase", self.erase),
        ]

    async def form(self, request: web.Request) -> web.Response:
        return self.page(request, "personal", person=None)

    async def find(self, request: web.Request) -> web.StreamResponse:
        who, session, say = self.must_decide(request), request[SESSION], self.language_of(request)
        phone = one_line(str((await request.post()).get("phone", "")))[:80]
        try:
            person = await self.parts.personal_data.find(phone)
        except NoPhone:
            session.tell(say("This is no phone. Write it with the country code."), good=False)
            raise see("personal") from None
        except SeveralPeople as several:
            told = say("Several customers of the CRM have this phone. The command takes one of them:")
            session.tell(f"{told} person erase --customer {' | '.join(several.ids)}", good=False)
            raise see("personal") from None
        except BackendError as error:
            session.tell(say.sentence(f"the CRM cannot be asked whose the phone is: {error}"), good=False)
            raise see("personal") from None
        await self.parts.audit.note(who, AuditAction.SEARCHED, note="person")
        if not person.customer_ids:
            session.tell(say("The users CRM knows nobody with this phone."), good=False)
            raise see("personal")
        raise see(f"personal/{session.name_person(phone, person)}")

    def _asked(self, request: web.Request) -> tuple[str, KnownPerson]:
        """Whom the page is about, and the phone they were found by."""
        found = request[SESSION].person_named(request.match_info["name"])
        if found is None:
            raise see("personal")
        return found

    async def show(self, request: web.Request) -> web.Response:
        self.must_decide(request)
        phone, person = self._asked(request)
        name = request.match_info["name"]
        return self.page(request, "personal", person=person, name=name, last=phone[-4:])

    async def _cards(self, person: KnownPerson) -> list[str]:
        return [card.number for card in await self.parts.cards.of_customers(person.customer_ids)]

    async def _noted(
        self, who: str, action: AuditAction, numbers: Sequence[str], why: str | None = None
    ) -> None:
        """Keep whose data it was by the person's cards, which stay known without the person."""
        for number in numbers or (None,):
            await self.parts.audit.note(who, action, card_number=number, note=why)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Everything that is kept of the person, as a file."""
        who = self.must_decide(request)
        _, person = self._asked(request)
        try:
            found = await self.parts.personal_data.export(person, by=who)
        except BackendError as error:
            say = self.language_of(request)
            request[SESSION].tell(say.sentence(f"the CRM does not tell what it keeps: {error}"), good=False)
            raise see(f"personal/{request.match_info['name']}") from None
        await self._noted(who, AuditAction.EXPORTED, await self._cards(person))
        headers = {"Content-Disposition": 'attachment; filename="person.json"'}
        text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def erase(self, request: web.Request) -> web.StreamResponse:
        who, say, session = self.must_decide(request), self.language_of(request), request[SESSION]
        (_, person), posted = self._asked(request), await request.post()
        here = see(f"personal/{request.match_info['name']}")
        why = note_of(str(posted.get("note", "")))
        if why is None:
            session.tell(say("Write why, in up to 500 characters: the note is kept for good."), good=False)
            raise here
        if "sure" not in posted:
            session.tell(say("Tick that you are sure: what is erased does not come back."), good=False)
            raise here
        numbers = await self._cards(person)
        try:
            erased = await self.parts.personal_data.erase(person, by=who)
        except StillOpen as still:
            some = ", ".join(str(number) for number in still.ids[:_MOST_NAMED])
            told = say(
                "Nothing was erased: operations of this person are not over ({numbers}).", numbers=some
            )
            session.tell(f"{told} {say('Wait for them, or settle them, then erase the person.')}", good=False)
            raise here from None
        except BackendError as error:
            session.tell(say.sentence(f"the CRM did not forget the person: {error}"), good=False)
            session.tell(say("Erase the person once more when the CRM answers."), good=False)
            raise here from None
        # Afterwards: notes about the person are erased with the rest.
        await self._noted(who, AuditAction.ERASED, numbers, why)
        rows = sum(erased.rows.values()) + erased.in_our_crm
        session.tell(say("The person is erased; rows removed or emptied: {number}", number=rows))
        if erased.others:
            ids = ", ".join(person.customer_ids) or say("none found")
            told = say("Erase the person there, too, or the next call of Koshelek finds them again:")
            session.tell(f"{told} {', '.join(erased.others)} ({ids})", good=False)
        raise see("personal")
