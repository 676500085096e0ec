"""A customer's question: find by card, phone or receipt; then the card, its operations, each with its story.

Numbers and people are masked until somebody asks for them by a click, which is kept. No address holds a
number. It may not know how a CRM is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from adapter.errors import TEXTS, Refused
from adapter.loyalty import holder
from adapter.loyalty.fiscal import read_qr
from adapter.loyalty.model import FINAL, FOR_A_PERSON, Card
from adapter.loyalty.programme import in_its_place
from adapter.loyalty.review import AuditAction, Item
from adapter.loyalty.steps import untold_attempts
from adapter.ops.console.guard import SESSION
from adapter.ops.console.held import can_be_settled
from adapter.ops.console.masking import private_fields
from adapter.ops.console.pages import Pages, see
from adapter.ops.console.story import answered, story
from crm_backends.inputs import one_line, read_phone
from crm_backends.inputs.receipts import DRIVE_DIGITS
from crm_backends.model import Profile
from crm_backends.ports import BackendError, Deadline

_PATIENCE = 5.0
"""Seconds; a person waits longer than a caller."""
_MOST = 50
_THREE_NUMBERS = re.compile(r"(\d{8,16})\D+(\d{1,10})\D+(\d{1,10})")


@dataclass
class Found:
    """What a search has led to."""

    by: str
    """``card``, ``phone`` or ``receipt``: what the text was taken for."""
    cards: list[Card] = field(default_factory=list)
    operations: list[Item] = field(default_factory=list)
    problem: str | None = None
    """Why the answer may not be whole, as one sentence."""


class Question(Pages):
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/find", self.form),
            web.post("/find", self.find),
            web.get(r"/cards/{name:[\w-]{6,20}}", self.card),
            web.post(r"/cards/{name:[\w-]{6,20}}", self.show_card),
            web.get(r"/operations/{id:\d{1,18}}", self.operation),
            web.post(r"/operations/{id:\d{1,18}}", self.show_operation),
        ]

    # --- looking for something -----------------------------------------------------------------------

    async def form(self, request: web.Request) -> web.Response:
        return self.page(request, "find", found=None, text="")

    async def find(self, request: web.Request) -> web.Response:
        text = one_line(str((await request.post()).get("text", "")))[:1000]
        if not text:
            return self.page(request, "find", found=None, text="")
        found = await self._found(text)
        await self.parts.audit.note(self.who(request), AuditAction.SEARCHED, note=found.by)
        session = request[SESSION]
        # Whoever typed it knows it; it is masked all the same, since others may look at the screen.
        return self.page(
            request,
            "find",
            found=found,
            text="",
            names={
                number: session.name_card(number)
                for card in found.cards
                for number in (card.number, card.replaces)
                if number is not None
            },
        )

    async def _found(self, text: str) -> Found:
        receipt = self._receipt(text)
        if receipt is not None:
            return Found("receipt", operations=await self.parts.review.of_receipt(*receipt))
        number = re.sub(r"\s", "", text)
        if (card := await self.parts.cards.get(number)) is not None:
            return Found("card", cards=[card])
        phone = read_phone(text, self.parts.settings.koshelek.region)
        if phone is None:
            return Found("card")
        return await self._by_phone(phone)

    def _receipt(self, text: str) -> tuple[str, str, str] | None:
        """fn, i and fp as they are kept, of a QR text or of the three numbers in this order."""
        values: dict[str, str] = {}
        if "=" in text or "%3D" in text.upper():
            try:
                values = read_qr(text)
            except Refused:
                return None
        elif numbers := _THREE_NUMBERS.fullmatch(text):
            values = dict(zip(("fn", "i", "fp"), numbers.groups(), strict=True))
        drive, document, sign = (values.get(key, "") for key in ("fn", "i", "fp"))
        if not (drive.isdecimal() and document.isdecimal() and sign.isdecimal()):
            return None
        if self.parts.settings.receipts.fiscal_drive == "padded":
            drive = drive.zfill(DRIVE_DIGITS)
        return drive, str(int(document)), str(int(sign))

    async def _by_phone(self, phone: str) -> Found:
        found = Found("phone")
        try:
            people = await self.parts.programme.users.find(
                phone=phone, email=None, birth_date=None, deadline=Deadline.after(_PATIENCE)
            )
        except BackendError as error:
            found.problem = f"the CRM cannot be asked whose the phone is: {error}"
            return found
        found.cards = list(await self.parts.cards.of_customers([person.customer_id for person in people]))
        if people and not found.cards:
            found.problem = "the CRM knows a person with this phone, who has no card here"
        return found

    # --- a card --------------------------------------------------------------------------------------

    async def _asked_card(self, request: web.Request) -> Card:
        number = request[SESSION].card_named(request.match_info["name"])
        card = None if number is None else await self.parts.cards.get(number)
        if card is None:
            raise see("find")
        return card

    async def card(self, request: web.Request) -> web.Response:
        session, card = request[SESSION], await self._asked_card(request)
        shown = session.shows(f"card {card.number}")
        replaced = await in_its_place(self.parts.programme, card) if card.replaced_by is not None else None
        operations = await self._operations(card)
        return self.page(
            request,
            "card",
            card=card,
            name=request.match_info["name"],
            shown=shown,
            profile=await self._profile(card) if shown else None,
            since=await self.parts.cards.since(card.number),
            events=await self.parts.cards.events(card.number),
            operations=operations[:_MOST],
            more=len(operations) > _MOST,
            now=await self._as_koshelek(card) if "now" in request.query else None,
            replaced=None if replaced is None else session.name_card(replaced.number),
            replaces=None if card.replaces is None else session.name_card(card.replaces),
        )

    async def show_card(self, request: web.Request) -> web.StreamResponse:
        """Have the number, and the person the CRM knows, shown or hidden again; showing is kept."""
        session, card = request[SESSION], await self._asked_card(request)
        subject = f"card {card.number}"
        if (await request.post()).get("do") == "show":
            await self.parts.audit.note(self.who(request), AuditAction.SHOWN_CARD, card_number=card.number)
            session.show(subject)
        else:
            session.hide(subject)
        raise see(f"cards/{request.match_info['name']}")

    async def _operations(self, card: Card) -> Sequence[Item]:
        """The newest, and one more than is shown where there are more."""
        return await self.parts.review.newest(
            state=None, kind=None, card=card.number, since=None, limit=_MOST + 1
        )

    async def _profile(self, card: Card) -> Profile | str | None:
        """The owner as the CRM knows them; a text: why it does not say."""
        if card.users_reference is None:
            return None
        try:
            owner = await self.parts.programme.users.get(
                card.users_reference, deadline=Deadline.after(_PATIENCE)
            )
        except BackendError as error:
            return str(error)
        return "the CRM does not know the owner any more" if owner is None else owner.profile

    async def _as_koshelek(self, card: Card) -> holder.CardInfo | str:
        """What Koshelek would be shown of the card now; a text: the error it would get."""
        deadline = Deadline.after(self.parts.settings.server.deadline)
        try:
            return await holder.card_info(self.parts.programme, card.number, deadline)
        except Refused as error:
            text = error.description(self.parts.settings.koshelek.language)
            return f"422, {error.code}: {text} {TEXTS[error.code].remedy}"
        except BackendError as error:
            return f"422, 903: {error}"

    # --- an operation --------------------------------------------------------------------------------

    async def operation(self, request: web.Request) -> web.Response:
        session = request[SESSION]
        found = await self.parts.review.show(int(request.match_info["id"]))
        if found is None:
            said = self.language_of(request)("There is no operation with this number.")
            return self.page(request, "nothing", said=said, status=404)
        item, events = found
        shown = session.shows(f"operation {item.id}")
        card = None if item.card_number is None else session.name_card(item.card_number)
        return self.page(
            request,
            "operation",
            item=item,
            card=card,
            shown=shown,
            private=private_fields(item, shown=shown),
            steps=story(item, events),
            untold=untold_attempts(item, events),
            answered=answered(item, self.parts.settings),
            crm=self.parts.crm_of(item.kind),
            waits=item.state in FOR_A_PERSON,
            can_settle=can_be_settled(item),
            can_correct=item.state in FINAL and any(event.who for event in events),
        )

    async def show_operation(self, request: web.Request) -> web.StreamResponse:
        """Have the numbers of an operation shown, or hidden again; showing is kept."""
        session, number = request[SESSION], int(request.match_info["id"])
        found = await self.parts.review.show(number)
        if found is None:
            raise see("find")
        if (await request.post()).get("do") == "show":
            await self.parts.audit.note(
                self.who(request),
                AuditAction.SHOWN_OPERATION,
                operation_id=number,
                card_number=found[0].card_number,
            )
            session.show(f"operation {number}")
        else:
            session.hide(f"operation {number}")
        raise see(f"operations/{number}")
