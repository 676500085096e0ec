"""Method 3: card and balance."""

from __future__ import annotations

from typing import Any

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.reading import found_number, number
from contracts.suite.trial import Trial


async def _shown(trial: Trial) -> Answer:
    """The card of a holder, without which the rest tells nothing."""
    answer = await trial.card(await trial.existing_number())
    trial.need(answer.ok and isinstance(answer.at("card"), dict), "the card is not shown")
    return answer


async def _bonuses(trial: Trial) -> tuple[Answer, list[dict[str, Any]]]:
    answer = await _shown(trial)
    listed = answer.at("card", "bonus", "bonuses")
    trial.need(listed, "the holder has no bonuses")
    trial.need(
        isinstance(listed, list) and all(isinstance(one, dict) for one in listed), "no list of objects"
    )
    return answer, listed


@check("KLO-3-01")
async def known_card(trial: Trial) -> None:
    """A holder's card is answered 200 with the card object"""
    answer = trial.ok(await trial.card(await trial.existing_number()), "a holder's card")
    trial.that(isinstance(answer.at("card"), dict), '{"card": {…}}', answer, path="$.card")


@check("KLO-3-02")
async def number_asked_for(trial: Trial) -> None:
    """The card shown is the one that was asked for"""
    asked = await trial.existing_number()
    answer = await _shown(trial)
    shown = found_number(answer)
    trial.need(shown, "the card has no number")
    trial.that(
        shown == asked,
        f"card {asked}",
        f"card {shown}",
        answer=answer,
        path="$.card.cardNumber",
    )


async def _is_number(trial: Trial, name: str) -> None:
    answer = await _shown(trial)
    text = answer.text_at("card", "bonus", name)
    trial.that(
        number(text) is not None,
        f"`{name}` that is a number",
        f"{text!r}" if text is not None else "it is missing",
        answer=answer,
        path=f"$.card.bonus.{name}",
    )


@check("KLO-3-03")
async def total(trial: Trial) -> None:
    """bonus.total is a number"""
    await _is_number(trial, "total")


@check("KLO-3-04")
async def available(trial: Trial) -> None:
    """bonus.available is a number"""
    await _is_number(trial, "available")


@check("KLO-3-06")
async def bonuses(trial: Trial) -> None:
    """bonus.bonuses is an array of objects with description and amount (validUntil where they expire)"""
    answer = await _shown(trial)
    listed = answer.at("card", "bonus", "bonuses")
    path, hide = "$.card.bonus.bonuses", trial.target.client.redactor
    trial.that(isinstance(listed, list), "an array", hide.value(listed)[:80], answer=answer, path=path)
    for index, one in enumerate(listed):
        fields = isinstance(one, dict) and {"description", "amount"} <= one.keys()
        trial.that(
            fields,
            "an object with description and amount",
            hide.value(one)[:120],
            answer=answer,
            path=f"{path}[{index}]",
        )


@check("KLO-3-07")
async def amount(trial: Trial) -> None:
    """The amount of every bonus is a number"""
    answer, listed = await _bonuses(trial)
    for index, one in enumerate(listed):
        trial.need("amount" in one, "a bonus has no amount")
        path = f"$.card.bonus.bonuses[{index}].amount"
        trial.that(
            number(str(one["amount"])) is not None, "a number", repr(one["amount"]), answer=answer, path=path
        )


@check("KLO-3-08")
async def no_zero_amounts(trial: Trial) -> None:
    """Bonuses of zero are left out"""
    answer, listed = await _bonuses(trial)
    for index, one in enumerate(listed):
        path = f"$.card.bonus.bonuses[{index}].amount"
        trial.that(number(str(one.get("amount"))) != 0, "no bonus of zero", "0", answer=answer, path=path)


@check("KLO-3-10")
async def unknown_card(trial: Trial) -> None:
    """An unknown card is refused"""
    trial.refused(await trial.card(trial.people.unknown_card()), "an unknown card number")
