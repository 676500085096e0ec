"""What waits for a person: why, what to look for in the CRM, and the decisions, one or several at once.

It may not know how a CRM is asked, nor how a decision is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from aiohttp import web
from multidict import MultiMapping

from adapter.delivery.decisions import Asking, Requeue, occasion_of
from adapter.delivery.recheck import Asked, Recheck
from adapter.loyalty.model import FOR_A_PERSON, OperationKind, OperationState
from adapter.loyalty.review import AuditAction, CannotDecide, Item
from adapter.ops.console.guard import SESSION
from adapter.ops.console.pages import Pages, note_of, see, whole
from contracts.kit.language import Language
from crm_backends.inputs import one_line

AT_ONCE = 50
"""Operations on one page."""
_PATIENCE = 25.0
"""Seconds for which CRMs are asked in one go."""

SENTENCES = {
    "found": "found in the CRM; it is done now, nothing was sent",
    "found_twice": "found in the CRM MORE THAN ONCE ({entries}); take one back there, then settle it",
    "conflict": "the CRM knows our key with other contents; look there at {key}",
    "absent": "not in the CRM; it can be sent again",
    "not_found": "not found, but this CRM has not proved that it finds our writes; look there at {key}",
    "cannot_tell": "the CRM cannot tell",
    "harmless": "sending it again has no second effect in this CRM; send it again",
    "nobody_to_ask": "this CRM cannot be asked; look there at {key}",
    "no_answer": "the CRM gave no answer; try again when it is back",
}
"""What a person is told of each ``Answer``."""
NOT_YET = "not asked yet: the CRM is slow; ask again"


class Held(Pages):
    """The list, and what is decided there or on the page of one operation."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/held", self.list), web.post("/held", self.decide)]

    async def list(self, request: web.Request) -> web.Response:
        kind = _kind(request.query.get("kind", ""))
        after = whole(request.query.get("after", "")) or 0
        items = await self.parts.review.held(kind, AT_ONCE + 1, after=after)
        decided = await self.parts.review.decisions(30)
        return self.page(
            request,
            "held",
            items=items[:AT_ONCE],
            more=items[AT_ONCE - 1].id if len(items) > AT_ONCE else None,
            kind=kind,
            kinds=list(OperationKind),
            decided=decided,
            crm_of=self.parts.crm_of,
        )

    async def decide(self, request: web.Request) -> web.StreamResponse:
        who, say, session = self.must_decide(request), self.language_of(request), request[SESSION]
        posted = await request.post()
        only = whole(posted.get("only", ""))
        back = see("held" if only is None else f"operations/{only}")
        ids = [one for text in posted.getall("id", ()) if (one := whole(text)) is not None][:AT_ONCE]
        why = note_of(str(posted.get("note", "")))
        if not ids:
            session.tell(say("Nothing was chosen."), good=False)
            raise back
        if why is None:
            session.tell(say("Write why, in up to 500 characters: the note is kept for good."), good=False)
            raise back
        items = [item async for portion in self.parts.review.some(ids) for item in portion]
        match posted.get("do"):
            case "recheck":
                await self._recheck(request, items, who, why)
            case "requeue":
                await self._requeue(request, items, who, why, without_asking="looked" in posted)
            case "settle":
                await self._settle(request, items, who, why, posted)
            case _:
                raise web.HTTPBadRequest(text="There is no such decision.")
        raise back

    def _asking(self, who: str, why: str) -> Asking:
        parts = self.parts
        recheck = Recheck(parts.programme, parts.visibility, parts.settings.delivery.call_timeout)
        return Asking(recheck, parts.operations, parts.review, who, why)

    async def _recheck(self, request: web.Request, items: Sequence[Item], who: str, why: str) -> None:
        say, session, asking = self.language_of(request), request[SESSION], self._asking(who, why)
        until = time.monotonic() + _PATIENCE
        for item in items:
            if item.state is not OperationState.HELD:
                session.tell(
                    say("it is {state}; only held ones are asked about", state=say(item.state.value)),
                    good=False,
                    operation_id=item.id,
                )
                continue
            if time.monotonic() > until:
                session.tell(say(NOT_YET), good=False, operation_id=item.id)
                continue
            await self.parts.audit.note(who, AuditAction.RECHECKED, operation_id=item.id, note=why)
            asked = await asking.ask(item)
            session.tell(sentence(say, item, asked), good=asked.answer == "found", operation_id=item.id)

    async def _requeue(
        self, request: web.Request, items: Sequence[Item], who: str, why: str, *, without_asking: bool
    ) -> None:
        say, session = self.language_of(request), request[SESSION]
        queue = Requeue(who, why, without_asking)
        queue.sort(items)
        if not without_asking:
            await queue.ask(self._asking(who, why), patience=_PATIENCE)
        for item in items:
            await self.parts.audit.note(who, AuditAction.REQUEUED, operation_id=item.id, note=why)
        await queue.send(self.parts.review)
        for item, asked in queue.kept:
            session.tell(sentence(say, item, asked), good=False, operation_id=item.id)
        for item in queue.unasked:
            session.tell(say(NOT_YET), good=False, operation_id=item.id)
        for operation_id, reason in queue.left.items():
            session.tell(say.sentence(reason), good=False, operation_id=operation_id)
        if queue.found:
            session.tell(say("In the CRM already, and done now: {number}", number=queue.found))
        if queue.sent:
            session.tell(say("Will be sent again: {number}", number=queue.sent))

    async def _settle(
        self, request: web.Request, items: Sequence[Item], who: str, why: str, posted: MultiMapping[object]
    ) -> None:
        say, session = self.language_of(request), request[SESSION]
        outcome = posted.get("outcome")
        if outcome not in ("done", "refused"):
            session.tell(say("Say what became of it in the CRM."), good=False)
            return
        try:
            points = _points(str(posted.get("points", "")))
        except InvalidOperation:
            session.tell(say("Points are a number from 0 with up to two decimals, as in 62.50."), good=False)
            return
        for item in items:
            await self.parts.audit.note(who, AuditAction.SETTLED, operation_id=item.id, note=why)
            try:
                settled = await self.parts.review.settle(
                    item.id,
                    OperationState(str(outcome)),
                    by=who,
                    note=why,
                    points=points,
                    customer=one_line(str(posted.get("customer", "")))[:255] or None,
                    occasion=occasion_of(self.parts.settings),
                    correct="correct" in posted,
                )
            except CannotDecide as error:
                told = say.sentence(str(error))
                if error.needs == "correction":
                    told += ". " + say("Tick the correction on its page to change what a person decided.")
                elif error.needs == "customer":
                    told += ". " + say("Write on its page how the CRM calls the person it has registered.")
                session.tell(told, good=False, operation_id=item.id)
            else:
                told = say.sentence(settled.before) if settled.before else say(f"it is {settled.state} now")
                session.tell(told, operation_id=item.id)


def sentence(say: Language, item: Item, asked: Asked) -> str:
    """What came of asking about an operation."""
    entries = ", ".join(asked.written.entries) if asked.written is not None else ""
    told = say(SENTENCES[asked.answer], entries=entries, key=item.idempotency_key)
    return f"{told} ({say.sentence(asked.detail)})" if asked.detail else told


def can_be_settled(item: Item) -> bool:
    """Whether a person may say how an operation ended, a correction apart."""
    return item.state in (*FOR_A_PERSON, OperationState.UNKNOWN)


def _kind(text: str) -> OperationKind | None:
    return OperationKind(text) if text in set(OperationKind) else None


def _points(text: str) -> Decimal | None:
    """Raises ``InvalidOperation``."""
    text = text.strip().replace(",", ".")
    if not text:
        return None
    points = Decimal(text)
    if not points.is_finite() or not 0 <= points < 10**12 or points != round(points, 2):
        raise InvalidOperation
    return points
