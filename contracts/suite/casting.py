"""The people whom the configuration names, looked at before the service is judged by them.

A mistyped phone finds nobody, which is no fault of the service. To tell a wrong phone from a service that
does not find by phones, a made-up person is looked for; if nobody may be made up, the phone is not used, and
the run says so. The same goes for e-mails. It may not know which checks want these people.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.suite.answer import Answer
from contracts.suite.checking import Skip
from contracts.suite.people import Person
from contracts.suite.reading import found_number, reserved_number

if TYPE_CHECKING:
    from contracts.suite.trial import Trial

_KEYS = {"card_number": "card number", "phone": "phone", "email": "e-mail"}


def wrong(trial: Trial, text: str) -> Skip:
    """The exception for a mistake in the configuration; the run notes the mistake as well."""
    trial.target.remarks[text] = None
    return Skip(text)


async def _look_up(trial: Trial, key: str, value: str) -> Answer:
    if key == "phone":
        return await trial.find(value)
    return await (trial.find(None, value) if key == "email" else trial.card(value))


async def _told(trial: Trial, person: Person) -> dict[str, str | None]:
    """For each key of the person the card that it leads to."""
    return {
        key: found_number(await _look_up(trial, key, value))
        for key in _KEYS
        if (value := getattr(person, key)) is not None
    }


async def _works(trial: Trial, key: str) -> bool | None:
    """Whether the service finds a made-up person by this key; ``None``: nobody may be made up."""
    if not trial.full:
        return None
    try:
        made = await trial.once("tried out", trial.newcomer)
    except Skip:
        return None
    return found_number(await _look_up(trial, key, getattr(made, key))) == made.card_number


async def existing(trial: Trial) -> Person:
    """Somebody with an active card: the configured one, else, in the full profile, one made up.

    The card's number comes from method 1 where the configuration does not tell it.
    """
    if trial.options.existing is None:
        trial.need(trial.full, "needs `existing` in the configuration, or --profile full to make somebody up")
        return await trial.newcomer()
    person = trial.people.of(trial.options.existing)
    told = await _told(trial, person)
    cards = Counter(card for card in told.values() if card is not None)
    if not cards:
        return await _in_place_of(trial, told)
    number = cards.most_common(1)[0][0]
    for key in [key for key, card in told.items() if card != number]:
        works = await _works(trial, key)
        if works is False:
            continue  # so that the checks of this key find it out
        found = "leads to another card than its other keys" if told[key] else "leads to no card"
        why = "" if works else ", or the service does not find by it; --profile full tells which"
        wrong(trial, f"`existing` in the configuration: its {_KEYS[key]} {found}: it is wrong{why}.")
        person = Person(**{name: getattr(person, name) for name in _NAMES} | {key: None})
    number = person.card_number or number
    trial.target.client.redactor.hide_card(number)
    return person.with_card(number)


_NAMES = ("phone", "email", "birth_date", "card_number")


async def _in_place_of(trial: Trial, told: dict[str, str | None]) -> Person:
    """Another person in place of a configured one whom the service does not find at all."""
    keys = " and ".join(_KEYS[key] for key in told)
    said = f"`existing` in the configuration: its {keys} {'leads' if len(told) == 1 else 'lead'} to no card"
    options = trial.options
    if not trial.full or "existing" in (options.receipt_holder, options.promo_holder):
        raise wrong(trial, f"{said}: it is not known there, or the service finds nobody.")
    made = await trial.once("tried out", trial.newcomer)
    if any([await _works(trial, key) for key in told]):
        wrong(trial, f"{said}, while people made up are found: it is wrong. Somebody made up took its place.")
    return made


async def unknown(trial: Trial) -> Person:
    """Somebody whom the service does not know: the configured one, or one made up."""
    made = await trial.nobody()
    if trial.options.unknown is None:
        return made
    person = trial.people.of(trial.options.unknown)
    for key, card in (await _told(trial, person)).items():
        if card is not None:
            wrong(
                trial, f"`unknown` in the configuration: its {_KEYS[key]} finds a card, so it is somebody's."
            )
            return made
    return Person(person.phone or made.phone, person.email or made.email, made.birth_date)


@dataclass(frozen=True)
class TwoPeople:
    """Phone of one, e-mail of another, and what each of the two leads to alone."""

    phone: str
    email: str
    born: str | None
    """Birth date of the e-mail's owner."""
    card_of_phone: str
    card_of_email: str

    @property
    def cards(self) -> set[str]:
        return {self.card_of_phone, self.card_of_email}


