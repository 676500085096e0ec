"""Method 12: a promo code that the holder typed."""

from __future__ import annotations

from contracts.suite.checking import Trial, check
from contracts.suite.client import Answer
from contracts.suite.people import Person


async def _user(trial: Trial) -> Person:
    """Who may use the code: somebody made up, or `existing`."""
    trial.need(trial.options.promo_code, "needs `promo_code` in the configuration")
    return await (trial.newcomer() if trial.options.promo_holder == "new" else trial.existing())


async def _use(trial: Trial, *, field: str | None = None, by: str | None = None) -> Answer:
    person = await _user(trial)
    holder = trial.holder(person)
    if by == "msisdn":
        trial.need(person.phone, "needs the phone of `existing`")
        holder = {"msisdn": person.phone or ""}
    elif by == "cardNumber":
        holder = {"cardNumber": person.card_number or ""}
    async with trial.target.earning:
        return await trial.promo({field or trial.options.promo_field: trial.options.promo_code} | holder)


@check("KLO-12-01", writes=True)
async def accepts(trial: Trial) -> None:
    """A promo code is taken by POST /v1/promo/code"""
    trial.ok(await _use(trial), "a promo code")


@check("KLO-12-02", writes=True)
async def code_in_code(trial: Trial) -> None:
    """The code is taken from code"""
    trial.ok(await _use(trial), f"a promo code in `{trial.options.promo_field}`")


@check("KLO-12-03", writes=True)
async def other_spelling(trial: Trial) -> None:
    """promoCode is understood"""
    trial.need((await _use(trial)).ok, "the promo code is not accepted")
    trial.ok(await _use(trial, field="promoCode"), "a promo code in `promoCode`")


@check("KLO-12-04", writes=True)
async def by_card_number(trial: Trial) -> None:
    """cardNumber says who uses the code"""
    trial.ok(await _use(trial, by="cardNumber"), "a promo code with `cardNumber`")


@check("KLO-12-05", writes=True)
async def by_phone(trial: Trial) -> None:
    """msisdn says who uses the code"""
    trial.ok(await _use(trial, by="msisdn"), "a promo code with `msisdn`")


@check("KLO-12-06", writes=True)
async def answers_an_object(trial: Trial) -> None:
    """The answer is an object"""
    answer = await _use(trial)
    trial.need(answer.ok, "the promo code is not accepted")
    trial.that(isinstance(answer.json, dict), "an object of strings", answer, path="$")


@check("KLO-12-07", writes=True)
async def refused_code(trial: Trial) -> None:
    """A code that is refused is an error"""
    person = await trial.existing()
    code = trial.options.refused_promo_code
    trial.refused(await trial.promo({trial.options.promo_field: code} | trial.holder(person)), "such a code")


@check("KLO-12-08", writes=True)
async def no_code(trial: Trial) -> None:
    """Without a code the answer is an error"""
    person = await trial.existing()
    for body in (trial.holder(person), {trial.options.promo_field: ""} | trial.holder(person)):
        trial.refused(await trial.promo(body), "a request without a code")


@check("KLO-12-09", writes=True)
async def no_holder(trial: Trial) -> None:
    """With neither cardNumber nor msisdn the answer is an error"""
    code = trial.options.promo_code or trial.options.refused_promo_code
    trial.refused(await trial.promo({trial.options.promo_field: code}), "a promo code of nobody")


@check("KLO-12-10", writes=True)
async def unknown_card(trial: Trial) -> None:
    """An unknown card is refused"""
    code = trial.options.promo_code or trial.options.refused_promo_code
    body = {trial.options.promo_field: code, "cardNumber": trial.people.unknown_card()}
    trial.refused(await trial.promo(body), "an unknown card number")


@check("KLO-12-11", writes=True)
async def points_once(trial: Trial) -> None:
    """The same code for the same card again gives nothing again"""
    person = await _user(trial)
    async with trial.target.earning:
        body = {trial.options.promo_field: trial.options.promo_code} | trial.holder(person)
        trial.need((await trial.promo(body)).ok, "the promo code is not accepted")
        before = await trial.balance_at_rest(person)
        again = [await trial.promo(body) for _ in range(2)]
        after = await trial.balance_at_rest(person)
        trial.that(after == before, "the balance stays", f"it grows by {after - before}", answer=again[-1])
