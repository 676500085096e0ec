"""Method 12: a promo code that the holder typed.

Somebody new uses it in each check; `existing` uses it once in a run, and the checks judge that one answer.
"""

from __future__ import annotations

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.crediting import (
    balance,
    balance_after,
    balance_at_rest,
    holder,
    wait_for_earlier_credits,
)
from contracts.suite.earning import goes_elsewhere, receipt_sender, watched
from contracts.suite.people import Person
from contracts.suite.refusals import code_is_taken
from contracts.suite.trial import Trial


def _body(trial: Trial, person: Person) -> dict[str, str | None]:
    return {trial.options.promo_field: trial.options.promo_code} | holder(trial, person)


async def _use(trial: Trial, *, field: str | None = None, by: str | None = None) -> Answer:
    """The answer to somebody who may use the code."""
    options = trial.options
    trial.need(options.promo_code, "needs `promo_code` in the configuration")
    await watched(trial)
    named = by or options.holder_by
    if options.promo_holder == "existing":
        trial.need(
            field is None and named == options.holder_by, "`existing` has used the code in another way"
        )
        return trial.note(await trial.once("promo code", lambda: _used_by_existing(trial)))
    person = await trial.newcomer()
    whose = {"msisdn": person.phone} if named == "msisdn" else {"cardNumber": person.card_number}
    return await trial.promo({field or options.promo_field: options.promo_code} | whose)


async def _taken(trial: Trial, answer: Answer, what: str) -> None:
    """The clause wants this use of the configured code to succeed."""
    plain = answer
    if answer.refused:
        plain = trial.note(await trial.once("plain promo code", lambda: _use(trial)))
    await code_is_taken(trial, answer, plain, what)


async def _used_by_existing(trial: Trial) -> Answer:
    async with receipt_sender(trial) as person:
        return await trial.promo(_body(trial, person))


@check("KLO-12-01", writes=True)
async def accepts(trial: Trial) -> None:
    """A promo code is taken by POST /v1/promo/code"""
    await _taken(trial, await _use(trial), "a promo code")


@check("KLO-12-02", writes=True)
async def code_in_code(trial: Trial) -> None:
    """The code is taken from code"""
    await _taken(trial, await _use(trial), f"a promo code in `{trial.options.promo_field}`")


@check("KLO-12-03", writes=True)
async def other_spelling(trial: Trial) -> None:
    """promoCode is understood"""
    trial.need((await _use(trial)).ok, "the promo code is not accepted")
    trial.ok(await _use(trial, field="promoCode"), "a promo code in `promoCode`")


@check("KLO-12-04", writes=True)
async def by_card_number(trial: Trial) -> None:
    """cardNumber says who uses the code"""
    await _taken(trial, await _use(trial, by="cardNumber"), "a promo code with `cardNumber`")


@check("KLO-12-05", writes=True)
async def by_phone(trial: Trial) -> None:
    """msisdn says who uses the code"""
    await _taken(trial, await _use(trial, by="msisdn"), "a promo code with `msisdn`")


@check("KLO-12-06", writes=True)
async def answers_an_object(trial: Trial) -> None:
    """The answer is an object"""
    answer = await _use(trial)
    trial.need(answer.ok, "the promo code is not accepted")
    trial.need(not answer.is_empty, "the answer has no body")
    trial.that(isinstance(answer.json, dict), "an object of strings", answer, path="$")


@check("KLO-12-07", writes=True)
async def refused_code(trial: Trial) -> None:
    """A code that is refused is an error"""
    await watched(trial)
    person = await trial.existing()
    code = trial.options.refused_promo_code
    trial.refused(await trial.promo({trial.options.promo_field: code} | holder(trial, person)), "such a code")


@check("KLO-12-08", writes=True)
async def no_code(trial: Trial) -> None:
    """Without a code the answer is an error"""
    await watched(trial)
    person = await trial.existing()
    for body in (holder(trial, person), {trial.options.promo_field: ""} | holder(trial, person)):
        trial.refused(await trial.promo(body), "a request without a code")


@check("KLO-12-09", writes=True)
async def no_holder(trial: Trial) -> None:
    """With neither cardNumber nor msisdn the answer is an error"""
    await watched(trial)
    code = trial.options.promo_code or trial.options.refused_promo_code
    trial.refused(await trial.promo({trial.options.promo_field: code}), "a promo code of nobody")


@check("KLO-12-10", writes=True)
async def unknown_card(trial: Trial) -> None:
    """An unknown card is refused"""
    await watched(trial)
    code = trial.options.promo_code or trial.options.refused_promo_code
    body = {trial.options.promo_field: code, "cardNumber": trial.people.unknown_card()}
    trial.refused(await trial.promo(body), "an unknown card number")


@check("KLO-12-11", writes=True)
async def points_once(trial: Trial) -> None:
    """The same code for the same card again gives nothing again"""
    if trial.options.promo_holder == "existing":
        trial.need((await _use(trial)).ok, "the promo code is not accepted")
        person = await trial.existing()
        async with trial.alone():
            await wait_for_earlier_credits(trial)
            await _gives_nothing_again(trial, person)
        return
    trial.need(trial.options.promo_code, "needs `promo_code` in the configuration")
    await watched(trial)
    await goes_elsewhere(trial)
    person = await trial.newcomer()
    before = await balance(trial, person)
    trial.need((await trial.promo(_body(trial, person))).ok, "the promo code is not accepted")
    await balance_after(trial, person, before)
    await _gives_nothing_again(trial, person)


async def _gives_nothing_again(trial: Trial, person: Person) -> None:
    before = await balance(trial, person)
    again = [await trial.promo(_body(trial, person)) for _ in range(2)]
    after = await balance_at_rest(trial, person)
    trial.that(after == before, "the balance stays", f"it grows by {after - before}", answer=again[-1])
