"""Method 1: find a card by phone or e-mail."""

from __future__ import annotations

from contracts.suite import casting
from contracts.suite.checking import check
from contracts.suite.people import Person
from contracts.suite.reading import found_number
from contracts.suite.trial import Trial


async def _with_phone(trial: Trial) -> Person:
    person = await trial.existing()
    trial.need(person.phone, "needs the phone of `existing`")
    return person


async def _with_email(trial: Trial) -> Person:
    person = await trial.existing()
    trial.need(person.email, "needs the e-mail of `existing`")
    return person


async def _found_by_phone(trial: Trial) -> Person:
    """A holder whom the phone alone finds, without which the rest tells nothing."""
    person = await _with_phone(trial)
    trial.need(found_number(await trial.find(person.phone)), "the phone alone does not find the card")
    return person


async def _found_by_email(trial: Trial) -> Person:
    person = await _with_email(trial)
    trial.need(found_number(await trial.find(None, person.email)), "the e-mail alone does not find the card")
    return person


@check("KLO-1-01")
async def by_phone(trial: Trial) -> None:
    """msisdn of a holder finds the card"""
    person = await _with_phone(trial)
    trial.shows(await trial.find(person.phone), person)


@check("KLO-1-02")
async def by_email(trial: Trial) -> None:
    """email of a holder finds the card"""
    person = await _with_email(trial)
    trial.shows(await trial.find(None, person.email), person)


@check("KLO-1-03")
async def card_in_an_object(trial: Trial) -> None:
    """What is found is an object with the card object in `card`"""
    answer = await trial.find((await _with_phone(trial)).phone)
    trial.need(found_number(answer), "the phone does not find the card")
    value = answer.json
    trial.that(
        isinstance(value, dict) and isinstance(value.get("card"), dict),
        '{"card": {…}}',
        answer,
        path="$.card",
    )


@check("KLO-1-04")
async def nobody_is_200(trial: Trial) -> None:
    """Nothing found is answered 200"""
    nobody = await casting.unknown(trial)
    for phone, email in ((nobody.phone, None), (None, nobody.email)):
        answer = await trial.find(phone, email)
        trial.need(not found_number(answer), "somebody was found")
        trial.that(answer.status == 200, "nothing found is answered 200", answer)


@check("KLO-1-05")
async def nobody_is_an_empty_body(trial: Trial) -> None:
    """Nothing found is answered with an empty body"""
    nobody = await casting.unknown(trial)
    for phone, email in ((nobody.phone, None), (None, nobody.email)):
        answer = await trial.find(phone, email)
        trial.need(answer.ok and not found_number(answer), "nothing found is not answered 200")
        trial.that(not answer.body, "an empty body", answer)


@check("KLO-1-06")
async def one_parameter_is_enough(trial: Trial) -> None:
    """No parameter is needed beside msisdn or email"""
    nobody = await casting.unknown(trial)
    for phone, email in ((nobody.phone, None), (None, nobody.email)):
        answer = await trial.find(phone, email)
        trial.that(answer.status not in (400, 422, None), "one parameter alone is enough", answer)


@check("KLO-1-07")
async def phones_of_any_country(trial: Trial) -> None:
    """Phones of one to three digits of country code are understood"""
    trial.need(
        (await trial.find((await casting.unknown(trial)).phone)).ok,
        "a phone that nobody has is not answered 200",
    )
    for phone in ("12025550143", "4915112345678", "375291234567", "998901234567", "447400123456"):
        trial.ok(await trial.find(phone), f"a phone that begins with {phone[:3]}")


@check("KLO-1-08")
async def birth_date_beside(trial: Trial) -> None:
    """birthDate beside a phone is accepted"""
    person = await _found_by_phone(trial)
    trial.need(person.birth_date, "needs the birth date of `existing`")
    trial.shows(await trial.find(person.phone, birthDate=person.birth_date or ""), person)


@check("KLO-1-09")
async def known_phone_or_unknown_email(trial: Trial) -> None:
    """A known phone with an unknown e-mail finds the card"""
    person = await _found_by_phone(trial)
    trial.shows(await trial.find(person.phone, trial.people.email()), person)


@check("KLO-1-10")
async def known_email_or_unknown_phone(trial: Trial) -> None:
    """A known e-mail with an unknown phone finds the card"""
    person = await _found_by_email(trial)
    trial.shows(await trial.find((await casting.unknown(trial)).phone, person.email), person)


