"""Where points go: judged by balances before and after, never by an answer alone.

All in one module: the checks share how a receipt is sent and how its effect is seen.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from contracts.suite.answer import Answer
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
from contracts.suite.earning import goes_elsewhere, person_with_stable_balance, watched
from contracts.suite.observing import Credit, credit_of_code, credit_of_receipt, told
from contracts.suite.people import Person, qr_text
from contracts.suite.reading import Points, found_number
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


async def _sent(trial: Trial, person: Person, values: dict[str, str]) -> Answer:
    return await trial.receipt(receipt_body(trial, person, qr_text(values)))


async def _credited(trial: Trial, person: Person, values: dict[str, str]) -> tuple[Points, Answer]:
    """By how much the balance grows when this receipt is sent; not at all where none shows."""
    before = await balance(trial, person)
    answer = await _sent(trial, person, values)
    if not answer.ok:
        return before - before, answer
    try:
        return await balance_after(trial, person, before) - before, answer
    except Skip:
        return await balance(trial, person) - before, answer


async def _one_sale(trial: Trial, person: Person) -> Points:
    """What a plain made-up sale gives; skips where it gives nothing."""
    before = await balance(trial, person)
    trial.need((await _sent(trial, person, made_up_receipt(trial))).ok, "the receipt is not accepted")
    return await balance_after(trial, person, before) - before


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


@check("KLO-10-42", writes=True, since="1.1.0")
async def receipt_of_two_cards_at_once(trial: Trial) -> None:
    """A receipt that two cards send at once gives points to one of them"""
    other = await trial.newcomer()
    async with person_with_stable_balance(trial) as person:
        single = await _one_sale(trial, person)
        text = qr_text(made_up_receipt(trial))
        both = (person, other)
        before = [await balance(trial, one) for one in both]
        bodies = [receipt_body(trial, one, text) for _ in range(4) for one in both]
        answers = await asyncio.gather(*[trial.receipt(body) for body in bodies])
        trial.need(any(answer.ok for answer in answers), "the receipt is not accepted")
        after = [await balance_at_rest(trial, one) for one in both]
        grown = [now - then for now, then in zip(after, before, strict=True)]
        trial.that(
            not all(growth.positive for growth in grown),
            f"one of two cards gets {single} for a receipt that both send at once",
            f"they get {grown[0]} and {grown[1]}",
            answer=answers[-1],
        )


@check("KLO-10-14", writes=True, since="1.1.0")
async def same_written_otherwise(trial: Trial) -> None:
    """The same receipt written in other ways gives no points again"""
    async with person_with_stable_balance(trial) as person:
        values = made_up_receipt(trial)
        await _credited_once(trial, person, values)
        before = await balance(trial, person)
        ways = _other_ways(trial, person, values)
        for body in ways.values():
            await trial.receipt(body)
        if (await balance_at_rest(trial, person) - before).positive:
            await _tell_which(trial, person)


async def _credited_once(trial: Trial, person: Person, values: dict[str, str]) -> tuple[Points, Answer]:
    """The same; skips where nothing shows."""
    growth, answer = await _credited(trial, person, values)
    trial.need(answer.ok, "the receipt is not accepted")
    trial.need(growth.positive, "no points show for the receipt")
    return growth, answer


async def _at_rest_or_more(trial: Trial, person: Person, before: Points, due: Decimal) -> Points:
    """By how much a balance has grown once it rests; where it is less than is due, it is given more time."""
    grown = await balance_after(trial, person, before) - before
    if grown.most < due:
        await trial.pause(trial.options.receipt_wait / 2)
        grown = await balance_at_rest(trial, person) - before
    return grown


def _other_ways(trial: Trial, person: Person, values: dict[str, str]) -> dict[str, dict[str, str]]:
    """Bodies that are the same receipt for the same person, by what is written otherwise in them."""
    aliases = {"fp": "fpd", "i": "fd", "t": "dt", "s": "sum"}
    texts = {
        "a time to the second": qr_text(values | {"t": values["t"] + "00"}),
        "another time": qr_text(values | {"t": f"{values['t'][:-2]}{(int(values['t'][-2:]) + 1) % 60:02}"}),
        "no n": qr_text({key: value for key, value in values.items() if key != "n"}),
        "a comma in s": qr_text(values | {"s": values["s"].replace(".", ",")}),
        "a link": f"https://check.example.com/rec?{qr_text(values)}",
        "aliases of the keys": qr_text({aliases.get(key, key): value for key, value in values.items()}),
    }
    ways = {what: receipt_body(trial, person, text) for what, text in texts.items()}
    ways["the six values apart"] = values | holder(trial, person)
    text = {trial.options.qr_field: qr_text(values)}
    ways["`cardNumber`"] = text | {"cardNumber": person.card_number or ""}
    if person.phone:
        ways["`msisdn`"] = text | {"msisdn": person.phone}
    return ways


async def _tell_which(trial: Trial, person: Person) -> None:
    """Each way with a receipt of its own, to name the one that is credited again."""
    for what in _other_ways(trial, person, made_up_receipt(trial)):
        values = made_up_receipt(trial)
        await _credited_once(trial, person, values)
        before = await balance(trial, person)
        answer = await trial.receipt(_other_ways(trial, person, values)[what])
        growth = await balance_at_rest(trial, person) - before
        trial.that(
            not growth.positive,
            f"the same receipt with {what} gives no points again",
            f"the balance grows by {growth}",
            answer=answer,
        )


@check("KLO-10-44", writes=True, since="1.1.0")
async def receipts_of_one_till(trial: Trial) -> None:
    """Receipts that have one of fn, i and fp in common are each credited"""
    async with person_with_stable_balance(trial) as person:
        first = made_up_receipt(trial)
        single, _ = await _credited_once(trial, person, first)
        before = await balance(trial, person)
        for key in ("fn", "i", "fp"):
            await _sent(trial, person, made_up_receipt(trial, **{key: first[key]}))
        if (await _at_rest_or_more(trial, person, before, 3 * single.most)).most < 3 * single.most:
            for key in ("fn", "i", "fp"):
                await _alike_in(trial, person, key)


async def _alike_in(trial: Trial, person: Person, key: str) -> None:
    """The clause wants a second receipt to be credited that has this value of a first one."""
    first = made_up_receipt(trial)
    given, _ = await _credited(trial, person, first)
    growth, answer = await _credited(trial, person, made_up_receipt(trial, **{key: first[key]}))
    if given.positive and not growth.positive:
        another, _ = await _credited(trial, person, made_up_receipt(trial))
        trial.need(another.positive, "so many receipts of one person are not credited")
        trial.breach(
            f"a receipt that has `{key}` in common with another is credited as well",
            answer if answer.refused else "the balance stays",
            answer=answer,
        )


@check("KLO-10-45", writes=True, since="1.1.0")
async def different_receipts_at_once(trial: Trial) -> None:
    """Five receipts of one card at once are all credited"""
    async with person_with_stable_balance(trial) as person:
        await _one_sale(trial, person)
        single = await _one_sale(trial, person)  # the first of a person may give more
        before = await balance(trial, person)
        receipts = [made_up_receipt(trial) for _ in range(5)]
        answers = await asyncio.gather(*[_sent(trial, person, values) for values in receipts])
        taken = [answer for answer in answers if answer.ok]
        said = [told(answer) for answer in taken]
        trial.need(len(taken) > 1, "receipts that are sent at once are not accepted")
        trial.need(not any(one.later or one.nothing for one in said), "the answers promise no points for now")
        due = sum((max(one.points) if one.points else single.most for one in said), Decimal(0))
        grown = await _at_rest_or_more(trial, person, before, due)
        trial.that(
            grown.most >= due,
            f"the balance grows by {due} for {len(taken)} receipts that are accepted at once",
            f"it grows by {grown}",
            answer=taken[-1],
        )


@check("KLO-10-46", writes=True, since="1.1.0")
async def total_however_it_is_written(trial: Trial) -> None:
    """A total with a comma, or without kopecks, gives the points of the same total"""
    whole, _, kopecks = trial.options.receipt_total.partition(".")
    totals = [f"{whole},{kopecks}", *([whole] if kopecks == "00" else [])]
    async with person_with_stable_balance(trial) as person:
        usual = await _one_sale(trial, person)
        before = await balance(trial, person)
        answers = [await _sent(trial, person, made_up_receipt(trial, s=total)) for total in totals]
        taken = [total for total, answer in zip(totals, answers, strict=True) if answer.ok]
        trial.need(taken, "a total is understood in one way alone")
        due = len(taken) * usual.most
        try:
            grown = await _at_rest_or_more(trial, person, before, due)
        except Skip:
            grown = usual - usual
        if grown.most == due:
            return
        usual = await _one_sale(trial, person)  # the first of a person may give more
        for total in taken:
            growth, answer = await _credited(trial, person, made_up_receipt(trial, s=total))
            trial.that(
                growth == usual or answer.refused,
                f"s={total} gives {usual} points, as s={trial.options.receipt_total} does",
                f"the balance grows by {growth}",
                answer=answer,
            )


@check("KLO-10-47", writes=True, since="1.1.0")
async def refused_receipt_gives_nothing(trial: Trial) -> None:
    """A receipt that is refused gives no points"""
    async with person_with_stable_balance(trial) as person:
        first = made_up_receipt(trial)
        await _credited_once(trial, person, first)
        before = await balance(trial, person)
        later = datetime.now(UTC) + timedelta(days=2)
        texts = [
            qr_text(made_up_receipt(trial, t=f"{later:%Y%m%dT%H%M}")),
            qr_text(made_up_receipt(trial, n="5")),
            qr_text(made_up_receipt(trial, s="0.00")),
            qr_text(made_up_receipt(trial, t="20240231T1200")),
            qr_text(made_up_receipt(trial)) + "&fn=1",
            qr_text(first | {"s": "777.77"}),
        ]
        answers = [await trial.receipt(receipt_body(trial, person, text)) for text in texts]
        trial.need(all(answer.refused for answer in answers), "what should be refused is accepted")
        growth = await balance_at_rest(trial, person) - before
        trial.that(
            not growth.positive,
            "the balance stays, since each of these receipts was refused",
            f"it grows by {growth}",
            answer=answers[-1],
        )


@check("KLO-10-48", writes=True, since="1.1.0")
async def nearly_a_holder(trial: Trial) -> None:
    """What only looks like a holder's phone or card number earns that holder nothing"""
    async with person_with_stable_balance(trial) as person:
        await _one_sale(trial, person)
        before = await balance(trial, person)
        number, phone = person.card_number or "", person.phone or ""
        near = {
            "cardNumber": (number, (number[:-1], number[-7:], f"{number}0", f"{number}x", f"{number[:-1]}%")),
            "msisdn": (phone, (phone[:-1], phone[-9:], phone[-7:], f"{phone}0"[:15], f"{phone[:-1]}%")),
        }
        asked = [(key, own, text) for key, (own, texts) in near.items() for text in texts if len(own) > 7]
        answers = [await _sent_for(trial, *each) for each in asked]
        if not (await balance_at_rest(trial, person) - before).positive:
            return
        trial.target.rested.pop(number, None)
        for key, own, text in asked:  # once more, to name the one
            before = await balance(trial, person)
            answer = await _sent_for(trial, key, own, text)
            growth = await balance_at_rest(trial, person) - before
            what = f"a receipt for `{key}` {text} earns the holder of {own} nothing"
            trial.that(not growth.positive, what, f"the balance grows by {growth}", answer=answer)
        what = "receipts for what only looks like a holder's card number or phone earn that holder nothing"
        trial.breach(what, "the balance grows", answer=answers[-1])


