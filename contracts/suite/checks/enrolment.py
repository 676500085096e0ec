"""Methods 5, 6 and 11: reserve a number, issue it, issue a card without reserving."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from contracts.suite import casting
from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.people import Person
from contracts.suite.reading import found_number, reserved_number
from contracts.suite.trial import Trial

# --- 5: reserve --------------------------------------------------------------------------------------


@check("KLO-5-01", writes=True)
async def reserves(trial: Trial) -> None:
    """A number can be reserved at /v1/card/anonymous"""
    trial.ok(await trial.reserving(), "reserving a number")


@check("KLO-5-02", writes=True)
async def reserves_by_get(trial: Trial) -> None:
    """The verb is GET"""
    answer = await trial.reserving()
    trial.that(answer.ok, "GET /v1/card/anonymous is answered 200", answer)


@check("KLO-5-03", writes=True)
async def names_the_number(trial: Trial) -> None:
    """The answer is the card object in `card`, or the bare number"""
    answer = await trial.reserve()
    trial.need(answer.ok, "no number can be reserved")
    value = answer.json
    in_object = isinstance(value, dict) and isinstance(value.get("card"), dict) and found_number(answer)
    bare = not isinstance(value, (dict, list)) and value is not None and reserved_number(answer)
    trial.that(in_object or bare, '{"card": {"cardNumber": "…"}} or the bare number', answer)


@check("KLO-5-04", writes=True)
async def another_number_each_time(trial: Trial) -> None:
    """Each call reserves another number"""
    numbers = [await trial.reserved() for _ in range(2)]
    numbers += [
        reserved_number(one) or "" for one in await asyncio.gather(*[trial.reserve() for _ in range(5)])
    ]
    told = [number for number in numbers if number]
    trial.that(len(set(told)) == len(told), f"{len(told)} different numbers", f"{len(set(told))} different")


# --- 6: issue the reserved number --------------------------------------------------------------------


@check("KLO-6-01", writes=True)
async def issues_reserved(trial: Trial) -> None:
    """POST of a profile to a reserved number is answered 200"""
    number = await trial.reserved()
    answer = await trial.issue_reserved(number, (await trial.nobody()).profile())
    trial.ok(answer, "a profile for a reserved number")


async def _issued(trial: Trial) -> Person:
    """Somebody new who got a reserved number."""
    person, number = await trial.nobody(), await trial.reserved()
    answer = await trial.issue_reserved(number, person.profile())
    trial.need(answer.ok, "a reserved number cannot be issued")
    return person.with_card(number)


@check("KLO-6-02", writes=True)
async def empty_answer(trial: Trial) -> None:
    """The answer has an empty body"""
    number = await trial.reserved()
    answer = await trial.issue_reserved(number, (await trial.nobody()).profile())
    trial.need(answer.ok, "a reserved number cannot be issued")
    trial.that(not answer.body, "an empty body", answer)


@check("KLO-6-03", writes=True)
async def reserved_number_is_found(trial: Trial) -> None:
    """The number is found by the phone of the profile"""
    person = await _issued(trial)
    trial.shows(await trial.find(person.phone), person)


@check("KLO-6-04", writes=True)
async def unknown_person_is_registered(trial: Trial) -> None:
    """A person who is not known is registered: the card has an owner whose profile can be changed"""
    person = await _issued(trial)
    trial.need(found_number(await trial.find(person.phone)), "the phone does not find the card")
    answer = await trial.update(person.card_number or "", {"firstname": "Maria"})
    trial.ok(answer, "a change of the new holder's profile")


async def _not_twice(trial: Trial, first: Person, again: Person) -> None:
    """Issue a number to somebody who has a card and whose other key is new; it must stay one person."""
    number = await trial.reserved()
    answer = await trial.issue_reserved(number, again.profile())
    found = [await trial.find(key) for key in dict.fromkeys((first.phone, again.phone))]
    found += [await trial.find(None, key) for key in dict.fromkeys((first.email, again.email))]
    cards = {found_number(one) for one in found} - {None}
    trial.that(
        len(cards) == 1 and cards <= {first.card_number, number if answer.ok else None},
        "one person with one card, by whichever phone and e-mail",
        f"{len(cards)} cards are found" if len(cards) != 1 else "another card is found",
        answer=found[-1],
    )


@check("KLO-6-05", writes=True)
async def person_known_by_phone(trial: Trial) -> None:
    """A person known by phone is not registered again"""
    first = await _issued(trial)
    trial.need(found_number(await trial.find(first.phone)), "the phone does not find the card")
    await _not_twice(trial, first, Person(first.phone, trial.people.email(), first.birth_date))


@check("KLO-6-06", writes=True)
async def person_known_by_email(trial: Trial) -> None:
    """A person known by e-mail is not registered again"""
    first, other = await _issued(trial), await trial.nobody()
    trial.need(found_number(await trial.find(None, first.email)), "the e-mail does not find the card")
    await _not_twice(trial, first, Person(other.phone, first.email, first.birth_date))


@check("KLO-6-07", writes=True)
async def never_reserved(trial: Trial) -> None:
    """A number that was never reserved is refused"""
    answer = await trial.issue_reserved(trial.people.unknown_card(), (await trial.nobody()).profile())
    trial.refused(answer, "a number that was never reserved")


@check("KLO-6-08", writes=True)
async def number_of_another(trial: Trial) -> None:
    """A number that another person has is refused"""
    person = await _issued(trial)
    answer = await trial.issue_reserved(person.card_number or "", (await trial.nobody()).profile())
    trial.refused(answer, "a number that another person has")


@check("KLO-6-10", writes=True)
async def plastic(trial: Trial) -> None:
    """A plastic card without an owner is registered by the same call"""
    steps = await plastic_card(trial)
    trial.ok(steps.issued, "the number of a plastic card")
    number = trial.options.plastic or ""
    trial.that(found_number(steps.found) == number, f"the plastic card {number}", steps.found)


CONSENTS = {"allow": ["sms", "email"], "deny": ["call"]}


@dataclass(frozen=True)
class PlasticCard:
    """Answers of the steps in which somebody new registers a plastic card that is nobody's."""

    nobody: Answer
    shown: Answer
    issued: Answer
    consents: Answer
    found: Answer


