"""One check under way: the calls it makes, the sentences it fails with, the people it asks for.

It may not know which checks there are, nor who runs them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, cast

from contracts.suite import casting
from contracts.suite.address import Address
from contracts.suite.answer import Answer
from contracts.suite.checking import Breach, Skip
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.people import People, Person
from contracts.suite.reading import Points, found_number, quoted, reserved_number
from contracts.suite.results import Created, Exchange

MOST_DRAWS = 20
"""Attempts to make up a person whom the service does not know; after that one whom it may know is taken."""

Value = TypeVar("Value")


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Target:
    """One service under test and what the run has learnt of it."""

    address: Address
    options: Options
    client: Client
    people: People
    password: str = field(repr=False)
    receipts: int = 0
    """How many were accepted."""
    watches_credits: bool = False
    """Whether checks of this run watch where points go: nobody else may ask for any until they have."""
    asked_for_points: float | None = None
    """When the last receipt or promo code was accepted, by the clock of the event loop."""
    last_asked: float | None = None
    """The same, but never forgotten; ``asked_for_points`` is, once the balances have come to rest."""
    rested: dict[str, tuple[Person, Points]] = field(default_factory=dict)
    """By card number: balances that had come to rest; nothing was asked for the card since then."""
    slowest_credit: float | None = None
    """Seconds until points showed in a balance; the longest that was seen."""
    stop_is_told: bool = False
    """Whether a check has said why the run was stopped early."""
    remarks: dict[str, None] = field(default_factory=dict)
    """What was found to be wrong in the configuration: sentences without values."""
    _made: dict[Created, None] = field(default_factory=dict)
    earning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a check that compares the balance of `existing`; others wait for it before sending receipts."""
    earners: int = 0
    nobody_earns: asyncio.Event = field(default_factory=_set_event)
    shared: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    """What checks have found out once for all of them; see ``Trial.once``."""

    def made(self, what: str, value: str) -> None:
        """Remember something that stays in the service; the same again is one thing."""
        self._made[Created(what, value)] = None

    @property
    def created(self) -> tuple[Created, ...]:
        """Everything that stays in the service."""
        receipts = [Created("receipts", str(self.receipts))] if self.receipts else []
        return (*self._made, *receipts)