async def _sent_for(trial: Trial, key: str, own: str, text: str) -> Answer:
    """A new receipt for a text that is made from a holder's card number or phone."""
    trial.target.client.redactor.alike(text, own, "card number" if key == "cardNumber" else "phone")
    return await trial.receipt({trial.options.qr_field: qr_text(made_up_receipt(trial)), key: text})


@check("KLO-3-12", writes=True, since="1.1.0")
async def points_stay(trial: Trial) -> None:
    """A change of profile, phone, e-mail or consents takes no points away"""
    async with person_with_stable_balance(trial) as person:
        await _one_sale(trial, person)
        held, number = await balance(trial, person), person.card_number or ""
        made_up = trial.options.receipt_holder == "new"
        changes: dict[str, dict[str, str | None]] = {"the name": {"firstname": "Maria"}}
        if made_up:
            new = await trial.nobody()
            changes |= {"the e-mail": {"email": new.email}, "the phone": {"phone": new.phone}}
        for what, profile in changes.items():
            for verb in ("POST", "PUT", "PATCH"):
                answer = await trial.update(number, profile, verb=verb)
                _none_lost(trial, held, await balance(trial, person), f"{what}, by {verb},", answer)
        answer = await trial.consents(number, {"allow": ["sms"], "deny": []})
        _none_lost(trial, held, await balance_at_rest(trial, person), "consents", answer)


