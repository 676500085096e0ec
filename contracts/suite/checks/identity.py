"""Whose card it is: nobody is taken for somebody else, and nobody gets two. Judged by what is found.

All in one module: the checks share how a person is changed and looked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.suite import casting
from contracts.suite.answer import Answer
from contracts.suite.checking import Breach, check
from contracts.suite.checks.every_answer import letters_as_written
from contracts.suite.people import Person
from contracts.suite.reading import found_number
from contracts.suite.trial import Trial

Ask = Callable[[], Awaitable[Answer]]

# --- what is nearly a holder's key -------------------------------------------------------------------


def _like_the_phone(phone: str) -> dict[str, str]:
    """Texts that are no phone of anybody, each with what it is."""
    return {
        "a holder's phone without its last digit": phone[:-1],
        "the first seven digits of a holder's phone": phone[:7],
        "the last nine digits of a holder's phone": phone[-9:],
        "the last seven digits of a holder's phone": phone[-7:],
        "the last four digits of a holder's phone": phone[-4:],
        "a holder's phone with one digit more": f"{phone}0"[:15],
        "a holder's phone with a digit in front": f"4{phone}"[-15:],
        "a holder's phone with a blank for its last digit": f"{phone[:-1]} ",
        "a holder's phone with % for its last digit": f"{phone[:-1]}%",
        "a holder's phone with _ for its last digit": f"{phone[:-1]}_",
        "a holder's phone with * for its last digits": f"{phone[:-4]}*",
        "a blank": " ",
        "a plus": "+",
        "%": "%",
    }


async def _look_up(trial: Trial, key: str, text: str, alike: str) -> Answer:
    """A look-up by a text that was made from a holder's ``alike``."""
    redactor = trial.target.client.redactor
    if len(text) > 6 and not redactor.is_own(alike):
        redactor.hide(text, "phone" if key == "msisdn" else key)
    return await trial.call(1, "GET", "/v1/card", query={key: text}, probe=True)


@check("KLO-1-20")
async def nearly_a_holders_phone(trial: Trial) -> None:
    """What only looks like a holder's phone finds nobody"""
    person = await trial.existing()
    trial.need(person.phone, "needs the phone of `existing`")
    trial.need(found_number(await trial.find(person.phone)), "the phone alone does not find the card")
    phone = person.phone or ""
    for what, text in _like_the_phone(phone).items():
        trial.shows_nobody(await _look_up(trial, "msisdn", text, phone), what)
    if len(phone) == 11 and phone.startswith("7"):  # of another country, where it may be somebody's
        answer = await _look_up(trial, "msisdn", f"1{phone[1:]}", phone)
        what = "the phone with the same ten digits in the country of code 1 does not lead to a holder's card"
        trial.that(found_number(answer) != person.card_number, what, answer)


@check("KLO-1-21")
async def nearly_a_holders_email(trial: Trial) -> None:
    """What only looks like a holder's e-mail finds nobody"""
    person = await trial.existing()
    trial.need(person.email, "needs the e-mail of `existing`")
    trial.need(found_number(await trial.find(None, person.email)), "the e-mail alone does not find the card")
    email = person.email or ""
    name, at, domain = email.partition("@")
    for what, text in {
        "the part of a holder's e-mail before the @": name,
        "the part of a holder's e-mail from the @ on": at + domain,
        "a holder's e-mail with % for its name": f"%{at}{domain}",
        "a holder's e-mail with % at its end": f"{email[:-2]}%",
        "a blank": " ",
        "%": "%",
        "@": "@",
    }.items():
        trial.shows_nobody(await _look_up(trial, "email", text, email), what)
    for what, text in {
        "a holder's e-mail without its first letter": email[1:],
        "a holder's e-mail without its last letter": email[:-1],
        "a holder's e-mail with a letter in front": f"x{email}",
        "a holder's e-mail with a letter more": f"{email}x",
        "a holder's e-mail with _ for its second letter": f"{email[0]}_{email[2:]}",
    }.items():
        if text != email:
            answer = await _look_up(trial, "email", text, email)
            other = found_number(answer) != person.card_number
            trial.that(other, f"{what} does not lead to the holder's card", answer)


