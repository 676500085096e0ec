"""A retailer's loyalty programme in memory: people, cards, purchases, receipts, promo codes.

Plain values in, plain values out; ``Refusal`` is a "no". It may not know HTTP, JSON or any framework.
Methods whose defects show only in parallel calls are coroutines, so that a mutant can pause inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import unquote

CHANNELS = {"sms", "email", "call", "push"}
SEXES = {"m": "m", "f": "f", "м": "m", "ж": "f", "male": "m", "female": "f"}
PROFILE = {
    "phone", "email", "firstname", "patronymic", "surname", "birthdate", "sex", "countrycode", "locality",
}  # fmt: skip
QR_KEYS = ("t", "s", "fn", "i", "fp", "n")
QR_ALIASES = {"dt": "t", "sum": "s", "fd": "i", "fpd": "fp"}
MOSCOW = timedelta(hours=3)


class Refusal(Exception):
    """The shop says no; ``code`` is its own."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@dataclass
class Person:
    """A customer; fields named as in a profile, in small letters."""

    phone: str | None = None
    email: str | None = None
    firstname: str = ""
    patronymic: str = ""
    surname: str = ""
    birthdate: str = ""
    sex: str = ""
    countrycode: str = ""
    locality: str = ""
    card: Card | None = None
    consents: dict[str, bool] = field(default_factory=dict)


@dataclass
class Card:
    """A card number and whose it is; nobody's until it is issued."""

    number: str
    owner: Person | None = None
    blocked: bool = False
    reserved: bool = False
    points: int = 0
    movements: list[tuple[str, int]] = field(default_factory=list)

    def earn(self, why: str, points: int) -> None:
        self.points += points
        self.movements.insert(0, (why, points))


@dataclass(frozen=True)
class Purchase:
    """One item of a receipt of the till."""

    day: date
    item: str
    kopecks: int
    quantity: int
    bonuses: int


@dataclass(frozen=True)
class Receipt:
    """What a QR code of a cash receipt says."""

    moment: datetime
    total: Decimal
    fn: str
    i: str
    fp: str
    sign: str

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.fn.lstrip("0"), self.i.lstrip("0"), self.fp.lstrip("0")


def ean13(number: int) -> str:
    """A card number of thirteen digits, the last of them the check digit."""
    digits = f"29{number:010}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