def _none_lost(trial: Trial, held: Points, now: Points, what: str, answer: Answer | None) -> None:
    lost = held - now
    trial.that(
        not lost.positive,
        f"a change of {what} leaves the balance as it is",
        f"{lost} are gone",
        answer=answer,
    )


@check("KLO-4-14", writes=True)
async def profile_gives_nothing(trial: Trial) -> None:
    """No field of a profile gives points, or changes the card"""
    await watched(trial)
    await goes_elsewhere(trial)
    person, other = await trial.newcomer(), await trial.newcomer()
    number, before = person.card_number or "", await balance(trial, person)
    state = (await trial.card(number)).text_at("card", "cardState")
    points = {"points": "1000", "balance": "1000", "total": "1000", "available": "1000", "bonus": "1000"}
    card = {
        "cardState": "inactive",
        "blocked": "true",
        "cardNumber": other.card_number,
        "card": other.card_number,
    }
    nested = {"bonus": {"total": "1000", "available": "1000"}, "card": {"cardState": "inactive"}}
    for verb in ("POST", "PUT", "PATCH"):
        for more in (points, card, nested):
            answer = await trial.update(number, {"firstname": "Maria"} | more, verb=verb)
            shown = await trial.card(number)
            growth = await balance(trial, person) - before
            names = ", ".join(f"`{name}`" for name in more)
            what = f"{verb} of a profile with {names} changes nothing but the profile"
            trial.that(
                growth.total == growth.available == 0, what, f"the balance grows by {growth}", answer=answer
            )
            same = (shown.text_at("card", "cardState"), found_number(shown)) == (state, number)
            trial.that(same, what, shown)
    made = await trial.nobody()
    answer, issued = await trial.enrol(made.profile(**points))
    if answer.ok and issued is not None:
        growth = await balance(trial, made.with_card(issued)) - before
        trial.that(
            not growth.positive,
            "a card is issued with the points that every new card has, whatever the profile asks for",
            f"it has {growth} more",
            answer=answer,
        )