@check("KLO-3-13")
async def nearly_a_card_number(trial: Trial) -> None:
    """What only looks like a holder's card number does not show that card"""
    person = await (trial.newcomer() if trial.full else trial.existing())
    number = person.card_number or ""
    trial.need((await trial.card(number)).ok, "the card is not shown")
    redactor = trial.target.client.redactor
    for what, text in {
        "a card number without its last digit": number[:-1],
        "the beginning of a card number": number[:7],
        "the end of a card number": number[-7:],
        "a card number with a digit more": f"{number}0",
        "a card number with a digit in front": f"1{number}",
        "a card number with letters behind": f"{number}abc",
        "a card number with % for its last digit": f"{number[:-1]}%",
        "a card number with _ for its last digit": f"{number[:-1]}_",
        "a card number with * for its last digit": f"{number[:-1]}*",
    }.items():
        if len(text) < 5 or text == number:
            continue
        if not redactor.is_own(number):
            redactor.hide(text, "card number")
        answer = await trial.card(text, probe=True)
        shown = found_number(answer) if answer.ok else None
        trial.that(shown in (None, text), f"{what} shows no other card", answer)  # it may be one


@check("KLO-7-15", writes=True)
async def purchases_of_nobody_else(trial: Trial) -> None:
    """A card that was just issued has no purchases: they would be somebody else's"""
    person = await trial.newcomer()
    today = datetime.now(UTC).date()
    answer = await trial.purchases(
        person.card_number or "",
        startDate=f"{today - timedelta(days=3650)}",
        endDate=f"{today + timedelta(days=1)}",
    )
    trial.need(answer.ok, "purchases are not shown")
    listed = answer.json
    trial.that(not (isinstance(listed, list) and listed), "an empty list", answer, path="$")


# --- a key that was changed --------------------------------------------------------------------------


@dataclass(frozen=True)
class Changed:
    """A key of a holder that was changed, and what the old one and the new one lead to."""

    holder: Person
    answer: Answer
    new: Answer
    old: Answer

    @property
    def takes_effect(self) -> bool:
        return found_number(self.new) == self.holder.card_number


async def _until(trial: Trial, ask: Ask, good: Callable[[Answer], bool]) -> Answer:
    """The answer once it is as it should be; the last one after `receipt_wait` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + trial.options.receipt_wait
    while not good(answer := await ask()) and loop.time() < end:
        await trial.pause(trial.options.receipt_wait / 20)
    return answer


async def _change(trial: Trial, key: str) -> Changed:
    person, other = await trial.newcomer(), await trial.nobody()
    old, new = getattr(person, key), getattr(other, key)

    def find(value: str) -> Ask:
        return lambda: trial.find(value) if key == "phone" else trial.find(None, value)

    def is_theirs(answer: Answer) -> bool:
        return found_number(answer) == person.card_number

    trial.need(is_theirs(await find(old)()), f"the {key} does not find the card")
    answer = await trial.update(person.card_number or "", {key: new})
    if not answer.ok:
        return Changed(person, answer, answer, answer)
    found = await _until(trial, find(new), is_theirs)
    if not is_theirs(found):
        return Changed(person, answer, found, await find(old)())
    gone = await _until(trial, find(old), lambda one: not is_theirs(one))
    return Changed(person, answer, found, gone)


async def _changed(trial: Trial, key: str) -> Changed:
    seen = await trial.once(f"changed {key}", lambda: _change(trial, key))
    for answer in (seen.answer, seen.new, seen.old):
        trial.note(answer)
    trial.need(not seen.answer.refused, f"a change of the {key} is refused")
    return seen


@check("KLO-4-10", writes=True)
async def changed_phone_finds(trial: Trial) -> None:
    """A phone that was changed finds the same card"""
    seen = await _changed(trial, "phone")
    number = seen.holder.card_number
    trial.that(
        seen.takes_effect,
        f"the new phone finds card {number}, since its change was answered {seen.answer.status}",
        seen.new,
    )


async def _leads_nowhere(trial: Trial, key: str) -> Changed:
    seen = await _changed(trial, key)
    trial.need(seen.takes_effect, f"the new {key} does not find the card")
    still = found_number(seen.old) == seen.holder.card_number
    trial.that(not still, f"the old {key} does not lead to the card any more", seen.old)
    return seen


@check("KLO-4-11", writes=True)
async def old_phone_leads_nowhere(trial: Trial) -> None:
    """The phone that a holder had before does not lead to the card"""
    seen = await _leads_nowhere(trial, "phone")
    person = Person(seen.holder.phone, trial.people.email(), (await trial.nobody()).birth_date)
    answer, number = await trial.enrol(person.profile())
    if answer.ok:
        number = number or found_number(await trial.find(person.phone))
        what = "somebody else who has the old phone now gets a card of their own"
        trial.that(number != seen.holder.card_number, what, answer)


@check("KLO-4-12", writes=True)
async def old_email_leads_nowhere(trial: Trial) -> None:
    """The e-mail that a holder had before does not lead to the card"""
    await _leads_nowhere(trial, "email")


@check("KLO-4-13", writes=True)
async def other_fields_stay(trial: Trial) -> None:
    """PUT and PATCH with one field leave the others as they were"""
    taken = 0
    for verb in ("PUT", "PATCH"):
        person, other = await trial.newcomer(), await trial.newcomer()
        keys: dict[str, Ask] = {
            "phone": lambda person=person: trial.find(person.phone),  # type: ignore[misc]
            "email": lambda person=person: trial.find(None, person.email),  # type: ignore[misc]
            "birthDate": lambda person=person, other=other: trial.find(  # type: ignore[misc]
                other.phone, person.email, birthDate=person.birth_date or ""
            ),
        }
        told = {name: found_number(await find()) == person.card_number for name, find in keys.items()}
        answer = await trial.update(person.card_number or "", {"firstname": "Maria"}, verb=verb)
        if not answer.ok:
            continue
        taken += 1
        for name in [name for name, finds in told.items() if finds]:
            after = await keys[name]()
            still = found_number(after) == person.card_number
            trial.that(still, f"`{name}` is as it was after {verb} with `firstname` alone", after)
    trial.need(taken, "neither PUT nor PATCH is accepted")


def _written(phone: str) -> dict[str, str]:
    """Other spellings of a phone."""
    spaced = f"+{phone[:-10]} ({phone[-10:-7]}) {phone[-7:-4]}-{phone[-4:-2]}-{phone[-2:]}"
    return {"a plus": f"+{phone}", "punctuation": spaced, "a blank after it": f"{phone} "}


async def _stays_theirs(trial: Trial, key: str, spellings: dict[str, str], other: Person) -> None:
    """Another's key in these spellings is refused, or changes nothing."""
    person = await trial.newcomer()

    def find(one: Person) -> Ask:
        return (lambda: trial.find(one.phone)) if key == "phone" else (lambda: trial.find(None, one.email))

    trial.need(found_number(await find(person)()) == person.card_number, f"the {key} does not find the card")
    for what, text in spellings.items():
        answer = await trial.update(person.card_number or "", {key: text})
        if answer.refused:
            continue
        for one in (other, person):
            still = found_number(await find(one)()) == one.card_number
            trial.that(still, f"another's {key} with {what} is refused, or changes nothing", answer)


