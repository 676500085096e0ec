"""What a check is made of: its registration, the calls it can make, the sentences it can fail with.

A check is a coroutine that is given a ``Trial``, calls methods of the contract through it, and returns; it
raises ``Breach`` when a clause is broken and ``Skip`` when it lacks something. Checks read values leniently:
what holds for every answer (types, statuses, headers) is judged by rules, once. It may not know who runs
checks, nor in which order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import quote

from contracts.suite.client import Address, Answer, Client
from contracts.suite.config import Options
from contracts.suite.people import People, Person
from contracts.suite.redaction import partly
from contracts.suite.results import Created, Exchange

SCENARIO = 100
"""Stands for a method number where a sequence of calls is meant."""

OPTIONAL = (8, 9)
"""Methods that a service may leave out: then they are unknown paths."""
MOST_DRAWS = 20
"""People made up before one is taken whom the service may know."""

Value = TypeVar("Value")


class Skip(Exception):
    """The check lacks something; the message says what."""


class Breach(Exception):
    """A clause is broken."""

    def __init__(
        self, expected: str, actual: str, *, answer: Answer | None = None, path: str | None = None
    ) -> None:
        super().__init__(expected)
        self.expected = expected
        self.actual = actual
        self.answer = answer
        self.path = path


@dataclass(frozen=True, slots=True)
class Check:
    """One check as it was registered."""

    name: str
    title: str
    method: int
    clauses: tuple[str, ...]
    run: Callable[[Trial], Awaitable[None]]
    writes: bool
    """It changes something in the service; the read profile leaves it out."""
    since: str
    """Version from which on the methods it needs are there."""


Verdict = Breach | Literal["kept"] | None
"""Of a rule on one answer; ``None``: it has nothing to say about such an answer."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A clause that is judged on every answer of a run that it is about."""

    name: str
    title: str
    clauses: tuple[str, ...]
    judge: Callable[[Answer], Verdict]
    about: str
    """What it judges: ``answer``, ``error``, …"""
    probes: bool
    """It judges also what Koshelek would never be answered, for want of such requests."""
    mostly: bool
    """It is broken where at least half of the answers to one method break it: one alone is chance."""

    def on(self, answer: Answer) -> Verdict:
        """What it says of one answer. What only the suite asks is left to the checks that ask it."""
        left_out = answer.method in OPTIONAL and answer.refused
        asked_by_koshelek = answer.with_credentials and not answer.probe and not left_out
        if answer.status is None or answer.cut or not (asked_by_koshelek or self.probes):
            return None
        return self.judge(answer)


CHECKS: list[Check] = []
RULES: list[Rule] = []


def method_of(clause: str) -> int:
    """Number of the method in a clause's id; ``SCENARIO`` for a scenario's."""
    number = clause.split("-")[1]
    return SCENARIO if number == "S" else int(number)


def _name_and_title(function: Callable[..., Any]) -> tuple[str, str]:
    group = function.__module__.rpartition(".")[2]
    return f"{group}.{function.__name__}", (function.__doc__ or function.__name__.replace("_", " ")).strip()


def check(
    *clauses: str, writes: bool = False, since: str = "1.0.0"
) -> Callable[[Callable[[Trial], Awaitable[None]]], Callable[[Trial], Awaitable[None]]]:
    """Register a check of these clauses; what it says when it fails is about the first of them."""

    def register(function: Callable[[Trial], Awaitable[None]]) -> Callable[[Trial], Awaitable[None]]:
        name, title = _name_and_title(function)
        CHECKS.append(Check(name, title, method_of(clauses[0]), clauses, function, writes, since))
        return function

    return register


def rule(
    *clauses: str, about: str = "answer", probes: bool = False, mostly: bool = False
) -> Callable[[Callable[[Answer], Verdict]], Callable[[Answer], Verdict]]:
    """Register a rule for every answer; see ``Rule``."""

    def register(function: Callable[[Answer], Verdict]) -> Callable[[Answer], Verdict]:
        name, title = _name_and_title(function)
        RULES.append(Rule(name, title, clauses, function, about, probes, mostly))
        return function

    return register


def number(text: str | None) -> Decimal | None:
    """``text`` as a number, or ``None``."""
    try:
        value = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def quoted(number: str) -> str:
    """A card number as a part of a path."""
    return quote(number, safe="")