@check("KLO-10-43", writes=True, since="1.1.0")
async def return_gives_nothing(trial: Trial) -> None:
    """A receipt of a return, or of an expense, gives no points"""
    kinds = {"2": "a return", "3": "an expense", "4": "a return of an expense"}
    async with person_with_stable_balance(trial) as person:
        await _one_sale(trial, person)
        before = await balance(trial, person)
        for n in kinds:
            await _sent(trial, person, made_up_receipt(trial, n=n))
        if not (await balance_at_rest(trial, person) - before).positive:
            return
        for n, what in kinds.items():
            growth, answer = await _credited(trial, person, made_up_receipt(trial, n=n))
            what = f"{what} (n={n}) gives no points"
            trial.that(not growth.positive, what, f"the balance grows by {growth}", answer=answer)


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


@check("KLO-12-11", writes=True)
async def code_written_otherwise(trial: Trial) -> None:
    """The same code in other letters, or sent in another way, gives nothing again"""
    single = await credit_of_code(trial)
    trial.need(single.shows, single.why_none(trial))
    await goes_elsewhere(trial)
    person, code = await trial.newcomer(), trial.options.promo_code or ""
    before = await balance(trial, person)
    first = await trial.promo({trial.options.promo_field: code} | holder(trial, person))
    trial.need(first.ok, "the promo code is not accepted")
    held = await balance_after(trial, person, before)
    field, by_card = trial.options.promo_field, {"cardNumber": person.card_number}
    ways = {
        "in small letters": {field: code.lower()} | by_card,
        "in capitals": {field: code.upper()} | by_card,
        "with a blank behind": {field: f"{code} "} | by_card,
        "with a blank in front": {field: f" {code}"} | by_card,
        "in `promoCode`": {"promoCode": code} | by_card,
        "by `msisdn`": {field: code, "msisdn": person.phone},
        "by `cardNumber`": {field: code} | by_card,
    }
    answers = {what: await trial.promo(body) for what, body in ways.items()}
    growth = await balance_at_rest(trial, person) - held
    taken = [what for what, answer in answers.items() if answer.ok]
    trial.need(taken or not growth.positive, "codes that are refused give points (KLO-12-15)")
    trial.that(
        not growth.positive,
        f"the same code {' or '.join(taken)} gives nothing again",
        f"the balance grows by {growth}",
        answer=answers[taken[0]] if taken else first,
    )


@check("KLO-12-15", writes=True)
async def refused_code_gives_nothing(trial: Trial) -> None:
    """A promo code that is refused gives nothing"""
    await goes_elsewhere(trial)
    person = await trial.newcomer()
    before = await balance(trial, person)
    texts = (trial.options.refused_promo_code, f"{trial.options.refused_promo_code}-2", "0", "%")
    answers = [await trial.promo({trial.options.promo_field: text} | holder(trial, person)) for text in texts]
    trial.need(all(answer.refused for answer in answers), "a code that should be refused is accepted")
    growth = await balance_at_rest(trial, person) - before
    trial.that(
        not growth.positive,
        "the balance stays, since each of these codes was refused",
        f"it grows by {growth}",
        answer=answers[0],
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
    await goes_elsewhere(trial)
    rested = await resting(trial)
    trial.need(rested, "no balance came to rest after a credit")
    for person, points in rested:
        growth = await balance(trial, person) - points
        trial.that(
            not growth.positive,
            "a balance that had come to rest stays: nothing was asked for since",
            f"it has grown by {growth}",
        )


@check("KLO-3-12", writes=True, since="1.1.0", last=True)
async def nothing_gets_lost(trial: Trial) -> None:
    """Points that were there during the run are still there at its end"""
    await goes_elsewhere(trial)
    rested = await resting(trial)
    trial.need(rested, "no balance came to rest after a credit")
    for person, points in rested:
        lost = points - await balance(trial, person)
        trial.that(not lost.positive, "points stay: nobody has used them", f"{lost} are gone")