class Trial:
    """One check under way: the calls it makes are recorded, what it finds is raised."""

    def __init__(self, target: Target, turn: asyncio.Semaphore | None = None) -> None:
        """``turn``: what the check holds while it is busy, so that others may go on while it waits."""
        self.target = target
        self._turn = turn
        self.options = target.options
        self.people = target.people
        self.exchanges: list[Exchange] = []

    # --- calls --------------------------------------------------------------------------------------

    async def call(self, method: int, verb: str, path: str, **more: Any) -> Answer:
        """Any request; see ``Client.call``."""
        self.target.client.redactor.sent(more.get("body"))
        self.target.client.redactor.sent(dict(more.get("query", ())))
        answer = await self.target.client.call(method, verb, path, **more)
        return self.note(answer)

    def note(self, answer: Answer) -> Answer:
        """Count an answer among those of this check; one that checks share counts in each."""
        if answer.exchange not in self.exchanges:
            self.exchanges.append(answer.exchange)
        for shown in (found_number(answer), answer.text_at("card", "barcode", "barcodeNumber")):
            if shown is not None:
                self.target.client.redactor.hide_card(shown)
        return answer

    async def raw(self, data: bytes, **more: Any) -> list[Answer]:
        """Bytes on a bare socket; see ``Client.raw``."""
        return [self.note(answer) for answer in await self.target.client.raw(data, **more)]

    async def unknown_path(self, verb: str = "GET", path: str = "/v1/no-such-method", **more: Any) -> Answer:
        """A path that is none, or a verb that a path does not serve."""
        return await self.call(0, verb, path, probe=True, **more)

    async def find(self, msisdn: str | None = None, email: str | None = None, **query: str) -> Answer:
        """KLO-1."""
        given = {"msisdn": msisdn, "email": email} | query
        return await self.call(
            1, "GET", "/v1/card", query={key: value for key, value in given.items() if value is not None}
        )

    async def consents(self, card: str, body: Any, **more: Any) -> Answer:
        """KLO-2."""
        return await self.call(2, "PUT", f"/v1/card/{quoted(card)}/communication", body=body, **more)

    async def card(self, card: str, **more: Any) -> Answer:
        """KLO-3."""
        return await self.call(3, "GET", f"/v1/card/{quoted(card)}", **more)

    async def update(self, card: str, profile: Any, *, verb: str = "POST", **more: Any) -> Answer:
        """KLO-4."""
        return await self.call(4, verb, f"/v1/card/{quoted(card)}", body=profile, **more)

    async def reserve(self, **more: Any) -> Answer:
        """KLO-5."""
        answer = await self.call(5, "GET", "/v1/card/anonymous", own=True, **more)
        if (made := reserved_number(answer)) is not None:
            self.target.made("reserved number", made)
        return answer

    async def reserving(self) -> Answer:
        """The same; skips where a version that can do without reserves no numbers."""
        answer = await self.reserve()
        left_out = self.since("1.2.0") and answer.status == 422
        self.need(not left_out, "no numbers are reserved, which versions 1.2.0 and newer can do without")
        return answer

    async def issue_reserved(self, card: str, profile: Any, **more: Any) -> Answer:
        """KLO-6."""
        answer = await self.call(6, "POST", f"/v1/card/anonymous/{quoted(card)}", body=profile, **more)
        if answer.ok:
            self.target.made("issued card", self.target.client.redactor.known(card))
        return answer

    async def purchases(self, card: str, **query: str) -> Answer:
        """KLO-7."""
        return await self.call(7, "GET", f"/v1/card/{quoted(card)}/purchases", query=query)

    async def offers(self, card: str, **more: Any) -> Answer:
        """KLO-8."""
        path = self.options.offers_path.replace("{cardNumber}", quoted(card))
        return await self.call(8, "GET", path, **more)

    async def users(self, name: str) -> Answer:
        """KLO-9: one of the two lists, which may be long; checks of its form share one answer."""
        return self.note(await self.once(name, lambda: self.call(9, "GET", f"/v1/card/{name}")))

    async def receipt(self, body: Any, **more: Any) -> Answer:
        """KLO-10."""
        self._moves(body)
        answer = await self.call(10, "POST", "/v1/promo/qrCode", body=body, **more)
        self.target.receipts += answer.ok
        return self._points_asked_for(answer)

    async def issue(self, profile: Any, **more: Any) -> Answer:
        """KLO-11."""
        made_up = isinstance(profile, Mapping) and self.target.client.redactor.is_own(
            str(profile.get("phone"))
        )
        answer = await self.call(11, "POST", "/v1/card/anonymous", body=profile, own=made_up, **more)
        if answer.ok:
            self.target.made("issued card", found_number(answer) or "its number was not told")
        return answer

    async def promo(self, body: Any, **more: Any) -> Answer:
        """KLO-12."""
        self._moves(body)
        return self._points_asked_for(await self.call(12, "POST", "/v1/promo/code", body=body, **more))

    def _moves(self, body: Any) -> None:
        """Points are asked for: the balance of that holder need not rest any more."""
        if isinstance(body, Mapping):
            for card, (person, _) in list(self.target.rested.items()):
                if card == body.get("cardNumber") or person.phone == body.get("msisdn"):
                    del self.target.rested[card]

    def _points_asked_for(self, answer: Answer) -> Answer:
        if answer.ok:
            self.target.asked_for_points = self.target.last_asked = asyncio.get_running_loop().time()
        return answer

    # --- others ---------------------------------------------------------------------------------------

    async def once(self, key: str, make: Callable[[], Awaitable[Value]]) -> Value:
        """What ``make`` returned or raised when a check first called this with this key."""
        shared = self.target.shared
        if key in shared:
            async with self._idle(shared[key].done()):
                return cast(Value, await asyncio.shield(shared[key]))
        shared[key] = asyncio.get_running_loop().create_future()
        try:
            shared[key].set_result(await make())
        except BaseException as error:
            shared[key].set_exception(error)
            shared[key].exception()  # seen: nobody else may ask
            raise
        return cast(Value, await shared[key])

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody else sends receipts for `existing` meanwhile."""
        async with self._gate():
            async with self._idle(self.target.nobody_earns.is_set()):
                await self.target.nobody_earns.wait()
            yield

    @contextlib.asynccontextmanager
    async def among_others(self) -> AsyncIterator[None]:
        """Receipts are sent for `existing`; so may others, whose balances are not looked at."""
        target = self.target
        async with self._gate():
            target.earners += 1
            target.nobody_earns.clear()
        try:
            yield
        finally:
            target.earners -= 1
            if not target.earners:
                target.nobody_earns.set()

    @contextlib.asynccontextmanager
    async def _gate(self) -> AsyncIterator[None]:
        lock = self.target.earning
        async with self._idle(not lock.locked()):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()

    async def pause(self, seconds: float) -> None:
        """Wait; others have the turn meanwhile."""
        async with self._idle():
            await asyncio.sleep(max(0.0, seconds))

    @contextlib.asynccontextmanager
    async def _idle(self, brief: bool = False) -> AsyncIterator[None]:
        """Let another check have the turn meanwhile. ``brief``: keep the turn, since the wait is short."""
        if brief or self._turn is None:
            yield
            return
        self._turn.release()
        try:
            yield
        finally:
            await self._turn.acquire()

    # --- verdicts -----------------------------------------------------------------------------------

    def breach(
        self, expected: str, actual: str | Answer, *, answer: Answer | None = None, path: str | None = None
    ) -> NoReturn:
        """The clause is broken."""
        if isinstance(actual, Answer):
            answer, actual = actual, actual.in_short()
        raise Breach(expected, actual, answer=answer, path=path)

    def that(
        self,
        condition: object,
        expected: str,
        actual: str | Answer,
        *,
        answer: Answer | None = None,
        path: str | None = None,
    ) -> None:
        """The clause holds if ``condition`` is true."""
        if not condition:
            self.breach(expected, actual, answer=answer, path=path)

    def ok(self, answer: Answer, what: str = "the request") -> Answer:
        """The clause wants this call to succeed."""
        self.that(answer.ok, f"{what} is answered 200", answer)
        return answer

    def refused(self, answer: Answer, what: str) -> Answer:
        """The clause wants this call to be refused, with whichever status."""
        self.that(answer.refused, f"{what} is refused (422)", answer)
        return answer

    def shows(self, answer: Answer, person: Person) -> None:
        """The clause wants this answer to show the person's card."""
        self.ok(answer, "a holder's card")
        shown = found_number(answer)
        self.that(shown is not None, "the holder's card", answer)
        if person.card_number is not None:
            self.that(
                shown == person.card_number,
                f"card {person.card_number}",
                f"card {shown}",
                answer=answer,
                path="$.card.cardNumber",
            )

    def shows_nobody(self, answer: Answer, what: str) -> None:
        """The clause wants nothing to be found: no card in the answer, whatever its form."""
        self.that(answer.status is not None and found_number(answer) is None, f"{what} finds nobody", answer)

    def need(self, condition: object, reason: str) -> None:
        """Without ``condition`` this check can tell nothing; the reason is broken elsewhere, or missing."""
        if not condition:
            raise Skip(reason)

    # --- people -------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self.options.profile == "full"

    def since(self, version: str) -> bool:
        """Whether the version under test has what came with ``version``."""
        return self.options.api_version >= version

    async def existing(self) -> Person:
        """Somebody with an active card: the configured one, else, in the full profile, one made up."""
        return await self.once("existing", lambda: casting.existing(self))

    async def existing_number(self) -> str:
        return (await self.existing()).card_number or ""

    async def nobody(self) -> Person:
        """Somebody made up whom the service does not know: earlier runs may have left people there."""
        for _ in range(MOST_DRAWS):
            person = self.people.stranger()
            if found_number(await self.find(person.phone)) is None:
                break
        return person

    async def newcomer(self) -> Person:
        """Somebody made up who just got a card, the way the version has it."""
        person = await self.nobody()
        answer, issued = await self.enrol(person.profile())
        self.need(answer.ok, f"nobody can be made up: issuing a card was answered {answer.status}")
        if issued is None:
            issued = found_number(await self.find(person.phone))
        self.need(issued, "nobody can be made up: the number of the issued card is not told")
        return person.with_card(issued or "")

    async def enrol(self, profile: Mapping[str, Any]) -> tuple[Answer, str | None]:
        """Issue a card the way the version has it: the last answer, and the number if it is known."""
        if self.since("1.2.0"):
            answer = await self.issue(dict(profile))
            return answer, found_number(answer)
        number = await self.reserved()
        return await self.issue_reserved(number, dict(profile)), number

    async def reserved(self) -> str:
        """A number that was just reserved."""
        answer = await self.reserve()
        number = reserved_number(answer)
        self.need(number, f"no number can be reserved: answered {answer.status}")
        return number or ""
