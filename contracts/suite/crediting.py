"""Receipts and points of the people in a check: how they are asked for, what they have, when it rests.

Balances are told by method 3 alone; what an answer says of points is never believed. It may not know what a
check wants of them.
"""

from __future__ import annotations

import asyncio

from contracts.suite.checking import Skip
from contracts.suite.people import Person, qr_text
from contracts.suite.reading import Points, number
from contracts.suite.trial import Trial


def made_up_receipt(trial: Trial, **changed: str) -> dict[str, str]:
    """Values of a receipt that nobody has sent yet; skips where such are not accepted."""
    trial.need(trial.options.receipt is None, "made-up receipts are switched off by `receipt`")
    return trial.people.receipt(**changed)


def given_receipt(trial: Trial) -> str:
    """A QR text that is accepted: the configured one, or a made-up sale."""
    values = trial.people.receipt()
    if trial.options.receipt is None:
        return qr_text(values)
    text = trial.options.receipt
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    return text


def receipt_body(trial: Trial, person: Person, qr: str) -> dict[str, str]:
    return {trial.options.qr_field: qr} | holder(trial, person)


def holder(trial: Trial, person: Person) -> dict[str, str]:
    """How a receipt or promo code names its holder, by the configuration."""
    if trial.options.holder_by == "msisdn":
        trial.need(person.phone, "needs the phone of `existing`")
        return {"msisdn": person.phone or ""}
    return {"cardNumber": person.card_number or ""}


async def wait_for_earlier_credits(trial: Trial) -> None:
    """Wait until every credit that `existing` may get for earlier calls must have come."""
    asked = trial.target.asked_for_points
    if asked is not None:
        await trial.pause(asked + delays(trial, 4) - asyncio.get_running_loop().time())


def delays(trial: Trial, times: int) -> float:
    """So many times the longest delay of a credit seen in this run, seconds; `receipt_wait`, while none has
    been seen."""
    longest, slowest = trial.options.receipt_wait, trial.target.slowest_credit
    return longest if slowest is None else min(longest, max(longest / 20, times * slowest))


async def balance(trial: Trial, person: Person) -> Points:
    """The points of a holder's card now."""
    answer = await trial.card(person.card_number or "")
    total = number(answer.text_at("card", "bonus", "total"))
    available = number(answer.text_at("card", "bonus", "available"))
    if total is None:
        raise Skip("method 3 does not tell a balance to compare")
    return Points(total, total if available is None else available)


async def balance_at_rest(trial: Trial, person: Person) -> Points:
    """The balance once it has not moved for twice as long as a credit takes."""
    before = await balance(trial, person)
    for _ in range(20):
        await trial.pause(delays(trial, 2))
        if (now := await balance(trial, person)) == before:
            trial.target.rested[person.card_number or ""] = person, now
            return now
        before = now
    raise Skip("the balance moves by itself")


async def balance_after(trial: Trial, person: Person, before: Points) -> Points:
    """The balance once a credit that was just asked for shows and rests; skips where none shows."""
    loop, longest = asyncio.get_running_loop(), trial.options.receipt_wait
    started = loop.time()
    while await balance(trial, person) == before:
        trial.need(loop.time() < started + longest, f"no points show within {longest:g} s (receipt_wait)")
        await trial.pause(longest / 80)
    seen(trial, loop.time() - started)
    return await balance_at_rest(trial, person)


def seen(trial: Trial, seconds: float) -> None:
    """A credit has shown after so long."""
    trial.target.slowest_credit = max(trial.target.slowest_credit or 0.0, seconds)


async def resting(trial: Trial) -> list[tuple[Person, Points]]:
    """People made up for one check, with the balance at which they had come to rest.

    Waits so that half the longest delay has passed since points were last asked for.
    """
    existing = await trial.existing_number()
    last = trial.target.last_asked
    if last is not None:
        await trial.pause(last + trial.options.receipt_wait / 2 - asyncio.get_running_loop().time())
    return [each for card, each in trial.target.rested.items() if card != existing]
