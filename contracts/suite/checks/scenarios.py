"""Sequences of calls, as Koshelek makes them: each step rests on the one before."""

from __future__ import annotations

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.checks.enrolment import CONSENTS, plastic_card
from contracts.suite.crediting import holder, made_up_receipt, receipt_body
from contracts.suite.earning import watched
from contracts.suite.people import Person, qr_text
from contracts.suite.reading import found_number
from contracts.suite.refusals import code_is_taken, receipt_is_taken
from contracts.suite.trial import Trial


def _same_number(trial: Trial, answer: Answer, number: str) -> None:
    trial.that(
        found_number(answer) == number,
        f"card {number} in every step",
        answer,
        path="$.card.cardNumber",
    )


def _finds_nobody(trial: Trial, answer: Answer) -> None:
    trial.ok(answer, "step 1, a look-up of nobody,")
    trial.that(found_number(answer) is None, "step 1 finds nobody", answer)


async def _nobody(trial: Trial) -> Person:
    person = await trial.nobody()
    _finds_nobody(trial, await trial.find(person.phone, person.email))
    return person


async def _consents_and_card(trial: Trial, number: str) -> None:
    trial.ok(await trial.consents(number, CONSENTS), "consents")
    answer = trial.ok(await trial.card(number), "the card")
    _same_number(trial, answer, number)


@check("KLO-S-02", writes=True)
async def existing(trial: Trial) -> None:
    """An existing card: find, profile, consents, card"""
    person = await trial.newcomer()
    found = trial.ok(await trial.find(person.phone, person.email), "step 1")
    number = found_number(found) or ""
    trial.that(number, "step 1 finds the card", found)
    trial.ok(await trial.update(number, person.profile(firstname="Мария")), "a changed profile")
    await _consents_and_card(trial, number)


@check("KLO-S-03", writes=True)
async def new_card_with_reservation(trial: Trial) -> None:
    """A new card, 1.0 and 1.1: find nobody, reserve, issue, consents, card"""
    person = await _nobody(trial)
    number = await trial.reserved()
    trial.ok(await trial.issue_reserved(number, person.profile()), "issuing the reserved number")
    await _consents_and_card(trial, number)


@check("KLO-S-04", writes=True)
async def new_card(trial: Trial) -> None:
    """A new card, 1.2 and newer: find nobody, issue, consents, card"""
    person = await _nobody(trial)
    answer = trial.ok(await trial.issue(person.profile()), "issuing a card")
    number = found_number(answer) or ""
    trial.that(number, "the number of the issued card", answer)
    await _consents_and_card(trial, number)


@check("KLO-S-05", writes=True)
async def ownerless_plastic(trial: Trial) -> None:
    """A plastic card without an owner: find nobody, card, issue, consents"""
    steps = await plastic_card(trial)
    _finds_nobody(trial, steps.nobody)
    trial.ok(steps.shown, "the plastic card")
    trial.ok(steps.issued, "the number of a plastic card")
    trial.ok(steps.consents, "consents")


@check("KLO-S-06")
async def opened_again(trial: Trial) -> None:
    """A card can be opened again: card and purchases"""
    number = await trial.existing_number()
    for _ in range(2):
        _same_number(trial, trial.ok(await trial.card(number), "the card"), number)
        trial.ok(await trial.purchases(number, startDate="2024-01-01"), "its purchases")


@check("KLO-S-07", writes=True, since="1.1.0")
async def receipt(trial: Trial) -> None:
    """A new holder registers a receipt"""
    trial.need(trial.options.receipt_holder == "new", "receipt_holder: receipts are for `existing` alone")
    made_up_receipt(trial)
    await watched(trial)
    person = await trial.newcomer()
    trial.ok(await trial.card(person.card_number or ""), "the card")
    plain = receipt_body(trial, person, qr_text(made_up_receipt(trial)))
    await receipt_is_taken(trial, person, await trial.receipt(plain), "a receipt of a new holder")
    trial.ok(await trial.card(person.card_number or ""), "the card after the receipt")


@check("KLO-S-08", writes=True, since="1.3.0")
async def promo_code(trial: Trial) -> None:
    """A new holder uses a promo code"""
    trial.need(trial.options.promo_code, "needs `promo_code` in the configuration")
    trial.need(trial.options.promo_holder == "new", "promo_holder: the code is for `existing` alone")
    await watched(trial)
    person = await trial.newcomer()
    body = {trial.options.promo_field: trial.options.promo_code} | holder(trial, person)
    answer = await trial.promo(body)
    await code_is_taken(trial, answer, answer, "a promo code of a new holder")
    trial.ok(await trial.card(person.card_number or ""), "the card after it")