@check("KLO-4-05", writes=True)
async def phone_of_another_written_otherwise(trial: Trial) -> None:
    """A phone that is another's is not taken over in another spelling"""
    other = await trial.newcomer()
    phone = other.phone or ""
    for text in _written(phone).values():
        trial.target.client.redactor.alike(text, phone, "phone")
    await _stays_theirs(trial, "phone", _written(phone), other)


@check("KLO-4-06", writes=True)
async def email_of_another_in_capitals(trial: Trial) -> None:
    """An e-mail that is another's is not taken over in capitals"""
    other = await trial.newcomer()
    await _stays_theirs(trial, "email", {"capitals": (other.email or "").upper()}, other)


@check("KLO-4-15", writes=True)
async def one_phone_for_several(trial: Trial) -> None:
    """A new phone that four holders ask for at once goes to one of them"""
    people = [await trial.newcomer() for _ in range(4)]
    for _ in range(2):
        phone = (await trial.nobody()).phone
        answers = await asyncio.gather(
            *[trial.update(one.card_number or "", {"phone": phone}) for one in people]
        )
        trial.need(any(answer.ok for answer in answers), "a change of the phone is refused")
        well = sum(answer.ok for answer in answers)
        trial.that(well == 1, "one of four calls is answered 200", f"{well} are", answer=answers[-1])


# --- one card to one person --------------------------------------------------------------------------


@check("KLO-6-13", writes=True)
async def one_number_for_several(trial: Trial) -> None:
    """A reserved number that five people ask for at once is issued to one of them"""
    for _ in range(2):
        number, people = await trial.reserved(), [await trial.nobody() for _ in range(5)]
        answers = await asyncio.gather(*[trial.issue_reserved(number, one.profile()) for one in people])
        trial.need(any(answer.ok for answer in answers), "a reserved number cannot be issued")
        well = sum(answer.ok for answer in answers)
        trial.that(well == 1, "one of five calls is answered 200", f"{well} are", answer=answers[-1])
        found = [await trial.find(person.phone) for person in people]
        holders = sum(found_number(answer) == number for answer in found)
        trial.that(holders == 1, f"one person has card {number}", f"{holders} have it", answer=found[-1])


@check("KLO-6-14", writes=True)
async def several_numbers_for_one(trial: Trial) -> None:
    """A person for whom four numbers are asked for at once gets one card"""
    numbers, person = [await trial.reserved() for _ in range(4)], await trial.nobody()
    trial.need(len(set(numbers)) == len(numbers), "one number was reserved twice (KLO-5-04)")
    answers = await asyncio.gather(*[trial.issue_reserved(number, person.profile()) for number in numbers])
    trial.need(any(answer.ok for answer in answers), "a reserved number cannot be issued")
    well = sum(answer.ok for answer in answers)
    trial.that(well == 1, "one of four numbers is issued to one person", f"{well} are", answer=answers[-1])
    found = await trial.find(person.phone)
    issued = [number for number, answer in zip(numbers, answers, strict=True) if answer.ok]
    trial.that(found_number(found) in issued, f"card {issued[0]} is found", found)