@dataclass(frozen=True)
class Points:
    """What a holder has, or gets: a credit may show in either."""

    total: Decimal
    available: Decimal

    def __sub__(self, other: Points) -> Points:
        return Points(self.total - other.total, self.available - other.available)

    def __str__(self) -> str:
        return (
            f"{self.total}" if self.total == self.available else f"{self.total} ({self.available} available)"
        )


def found_number(answer: Answer) -> str | None:
    """The card number in an answer, wherever a service may have put it; shapes are clauses of their own."""
    for path in (("card", "cardNumber"), ("cardNumber",), (0, "card", "cardNumber"), (0, "cardNumber"),
                 ("cards", 0, "cardNumber"), ("card", 0, "cardNumber")):  # fmt: skip
        if text := answer.text_at(*path):
            return text
    return None


def reserved_number(answer: Answer) -> str | None:
    """The number that was reserved: in a card object, or bare, as JSON or as text (KLO-5-03)."""
    if not answer.ok:
        return None
    if (named := found_number(answer)) is not None:
        return named
    bare = answer.body.decode("utf-8", errors="replace").strip().strip('"')
    return bare if bare.isalnum() and bare not in ("null", "true", "false") else None


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
    asked_for_points: float | None = None
    """When the last receipt or promo code was accepted, by the clock of the event loop."""
    slowest_credit: float | None = None
    """Seconds until points showed in a balance; the longest that was seen."""
    _made: dict[Created, None] = field(default_factory=dict)
    earning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever sends receipts for `existing` holds it: balances are compared."""
    _shared: dict[str, asyncio.Future[Any]] = field(default_factory=dict)

    def made(self, what: str, value: str) -> None:
        """Remember something that stays in the service; the same again is one thing."""
        self._made[Created(what, value)] = None

    @property
    def created(self) -> tuple[Created, ...]:
        """Everything that stays in the service."""
        receipts = [Created("receipts", str(self.receipts))] if self.receipts else []
        return (*self._made, *receipts)

    async def once(self, key: str, make: Callable[[], Awaitable[Value]]) -> Value:
        """What ``make`` returned or raised when it was first called with this key."""
        if key not in self._shared:
            self._shared[key] = asyncio.get_running_loop().create_future()
            try:
                self._shared[key].set_result(await make())
            except BaseException as error:
                self._shared[key].set_exception(error)
                self._shared[key].exception()  # seen: nobody else may ask
                raise
        return await asyncio.shield(self._shared[key])


class Trial:
    """One check under way: the calls it makes are recorded, what it finds is raised."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.options = target.options
        self.people = target.people
        self.exchanges: list[Exchange] = []

    # --- calls --------------------------------------------------------------------------------------

    async def call(self, method: int, verb: str, path: str, **more: Any) -> Answer:
        """Any request; see ``Client.call``."""
        answer = await self.target.client.call(method, verb, path, **more)
        return self.note(answer)

    def note(self, answer: Answer) -> Answer:
        """Count an answer among those of this check; one that checks share counts in each."""
        if answer.exchange not in self.exchanges:
            self.exchanges.append(answer.exchange)
        if (shown := found_number(answer)) is not None:
            self.target.client.redactor.hide_card(shown)
        return answer

    async def raw(self, data: bytes, **more: Any) -> list[Answer]:
        """Bytes on a bare socket; see ``Client.raw``."""
        return [self.note(answer) for answer in await self.target.client.raw(data, **more)]

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
        answer = await self.call(5, "GET", "/v1/card/anonymous", **more)
        if (made := reserved_number(answer)) is not None:
            self.target.client.redactor.hide_card(made)
            self.target.made("reserved number", made)
        return answer

    async def issue_reserved(self, card: str, profile: Any, **more: Any) -> Answer:
        """KLO-6."""
        answer = await self.call(6, "POST", f"/v1/card/anonymous/{quoted(card)}", body=profile, **more)
        if answer.ok:
            self.target.made("issued card", partly(card) if card == self.options.plastic else card)
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
        return self.note(await self.target.once(name, lambda: self.call(9, "GET", f"/v1/card/{name}")))

    async def receipt(self, body: Any, **more: Any) -> Answer:
        """KLO-10."""
        answer = await self.call(10, "POST", "/v1/promo/qrCode", body=body, **more)
        self.target.receipts += answer.ok
        return self._points_asked_for(answer)

    async def issue(self, profile: Any, **more: Any) -> Answer:
        """KLO-11."""
        answer = await self.call(11, "POST", "/v1/card/anonymous", body=profile, **more)
        if answer.ok:
            self.target.made("issued card", found_number(answer) or "its number was not told")
        return answer

    async def promo(self, body: Any, **more: Any) -> Answer:
        """KLO-12."""
        return self._points_asked_for(await self.call(12, "POST", "/v1/promo/code", body=body, **more))

    def _points_asked_for(self, answer: Answer) -> Answer:
        if answer.ok:
            self.target.asked_for_points = asyncio.get_running_loop().time()
        return answer

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
                f"card {partly(person.card_number)}",
                f"card {partly(shown or '')}",
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
        """Somebody with an active card: the configured one, else, in the full profile, one made up.

        The number comes from method 1 where the configuration does not tell it.
        """
        return await self.target.once("existing", self._existing)

    async def _existing(self) -> Person:
        if self.options.existing is None:
            if not self.full:
                raise Skip("needs `existing` in the configuration, or --profile full to make somebody up")
            return await self.newcomer()
        person = self.people.of(self.options.existing)
        if person.card_number is None:
            answer = await self.find(person.phone, None if person.phone else person.email)
            shown = found_number(answer)
            self.need(shown, "the card of `existing` was not found by phone or e-mail")
            person = person.with_card(shown or "")
        self.target.client.redactor.hide_card(person.card_number or "")
        return person

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

    # --- receipts -----------------------------------------------------------------------------------

    def made_up_receipt(self, **changed: str) -> dict[str, str]:
        """Values of a receipt that nobody has sent yet; skips where such are not accepted."""
        self.need(self.options.receipt is None, "made-up receipts are switched off by `receipt`")
        return self.people.receipt(**changed)

    def receipt_body(self, person: Person, qr: str) -> dict[str, str]:
        return {self.options.qr_field: qr} | self.holder(person)

    def holder(self, person: Person) -> dict[str, str]:
        """How a receipt or promo code names its holder, by the configuration."""
        if self.options.holder_by == "msisdn":
            self.need(person.phone, "needs the phone of `existing`")
            return {"msisdn": person.phone or ""}
        return {"cardNumber": person.card_number or ""}

    @contextlib.asynccontextmanager
    async def earner(self) -> AsyncIterator[Person]:
        """Somebody to send receipts for, alone."""
        person = await self.existing()
        async with self.target.earning:
            yield person

    @contextlib.asynccontextmanager
    async def saver(self) -> AsyncIterator[Person]:
        """Somebody whose balance can be compared: no credit is under way but what the check asks for.

        Somebody new where such people may send receipts; else `existing`, alone, and once everything that
        was sent before must have been credited.
        """
        if self.options.receipt_holder == "new":
            yield await self.newcomer()
            return
        async with self.earner() as person:
            await self.settled()
            yield person
            self.target.asked_for_points = None  # the check has seen the balance come to rest

    async def settled(self) -> None:
        """Wait until everything that `existing` was to get for earlier calls must have come."""
        asked = self.target.asked_for_points
        if asked is not None:
            await asyncio.sleep(max(0.0, asked + self._delays(4) - asyncio.get_running_loop().time()))

    def _delays(self, times: int) -> float:
        """So many times the longest delay of a credit seen in this run, seconds; the longest there may be."""
        longest, slowest = self.options.receipt_wait, self.target.slowest_credit
        return longest if slowest is None else min(longest, max(longest / 20, times * slowest))

    async def balance(self, person: Person) -> Points:
        """The points of a holder's card now."""
        answer = await self.card(person.card_number or "")
        total = number(answer.text_at("card", "bonus", "total"))
        available = number(answer.text_at("card", "bonus", "available"))
        if total is None:
            raise Skip("method 3 does not tell a balance to compare")
        return Points(total, total if available is None else available)

    async def balance_at_rest(self, person: Person) -> Points:
        """The balance once it has not moved for twice as long as a credit takes."""
        before = await self.balance(person)
        for _ in range(20):
            await asyncio.sleep(self._delays(2))
            if (now := await self.balance(person)) == before:
                return now
            before = now
        raise Skip("the balance moves by itself")

    async def balance_after(self, person: Person, before: Points) -> Points:
        """The balance once a credit that was just asked for shows and rests; skips where none shows."""
        loop, longest = asyncio.get_running_loop(), self.options.receipt_wait
        started = loop.time()
        while await self.balance(person) == before:
            self.need(loop.time() < started + longest, f"no points show within {longest:g} s (receipt_wait)")
            await asyncio.sleep(longest / 80)
        self.target.slowest_credit = max(self.target.slowest_credit or 0.0, loop.time() - started)
        return await self.balance_at_rest(person)