@check("KLO-1-11")
async def another_birth_date(trial: Trial) -> None:
    """Another birth date does not hide a card found by phone"""
    person = await _found_by_phone(trial)
    trial.shows(await trial.find(person.phone, birthDate="1901-01-01"), person)


@check("KLO-1-12")
async def unknown_parameters(trial: Trial) -> None:
    """Unknown parameters are ignored"""
    person = await _found_by_phone(trial)
    trial.shows(await trial.find(person.phone, favouriteColour="blue", page="2"), person)


@check("KLO-1-13")
async def several_match(trial: Trial) -> None:
    """Several matching cards are answered with one, or with an error"""
    two = await casting.two_people(trial)
    answer = await trial.find(two.phone, two.email)
    if answer.refused:
        return
    value = answer.json
    several = isinstance(value, list) or isinstance(answer.at("card"), list) or answer.at("cards") is not None
    trial.that(not several and found_number(answer), "one card, or 422", answer)
    trial.that(found_number(answer) in two.cards, "the card of one of the two", answer)


@check("KLO-1-14")
async def blocked(trial: Trial) -> None:
    """The owner of a blocked card gets an error instead of the card, by whichever key"""
    found = await casting.blocked(trial)
    shown = {way: answer for way, answer in found.looked_up.items() if found_number(answer)}
    for way, answer in shown.items():
        number = found_number(answer) or ""
        state = answer.text_at("card", "cardState")
        if not found.refused and state == "active":
            state = (await trial.card(number)).text_at("card", "cardState")
        if found.refused or state != "active":
            trial.breach(f"a look-up of a blocked card's owner by {way} is refused (422)", answer)
    if shown:
        raise casting.wrong(trial, "`blocked` in the configuration has an active card, by every key.")
    for way, answer in found.looked_up.items():
        if not answer.refused:
            await _is_known(trial, found, way)
            trial.breach(f"a look-up of a blocked card's owner by {way} is refused (422)", answer)


async def _is_known(trial: Trial, found: casting.Blocked, way: str) -> None:
    """Skip where a key that finds nobody may be wrong: somebody unknown there would be given a card."""
    odd = f"`blocked` in the configuration: {way} finds nobody"
    if found.refused or not trial.full:
        raise casting.wrong(trial, f"{odd}: it is wrong, or the service hides the blocked card.")
    if (await casting.card_for_blocked(trial)).issued.ok:
        raise casting.wrong(trial, f"{odd}, and a card was issued to them: they are not known there.")


@check("KLO-1-15")
async def birth_date_chooses(trial: Trial) -> None:
    """A birth date chooses among several people"""
    two = await casting.two_people(trial)
    trial.need(two.born, "`ambiguous` has no birth_date, which is that of the e-mail's owner")
    answer = await trial.find(two.phone, two.email, birthDate=two.born or "")
    trial.that(found_number(answer) == two.card_of_email, "the card of the one with this birth date", answer)


@check("KLO-1-16")
async def birth_date_alone(trial: Trial) -> None:
    """A birth date alone finds nobody"""
    person = await trial.existing()
    trial.need(person.birth_date, "needs the birth date of `existing`")
    trial.shows_nobody(
        await trial.call(1, "GET", "/v1/card", query={"birthDate": person.birth_date or ""}), "a birth date"
    )


@check("KLO-1-17")
async def no_parameter(trial: Trial) -> None:
    """A request without parameters finds nobody"""
    for path in ("/v1/card", "/v1/card?msisdn=&email=", "/v1/card?favouriteColour=blue"):
        trial.shows_nobody(await trial.call(1, "GET", path), f"{path}, without a parameter that identifies,")


@check("KLO-1-18")
async def phone_with_punctuation(trial: Trial) -> None:
    """A phone with a plus or punctuation is understood"""
    person = await _found_by_phone(trial)
    phone = person.phone or ""
    spaced = f"+{phone[:-10]} ({phone[-10:-7]}) {phone[-7:-4]}-{phone[-4:-2]}-{phone[-2:]}"
    for text in (f"+{phone}", spaced):
        trial.target.client.redactor.alike(text, phone, "phone")
        trial.shows(await trial.find(text), person)


@check("KLO-1-19")
async def email_in_capitals(trial: Trial) -> None:
    """E-mails are compared without regard to case"""
    person = await _found_by_email(trial)
    text = (person.email or "").upper()
    trial.target.client.redactor.alike(text, person.email, "email")
    trial.shows(await trial.find(None, text), person)