async def two_people(trial: Trial) -> TwoPeople:
    """``ambiguous`` of the configuration, or two people made up."""
    given = trial.options.ambiguous
    trial.need(
        given is not None or trial.full,
        "needs `ambiguous` in the configuration, or --profile full to make two people up",
    )
    if given is not None:
        both = trial.people.of(given)
        one, other = await trial.find(both.phone), await trial.find(None, both.email)
        cards = found_number(one), found_number(other)
        if cards[0] is not None and cards[1] is not None and cards[0] != cards[1]:
            return TwoPeople(both.phone or "", both.email or "", both.birth_date, cards[0], cards[1])
        if cards[0] is not None and cards[0] == cards[1]:
            odd = wrong(trial, "`ambiguous` in the configuration: phone and e-mail lead to one card.")
        else:
            key = "e-mail" if cards[0] is not None else "phone"
            odd = wrong(trial, f"`ambiguous` in the configuration: its {key} alone leads to no card.")
        if not trial.full:
            raise odd
    return await trial.once("two people", lambda: _two_made_up(trial))


async def _two_made_up(trial: Trial) -> TwoPeople:
    one, other = await trial.newcomer(), await trial.newcomer()
    for found in (await trial.find(one.phone), await trial.find(None, other.email)):
        trial.need(found_number(found), "phone or e-mail alone does not find the card")
    return TwoPeople(
        one.phone or "",
        other.email or "",
        other.birth_date,
        one.card_number or "",
        other.card_number or "",
    )


@dataclass(frozen=True)
class Blocked:
    """What the owner of a blocked card is answered, by each key; and whether they are known there at all."""

    person: Person
    looked_up: dict[str, Answer]

    @property
    def refused(self) -> bool:
        """Whether a look-up says that there is a card that may not be shown."""
        return any(answer.refused for answer in self.looked_up.values())


async def blocked(trial: Trial) -> Blocked:
    """The owner of a blocked card, looked up by each key alone, and by both."""
    given = trial.options.blocked
    if given is None:
        raise Skip("needs `blocked` in the configuration")
    person = trial.people.of(given)
    ways: dict[str, tuple[str | None, str | None]] = {}
    if person.phone:
        ways["the phone"] = person.phone, None
    if person.email:
        ways["the e-mail"] = None, person.email
    if len(ways) == 2:
        ways["phone and e-mail"] = person.phone, person.email

    async def look() -> Blocked:
        return Blocked(person, {way: await trial.find(*keys) for way, keys in ways.items()})

    found = await trial.once("blocked", look)
    for answer in found.looked_up.values():
        trial.note(answer)
    return found


@dataclass(frozen=True)
class CardForBlocked:
    """What came of it when a card was asked for in the name of the owner of a blocked one."""

    issued: Answer
    after: Answer
    """A look-up by phone afterwards."""


async def card_for_blocked(trial: Trial) -> CardForBlocked:
    """Ask for a card for the owner of a blocked one, once in a run; somebody else can get one."""
    found = await blocked(trial)
    phone = found.person.phone
    trial.need(phone, "needs the phone of `blocked`")

    async def ask() -> CardForBlocked:
        await trial.newcomer()
        email = found.person.email or trial.people.email()
        born = found.person.birth_date
        profile = Person(phone, email, born).profile()
        issued, _ = await trial.enrol(profile)
        if not issued.ok and trial.since("1.2.0") and (number := reserved_number(await trial.reserve())):
            issued = await trial.issue_reserved(number, profile)
        return CardForBlocked(issued, await trial.find(phone))

    asked = await trial.once("a card for the blocked", ask)
    trial.note(asked.issued)
    trial.note(asked.after)
    return asked