class Shop:
    """The programme. Everything a mutant may get wrong is a method of its own."""

    promo_points = 100

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.cards: dict[str, Card] = {}
        self.purchases: dict[str, list[Purchase]] = {}
        self.receipts: dict[tuple[str, str, str], tuple[str, Receipt, dict[str, Any]]] = {}
        self.promo_codes = {"WELCOME-100"}
        self.used_codes: set[tuple[str, str]] = set()
        self._numbers = count(1)

    # People and their keys

    def phone(self, text: str) -> str:
        digits = re.sub(r"[\s()+.-]", "", text)
        if not re.fullmatch(r"[1-9][0-9]{6,14}", digits):
            raise Refusal("phone", "This is no phone number")
        return digits

    def email(self, text: str) -> str:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", text):
            raise Refusal("email", "This is no e-mail address")
        return text.lower()

    def birth_date(self, text: str) -> str:
        try:
            return datetime.strptime(text, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day, no moment
        except ValueError:
            raise Refusal("birthDate", "This is no date") from None

    def sex(self, text: str) -> str:
        if text.lower() not in SEXES:
            raise Refusal("sex", "Unknown value")
        return SEXES[text.lower()]

    def profile(self, given: dict[str, Any]) -> dict[str, str]:
        """The known fields that are not empty, checked and in one form."""
        readers = {"phone": self.phone, "email": self.email, "birthdate": self.birth_date, "sex": self.sex}
        read: dict[str, str] = {}
        for key, value in given.items():
            name = self.key(key)
            if name not in PROFILE or value in (None, ""):
                continue
            if not isinstance(value, str):
                raise Refusal("type", "A field of the profile is no string")
            read[name] = readers[name](value) if name in readers else value
        return read

    def key(self, name: str) -> str:
        return name.lower()

    def by_phone(self, phone: str | None) -> Person | None:
        return next((one for one in self.people if phone and one.phone == phone), None)

    def by_email(self, email: str | None) -> Person | None:
        return next((one for one in self.people if email and one.email == email), None)

    def held(self, number: str) -> Card:
        """The card of that number if somebody has it."""
        card = self.cards.get(number)
        if card is None or card.owner is None:
            raise self.unknown_card()
        return card

    def unknown_card(self) -> Refusal:
        return Refusal("card", "There is no such card")

    # 1 Find

    def find(self, msisdn: str | None, email: str | None, birth_date: str | None) -> Card | None:
        matches = self.matches(msisdn, email, birth_date)
        if len(matches) > 1:
            born = [one for one in matches if one.birthdate == birth_date]
            matches = born or matches
        if len(matches) > 1:
            raise Refusal("several", "Several people match")
        if not matches or matches[0].card is None:
            return None
        if matches[0].card.blocked:
            return self.found_blocked(matches[0].card)
        return matches[0].card

    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        phone = re.sub(r"[\s()+.-]", "", msisdn or "")
        found = [self.by_phone(phone), self.by_email((email or "").lower())]
        return [one for place, one in enumerate(found) if one is not None and one not in found[:place]]

    def found_blocked(self, card: Card) -> Card | None:
        raise Refusal("blocked", "The card is blocked, and there is no other")

    # 2 Consents

    def set_consents(self, number: str, allow: list[str], deny: list[str]) -> None:
        person = self.held(number).owner
        assert person is not None
        person.consents.update(dict.fromkeys(CHANNELS.intersection(allow), True))
        person.consents.update(dict.fromkeys(CHANNELS.intersection(deny), False))

    # 3 Card

    def card(self, number: str) -> Card:
        card = self.cards.get(number)
        if card is None or card.reserved:
            raise self.unknown_card()
        return card

    # 4 Update

    def update(self, number: str, given: dict[str, Any]) -> None:
        card, profile = self.held(number), self.profile(given)
        assert card.owner is not None
        self.not_of_others(card.owner, profile)
        self.apply(card.owner, profile)

    def not_of_others(self, person: Person, profile: dict[str, str]) -> None:
        others = (self.by_phone(profile.get("phone")), self.by_email(profile.get("email")))
        if any(other is not None and other is not person for other in others):
            raise Refusal("taken", "Phone or e-mail belongs to another customer")

    def apply(self, person: Person, profile: dict[str, str]) -> None:
        for name, value in profile.items():
            setattr(person, name, value)

    # 5, 6, 11 Numbers and cards

    def reserve(self) -> Card:
        return self.new_card(reserved=True)

    def new_card(self, *, reserved: bool = False) -> Card:
        number = ean13(next(self._numbers))
        self.cards[number] = Card(number, reserved=reserved)
        return self.cards[number]

    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        profile = self.profile(given)
        card = self.cards.get(number)
        if card is None:
            raise Refusal("number", "The number was not reserved")
        person = self.person_of(profile)
        if person.card is card:
            return
        if card.owner is not None:
            raise Refusal("number", "The number belongs to somebody else")
        if person.card is not None:
            raise Refusal("second", "This customer has a card")
        self.bind(card, person, profile)

    async def issue(self, given: dict[str, Any]) -> Card:
        profile = self.profile(given)
        person = self.person_of(profile)
        if person.card is not None:
            if person.phone != profile.get("phone", person.phone):
                raise Refusal("taken", "The e-mail belongs to another customer")
            if person.card.blocked:
                raise Refusal("blocked", "The card is blocked, and there is no other")
            return person.card
        card = self.new_card()
        self.bind(card, person, profile)
        return card

    def person_of(self, profile: dict[str, str]) -> Person:
        """The customer with that phone or e-mail, or a new one; not kept until a card is bound."""
        if "phone" not in profile and "email" not in profile:
            raise Refusal("profile", "A phone or an e-mail is needed")
        return self.by_phone(profile.get("phone")) or self.by_email(profile.get("email")) or Person()

    def bind(self, card: Card, person: Person, profile: dict[str, str]) -> None:
        self.not_of_others(person, profile)
        self.apply(person, profile)
        card.owner, card.reserved, person.card = person, False, card
        if person not in self.people:
            self.people.append(person)

    # 7 Purchases

    def bought(self, number: str, start: str | None, end: str | None) -> list[Purchase]:
        self.held(number)
        if not start:
            raise Refusal("startDate", "startDate is needed")
        first, last = self.day(start), self.day(end) if end else date.max
        return [one for one in self.purchases.get(number, []) if self.within(one.day, first, last)]

    def day(self, text: str) -> date:
        return date.fromisoformat(self.birth_date(text))

    def within(self, day: date, first: date, last: date) -> bool:
        return first <= day <= last

    # 10 Receipts

    def holder(self, given: dict[str, Any]) -> Card:
        """The card that a receipt or a promo code is for."""
        if number := self.text(given, "cardNumber"):
            return self.held(number)
        if msisdn := self.text(given, "msisdn"):
            person = self.by_phone(self.phone(msisdn))
            if person is None or person.card is None:
                raise self.unknown_card()
            return person.card
        raise Refusal("holder", "cardNumber or msisdn is needed")

    def text(self, given: dict[str, Any], *names: str) -> str | None:
        wanted = {name.lower() for name in names}
        value = next((value for key, value in given.items() if key.lower() in wanted and value), None)
        if value is not None and not isinstance(value, str):
            raise Refusal("type", "A field is no string")
        return value

    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        """Credit a receipt once; the first answer again for its repetition."""
        receipt = self.receipt(self.qr_values(given))
        card = self.holder(given)
        known = self.receipts.get(receipt.identity)
        if known is not None:
            return self.again(card, receipt, known)
        points = int(receipt.total * 5 / 100) if receipt.sign == "1" else 0
        answer = {"status": "credited", "points": points}
        self.receipts[receipt.identity] = card.number, receipt, answer
        card.earn("Receipt", points)
        return answer

    def again(
        self, card: Card, receipt: Receipt, known: tuple[str, Receipt, dict[str, Any]]
    ) -> dict[str, Any]:
        number, first, answer = known
        if number != card.number:
            raise Refusal("used", "The receipt was used with another card")
        if first.total != receipt.total:
            raise Refusal("differs", "The receipt is known with another total")
        return answer

    def qr_values(self, given: dict[str, Any]) -> dict[str, str]:
        qr = self.text(given, "qrCode", "qr", "code")
        if qr is None:
            apart = {key.lower(): str(value) for key, value in given.items() if key.lower() in QR_KEYS}
            if not apart:
                raise Refusal("qr", "A QR code is needed")
            return apart
        values: dict[str, str] = {}
        for pair in re.split("[&;]", qr.partition("?")[2] or qr):
            name, _, value = pair.strip().partition("=")
            key = QR_ALIASES.get(name.lower(), name.lower())
            if key in values:
                raise Refusal("qr", "A key is repeated")
            if key in QR_KEYS:
                values[key] = unquote(value)
        return values

    def receipt(self, values: dict[str, str]) -> Receipt:
        if any(key not in values for key in ("t", "s", "fn", "i", "fp")):
            raise Refusal("qr", "A key is missing")
        forms = {"t": r"\d{8}T\d{4}(\d\d)?", "s": r"\d{1,12}([.,]\d{1,2})?", "fn": r"\d{1,16}",
                 "i": r"\d{1,10}", "fp": r"\d{1,10}", "n": r"[1-4]"}  # fmt: skip
        values = {"n": "1"} | values
        for key, form in forms.items():
            if not re.fullmatch(form, values[key], re.ASCII):
                raise Refusal("qr", f"{key} is wrong")
        try:
            layout = "%Y%m%dT%H%M%S" if len(values["t"]) == 15 else "%Y%m%dT%H%M"
            moment = datetime.strptime(values["t"], layout)  # noqa: DTZ007 - local, and no zone is given
        except ValueError:
            raise Refusal("qr", "t is no moment") from None
        total = Decimal(values["s"].replace(",", "."))
        if int(values["fp"]) > 4_294_967_295:
            raise Refusal("qr", "fp is too large")
        self.plausible(moment, total)
        return Receipt(moment, total, values["fn"], values["i"], values["fp"], values["n"])

    def plausible(self, moment: datetime, total: Decimal) -> None:
        if moment > datetime.now(UTC).replace(tzinfo=None) + MOSCOW + timedelta(hours=12):
            raise Refusal("qr", "The receipt is of tomorrow")
        if total <= 0:
            raise Refusal("qr", "The total is zero")

    # 12 Promo codes

    def use_code(self, given: dict[str, Any]) -> dict[str, Any]:
        code = self.text(given, "code", "promoCode")
        if code is None:
            raise Refusal("code", "A promo code is needed")
        card = self.holder(given)
        if code not in self.promo_codes:
            raise Refusal("code", "There is no such promo code")
        return self.redeem(code, card)

    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        if (code, card.number) in self.used_codes:
            raise Refusal("code", "The promo code was used")
        self.used_codes.add((code, card.number))
        card.earn("Promo code", self.promo_points)
        return {"status": "accepted", "points": self.promo_points}


def with_people(shop: Shop) -> Shop:
    """The programme with the people that ``OPTIONS`` names, and with plastic cards that are nobody's."""
    for given in ANNA, BORIS, BLOCKED:
        person = Person(**given)
        shop.people.append(person)
        shop.bind(shop.new_card(), person, {})
    anna, _, blocked = (person.card for person in shop.people)
    assert anna is not None
    assert blocked is not None
    blocked.blocked = True
    anna.earn("Birthday", 250)
    today = datetime.now(UTC).date()
    shop.purchases[anna.number] = [
        Purchase(today - timedelta(days=days), f"Молоко {days} л", 12_990 + days, days, 6)
        for days in (2, 3, 10, 40)
    ]
    shop.cards[PLASTIC] = Card(PLASTIC)
    return shop


ANNA: dict[str, Any] = {
    "phone": "79991110001",
    "email": "anna@example.org",
    "birthdate": "1980-02-03",
    "firstname": "Анна",
}
BORIS: dict[str, Any] = {
    "phone": "79991110002",
    "email": "boris@example.org",
    "birthdate": "1985-06-07",
    "firstname": "Борис",
}
BLOCKED: dict[str, Any] = {"phone": "79991110003", "email": "blocked@example.org", "birthdate": "1990-10-11"}
PLASTIC = ean13(9_000_000)
OPTIONS: dict[str, Any] = {
    "existing": {"phone": ANNA["phone"], "email": ANNA["email"], "birth_date": ANNA["birthdate"]},
    "blocked": {"phone": BLOCKED["phone"], "email": BLOCKED["email"]},
    "ambiguous": {"phone": ANNA["phone"], "email": BORIS["email"], "birth_date": BORIS["birthdate"]},
    "plastic": PLASTIC,
    "promo_code": "WELCOME-100",
    "receipt_wait": 2,
}
"""What a run of the suite against one of these services has to be told."""
