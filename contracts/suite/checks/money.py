"""Where points go: judged by balances before and after, never by an answer alone."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from contracts.suite.checking import Breach, Skip, check
from contracts.suite.crediting import (
    balance,
    balance_after,
    balance_at_rest,
    holder,
    made_up_receipt,
    receipt_body,
    resting,
)
from contracts.suite.earning import goes_elsewhere, person_with_stable_balance
from contracts.suite.observing import Credit, credit_of_code, credit_of_receipt
from contracts.suite.people import qr_text
from contracts.suite.trial import Trial


def _goes_to_its_card(trial: Trial, seen: Credit, what: str) -> None:
    for who, growth in seen.others.items():
        trial.breach(
            f"of all balances only that of the card grows that {what} is for",
            f"the balance of {who} grows by {growth}, that of the card itself by {seen.grown}",
            answer=seen.answer,
        )
    trial.need(seen.shows, seen.why_none(trial))


def _told_truly(trial: Trial, seen: Credit, agreed: Decimal | None, what: str) -> None:
    """The clause wants the balance to do what the answer, or the configuration, says."""
    if seen.others or seen.card_never_opened_grew:
        raise Skip("the points go elsewhere, or do not show: that is another clause")
    grown = f"it grows by {seen.grown}" if seen.shows else f"it stays for {seen.waited:.0f} s"
    if agreed is not None:
        trial.that(
            agreed in (seen.grown.total, seen.grown.available),
            f"{what} gives {agreed} points, as the configuration says",
            grown,
            answer=seen.answer,
        )
        return
    told = seen.told.points
    if told & {seen.grown.total, seen.grown.available}:
        return
    told -= {seen.total.total, seen.total.available}  # the answer may tell the balance
    if not told:
        trial.need(seen.shows, seen.why_none(trial))
        raise Skip("the answer tells of no points")
    most = max(told)
    twice = any(seen.grown.most == times * most for times in (2, 3, 4))
    trial.that(
        seen.shows and not twice,
        f"the balance grows by {most}, as the answer tells",
        grown,
        answer=seen.answer,
    )


@check("KLO-3-11", writes=True, since="1.1.0")
async def balance_is_the_present_one(trial: Trial) -> None:
    """Points show in the balance of a card that was opened before"""
    seen = await credit_of_receipt(trial)
    if not seen.shows:
        trial.that(
            not seen.card_never_opened_grew,
            "the balance shows the points of a receipt, whether or not the card was opened before",
            f"it stays for {seen.waited:.0f} s; "
            f"that of a card not opened before has {seen.growth_of_card_never_opened} more",
            answer=seen.answer,
        )
    trial.need(seen.shows, seen.why_none(trial))


@check("KLO-10-39", writes=True, since="1.1.0")
async def receipt_goes_to_its_card(trial: Trial) -> None:
    """The points of a receipt go to its card, and to no other"""
    _goes_to_its_card(trial, await credit_of_receipt(trial), "a receipt")


@check("KLO-10-40", writes=True, since="1.1.0")
async def receipt_is_credited(trial: Trial) -> None:
    """A sale is credited, by the points that the answer tells of"""
    seen = await credit_of_receipt(trial)
    silent = trial.options.receipt_points is None and not seen.told.nothing and not seen.told.later
    nowhere = not (seen.shows or seen.others or seen.card_never_opened_grew)
    if silent and nowhere and not seen.told.points:
        raise Breach(
            "the balance grows, or the answer says that there is nothing to credit "
            "(set receipt_points to 0 where receipts give no points, receipt_wait where it takes longer)",
            f"it stays for {seen.waited:.0f} s",
            answer=seen.answer,
            doubtful=True,
        )
    _told_truly(trial, seen, trial.options.receipt_points, "a receipt")


@check("KLO-10-41", writes=True, since="1.1.0")
async def receipt_is_credited_once(trial: Trial) -> None:
    """One receipt makes one credit"""
    seen = await credit_of_receipt(trial)
    trial.need(seen.shows, seen.why_none(trial))
    steps = ", and a little later by ".join(map(str, seen.steps))
    trial.that(not seen.repeated, "the balance grows once", f"it grows by {steps}", answer=seen.answer)
    whole = seen.grown.most in seen.told.points
    for entry in set(seen.entries):
        times = seen.entries.count(entry)
        trial.that(
            times == 1 or whole,
            "one receipt is listed once among the bonuses",
            f"the same description and {entry[1]} points stand there {times} times",
            answer=seen.answer,
            path="$.card.bonus.bonuses",
        )


@check("KLO-10-42", writes=True, since="1.1.0")
async def used_receipt_gives_another_card_nothing(trial: Trial) -> None:
    """A receipt that one card has used gives no points to another card"""
    other = await trial.newcomer()
    async with person_with_stable_balance(trial) as person:
        text = qr_text(made_up_receipt(trial))
        before = await balance(trial, person)
        answer = await trial.receipt(receipt_body(trial, person, text))
        trial.need(answer.ok, "the receipt is not accepted")
        await balance_after(trial, person, before)
    theirs = await balance(trial, other)
    again = await trial.receipt(receipt_body(trial, other, text))
    growth = await balance_at_rest(trial, other) - theirs
    trial.that(
        not growth.positive,
        "the balance of another card stays when it sends a used receipt",
        f"it grows by {growth}",
        answer=again,
    )


@check("KLO-10-43", writes=True, since="1.1.0")
async def return_gives_nothing(trial: Trial) -> None:
    """A receipt of a return gives no points"""
    async with person_with_stable_balance(trial) as person:
        before = await balance(trial, person)
        sale = await trial.receipt(receipt_body(trial, person, qr_text(made_up_receipt(trial))))
        trial.need(sale.ok, "the receipt is not accepted")
        before = await balance_after(trial, person, before)
        answer = await trial.receipt(receipt_body(trial, person, qr_text(made_up_receipt(trial, n="2"))))
        growth = await balance_at_rest(trial, person) - before
        trial.that(
            not growth.positive,
            "a return (n=2) gives no points",
            f"the balance grows by {growth}",
            answer=answer,
        )


@check("KLO-12-12", writes=True)
async def code_once_at_once(trial: Trial) -> None:
    """The same code ten times at once gives what it gives once"""
    single = await credit_of_code(trial)
    trial.need(single.shows, single.why_none(trial))
    await goes_elsewhere(trial)
    person = await trial.newcomer()
    body = {trial.options.promo_field: trial.options.promo_code} | holder(trial, person)
    before = await balance(trial, person)
    answers = await asyncio.gather(*[trial.promo(body) for _ in range(10)])
    trial.need(any(answer.ok for answer in answers), "the promo code is not accepted")
    grown = await balance_after(trial, person, before) - before
    trial.that(
        grown.total <= single.grown.total and grown.available <= single.grown.available,
        f"the balance grows by {single.grown}, as for one use",
        f"it grows by {grown}",
        answer=answers[-1],
        path="$.card.bonus",
    )


@check("KLO-12-13", writes=True)
async def code_goes_to_its_card(trial: Trial) -> None:
    """What a promo code gives goes to its card, and to no other"""
    _goes_to_its_card(trial, await credit_of_code(trial), "a promo code")


@check("KLO-12-14", writes=True)
async def code_gives_what_is_told(trial: Trial) -> None:
    """The balance grows by the points that the answer to a promo code tells of"""
    _told_truly(trial, await credit_of_code(trial), trial.options.promo_points, "a promo code")


@check("KLO-10-41", writes=True, since="1.1.0", last=True)
async def nothing_comes_later(trial: Trial) -> None:
    """Balances that had come to rest during the run are the same at its end"""
    rested = await resting(trial)
    trial.need(rested, "no balance came to rest after a credit")
    for person, points in rested:
        growth = await balance(trial, person) - points
        trial.that(
            not growth.positive,
            "a balance that had come to rest stays: nothing was asked for since",
            f"it has grown by {growth}",
        )
