"""The profile object, and method 4 that changes it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from contracts.suite.checking import check
from contracts.suite.people import Person
from contracts.suite.reading import found_number
from contracts.suite.trial import Trial


async def _holder(trial: Trial) -> Person:
    """Somebody made up whose profile may be changed as one likes; one for the checks that leave no trace."""
    return await trial.once("profile", trial.newcomer)


async def _plain_accepted(trial: Trial, person: Person) -> None:
    answer = await trial.update(person.card_number or "", {"firstname": "Maria"})
    trial.need(answer.ok, "a change of the first name alone is not accepted")


def _written(profile: Mapping[str, object]) -> str:
    return json.dumps(profile, ensure_ascii=False)


async def _accepted(trial: Trial, *profiles: Mapping[str, object], what: str) -> None:
    person = await _holder(trial)
    await _plain_accepted(trial, person)
    for profile in profiles:
        trial.ok(await trial.update(person.card_number or "", profile), f"{what}: {_written(profile)}")


async def _found_by_email(trial: Trial) -> Person:
    """A newcomer whom the e-mail finds."""
    person = await trial.newcomer()
    trial.need(found_number(await trial.find(None, person.email)), "the e-mail does not find the card")
    await _plain_accepted(trial, person)
    return person


@check("KLO-0-50", writes=True)
async def flat_object(trial: Trial) -> None:
    """A profile with every official field is accepted"""
    person = await _holder(trial)
    answer = await trial.update(person.card_number or "", person.profile())
    trial.ok(answer, "a profile with all eight fields")


@check("KLO-0-51", writes=True)
async def locality(trial: Trial) -> None:
    """A profile may have locality"""
    await _accepted(trial, {"locality": "Tagil"}, what="a profile with locality")


@check("KLO-0-53", writes=True)
async def birth_date_spelling(trial: Trial) -> None:
    """birthdate means birthDate: it is accepted, and an impossible one is refused"""
    await _accepted(trial, {"birthdate": "1991-02-03"}, what="a profile with birthdate")
    number = (await _holder(trial)).card_number or ""
    # Whoever ignores the field accepts anything.
    answer = await trial.update(number, {"birthDate": "1990-02-30"})
    trial.need(answer.refused, "an impossible birthDate is not refused, so nothing can be compared")
    trial.refused(await trial.update(number, {"birthdate": "1990-02-30"}), "the same in birthdate")


@check("KLO-0-54", writes=True)
async def keys_in_any_case(trial: Trial) -> None:
    """Keys are understood in any case"""
    person, address = await _found_by_email(trial), trial.people.email()
    await _change_is_visible(trial, person, address)
    address = trial.people.email()
    trial.ok(await trial.update(person.card_number or "", {"EMail": address}), "a profile with EMail")
    trial.shows(await trial.find(None, address), person)


async def _change_is_visible(trial: Trial, person: Person, address: str) -> None:
    """Skip where a changed e-mail does not show in method 1 at all."""
    await trial.update(person.card_number or "", {"email": address})
    trial.need(found_number(await trial.find(None, address)), "a changed e-mail does not find the card")


@check("KLO-0-55", writes=True)
async def unknown_fields(trial: Trial) -> None:
    """Unknown fields are ignored"""
    profile: Mapping[str, object] = {"firstname": "Maria", "favouriteColour": "blue", "extra": {"a": ["b"]}}
    await _accepted(trial, profile, what="a profile with unknown fields")


@check("KLO-0-56", writes=True)
async def absent_fields(trial: Trial) -> None:
    """A field that is absent stays as it was"""
    person = await _found_by_email(trial)
    trial.ok(await trial.update(person.card_number or "", {"surname": "Inaya"}))
    trial.shows(await trial.find(None, person.email), person)


@check("KLO-0-57", writes=True)
async def empty_fields(trial: Trial) -> None:
    """A field with an empty value stays as it was"""
    person = await _found_by_email(trial)
    trial.ok(
        await trial.update(person.card_number or "", {"surname": "Inaya", "email": ""}), "an empty value"
    )
    trial.shows(await trial.find(None, person.email), person)


async def _phone_understood(trial: Trial, form: str) -> None:
    """Issue a card to a phone in this form; digits must find it."""
    person = await trial.nobody()
    phone = person.phone or ""
    text = form.format(
        phone=phone, code=phone[:-10], a=phone[-10:-7], b=phone[-7:-4], c=phone[-4:-2], d=phone[-2:]
    )
    trial.target.client.redactor.alike(text, phone, "phone")
    answer, issued = await trial.enrol(person.profile(phone=text))
    trial.ok(answer, "a profile with a phone in this form")
    found = await trial.find(phone)
    trial.that(found_number(found) is not None, "the card is found by the phone's digits", found)
    trial.need(issued is None or found_number(found) == issued, "another card is found")


@check("KLO-0-58", writes=True)
async def phone_of_digits(trial: Trial) -> None:
    """phone is understood as digits with the country code"""
    await _phone_understood(trial, "{phone}")


@check("KLO-0-59", writes=True)
async def phone_with_plus(trial: Trial) -> None:
    """phone is understood with a plus"""
    await trial.newcomer()
    await _phone_understood(trial, "+{phone}")


@check("KLO-0-60", writes=True)
async def phone_with_punctuation(trial: Trial) -> None:
    """phone is understood with punctuation"""
    await trial.newcomer()
    await _phone_understood(trial, "+{code} ({a}) {b}-{c}-{d}")


@check("KLO-0-61", writes=True)
async def birth_date(trial: Trial) -> None:
    """birthDate is written YYYY-MM-DD"""
    await _accepted(trial, {"birthDate": "1992-02-29"}, what="a birthDate YYYY-MM-DD")


async def _refused(trial: Trial, *profiles: Mapping[str, object], what: str) -> None:
    person = await trial.once("refusals", trial.newcomer)
    await _plain_accepted(trial, person)
    for profile in profiles:
        answer = await trial.update(person.card_number or "", profile)
        trial.refused(answer, f"{what}: {_written(profile)}")


@check("KLO-0-62", writes=True)
async def impossible_birth_date(trial: Trial) -> None:
    """An impossible birthDate is refused"""
    profiles = [{"birthDate": text} for text in ("1990-02-30", "17.05.1990", "yesterday", "1990-13-01")]
    await _refused(trial, *profiles, what="a profile with an impossible birthDate")


@check("KLO-0-63", writes=True)
async def impossible_phone(trial: Trial) -> None:
    """A phone that is no phone is refused"""
    profiles = [{"phone": text} for text in ("not a phone", "12", "7" * 30)]
    await _refused(trial, *profiles, what="a profile whose phone is no phone")


@check("KLO-0-64", writes=True)
async def impossible_email(trial: Trial) -> None:
    """An e-mail that is no e-mail is refused"""
    profiles = [{"email": text} for text in ("no-at-sign", "@example.com", "a b@example.com")]
    await _refused(trial, *profiles, what="a profile whose email is no e-mail")


async def _sexes(trial: Trial, *texts: str) -> None:
    await _accepted(trial, *[{"sex": text} for text in texts], what="a profile with sex")


@check("KLO-0-65", writes=True)
async def sex_in_latin(trial: Trial) -> None:
    """sex is understood as m and f"""
    await _sexes(trial, "m", "f")


@check("KLO-0-66", writes=True)
async def sex_in_cyrillic(trial: Trial) -> None:
    """sex is understood as м and ж"""
    await _sexes(trial, "м", "ж")


@check("KLO-0-67", writes=True)
async def sex_in_full(trial: Trial) -> None:
    """sex is understood as male and female"""
    await _sexes(trial, "male", "female")


@check("KLO-4-01", writes=True)
async def post(trial: Trial) -> None:
    """POST with a profile is answered 200"""
    person = await _holder(trial)
    trial.ok(await trial.update(person.card_number or "", {"firstname": "Maria"}), "POST with a profile")


@check("KLO-4-02", writes=True)
async def empty_answer(trial: Trial) -> None:
    """The answer has an empty body"""
    answer = await trial.update((await _holder(trial)).card_number or "", {"firstname": "Maria"})
    trial.need(answer.ok, "the change is not accepted")
    trial.that(not answer.body, "an empty body", answer)


async def _other_verb(trial: Trial, verb: str) -> None:
    person = await _holder(trial)
    await _plain_accepted(trial, person)
    answer = await trial.update(person.card_number or "", {"firstname": "Maria"}, verb=verb)
    trial.ok(answer, f"{verb} with a profile")


@check("KLO-4-03", writes=True)
async def put(trial: Trial) -> None:
    """PUT does the same"""
    await _other_verb(trial, "PUT")


@check("KLO-4-04", writes=True)
async def patch(trial: Trial) -> None:
    """PATCH does the same"""
    await _other_verb(trial, "PATCH")


@check("KLO-4-05", writes=True)
async def phone_of_another(trial: Trial) -> None:
    """A phone that is another's is refused"""
    person, other = await trial.newcomer(), await trial.newcomer()
    trial.need(found_number(await trial.find(other.phone)), "a phone does not find the card")
    await _plain_accepted(trial, person)
    trial.refused(await trial.update(person.card_number or "", {"phone": other.phone}), "another's phone")