@check("KLO-6-15", writes=True)
async def no_card_for_the_blocked(trial: Trial) -> None:
    """The owner of a blocked card is given no other"""
    found = await casting.blocked(trial)
    by_phone = found.looked_up.get("the phone")
    trial.need(by_phone is not None and by_phone.refused, "a look-up by phone is not refused (KLO-1-14)")
    asked = await casting.card_for_blocked(trial)
    what = "the owner of a blocked card who may have no other is given none"
    trial.that(found_number(asked.after) is None, f"{what}: a look-up is refused as before", asked.after)
    shown = asked.issued.ok and asked.issued.text_at("card", "cardState") == "active"
    trial.that(not shown, what, asked.issued)


@check("KLO-11-08", writes=True)
async def phone_written_in_another_way(trial: Trial) -> None:
    """A phone in another spelling is the same person's, who gets no second card"""
    person = await trial.newcomer()
    trial.need(
        found_number(await trial.find(person.phone)) == person.card_number, "the phone does not find it"
    )
    phone = person.phone or ""
    for what, text in _written(phone).items():
        trial.target.client.redactor.alike(text, phone, "phone")
        again = Person(phone, trial.people.email(), person.birth_date)
        answer = await trial.issue(again.profile(phone=text))
        if answer.ok:
            number = found_number(answer) or found_number(await trial.find(None, again.email))
            same = number in (None, person.card_number)
            trial.that(same, f"the same phone with {what} gets the same card", answer)
        found = await trial.find(phone)
        same = found_number(found) == person.card_number
        trial.that(same, f"the phone still finds its card after it was sent with {what}", found)


@check("KLO-11-09", writes=True, since="1.2.0")
async def phone_stays_with_its_owner(trial: Trial) -> None:
    """Who asks for a card with another's e-mail and a phone of their own takes nothing away"""
    owner, other = await trial.newcomer(), await trial.nobody()
    trial.need(found_number(await trial.find(owner.phone)) == owner.card_number, "the phone does not find it")
    answer = await trial.issue(Person(other.phone, owner.email, other.birth_date).profile())
    found = await trial.find(owner.phone)
    still = found_number(found) == owner.card_number
    what = (
        f"the owner's phone still finds card {owner.card_number}, since the call was answered {answer.status}"
    )
    trial.that(still, what, found)


@check("KLO-6-05", writes=True)
async def reserved_number_for_a_phone_written_otherwise(trial: Trial) -> None:
    """A reserved number is not issued to a holder whose phone is written in another way"""
    person = await trial.newcomer()
    trial.need(
        found_number(await trial.find(person.phone)) == person.card_number, "the phone does not find it"
    )
    phone = person.phone or ""
    _, second = await _second_card(trial, person, phone)
    trial.need(not second, "a holder is issued a reserved number as a second card (KLO-6-12)")
    for what, text in _written(phone).items():
        trial.target.client.redactor.alike(text, phone, "phone")
        answer, second = await _second_card(trial, person, text)
        trial.that(not second, f"the same phone with {what} gets no second card", answer)


async def _second_card(trial: Trial, person: Person, phone: str) -> tuple[Answer, bool]:
    """Ask for a reserved number for a holder, the phone written so: the answer, and whether it was issued."""
    number = await trial.reserved()
    again = Person(person.phone, trial.people.email(), person.birth_date)
    answer = await trial.issue_reserved(number, again.profile(phone=phone))
    if not answer.ok or number == person.card_number:
        return answer, False
    shown = await trial.card(number)
    return answer, shown.ok and shown.text_at("card", "cardState") == "active"


# --- letters -----------------------------------------------------------------------------------------


@check("KLO-0-69", writes=True)
async def letters_come_back(trial: Trial) -> None:
    """Cyrillic names come back as they were sent, wherever they are shown"""
    person = await trial.newcomer()
    names = {"firstname": "Ёлкина", "patronymic": "Щукинична", "surname": "Подъёмщикова"}
    answer = await trial.update(person.card_number or "", names)
    trial.need(answer.ok, "a profile in Cyrillic letters is not accepted")
    shown = [
        await trial.card(person.card_number or ""),
        await trial.find(person.phone),
        await trial.call(9, "GET", "/v1/card/getAllUsersExtended"),
    ]
    for one in shown:
        if one.ok and isinstance(verdict := letters_as_written(one), Breach):
            raise verdict