async def plastic_card(trial: Trial) -> PlasticCard:
    """The one card is registered once in a run; each check judges the steps that it is about."""
    number = trial.options.plastic or ""
    trial.need(number, "needs `plastic` in the configuration")

    async def register() -> PlasticCard:
        shown = await trial.card(number)
        person = await trial.nobody()
        nobody = await trial.find(person.phone, person.email)
        issued = await trial.issue_reserved(number, person.profile())
        if not issued.ok and shown.refused:
            raise casting.wrong(trial, "`plastic` in the configuration is a number that is not known there.")
        # A card without an owner may be active, too; a service is right to refuse one that has an owner.
        if not issued.ok and shown.text_at("card", "cardState") == "active":
            raise casting.wrong(
                trial, "`plastic` in the configuration was refused and is active: it seems to have an owner."
            )
        consents = await trial.consents(number, CONSENTS)
        return PlasticCard(nobody, shown, issued, consents, await trial.find(person.phone))

    steps = await trial.once("plastic card", register)
    for answer in (steps.nobody, steps.shown, steps.issued, steps.consents, steps.found):
        trial.note(answer)
    return steps


@check("KLO-6-11", writes=True)
async def once_more(trial: Trial) -> None:
    """The same call once more is answered 200"""
    person = await _issued(trial)
    trial.ok(
        await trial.issue_reserved(person.card_number or "", person.profile()), "the same call once more"
    )


@check("KLO-6-12", writes=True)
async def no_second_card(trial: Trial) -> None:
    """A person who has a card gets no second one"""
    person, number = await _issued(trial), await trial.reserved()
    trial.refused(await trial.issue_reserved(number, person.profile()), "another number for the same person")


# --- 11: issue without reserving ---------------------------------------------------------------------


@check("KLO-11-01", "KLO-11-02", "KLO-11-03", writes=True)
async def issues(trial: Trial) -> None:
    """A card is issued by POST /v1/card/anonymous with a profile, without reserving a number before"""
    trial.ok(await trial.issue((await trial.nobody()).profile()), "issuing a card")


@check("KLO-11-04", writes=True)
async def answers_the_card(trial: Trial) -> None:
    """The answer is the card object in `card`"""
    answer = await trial.issue((await trial.nobody()).profile())
    trial.need(answer.ok, "no card is issued")
    value = answer.json
    in_object = isinstance(value, dict) and isinstance(value.get("card"), dict)
    trial.that(in_object and found_number(answer), '{"card": {"cardNumber": "…", …}}', answer)


async def _new(trial: Trial) -> Person:
    person = await trial.nobody()
    answer = await trial.issue(person.profile())
    trial.need(answer.ok, "no card is issued")
    number = found_number(answer)
    return person.with_card(number) if number else person


@check("KLO-11-05", writes=True)
async def issued_card_is_found(trial: Trial) -> None:
    """Method 1 finds the card by phone"""
    person = await _new(trial)
    trial.shows(await trial.find(person.phone), person)


@check("KLO-11-06", writes=True)
async def same_person_same_card(trial: Trial) -> None:
    """The same person again gets the same card"""
    person = await _new(trial)
    trial.need(person.card_number, "the number of the issued card is not told")
    trial.shows(await trial.issue(person.profile()), person)


@check("KLO-11-07", writes=True)
async def at_once(trial: Trial) -> None:
    """Ten calls for one person at once end in one card"""
    person = await trial.nobody()
    answers = await asyncio.gather(*[trial.issue(person.profile()) for _ in range(10)])
    numbers = {found_number(answer) for answer in answers if answer.ok} - {None}
    trial.need(any(answer.ok for answer in answers), "no card is issued")
    trial.that(len(numbers) <= 1, "one card", f"{len(numbers)} cards", answer=answers[-1])
    found = await trial.find(person.phone)
    trial.that(not numbers or found_number(found) in numbers, "method 1 finds that card", found)