@check("KLO-4-06", writes=True)
async def email_of_another(trial: Trial) -> None:
    """An e-mail that is another's is refused"""
    person, other = await trial.newcomer(), await trial.newcomer()
    trial.need(found_number(await trial.find(None, other.email)), "an e-mail does not find the card")
    await _plain_accepted(trial, person)
    trial.refused(await trial.update(person.card_number or "", {"email": other.email}), "another's e-mail")


@check("KLO-4-07", writes=True)
async def changed_email_finds(trial: Trial) -> None:
    """An e-mail that was changed finds the same card"""
    person = await _found_by_email(trial)
    address = trial.people.email()
    answer = await trial.update(person.card_number or "", {"email": address})
    trial.need(answer.ok, "a change of the e-mail is not accepted")
    trial.shows(await trial.find(None, address), person)


@check("KLO-4-08", writes=True)
async def unknown_card(trial: Trial) -> None:
    """A profile for an unknown card is refused"""
    answer = await trial.update(trial.people.unknown_card(), {"firstname": "Maria"})
    trial.refused(answer, "an unknown card number")


@check("KLO-4-09", writes=True)
async def once_more(trial: Trial) -> None:
    """The same profile once more is answered 200"""
    person = await _holder(trial)
    await _plain_accepted(trial, person)
    profile = person.profile()
    trial.need(
        (await trial.update(person.card_number or "", profile)).ok, "the whole profile is not accepted"
    )
    trial.ok(await trial.update(person.card_number or "", profile), "the same profile once more")
