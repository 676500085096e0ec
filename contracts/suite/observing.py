"""Watches a credit by balances: those of the card it is meant for, and of cards that it does not concern.

An answer is never believed: what it tells of points is compared with what the balance does. It may not know
which clauses follow from that.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from contracts.suite.answer import NO_JSON, Answer
from contracts.suite.crediting import (
    balance,
    balance_at_rest,
    given_receipt,
    holder,
    receipt_body,
    seen,
    wait_for_earlier_credits,
)
from contracts.suite.people import Person
from contracts.suite.reading import Points, number
from contracts.suite.trial import Trial

RECEIPT, CODE = "a receipt", "a promo code"

Send = Callable[[Person], Awaitable[Answer]]
"""Asks for points for a person: a new receipt, a promo code."""


@dataclass(frozen=True)
class Told:
    """What an answer says of points."""

    points: frozenset[Decimal]
    """So many were credited."""
    nothing: bool
    """There are none."""
    later: bool
    """They will come."""


@dataclass(frozen=True)
class Credit:
    """What was seen of one credit."""

    answer: Answer
    grown: Points
    """Growth of the balance of the card that the points are for; its balance was read before, too."""
    steps: tuple[Points, ...]
    """The single steps of this growth."""
    entries: tuple[tuple[str, Decimal], ...]
    """Description and amount of the bonuses that method 3 lists since then."""
    growth_of_card_never_opened: Points | None
    """Growth of the balance of a card never opened before; tried if the first card's did not grow."""
    others: dict[str, Points]
    """Growth of the balances of other people, by who they are; balances that stayed are left out."""
    total: Points
    """The balance afterwards."""
    waited: float
    """Seconds until the first step, or in vain."""

    @property
    def shows(self) -> bool:
        return self.grown.positive

    @property
    def card_never_opened_grew(self) -> bool:
        growth = self.growth_of_card_never_opened
        return growth is not None and growth.positive

    def why_none(self, trial: Trial) -> str:
        """Why no points show, for a check that needs some."""
        if self.card_never_opened_grew:
            return "the balance of a card that was opened before does not change (KLO-3-11)"
        return f"no points show within {trial.options.receipt_wait:g} s (receipt_wait)"

    @property
    def told(self) -> Told:
        """What the answer says of points."""
        return told(self.answer)

    @property
    def repeated(self) -> bool:
        """Whether the balance grew by the same again, though the answer does not tell of both."""
        twice = any(one == other for one, other in zip(self.steps, self.steps[1:], strict=False))
        return twice and self.grown.most not in self.told.points


async def credit_of_receipt(trial: Trial) -> Credit:
    """What was seen of the credit of one receipt; it is watched once in a run."""
    trial.need(trial.since("1.1.0"), "receipts came with version 1.1.0")
    text = trial.options.receipt
    trial.need(text is None or "{" in text, "`receipt` in the configuration is one receipt, and is used up")

    async def send(person: Person) -> Answer:
        return await trial.receipt(receipt_body(trial, person, given_receipt(trial)))

    seen = await trial.once("credit of a receipt", lambda: _credit(trial, send, RECEIPT))
    trial.note(seen.answer)
    return seen


async def credit_of_code(trial: Trial) -> Credit:
    """The same of a promo code."""
    trial.need(trial.since("1.3.0"), "promo codes came with version 1.3.0")
    trial.need(trial.options.promo_code, "needs `promo_code` in the configuration")
    trial.need(trial.options.promo_holder == "new", "promo_holder: the code is for `existing` alone")

    async def send(person: Person) -> Answer:
        code = {trial.options.promo_field: trial.options.promo_code}
        return await trial.promo(code | holder(trial, person))

    seen = await trial.once("credit of a promo code", lambda: _credit(trial, send, CODE))
    trial.note(seen.answer)
    return seen


async def _credit(trial: Trial, send: Send, what: str) -> Credit:
    """Ask for points for somebody, and watch. Skips where that is refused."""
    async with _people(trial, what) as (sender, never_opened, bystanders):
        before = await _opened(trial, sender)
        theirs = {who: await balance(trial, person) for who, person in bystanders.items()}
        answer = await send(sender)
        trial.need(answer.ok, f"no points can be asked for: answered {answer.status}")
        if never_opened is not None:
            await send(never_opened)
        steps, waited = await _watch(trial, sender, before[0])
        after = await _opened(trial, sender)
        others = {
            who: growth
            for who, person in bystanders.items()
            if (growth := await balance(trial, person) - theirs[who]).positive
        }
        fresh = None
        if never_opened is not None and not steps:
            first = next(iter(bystanders))
            fresh = await balance(trial, never_opened) - theirs[first]
        return Credit(
            answer, after[0] - before[0], tuple(steps), tuple((after[1] - before[1]).elements()),
            fresh, others, after[0], waited,
        )  # fmt: skip


