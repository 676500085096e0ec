"""What the refusal of a receipt or a promo code proves: that the request is not understood, or nothing.

A service may refuse with right a made-up receipt, or a code that is over: then its error is about the value.
Where it says the same of a path that does not exist, or of a request without the value, it has not read it.
It may not know which checks ask.
"""

from __future__ import annotations

from contracts.suite import casting
from contracts.suite.answer import Answer
from contracts.suite.crediting import given_receipt, holder
from contracts.suite.people import Person, qr_text
from contracts.suite.reading import error_of
from contracts.suite.trial import Trial


async def _about_the_value(trial: Trial, answer: Answer, not_read: Answer) -> bool:
    """Whether the refusal may be about the value: ``not_read`` answers a request without it."""
    no_method = error_of(await trial.unknown_path("POST", "/v1/promo/no-such-method", body={}))
    no_card = error_of(await trial.card(trial.people.unknown_card()))
    if no_card == no_method:  # it has one error for everything
        return True
    return answer.status == 422 and error_of(answer) not in (no_method, error_of(not_read))


async def receipt_is_taken(trial: Trial, person: Person, answer: Answer, what: str) -> None:
    """The clause wants this receipt to be accepted; skips where the service wants real ones."""
    if answer.refused and await trial.once("real receipts", lambda: _real_receipts(trial, person)):
        which = "`receipt` in the configuration is" if trial.options.receipt else "made-up receipts are"
        raise casting.wrong(trial, f"{which} refused: set `receipt` to one that is accepted of the holder.")
    trial.ok(answer, what)


async def _real_receipts(trial: Trial, person: Person) -> bool:
    """Whether no receipt that the suite has is accepted in any form, and the errors are about the receipt."""
    field, named = trial.options.qr_field, holder(trial, person)
    forms: list[dict[str, str | None]]
    other: dict[str, str | None] = (
        {"msisdn": person.phone} if "cardNumber" in named else {"cardNumber": person.card_number}
    )
    if trial.options.receipt is not None:
        text = given_receipt(trial)
        forms = [{field: text, **named}, {field: text, **other}, {"qr": text, **named}]
    else:
        new = trial.people.receipt
        to_the_second = new()
        to_the_second["t"] += "05"
        forms = [
            {field: qr_text(new()), **named},
            {field: qr_text(to_the_second), **named},
            {field: qr_text(new(s="350.00")), **other},
            {"qr": qr_text(new()), **named},
            {**new(), **named},
        ]
    answers = [await trial.receipt(form) for form in forms]
    if any(answer.ok for answer in answers):
        return False
    return await _about_the_value(trial, answers[0], await trial.receipt(named))


async def code_is_taken(trial: Trial, answer: Answer, plain: Answer, what: str) -> None:
    """The clause wants this use of the configured code to succeed; skips where the code may be over.

    ``plain``: the code used as configured.
    """
    if answer.refused and not plain.ok:

        async def over() -> bool:
            person = await trial.existing()
            code = {trial.options.promo_field: trial.options.promo_code}
            for whose in ({"msisdn": person.phone}, {"cardNumber": person.card_number}):
                if (await trial.promo(code | whose)).ok:
                    return False
            return await _about_the_value(trial, plain, await trial.promo(holder(trial, person)))

        if await trial.once("code is over", over):
            raise casting.wrong(trial, "`promo_code` in the configuration is refused: it is wrong, or over.")
    trial.ok(answer, what)
