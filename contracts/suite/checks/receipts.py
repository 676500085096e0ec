"""Method 10: the QR code of a cash receipt.

A check for each clause of the method, all in one module, in the order of the clauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.crediting import (
    balance,
    balance_after,
    balance_at_rest,
    given_receipt,
    holder,
    made_up_receipt,
    receipt_body,
)
from contracts.suite.earning import person_with_stable_balance, receipt_sender
from contracts.suite.people import Person, qr_text
from contracts.suite.reading import Points
from contracts.suite.refusals import receipt_is_taken
from contracts.suite.trial import Trial

Values = dict[str, str]


async def _send(trial: Trial, person: Person, values: Values) -> Answer:
    return await trial.receipt(receipt_body(trial, person, qr_text(values)))


async def _accepted(trial: Trial, person: Person) -> None:
    """Skip where a plain receipt is not accepted: then nothing can be told of variants."""
    answer = await _send(trial, person, made_up_receipt(trial))
    trial.need(answer.ok, "a plain made-up receipt is not accepted")


@check("KLO-10-01", writes=True, since="1.1.0")
async def accepts(trial: Trial) -> None:
    """A receipt is taken by POST /v1/promo/qrCode"""
    async with receipt_sender(trial) as person:
        answer = await trial.receipt(receipt_body(trial, person, given_receipt(trial)))
        await receipt_is_taken(trial, person, answer, "a receipt")


@check("KLO-10-02", writes=True, since="1.1.0")
async def text_in_qr_code(trial: Trial) -> None:
    """The raw QR text is taken from qrCode"""
    async with receipt_sender(trial) as person:
        body = {trial.options.qr_field: given_receipt(trial)} | holder(trial, person)
        field = f"a receipt in `{trial.options.qr_field}`"
        await receipt_is_taken(trial, person, await trial.receipt(body), field)


@check("KLO-10-03", writes=True, since="1.1.0")
async def other_spellings(trial: Trial) -> None:
    """The spellings qr, qrcode, QR and code are understood"""
    async with receipt_sender(trial) as person:
        await _accepted(trial, person)
        for name in ("qr", "qrcode", "QR", "code"):
            body = {name: qr_text(made_up_receipt(trial))} | holder(trial, person)
            trial.ok(await trial.receipt(body), f"a receipt in `{name}`")


@check("KLO-10-04", writes=True, since="1.1.0")
async def values_apart(trial: Trial) -> None:
    """The six values under their own keys are understood"""
    async with receipt_sender(trial) as person:
        await _accepted(trial, person)
        trial.ok(
            await trial.receipt(made_up_receipt(trial) | holder(trial, person)), "a receipt in six fields"
        )


@check("KLO-10-05", writes=True, since="1.1.0")
async def by_card_number(trial: Trial) -> None:
    """cardNumber says whose receipt it is"""
    async with receipt_sender(trial) as person:
        body = {trial.options.qr_field: given_receipt(trial), "cardNumber": person.card_number}
        await receipt_is_taken(trial, person, await trial.receipt(body), "a receipt with `cardNumber`")


@check("KLO-10-06", writes=True, since="1.1.0")
async def by_phone(trial: Trial) -> None:
    """msisdn says whose receipt it is"""
    async with receipt_sender(trial) as person:
        trial.need(person.phone, "needs the phone of `existing`")
        body = {trial.options.qr_field: given_receipt(trial), "msisdn": person.phone}
        await receipt_is_taken(trial, person, await trial.receipt(body), "a receipt with `msisdn`")


@check("KLO-10-07", writes=True, since="1.1.0")
async def answers_an_object(trial: Trial) -> None:
    """The answer is an object"""
    async with receipt_sender(trial) as person:
        answer = await trial.receipt(receipt_body(trial, person, given_receipt(trial)))
        trial.need(answer.ok, "the receipt is not accepted")
        trial.need(not answer.is_empty, "the answer has no body")
        trial.that(isinstance(answer.json, dict), "an object of strings", answer, path="$")


@check("KLO-10-08", writes=True, since="1.1.0")
async def no_qr_code(trial: Trial) -> None:
    """Without a QR code the answer is an error"""
    async with receipt_sender(trial) as person:
        for what, body in {
            "a request without a QR code": holder(trial, person),
            "a request with an empty QR code": receipt_body(trial, person, ""),
            "a request with `hello` for a QR code": receipt_body(trial, person, "hello"),
        }.items():
            trial.refused(await trial.receipt(body), what)


@check("KLO-10-09", writes=True, since="1.1.0")
async def no_holder(trial: Trial) -> None:
    """With neither cardNumber nor msisdn the answer is an error"""
    answer = await trial.receipt({trial.options.qr_field: qr_text(trial.people.receipt())})
    trial.refused(answer, "a receipt of nobody")


@check("KLO-10-10", writes=True, since="1.1.0")
async def unknown_card(trial: Trial) -> None:
    """An unknown card is refused"""
    body = {
        trial.options.qr_field: qr_text(trial.people.receipt()),
        "cardNumber": trial.people.unknown_card(),
    }
    trial.refused(await trial.receipt(body), "an unknown card number")


@check("KLO-10-11", writes=True, since="1.1.0")
async def same_again(trial: Trial) -> None:
    """The same receipt again is answered 200"""
    async with receipt_sender(trial) as person:
        body = receipt_body(trial, person, given_receipt(trial))
        trial.need((await trial.receipt(body)).ok, "the receipt is not accepted")
        trial.ok(await trial.receipt(body), "the same receipt again")


async def _credited(trial: Trial, person: Person, *bodies: object) -> tuple[Points, Answer]:
    """By how much the balance grows when these are sent, all at once; and the last answer."""
    before = await balance(trial, person)
    answers = await asyncio.gather(*[trial.receipt(body) for body in bodies])
    trial.need(any(answer.ok for answer in answers), "the receipt is not accepted")
    return await balance_after(trial, person, before) - before, answers[-1]


async def _no_more_points(trial: Trial, person: Person, *bodies: object) -> None:
    """The clause wants the balance to stay when these are sent."""
    before = await balance(trial, person)
    for body in bodies:
        await trial.receipt(body)
    after = await balance_at_rest(trial, person)
    trial.that(after == before, "the balance stays", f"it grows by {after - before}", path="$.card.bonus")


@check("KLO-10-12", writes=True, since="1.1.0")
async def points_once(trial: Trial) -> None:
    """The same receipt again gives no points again"""
    async with person_with_stable_balance(trial) as person:
        body = receipt_body(trial, person, given_receipt(trial))
        await _credited(trial, person, body)
        await _no_more_points(trial, person, body, body)


@check("KLO-10-13", writes=True, since="1.1.0")
async def points_once_at_once(trial: Trial) -> None:
    """The same receipt ten times at once gives its points once"""
    async with person_with_stable_balance(trial) as person:
        body = receipt_body(trial, person, qr_text(made_up_receipt(trial)))
        single, _ = await _credited(trial, person, body)
        body = receipt_body(trial, person, qr_text(made_up_receipt(trial)))
        tenfold, answer = await _credited(trial, person, *[body] * 10)
        trial.that(
            tenfold.total <= single.total and tenfold.available <= single.available,
            f"the balance grows by {single}, as for one receipt of the same total",
            f"it grows by {tenfold}",
            answer=answer,
            path="$.card.bonus",
        )


@check("KLO-10-14", writes=True, since="1.1.0")
async def same_in_another_order(trial: Trial) -> None:
    """Another order or separator does not make another receipt"""
    async with person_with_stable_balance(trial) as person:
        values = made_up_receipt(trial)
        await _credited(trial, person, receipt_body(trial, person, qr_text(values)))
        turned = dict(reversed(values.items()))
        other = (qr_text(turned), qr_text(values).replace("&", ";"))
        await _no_more_points(trial, person, *[receipt_body(trial, person, text) for text in other])


@check("KLO-10-15", writes=True, since="1.1.0")
async def receipt_of_another(trial: Trial) -> None:
    """A receipt that one card has used is refused to another"""
    other = await trial.newcomer()
    async with receipt_sender(trial) as person:
        qr = given_receipt(trial)
        trial.need((await trial.receipt(receipt_body(trial, person, qr))).ok, "the receipt is not accepted")
        trial.refused(
            await trial.receipt(receipt_body(trial, other, qr)), "the same receipt for another card"
        )


@check("KLO-10-16", writes=True, since="1.1.0")
async def another_total(trial: Trial) -> None:
    """The same receipt with another total is refused"""
    async with receipt_sender(trial) as person:
        values = made_up_receipt(trial)
        trial.need((await _send(trial, person, values)).ok, "the receipt is not accepted")
        answer = await _send(trial, person, values | {"s": "777.77"})
        trial.refused(answer, "the same receipt with another total")


async def _understood(trial: Trial, what: str, *changes: Callable[[Values], str | Values]) -> None:
    """Receipts written in these ways are accepted."""
    async with receipt_sender(trial) as person:
        await _accepted(trial, person)
        for change in changes:
            written = change(made_up_receipt(trial))
            text = written if isinstance(written, str) else qr_text(written)
            trial.ok(await trial.receipt(receipt_body(trial, person, text)), f"{what}: {text}")


def _with(**changed: str) -> Callable[[Values], Values]:
    return lambda values: values | changed


@check("KLO-10-17", writes=True, since="1.1.0")
async def time_to_the_minute(trial: Trial) -> None:
    """t to the minute is understood"""
    async with receipt_sender(trial) as person:
        answer = await _send(trial, person, made_up_receipt(trial))
        await receipt_is_taken(trial, person, answer, "t as YYYYMMDDTHHMM")


@check("KLO-10-18", writes=True, since="1.1.0")
async def time_to_the_second(trial: Trial) -> None:
    """t to the second is understood"""
    await _understood(trial, "t as YYYYMMDDTHHMMSS", lambda values: values | {"t": values["t"] + "05"})


@check("KLO-10-19", writes=True, since="1.1.0")
async def total_with_kopecks(trial: Trial) -> None:
    """s with two digits of kopecks is understood"""
    async with receipt_sender(trial) as person:
        answer = await _send(trial, person, made_up_receipt(trial))
        await receipt_is_taken(trial, person, answer, "s as roubles.kopecks")


@check("KLO-10-20", writes=True, since="1.1.0")
async def total_without_kopecks(trial: Trial) -> None:
    """s without kopecks is understood"""
    await _understood(
        trial, "s without kopecks", lambda values: values | {"s": values["s"].partition(".")[0]}
    )


@check("KLO-10-21", writes=True, since="1.1.0")
async def total_with_a_comma(trial: Trial) -> None:
    """s with a comma is understood"""
    await _understood(trial, "s with a comma", lambda values: values | {"s": values["s"].replace(".", ",")})


@check("KLO-10-22", writes=True, since="1.1.0")
async def short_fn(trial: Trial) -> None:
    """fn of fewer than 16 digits is understood"""
    await _understood(trial, "fn of 12 digits", lambda values: values | {"fn": values["fn"][:12]})


@check("KLO-10-23", writes=True, since="1.1.0")
async def leading_zeros_of_fn(trial: Trial) -> None:
    """A fn that lost its leading zeros is the same receipt, or another: sources differ"""
    async with person_with_stable_balance(trial) as person:
        values = made_up_receipt(trial)
        plain = values["fn"][:12]
        padded = receipt_body(trial, person, qr_text(values | {"fn": plain.zfill(16)}))
        await _credited(trial, person, padded)
        before = await balance(trial, person)
        answer = await trial.receipt(receipt_body(trial, person, qr_text(values | {"fn": plain})))
        growth = await balance_at_rest(trial, person) - before
        trial.need(
            not growth.positive,
            "an fn without its leading zeros is taken for another receipt, which a partner may choose",
        )
        trial.need(answer.status is not None, "there was no answer")


@check("KLO-10-24", writes=True, since="1.1.0")
async def leading_zeros_of_i_and_fp(trial: Trial) -> None:
    """Leading zeros of i and fp do not count"""
    async with person_with_stable_balance(trial) as person:
        values = made_up_receipt(trial, fp="123456")
        await _credited(trial, person, receipt_body(trial, person, qr_text(values)))
        padded = values | {"i": values["i"].zfill(10), "fp": values["fp"].zfill(10)}
        await _no_more_points(trial, person, receipt_body(trial, person, qr_text(padded)))


@check("KLO-10-25", writes=True, since="1.1.0")
async def missing_n(trial: Trial) -> None:
    """A missing n means a sale"""
    await _understood(
        trial, "a QR text without n", lambda values: {k: v for k, v in values.items() if k != "n"}
    )


@check("KLO-10-26", writes=True, since="1.1.0")
async def any_order(trial: Trial) -> None:
    """The keys may come in any order"""
    await _understood(trial, "keys in another order", lambda values: dict(reversed(values.items())))


@check("KLO-10-27", writes=True, since="1.1.0")
async def semicolons(trial: Trial) -> None:
    """; between the keys is understood"""
    await _understood(trial, "; between the keys", lambda values: qr_text(values).replace("&", ";"))


@check("KLO-10-28", writes=True, since="1.1.0")
async def link(trial: Trial) -> None:
    """A link that carries the keys is understood"""
    await _understood(trial, "a link", lambda values: f"https://check.example.com/rec?{qr_text(values)}")


@check("KLO-10-29", writes=True, since="1.1.0")
async def aliases(trial: Trial) -> None:
    """The aliases fpd, fd, dt and sum are understood"""
    names = {"fp": "fpd", "i": "fd", "t": "dt", "s": "sum"}
    await _understood(
        trial,
        "aliases of the keys",
        lambda values: {names.get(key, key): value for key, value in values.items()},
    )


async def _wrong(trial: Trial, what: str, *changes: Callable[[Values], str | Values]) -> None:
    """Receipts written in these ways are refused."""
    async with receipt_sender(trial) as person:
        for change in changes:
            written = change(trial.people.receipt())
            text = written if isinstance(written, str) else qr_text(written)
            trial.refused(await trial.receipt(receipt_body(trial, person, text)), f"{what}: {text}")


def _without(key: str) -> Callable[[Values], Values]:
    return lambda values: {name: value for name, value in values.items() if name != key}


@check("KLO-10-30", writes=True, since="1.1.0")
async def missing_key(trial: Trial) -> None:
    """A missing t, s, fn, i or fp is refused"""
    for key in ("t", "s", "fn", "i", "fp"):
        await _wrong(trial, f"a QR text without {key}", _without(key))


def _twice(key: str) -> Callable[[Values], str]:
    return lambda values: f"{qr_text(values)}&{key}=1"


@check("KLO-10-31", writes=True, since="1.1.0")
async def repeated_key(trial: Trial) -> None:
    """A repeated key is refused"""
    for key in ("s", "fn", "i"):
        await _wrong(trial, f"a QR text with {key} twice", _twice(key))


@check("KLO-10-32", writes=True, since="1.1.0")
async def impossible_time(trial: Trial) -> None:
    """An impossible date or time is refused"""
    times = ("20240231T1200", "20241301T1200", "20240101T2460", "20240101", "hello")
    await _wrong(trial, "an impossible t", *[_with(t=text) for text in times])


@check("KLO-10-33", writes=True, since="1.1.0")
async def time_ahead(trial: Trial) -> None:
    """A time more than 12 hours ahead is refused"""
    later = datetime.now(UTC) + timedelta(days=2)
    await _wrong(trial, "a t two days ahead", _with(t=f"{later:%Y%m%dT%H%M}"))


@check("KLO-10-34", writes=True, since="1.1.0")
async def total_of_zero(trial: Trial) -> None:
    """A total of zero or less is refused"""
    await _wrong(trial, "an s of zero or less", *[_with(s=text) for text in ("0.00", "-5.00", "0")])


@check("KLO-10-35", writes=True, since="1.1.0")
async def bad_fn(trial: Trial) -> None:
    """An fn with other characters or more than 16 digits is refused"""
    await _wrong(trial, "an impossible fn", _with(fn="99990789000047AB"), _with(fn="9" * 17))


@check("KLO-10-36", writes=True, since="1.1.0")
async def bad_i(trial: Trial) -> None:
    """An i with other characters or more than 10 digits is refused"""
    await _wrong(trial, "an impossible i", _with(i="12x"), _with(i="9" * 11))


@check("KLO-10-37", writes=True, since="1.1.0")
async def bad_fp(trial: Trial) -> None:
    """An fp with other characters or above 4294967295 is refused"""
    await _wrong(trial, "an impossible fp", _with(fp="12x"), _with(fp="4294967296"))


@check("KLO-10-38", writes=True, since="1.1.0")
async def bad_n(trial: Trial) -> None:
    """An n other than 1, 2, 3 or 4 is refused"""
    await _wrong(trial, "an impossible n", *[_with(n=text) for text in ("0", "5", "x", "11")])