async def watched_people(trial: Trial, what: str) -> list[Person]:
    """Four people who got their cards one after the other, with nobody between: for one credit to watch.

    Points may go astray to the card before or behind; so this is asked for before any other check begins.
    """
    return await trial.once(f"people for {what}", lambda: _in_a_row(trial))


async def _in_a_row(trial: Trial) -> list[Person]:
    return [await trial.newcomer() for _ in range(4)]


@asynccontextmanager
async def _people(trial: Trial, what: str) -> AsyncIterator[tuple[Person, Person | None, dict[str, Person]]]:
    """Whom the points are for, somebody else whose balance is not read before, and bystanders.

    Nobody else may send receipts meanwhile: checks that watch have a turn of their own, one after the other.
    """
    for_existing = trial.options.receipt_holder == "existing"
    known = await trial.existing() if for_existing or trial.options.existing else None
    earlier, sender, never_opened, later = await watched_people(trial, what)
    bystanders = {"somebody who got a card before": earlier, "somebody who got a card after": later}
    async with trial.alone():
        await wait_for_earlier_credits(trial)
        if for_existing and known is not None:
            yield known, None, bystanders
        else:
            yield sender, never_opened, bystanders | ({"`existing`": known} if known is not None else {})


async def _opened(trial: Trial, person: Person) -> tuple[Points, Counter[tuple[str, Decimal]]]:
    """The balance, and the bonuses that are listed beside it."""
    points = await balance(trial, person)
    listed = (await trial.card(person.card_number or "")).at("card", "bonus", "bonuses")
    entries: Counter[tuple[str, Decimal]] = Counter()
    for one in listed if isinstance(listed, list) else []:
        amount = number(str(one.get("amount"))) if isinstance(one, dict) else None
        if amount:
            entries[str(one.get("description")), amount] += 1
    return points, entries


async def _watch(trial: Trial, person: Person, before: Points) -> tuple[list[Points], float]:
    """The steps in which a balance grows until it rests, and how long the first of them took."""
    loop, longest = asyncio.get_running_loop(), trial.options.receipt_wait
    started, now = loop.time(), before
    while (now := await balance(trial, person)) == before:
        waited = loop.time() - started
        if waited >= longest:
            return [], waited
        await trial.pause(longest / 80)
    waited = loop.time() - started
    seen(trial, waited)
    steps, last = [now - before], now
    now = await balance_at_rest(trial, person)
    if now == last:  # what comes once more may come later
        await trial.pause(longest / 2)
        now = await balance_at_rest(trial, person)
    if now != last:
        steps.append(now - last)
    return steps, waited


_KEY = re.compile(r"point|bonus|earned|credited|accru|балл|бонус", re.IGNORECASE)
_NO_KEY = re.compile(r"balance|total|available|expir|until|date|level|rate|_?id$|_at$|At$|баланс")
_WORDS = re.compile(
    r"(?:начислен|зачислен|credited|earned|accrued|added)\w*\D{0,30}?(\d+(?:[.,]\d+)?)"
    r"|(\d+(?:[.,]\d+)?)\s*(?:балл|бонус|points?\b|bonus)",
    re.IGNORECASE,
)
_LATER = re.compile(r"будет|будут|ожида|pending|later|will be|on hold|within \d", re.IGNORECASE)
"""Words of a promise, which says nothing of now."""


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, key)
    elif value is not None and not isinstance(value, bool):
        yield key, str(value)


def told(answer: Answer) -> Told:
    """What an answer says of points, in fields that are called so and in sentences."""
    leaves = [] if answer.json is NO_JSON else list(_leaves(answer.json))
    found: set[Decimal] = set()
    for key, text in leaves:
        value = number(text.strip().replace(",", ".").removeprefix("+"))
        if _NO_KEY.search(key):
            continue
        if value is None:
            said = [one[1] or one[2] for one in _WORDS.finditer(text)]
            found.update(Decimal(one.replace(",", ".")) for one in said)
        elif _KEY.search(key):
            found.add(value)
    later = any(_LATER.search(text) for _, text in leaves)
    points = frozenset(value for value in found if value > 0)
    return Told(frozenset() if later else points, bool(found) and not points, later)
