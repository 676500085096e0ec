"""More mutants of the clean service: whose card it is, where points go, what leaks or comes damaged.

The same defects in another style, SQL in threads, are in ``tables``. See ``mutants``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date
from typing import Any

from tests.suite.implementations.clean import NOTHING, Call, Clean
from tests.suite.implementations.mutants import wrong
from tests.suite.implementations.shop import Card, Person, Purchase, Receipt, Refusal, Shop

# Whose card it is


def _first(shop: Shop, fits: Callable[[Person], bool]) -> Person | None:
    return next((one for one in shop.people if fits(one)), None)


class FindsNearly(Shop):
    """Finds whoever ``nearly`` says has that phone or e-mail."""

    def nearly(self, person: Person, msisdn: str, email: str) -> bool:
        return False

    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        found = super().matches(msisdn, email, birth_date)
        if not found and (near := _first(self, lambda one: self.nearly(one, msisdn or "", email or ""))):
            return [near]
        return found


@wrong("The beginning of a phone finds its owner.", "KLO-1-20")
class PhoneByItsBeginning(FindsNearly):
    def nearly(self, person: Person, msisdn: str, email: str) -> bool:
        return len(msisdn) > 6 and (person.phone or "").startswith(msisdn)


@wrong("The last seven digits of a phone find its owner.", "KLO-1-20")
class PhoneByItsEnd(FindsNearly):
    def nearly(self, person: Person, msisdn: str, email: str) -> bool:
        return len(msisdn) > 6 and (person.phone or "").endswith(msisdn[-7:])


@wrong("A blank for a phone finds the first customer.", "KLO-1-20")
class PhoneOfBlanks(FindsNearly):
    def nearly(self, person: Person, msisdn: str, email: str) -> bool:
        return msisdn.isspace()


@wrong("A part of an e-mail finds its owner.", "KLO-1-21")
class EmailByAPart(FindsNearly):
    def nearly(self, person: Person, msisdn: str, email: str) -> bool:
        return len(email) > 3 and email in (person.email or "")


@wrong("A look-up without any parameter shows the first card there is.", "KLO-1-17")
class TheFirstOne(Clean):
    async def find(self, call: Call) -> Any:
        if not call.query:
            return {"card": self.card_object(next(iter(self.shop.cards.values())))}
        return await super().find(call)


class RemembersKeys(Shop):
    """Goes on to find by keys that were changed."""

    fields: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.earlier: dict[str, Person] = {}

    def apply(self, person: Person, profile: dict[str, str]) -> None:
        for name in self.fields:
            if name in profile and getattr(person, name) not in (None, profile[name]):
                self.earlier[getattr(person, name)] = person
        super().apply(person, profile)


@wrong("The phone that a holder had before still finds the card.", "KLO-4-11")
class OldPhoneFinds(RemembersKeys):
    fields = ("phone",)

    def by_phone(self, phone: str | None) -> Person | None:
        return super().by_phone(phone) or self.earlier.get(phone or "")


@wrong("The e-mail that a holder had before still finds the card.", "KLO-4-12")
class OldEmailFinds(RemembersKeys):
    fields = ("email",)

    def by_email(self, email: str | None) -> Person | None:
        return super().by_email(email) or self.earlier.get(email or "")


@wrong("A change of the phone is answered 200 and comes to nothing.", "KLO-4-10", "KLO-4-15")
class PhoneStays(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        owner = self.held(number).owner
        phone = owner.phone if owner else None
        super().update(number, given)
        if owner is not None:
            owner.phone = phone


@wrong("A blocked card is shown by its owner's e-mail, as an active one.", "KLO-1-14")
class BlockedByEmail(Clean):
    async def find(self, call: Call) -> Any:
        person = self.shop.by_email(call.query.get("email"))
        if person and person.card and person.card.blocked and "msisdn" not in call.query:
            return {"card": self.card_object(person.card) | {"cardState": "active"}}
        return await super().find(call)


@wrong("The owner of a blocked card is given a new one.", "KLO-6-15")
class NewCardForTheBlocked(Shop):
    async def issue(self, given: dict[str, Any]) -> Card:
        person = self.person_of(self.profile(given))
        if person.card is not None and person.card.blocked:
            person.card = None
        return await super().issue(given)


@wrong("`PUT` empties the e-mail where it is absent.", "KLO-4-13")
class PutReplaces(Clean):
    async def update(self, call: Call) -> Any:
        answer = await super().update(call)
        owner = self.shop.held(call.number).owner
        if call.verb == "PUT" and owner is not None and "email" not in call.object():
            owner.email = None
        return answer


class Races(Clean):
    """Looks, waits, and then issues the reserved number: ``forgets`` says what it does not look at again."""

    forgets = ""

    async def issue_reserved(self, call: Call) -> Any:
        profile = self.shop.profile(call.object())
        card, known = self.shop.cards.get(call.number), self.shop.person_of(profile)
        if card is None or card.owner is not None or known.card is not None:
            return await super().issue_reserved(call)
        await asyncio.sleep(0.2)
        if self.forgets == "card" and known.card is None:
            card.owner = None
        person = Person() if self.forgets == "person" else self.shop.person_of(profile)
        if card.owner is not None or person.card is not None:
            raise Refusal("number", "The number, or the customer, has been taken")
        self.shop.apply(person, profile)
        card.owner, card.reserved, person.card = person, False, card
        self.shop.people.insert(0, person)
        return NOTHING


@wrong("Everybody who asks for a reserved number at once gets it.", "KLO-6-13")
class NumberForSeveral(Races):
    forgets = "card"


@wrong("Several reserved numbers for one person at once are all issued.", "KLO-6-14")
class NumbersForOne(Races):
    forgets = "person"


@wrong("Who is known is looked up by the phone as it is written.", "KLO-11-08")
class PhoneAsWritten(Shop):
    async def issue(self, given: dict[str, Any]) -> Card:
        profile, written = self.profile(given), str(given.get("phone"))
        if self.by_phone(written) or self.by_email(profile.get("email")):
            return await super().issue(given)
        person, card = Person(), self.new_card()
        self.apply(person, profile)
        card.owner, person.card = person, card
        self.people.append(person)
        return card


@wrong("The beginning of a card number shows the card.", "KLO-3-13")
class CardByItsBeginning(Shop):
    def card(self, number: str) -> Card:
        near = (
            one
            for one in self.cards.values()
            if one.owner and len(number) > 6 and one.number.startswith(number)
        )
        return next(near, None) or super().card(number)


@wrong("Whether a phone or an e-mail is another's is looked up as it is written.", "KLO-4-05", "KLO-4-06")
class TakenAsWritten(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        card, profile = self.held(number), self.profile(given)
        assert card.owner is not None
        written = {name: value for name, value in profile.items() if value in given.values()}
        self.not_of_others(card.owner, written)
        self.people.sort(key=lambda one: one is not card.owner)
        self.apply(card.owner, profile)


@wrong("A phone that several ask for at once is given to each.", "KLO-4-15")
class OnePhoneForSeveral(Clean):
    async def update(self, call: Call) -> Any:
        card, profile = self.shop.held(call.number), self.shop.profile(call.object())
        assert card.owner is not None
        self.shop.not_of_others(card.owner, profile)
        if "phone" in profile:
            await asyncio.sleep(0.1)
        self.shop.apply(card.owner, profile)
        return NOTHING


@wrong("Who has a card is looked up as the phone is written, for a reserved number.", "KLO-6-05")
class ReservedForAPhoneAsWritten(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        profile, card = self.profile(given), self.cards.get(number)
        if card is None or card.owner is not None or given.get("phone") == profile.get("phone"):
            return super().issue_reserved(number, given)
        person = Person()
        self.apply(person, profile)
        card.owner, card.reserved, person.card = person, False, card
        self.people.append(person)
        return None


@wrong("Who asks for a card with the e-mail of a holder and another phone takes the card over.", "KLO-11-09")
class TakesThePhone(Shop):
    async def issue(self, given: dict[str, Any]) -> Card:
        profile = self.profile(given)
        known = self.by_email(profile.get("email"))
        if known is not None and known.card is not None and self.by_phone(profile.get("phone")) is None:
            known.phone = profile.get("phone", known.phone)
        return await super().issue(given)


@wrong("Purchases of everybody are listed.", "KLO-7-15")
class PurchasesOfEverybody(Shop):
    def bought(self, number: str, start: str | None, end: str | None) -> list[Purchase]:
        own = super().bought(number, start, end)
        first, last = self.day(start or ""), self.day(end) if end else date.max
        others = [
            one for each in self.purchases.values() for one in each if self.within(one.day, first, last)
        ]
        return own or others


# Where points go


@wrong("Points of a receipt go to the card that was issued before.", "KLO-10-39")
class ToAnotherCard(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card, known = self.holder(given), len(self.receipts)
        answer = await super().register(given)
        points = int(answer["points"])
        if len(self.receipts) > known and points:
            card.earn("Receipt", -points)
            self.before(card).earn("Receipt", points)
        return answer

    def before(self, card: Card) -> Card:
        held = [one for one in self.cards.values() if one.owner is not None]
        return held[held.index(card) - 1]


@wrong("A receipt is said to be credited, and never is.", "KLO-10-40")
class NeverCredited(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card = self.holder(given)
        points, movements = card.points, list(card.movements)
        answer = await super().register(given)
        card.points, card.movements = points, movements
        return answer


@wrong("A receipt is accepted without a word, and never credited.", "KLO-10-40")
class NeverCreditedSilently(NeverCredited):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        await super().register(given)
        return {"status": "ok"}


@wrong("The owner of a blocked card is given a reserved number.", "KLO-6-15")
class ReservedNumberForTheBlocked(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        person = self.person_of(self.profile(given))
        if person.card is not None and person.card.blocked:
            person.card = None
        super().issue_reserved(number, given)


class Again(Shop):
    """Credits a new receipt once more, after ``seconds``."""

    seconds = 0.0

    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card, known = self.holder(given), len(self.receipts)
        answer = await super().register(given)
        if len(self.receipts) > known and answer["points"]:
            loop, points = asyncio.get_running_loop(), int(answer["points"])
            loop.call_later(self.seconds, card.earn, "Receipt", points)
        return answer


@wrong("A receipt is credited twice.", "KLO-10-40", "KLO-10-41")
class CreditedTwice(Again):
    pass


@wrong("A receipt is credited once more a second later.", "KLO-10-41", "KLO-10-40")
class CreditedAgainLater(Again):
    seconds = 0.9


@wrong("A return earns as a sale does.", "KLO-10-43")
class ReturnEarns(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        return super().receipt(values | {"n": "1"} if values.get("n") == "2" else values)


@wrong("A receipt that was used is refused to another card, and credited to it.", "KLO-10-42")
class UsedReceiptPays(Shop):
    def again(
        self, card: Card, receipt: Receipt, known: tuple[str, Receipt, dict[str, Any]]
    ) -> dict[str, Any]:
        if known[0] != card.number:
            card.earn("Receipt", int(known[2]["points"]))
        return super().again(card, receipt, known)


@wrong("A balance is shown as it was when the card was first opened.", "KLO-3-11")
class CachedBalance(Clean):
    def __init__(self, version: str = "1.3.0") -> None:
        super().__init__(version)
        self.opened: dict[str, Any] = {}

    def bonus(self, card: Card) -> dict[str, Any]:
        return self.opened.setdefault(card.number, super().bonus(card))  # type: ignore[no-any-return]


@wrong("A promo code sent several times at once is credited each time.", "KLO-12-12")
class CodesInParallel(Clean):
    async def promo_code(self, call: Call) -> Any:
        given = call.object()
        card = self.shop.holder(given) if given.get("cardNumber") else None
        new = card is not None and ("WELCOME-100", card.number) not in self.shop.used_codes
        await asyncio.sleep(0.2)
        if card is not None and new:
            self.shop.used_codes.discard(("WELCOME-100", card.number))
        return await super().promo_code(call)


@wrong("What a promo code gives goes to the card that was issued before.", "KLO-12-13")
class CodeToAnotherCard(ToAnotherCard):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        return await Shop.register(self, given)

    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        answer = super().redeem(code, card)
        card.earn("Promo code", -self.promo_points)
        self.before(card).earn("Promo code", self.promo_points)
        return answer


@wrong("A promo code is said to be credited, and is not.", "KLO-12-14")
class CodeNeverCredited(Shop):
    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        points, movements = card.points, list(card.movements)
        answer = super().redeem(code, card)
        card.points, card.movements = points, movements
        return answer


@wrong("A receipt is known by its time, too.", "KLO-10-14")
class KnownWithItsTime(Shop):
    class Timed(Receipt):
        @property
        def identity(self) -> tuple[str, str, str]:
            fn, i, fp = super().identity
            return f"{fn} {self.moment}", i, fp

    def receipt(self, values: dict[str, str]) -> Receipt:
        return self.Timed(**vars(super().receipt(values)))


@wrong("Of the receipts of one drive only the first counts.", "KLO-10-44")
class OneReceiptOfADrive(Shop):
    class OfADrive(Receipt):
        @property
        def identity(self) -> tuple[str, str, str]:
            return super().identity[0], "", ""

    def receipt(self, values: dict[str, str]) -> Receipt:
        return self.OfADrive(**vars(super().receipt(values)))


@wrong("Of receipts that come at once for one card the last one counts.", "KLO-10-45")
class LastReceiptCounts(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card, receipt = self.holder(given), self.receipt(self.qr_values(given))
        if receipt.identity in self.receipts or receipt.sign != "1":
            return await super().register(given)
        points, movements = card.points, list(card.movements)
        await asyncio.sleep(0.1)
        if receipt.identity in self.receipts:
            return await super().register(given)
        answer = await super().register(given)
        card.points, card.movements = points, movements
        card.earn("Receipt", int(answer["points"]))
        return answer


@wrong("A comma in the total of a receipt is passed over.", "KLO-10-46")
class CommaIsPassedOver(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        return super().receipt(values | {"s": values.get("s", "").replace(",", "")})


@wrong("A receipt that cannot be read is refused, and gives points.", "KLO-10-47")
class RefusedAndCredited(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            return await super().register(given)
        except Refusal as refusal:
            if refusal.code == "qr" and given.get("cardNumber") in self.cards:
                self.held(given["cardNumber"]).earn("Receipt", 50)
            raise


@wrong("The holder of a receipt is looked up by the last digits of the phone.", "KLO-10-48")
class HolderByTheEndOfThePhone(Shop):
    def holder(self, given: dict[str, Any]) -> Card:
        try:
            return super().holder(given)
        except Refusal:
            end = str(given.get("msisdn", ""))[-7:]
            near = _first(self, lambda one: len(end) == 7 and (one.phone or "").endswith(end))
            if near is None or near.card is None:
                raise
            return near.card


@wrong("A receipt that two cards send at once is credited to both.", "KLO-10-42")
class ReceiptOfTwoAtOnce(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card, receipt = self.holder(given), self.receipt(self.qr_values(given))
        new = receipt.identity not in self.receipts
        await asyncio.sleep(0.1)
        known = self.receipts.get(receipt.identity)
        if new and known is not None and known[0] != card.number:
            del self.receipts[receipt.identity]
        return await super().register(given)


@wrong("An expense earns as a sale does.", "KLO-10-43")
class ExpenseEarns(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        return super().receipt(values | {"n": "1"} if values.get("n") == "3" else values)


@wrong("A change of the profile empties the balance.", "KLO-3-12")
class ChangeEmptiesTheBalance(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        super().update(number, given)
        self.held(number).points = 0


@wrong("`points` in a profile are credited.", "KLO-4-14")
class PointsOfAProfile(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        super().update(number, given)
        self.held(number).earn("Correction", int(given.get("points", 0)))


@wrong(
    "A promo code is read without regard to the case of letters, and was used as it was written.", "KLO-12-11"
)
class CodeInAnyCase(Shop):
    def use_code(self, given: dict[str, Any]) -> dict[str, Any]:
        code = self.text(given, "code", "promoCode")
        if code is not None and code.upper() in self.promo_codes:
            return self.redeem(code, self.holder(given))
        return super().use_code(given)


@wrong("A promo code that is refused gives points.", "KLO-12-15")
class RefusedCodePays(Shop):
    def use_code(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            return super().use_code(given)
        except Refusal:
            if given.get("code") not in self.promo_codes and given.get("cardNumber") in self.cards:
                self.held(given["cardNumber"]).earn("Promo code", 10)
            raise


# What leaks, and what comes damaged


@wrong("Names of goods are encoded twice.", "KLO-0-69")
class LettersTwice(Clean):
    def purchase(self, one: Purchase) -> dict[str, Any]:
        return super().purchase(one) | {"item": one.item.encode().decode("cp1252", "replace")}


@wrong("Descriptions of errors have question marks for letters.", "KLO-0-69")
class QuestionMarks(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        text = f"Отказано в операции {refusal.code}"
        return {"code": refusal.code, "description": text.encode("ascii", "replace").decode()}


@wrong("Every fortieth answer takes more than four seconds.", "KLO-0-36")
class SlowNowAndThen(Clean):
    asked = 0

    async def process(self, call: Call) -> Any:
        self.asked += 1
        if self.asked % 40 == 0:
            await asyncio.sleep(4.2)
        return await super().process(call)


@wrong("A warning of the language stands behind the list of offers.", "KLO-0-70", "KLO-0-20")
class WarningBehind(Clean):
    async def offers(self, call: Call) -> Any:
        return tuple(await super().offers(call))

    def encoded(self, value: Any) -> bytes:
        if not isinstance(value, tuple):
            return super().encoded(value)
        warning = (
            b"\n<b>Warning</b>: Undefined array key 3 in <b>/var/www/html/offers.php</b> on line <b>12</b>"
        )
        return super().encoded(list(value)) + warning


@wrong("A card tells the file that it was read from.", "KLO-0-70")
class PathInACard(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        return super().card_object(card) | {"debug": f"read from /srv/shop/cards/{card.number}.json"}


@wrong("`cardNumber` stands twice in a card.", "KLO-0-71")
class KeyTwice(Clean):
    def encoded(self, value: Any) -> bytes:
        text = json.dumps(self.strings(value), ensure_ascii=False)
        return text.replace('{"cardNumber": ', '{"cardNumber": "0", "cardNumber": ').encode()


# No defects: the suite has to leave these alone


@wrong("Nothing: a change of the phone is refused.")
class PhoneIsFixed(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        if (
            "phone" in {key.lower() for key in given}
            and self.profile(given)["phone"] != (self.held(number).owner or Person()).phone
        ):
            raise Refusal("phone", "The phone is changed at the till")
        super().update(number, given)


class LaterAtTheOpening(Shop):
    """Points of receipts are added when a card is opened, and show when it is opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, int] = {}

    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card = self.holder(given)
        before = card.points
        await super().register(given)
        self.waiting[card.number] = self.waiting.get(card.number, 0) + card.points - before
        card.points = before
        return {}

    def card(self, number: str) -> Card:
        card = super().card(number)
        shown = Card(card.number, card.owner, card.blocked, card.reserved, card.points, [])
        card.points += self.waiting.pop(number, 0)
        return shown


@wrong(
    "Nothing: the answers to a receipt and a promo code have no body, and points show at the next opening."
)
class NothingToSay(Clean):
    shop_class = LaterAtTheOpening

    async def receipt(self, call: Call) -> Any:
        await super().receipt(call)
        return NOTHING

    async def promo_code(self, call: Call) -> Any:
        await super().promo_code(call)
        return NOTHING
