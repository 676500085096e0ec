"""Copies of the clean service with one known defect each, and the clauses that are meant to catch it.

A mutant overrides as little as possible. The first clause is the one the defect is about; further ones are
broken by the same defect, necessarily. What is declared here is documented in ``contracts/suite/KILLS.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

from aiohttp import web

from tests.suite.implementations import tables
from tests.suite.implementations.clean import LARGEST_BODY, LOGIN, NOTHING, PASSWORD, Call, Clean, serving
from tests.suite.implementations.defects import DEFECTS
from tests.suite.implementations.shop import PLASTIC, Card, Person, Purchase, Receipt, Refusal, Shop


@dataclass(frozen=True)
class Mutant:
    """One defect. ``clauses`` in the order of importance; none: no breach, and the suite has to see that."""

    name: str
    wrong: str
    clauses: tuple[str, ...]
    serve: Callable[[], AbstractAsyncContextManager[str]]
    style: str
    """How it is made: ``objects`` of the wire, ``rules`` of the shop behind it, ``tables`` in SQL."""
    version: str = "1.3.0"
    options: dict[str, Any] = field(default_factory=dict)
    """Of the run, beside ``shop.OPTIONS``."""


MUTANTS: list[Mutant] = [
    Mutant(f"tables: {name}", what, clauses, partial(tables.serving, name), "tables")
    for name, (what, clauses) in DEFECTS.items()
]
Made = TypeVar("Made", type[Clean], type[Shop])


def _served(service: type[Clean], version: str) -> AbstractAsyncContextManager[str]:
    return serving(service(version))


def wrong(what: str, *clauses: str, version: str = "1.3.0", **options: Any) -> Callable[[Made], Made]:
    """Register a service, or a shop for the clean service, that has this defect."""

    def register(cls: Made) -> Made:
        style = "objects" if issubclass(cls, Clean) else "rules"
        service = cls if issubclass(cls, Clean) else type(cls.__name__, (Clean,), {"shop_class": cls})
        words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in cls.__name__)
        serve = partial(_served, service, version)
        MUTANTS.append(Mutant(words.strip(), what, clauses, serve, style, version, options))
        return cls

    return register


# Types and bodies


@wrong("Points and amounts are JSON numbers.", "KLO-0-34")
class NumbersAsNumbers(Clean):
    def strings(self, value: Any) -> Any:
        return value


@wrong('A card has a field that is `false` instead of `"false"`.', "KLO-0-34")
class BooleanField(Clean):
    def encoded(self, value: Any) -> bytes:
        value = self.strings(value)
        if isinstance(value, dict) and "card" in value:
            value["card"]["virtual"] = False
        return json.dumps(value).encode()


@wrong("A card has a field that is `null`.", "KLO-0-35")
class NullField(Clean):
    def encoded(self, value: Any) -> bytes:
        value = self.strings(value)
        if isinstance(value, dict) and "card" in value:
            value["card"]["expires"] = None
        return json.dumps(value).encode()


@wrong("`{}` where nothing was found.", "KLO-1-05")
class EmptyObjectForNobody(Clean):
    async def find(self, call: Call) -> Any:
        found = await super().find(call)
        return {} if found is NOTHING else found


@wrong("`null` where nothing was found.", "KLO-1-05")
class NullForNobody(Clean):
    async def find(self, call: Call) -> Any:
        found = await super().find(call)
        return None if found is NOTHING else found

    def encoded(self, value: Any) -> bytes:
        return b"null" if value is None else super().encoded(value)


@wrong("The card where an empty body is due: consents.", "KLO-2-02")
class CardAfterConsents(Clean):
    async def set_consents(self, call: Call) -> Any:
        await super().set_consents(call)
        return {"card": self.card_object(self.shop.cards[call.number])}


@wrong("`{}` where an empty body is due: the profile.", "KLO-4-02")
class ObjectAfterProfile(Clean):
    async def update(self, call: Call) -> Any:
        await super().update(call)
        return {}


@wrong("The card where an empty body is due: issuing a reserved number.", "KLO-6-02")
class CardAfterIssue(Clean):
    async def issue_reserved(self, call: Call) -> Any:
        await super().issue_reserved(call)
        return {"card": self.card_object(self.shop.cards[call.number])}


@wrong("Cyrillic in windows-1251.", "KLO-0-16")
class OldEncoding(Clean):
    def encoded(self, value: Any) -> bytes:
        return json.dumps(self.strings(value), ensure_ascii=False).encode("cp1251", "replace")


@wrong("Two JSON texts in one body, of offers.", "KLO-0-20")
class TwoTexts(Clean):
    async def offers(self, call: Call) -> Any:
        return tuple(await super().offers(call))

    def encoded(self, value: Any) -> bytes:
        if isinstance(value, tuple):
            return super().encoded(list(value)) * 2
        return super().encoded(value)


# Headers and statuses


@wrong("No charset in Content-Type of what is found.", "KLO-0-17")
class NoCharset(Clean):
    def answer(self, value: Any) -> web.StreamResponse:
        answer = super().answer(value)
        if value is not NOTHING:
            answer.headers["Content-Type"] = "application/json"
        return answer


@wrong("No JSON Content-Type on an empty body.", "KLO-0-18")
class EmptyBodyIsOctets(Clean):
    def answer(self, value: Any) -> web.StreamResponse:
        answer = super().answer(value)
        if value is NOTHING:
            answer.headers["Content-Type"] = "application/octet-stream"
        return answer


@wrong("404 for what is not found, with the error object.", "KLO-0-23", "KLO-0-24", "KLO-0-25", "KLO-0-26")
class NotFound(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        status = 404 if refusal.code in ("card", "method") else 422
        return self.response(status, self.envelope(refusal))


@wrong("Nobody found is 404.", "KLO-1-04", "KLO-0-23", "KLO-0-24", "KLO-S-03", "KLO-S-04", "KLO-S-05")
class NobodyIsNotFound(Clean):
    async def find(self, call: Call) -> Any:
        found = await super().find(call)
        if found is NOTHING:
            raise Refusal("nobody", "Nobody was found")
        return found

    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        return self.response(404 if refusal.code == "nobody" else 422, self.envelope(refusal))


@wrong("An unknown card is answered 401, whoever asks.", "KLO-0-23", "KLO-0-24")
class UnknownIsUnauthorized(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        return self.unauthorized() if refusal.code == "card" else super().error(refusal, call)


@wrong("Unknown paths get an HTML page and 404.", "KLO-0-25", "KLO-0-26")
class HtmlErrorPage(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        if refusal.code != "method":
            return super().error(refusal, call)
        return web.Response(status=404, text="<html><h1>Not Found</h1></html>", content_type="text/html")


@wrong("500 on a body that is no JSON.", "KLO-0-27", "KLO-0-28")
class CrashOnBadJson(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        return self.response(500 if refusal.code == "json" else 422, self.envelope(refusal))


@wrong("A body that cannot be read is taken for an empty object.", "KLO-0-27", "KLO-0-28")
class BadBodyIsEmpty(Clean):
    def readable(self, call: Call) -> Call:
        try:
            call.object()
        except Refusal as refusal:
            return replace(call, body=b"{}") if refusal.code == "json" else call
        return call

    async def set_consents(self, call: Call) -> Any:
        return await super().set_consents(self.readable(call))

    async def update(self, call: Call) -> Any:
        return await super().update(self.readable(call))

    async def issue_reserved(self, call: Call) -> Any:
        return await super().issue_reserved(self.readable(call))


@wrong("A body of megabytes gets 413 and the HTML page of a proxy.", "KLO-0-68")
class TooLargeForTheProxy(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        if len(call.body) <= LARGEST_BODY:
            return super().error(refusal, call)
        page = "<html><h1>413 Request Entity Too Large</h1></html>"
        return web.Response(status=413, text=page, content_type="text/html")


@wrong("The lists of all users and the offers are left out, and answered 404.", "KLO-9-07")
class LeftOutIsNotFound(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        if "getAllUsers" in path or path.endswith("/offers"):
            raise Refusal("left out", "Not Found")
        return super().method(verb, path)

    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        if refusal.code == "left out":
            return web.Response(status=404, text="404: Not Found")
        return super().error(refusal, call)


@wrong("An unknown card is refused with status 200 and the error object.", "KLO-0-23", "KLO-2-08", "KLO-3-10",
       "KLO-4-08", "KLO-7-14", "KLO-10-10", "KLO-12-10")  # fmt: skip
class ErrorWith200(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        return self.response(200 if refusal.code == "card" else 422, self.envelope(refusal))


@wrong("201 for an issued card.", "KLO-0-22", "KLO-0-24")
class CreatedStatus(Clean):
    async def process(self, call: Call) -> Any:
        value = await super().process(call)
        return (
            ("created", value)
            if call.path.startswith("/v1/card/anonymous") and call.verb == "POST"
            else value
        )

    def answer(self, value: Any) -> web.StreamResponse:
        if isinstance(value, tuple):
            return self.response(201, value[1])
        return super().answer(value)


@wrong("204 where an empty body is due.", "KLO-0-22", "KLO-0-24", "KLO-1-04")
class NoContent(Clean):
    def answer(self, value: Any) -> web.StreamResponse:
        return self.response(204 if value is NOTHING else 200, value)


@wrong("Unknown paths redirect to the shop's home page.", "KLO-0-25", "KLO-0-26")
class Redirects(Clean):
    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        if refusal.code == "method":
            return self.response(302, NOTHING, {"Location": "https://shop.example/"})
        return super().error(refusal, call)


# Errors


@wrong("The error's code is a JSON number.", "KLO-0-30", "KLO-0-34")
class NumericCode(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"code": 17, "description": str(refusal)}

    def encoded(self, value: Any) -> bytes:
        strings = self.strings(value)
        if isinstance(value, dict) and value.get("code") == 17:
            strings["code"] = 17
        return json.dumps(strings).encode()


@wrong("Errors have no description.", "KLO-0-29", "KLO-0-13")
class NoDescription(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"code": refusal.code}


@wrong("The description is empty.", "KLO-0-31")
class EmptyDescription(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"code": refusal.code, "description": ""}


@wrong("The error object is wrapped in `error`.", "KLO-0-29", "KLO-0-13", "KLO-0-25", "KLO-0-26")
class WrappedError(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"error": super().envelope(refusal)}


@wrong("Errors show a stack trace.", "KLO-0-33")
class StackTrace(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        trace = 'Traceback (most recent call last):\n  File "/srv/app/shop.py", line 12'
        return {"code": refusal.code, "description": trace}


@wrong("Errors show the SQL statement.", "KLO-0-33")
class SqlInError(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"code": refusal.code, "description": "SQLSTATE[42S02]: SELECT * FROM cards WHERE number = 1"}


@wrong("Whoever is not let in is shown the credentials of the request.", "KLO-0-33")
class SecretEchoed(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "")
        if self.is_let_in(sent):
            return await super().handle(request)
        answer = self.unauthorized()
        answer.body = self.encoded(self.envelope(Refusal("auth", f"refused: {sent}")))
        return answer


# Who is let in


@wrong("Everybody is let in.", "KLO-0-08", "KLO-0-09", "KLO-0-10", "KLO-0-14")
class Unlocked(Clean):
    def is_let_in(self, header: str) -> bool:
        return True


@wrong("Any password is right.", "KLO-0-09")
class AnyPassword(Clean):
    def is_right(self, pair: bytes) -> bool:
        return pair.startswith(f"{LOGIN}:".encode())


@wrong("The password is compared without regard to case.", "KLO-0-09")
class CaselessPassword(Clean):
    def is_right(self, pair: bytes) -> bool:
        return pair.decode(errors="replace").lower() == f"{LOGIN}:{PASSWORD}".lower()


@wrong("What cannot be read as Basic is let in.", "KLO-0-10", "KLO-0-08")
class FailsOpen(Clean):
    def is_let_in(self, header: str) -> bool:
        return not header.lower().startswith("basic ") or super().is_let_in(header)


@wrong("Methods that change something are open to everybody.", "KLO-0-08", "KLO-0-14")
class OpenWrites(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            self.is_let_in = lambda header: True  # type: ignore[method-assign]
        answer = await super().handle(request)
        self.__dict__.pop("is_let_in", None)
        return answer


@wrong("Receipts and promo codes are open to everybody.", "KLO-0-08")
class OpenPromo(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/v1/promo/"):
            self.is_let_in = lambda header: True  # type: ignore[method-assign]
        answer = await super().handle(request)
        self.__dict__.pop("is_let_in", None)
        return answer


@wrong("A request is carried out before the password is looked at.", "KLO-0-14")
class ChecksTooLate(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not self.is_let_in(request.headers.get("Authorization", "")):
            path, _, _ = request.raw_path.partition("?")
            with contextlib.suppress(Refusal):
                await self.process(Call(request.method, path, {}, await request.read()))
            return self.unauthorized()
        return await super().handle(request)


@wrong("403 for bad credentials.", "KLO-0-11")
class Forbidden(Clean):
    def unauthorized(self) -> web.Response:
        return self.response(403, self.envelope(Refusal("auth", "Login or password is wrong")))


@wrong("401 without a challenge.", "KLO-0-12")
class NoChallenge(Clean):
    def unauthorized(self) -> web.Response:
        return self.response(401, self.envelope(Refusal("auth", "Login or password is wrong")))


@wrong("401 as plain text.", "KLO-0-13")
class PlainTextUnauthorized(Clean):
    def unauthorized(self) -> web.Response:
        return web.Response(
            status=401, text="Unauthorized", headers={"WWW-Authenticate": 'Basic realm="shop"'}
        )


# Paths and versions


@wrong("`anonymous` is read as a card number.", "KLO-0-40")
class AnonymousIsANumber(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        if (verb, path) == ("GET", "/v1/card/anonymous"):
            return "card", "anonymous"
        return super().method(verb, path)


@wrong("`getAllUsers` is read as a card number.", "KLO-0-41")
class GetAllUsersIsANumber(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        if path == "/v1/card/getAllUsers":
            return "card", "getAllUsers"
        return super().method(verb, path)


@wrong("`getAllUsersExtended` is read as a card number, and all errors have one code.", "KLO-0-42")
class ExtendedIsANumber(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        if path == "/v1/card/getAllUsersExtended":
            return "card", "getAllUsersExtended"
        return super().method(verb, path)

    def envelope(self, refusal: Refusal) -> Any:
        return {"code": "1", "description": str(refusal)}


@wrong("`anonymous` is a card number also where a card is issued.", "KLO-0-40", "KLO-11-01", "KLO-0-58",
       "KLO-S-04")  # fmt: skip
class NobodyGetsACard(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        if path == "/v1/card/anonymous":
            return ("card" if verb == "GET" else "update"), "anonymous"
        return super().method(verb, path)


@wrong("An unknown path is answered 200 with an empty body.", "KLO-0-25", "KLO-0-26")
class AnythingGoes(Clean):
    async def process(self, call: Call) -> Any:
        try:
            return await super().process(call)
        except Refusal as refusal:
            if refusal.code == "method":
                return NOTHING
            raise


@wrong("Agreed on 1.0.0, it serves the methods of 1.3.0.", "KLO-0-06", version="1.0.0")
class NewerThanAgreed(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        self.version = "1.3.0"
        return super().method(verb, path)


@wrong("Agreed on 1.3.0, it serves 1.2.0.", "KLO-12-01", "KLO-12-02", "KLO-12-04", "KLO-12-05", "KLO-S-08")
class OlderThanAgreed(Clean):
    def __init__(self, version: str = "1.3.0") -> None:
        super().__init__("1.2.0")


# Find


@wrong("Parameters of the search combine by AND.", "KLO-1-09", "KLO-1-10", "KLO-1-11", "KLO-1-13", "KLO-1-15")
class SearchByAnd(Shop):
    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        found = super().matches(msisdn, email, birth_date)
        return [
            one
            for one in found
            if (not msisdn or one is self.by_phone(self.phone(msisdn)))
            and (not email or one.email == email.lower())
            and (not birth_date or one.birthdate == birth_date)
        ]


@wrong("A birth date alone finds a stranger.", "KLO-1-16")
class BirthDateFinds(Shop):
    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        found = super().matches(msisdn, email, birth_date)
        return found or [one for one in self.people if birth_date and one.birthdate == birth_date][:1]


@wrong("A blocked card is shown.", "KLO-1-14")
class BlockedIsShown(Shop):
    def found_blocked(self, card: Card) -> Card | None:
        return card


@wrong("A blocked card is nobody's: a second one could be issued.", "KLO-1-14")
class BlockedIsNobody(Shop):
    def found_blocked(self, card: Card) -> Card | None:
        return None


@wrong("The search takes an unknown parameter for an error.", "KLO-1-12")
class StrictParameters(Clean):
    async def find(self, call: Call) -> Any:
        if not call.query.keys() <= {"msisdn", "email", "birthDate"}:
            raise Refusal("parameter", "Unknown parameter")
        return await super().find(call)


@wrong("A plus in front of the phone is not understood in the search.", "KLO-1-18")
class PlusIsNotUnderstood(Shop):
    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        return super().matches(msisdn if msisdn and msisdn.isdigit() else None, email, birth_date)


@wrong("E-mails are compared with regard to case.", "KLO-1-19")
class EmailCase(Shop):
    def matches(self, msisdn: str | None, email: str | None, birth_date: str | None) -> list[Person]:
        return super().matches(msisdn, email if email and email.islower() else None, birth_date)


@wrong("Two matches are answered as a list.", "KLO-1-13", "KLO-0-39")
class ListOfCards(Clean):
    async def find(self, call: Call) -> Any:
        people = self.shop.matches(call.query.get("msisdn"), call.query.get("email"), None)
        if len(people) > 1 and not call.query.get("birthDate"):
            return {"card": [self.card_object(one.card) for one in people if one.card]}
        return await super().find(call)


@wrong("What is found lacks the object around the card.", "KLO-1-03")
class BareCard(Clean):
    async def find(self, call: Call) -> Any:
        found = await super().find(call)
        return found if found is NOTHING else found["card"]


# The card object


@wrong("`cardState` is `blocked`, which is none.", "KLO-0-44")
class OwnCardState(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        return super().card_object(card) | {"cardState": "issued" if card.owner else "free"}


@wrong("`barcodeType` is `EAN13`.", "KLO-0-46")
class OwnBarcodeType(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        return super().card_object(card) | {"barcode": {"barcodeNumber": card.number, "barcodeType": "EAN13"}}


@wrong("The barcode of thirteen digits is said to be EAN_8.", "KLO-0-48")
class BarcodeThatCannotBeDrawn(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        return super().card_object(card) | {"barcode": {"barcodeNumber": card.number, "barcodeType": "EAN_8"}}


@wrong("Cards have no barcode.", "KLO-0-45", "KLO-0-46")
class NoBarcode(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        shown = super().card_object(card)
        del shown["barcode"]
        return shown


@wrong("Method 3 tells another barcode than method 1.", "KLO-0-49")
class TwoBarcodes(Clean):
    async def card(self, call: Call) -> Any:
        shown = await super().card(call)
        shown["card"]["barcode"] = {"barcodeNumber": "K" + call.number, "barcodeType": "CODE_128"}
        return shown


@wrong("The balance is a text for people.", "KLO-3-03", "KLO-3-04")
class BalanceInWords(Clean):
    def bonus(self, card: Card) -> dict[str, Any]:
        words = f"{card.points} баллов"
        return super().bonus(card) | {"total": words, "available": words}


@wrong("Movements of zero points are shown.", "KLO-3-08")
class ZeroMovements(Clean):
    def bonus(self, card: Card) -> dict[str, Any]:
        bonus = super().bonus(card)
        bonus["bonuses"].append({"description": "Return", "amount": 0, "validUntil": ""})
        return bonus


@wrong("An unknown card is shown as an empty one.", "KLO-3-10")
class EveryNumberIsACard(Shop):
    def card(self, number: str) -> Card:
        if number.isdigit() and number not in self.cards and len(number) == 18:
            return Card(PLASTIC)
        return super().card(number)


# Profile


@wrong("Unknown fields of a profile are refused.", "KLO-0-55")
class StrictProfile(Shop):
    def profile(self, given: dict[str, Any]) -> dict[str, str]:
        if "favouriteColour" in given:
            raise Refusal("field", "Unknown field")
        return super().profile(given)


@wrong("Empty fields overwrite the profile.", "KLO-0-57")
class EmptyOverwrites(Shop):
    def profile(self, given: dict[str, Any]) -> dict[str, str]:
        empty = {key.lower(): "" for key, value in given.items() if value == "" and key.lower() == "email"}
        return super().profile(given) | empty


@wrong("Absent fields are deleted from the profile.", "KLO-0-56", "KLO-0-57", "KLO-4-13")
class AbsentIsDeleted(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        super().update(number, given)
        owner = self.held(number).owner
        if owner is not None and "email" not in self.profile(given):
            owner.email = None


@wrong("Keys of a profile count with their case.", "KLO-0-54")
class CaseOfKeys(Shop):
    def key(self, name: str) -> str:
        return name.lower() if name in ("birthDate", "countryCode", "firstName") else name


@wrong("`birthdate` of a profile is ignored.", "KLO-0-53")
class OneBirthDateSpelling(Shop):
    def key(self, name: str) -> str:
        return "" if name == "birthdate" else super().key(name)


@wrong("A phone with punctuation is refused.", "KLO-0-60")
class NoPunctuation(Shop):
    def phone(self, text: str) -> str:
        if "(" in text:
            raise Refusal("phone", "This is no phone number")
        return super().phone(text)


@wrong(
    "A phone with a plus is kept as it is and never found.",
    "KLO-0-59",
    "KLO-0-60",
    "KLO-9-02",
    "KLO-9-04",
    "KLO-11-08",
    "KLO-4-05",
    "KLO-6-05",
)
class PlusIsKept(Shop):
    def phone(self, text: str) -> str:
        return text if text.startswith("+") else super().phone(text)


@wrong("Cyrillic `sex` is refused.", "KLO-0-66")
class LatinSex(Shop):
    def sex(self, text: str) -> str:
        if not text.isascii():
            raise Refusal("sex", "Unknown value")
        return super().sex(text)


@wrong("The 30th of February is a birthday.", "KLO-0-62")
class AnyBirthDate(Shop):
    def profile(self, given: dict[str, Any]) -> dict[str, str]:
        return super().profile({key: value for key, value in given.items() if key != "birthDate"})


@wrong("Another customer's phone is taken over.", "KLO-4-05", "KLO-4-06", "KLO-4-15")
class TakesOver(Shop):
    def not_of_others(self, person: Person, profile: dict[str, str]) -> None:
        pass


@wrong("A changed e-mail does not reach the search.", "KLO-4-07")
class StaleSearch(Shop):
    def update(self, number: str, given: dict[str, Any]) -> None:
        person = self.held(number).owner
        email = person.email if person else None
        super().update(number, given)
        if person:
            person.email = email


@wrong("Cyrillic in a change of the profile is refused.", "KLO-0-15", "KLO-0-66")
class NoCyrillic(Shop):
    def profile(self, given: dict[str, Any]) -> dict[str, str]:
        for value in given.values():
            if isinstance(value, str) and not value.isascii() and len(given) < 5:
                raise Refusal("encoding", "This cannot be read")
        return super().profile(given)


# Consents


@wrong("An unknown channel is refused.", "KLO-2-05")
class StrictChannels(Shop):
    def set_consents(self, number: str, allow: list[str], deny: list[str]) -> None:
        if not {*allow, *deny} <= {"sms", "email", "call", "push"}:
            raise Refusal("channel", "Unknown channel")
        super().set_consents(number, allow, deny)


@wrong("Both lists are needed.", "KLO-2-07")
class BothLists(Clean):
    async def set_consents(self, call: Call) -> Any:
        if not {"allow", "deny"} <= call.object().keys():
            raise Refusal("consents", "allow and deny are needed")
        return await super().set_consents(call)


@wrong("Consents of an unknown card are accepted.", "KLO-2-08")
class ConsentsOfNobody(Shop):
    def set_consents(self, number: str, allow: list[str], deny: list[str]) -> None:
        if number in self.cards:
            super().set_consents(number, allow, deny)


# Numbers and cards


@wrong("Every reservation is of the same number.", "KLO-5-04")
class SameNumber(Shop):
    def reserve(self) -> Card:
        free = next((card for card in self.cards.values() if card.reserved), None)
        return free or super().reserve()


@wrong("A number that was never reserved is issued.", "KLO-6-07")
class IssuesAnyNumber(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        self.cards.setdefault(number, Card(number, reserved=True))
        super().issue_reserved(number, given)


@wrong("A number in use is given to somebody else.", "KLO-6-08", "KLO-6-13")
class TakesNumbersAway(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        card = self.cards.get(number)
        if (
            card is not None
            and card.owner is not None
            and card.owner is not self.person_of(self.profile(given))
        ):
            card.owner.card = None
            card.owner = None
        super().issue_reserved(number, given)


@wrong("A customer gets a second card.", "KLO-6-12", "KLO-6-14", "KLO-6-15")
class SecondCard(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        person = self.person_of(self.profile(given))
        if person.card is not None and person.card.number != number:
            person.card = None
        super().issue_reserved(number, given)


@wrong("Who is known by phone or e-mail alone is registered again.", "KLO-6-05", "KLO-6-06")
class RegistersAgain(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        profile, card = self.profile(given), self.cards.get(number)
        known = self.by_phone(profile.get("phone")), self.by_email(profile.get("email"))
        if card is None or card.owner is not None or known[0] is known[1]:
            return super().issue_reserved(number, given)
        person = Person(card=card)
        self.apply(person, profile)
        self.people.append(person)
        card.owner, card.reserved = person, False
        return None


@wrong("A plastic card is not shown until it has an owner.", "KLO-S-05")
class PlasticIsNotShown(Shop):
    def card(self, number: str) -> Card:
        return self.held(number)


@wrong("Repeating the issue of a reserved number is an error.", "KLO-6-11")
class IssueIsNotRepeatable(Shop):
    def issue_reserved(self, number: str, given: dict[str, Any]) -> None:
        if number in self.cards and self.cards[number].owner is not None:
            raise Refusal("number", "The number is in use")
        super().issue_reserved(number, given)


@wrong(
    "The same person gets a new card at each call.",
    "KLO-11-06",
    "KLO-11-07",
    "KLO-11-08",
    "KLO-6-15",
    "KLO-11-09",
)
class NewCardEachTime(Shop):
    async def issue(self, given: dict[str, Any]) -> Card:
        person = self.person_of(self.profile(given))
        person.card = None
        return await super().issue(given)


@wrong("Parallel calls for one person issue several cards.", "KLO-11-07")
class CardsInParallel(Shop):
    async def issue(self, given: dict[str, Any]) -> Card:
        profile = self.profile(given)
        if self.person_of(profile).card is not None:
            return await super().issue(given)
        await asyncio.sleep(0.02)
        person, card = Person(), self.new_card()
        self.apply(person, profile)
        card.owner, person.card = person, card
        self.people.append(person)
        return card


# Purchases


@wrong("Purchases are wrapped in an object.", "KLO-7-02", "KLO-7-03")
class WrappedPurchases(Clean):
    async def purchases(self, call: Call) -> Any:
        return {"purchases": await super().purchases(call)}


@wrong("No purchases are an empty body.", "KLO-7-03")
class NoPurchasesNoBody(Clean):
    async def purchases(self, call: Call) -> Any:
        return await super().purchases(call) or NOTHING


@wrong("The day `endDate` is left out.", "KLO-7-07")
class EndDateIsExclusive(Shop):
    def within(self, day: date, first: date, last: date) -> bool:
        return first <= day < last


@wrong("Dates are ignored.", "KLO-7-08")
class DatesAreIgnored(Shop):
    def within(self, day: date, first: date, last: date) -> bool:
        return True


@wrong("`startDate` may be missing.", "KLO-7-04")
class AllPurchases(Shop):
    def bought(self, number: str, start: str | None, end: str | None) -> list[Purchase]:
        return super().bought(number, start or "2020-01-01", end)


@wrong("`endDate` is needed.", "KLO-7-05", "KLO-S-06")
class EndDateIsNeeded(Shop):
    def bought(self, number: str, start: str | None, end: str | None) -> list[Purchase]:
        if not end:
            raise Refusal("endDate", "endDate is needed")
        return super().bought(number, start, end)


@wrong("Amounts of purchases are roubles with a point.", "KLO-7-11")
class Roubles(Clean):
    def purchase(self, one: Purchase) -> dict[str, Any]:
        return super().purchase(one) | {"amount": f"{one.kopecks / 100:.2f}"}


@wrong("Dates of purchases are DD.MM.YYYY.", "KLO-7-09")
class LocalDates(Clean):
    def purchase(self, one: Purchase) -> dict[str, Any]:
        return super().purchase(one) | {"date": f"{one.day:%d.%m.%Y}"}


@wrong("Purchases without a date have the date 0000-00-00.", "KLO-7-09")
class NoDate(Clean):
    def purchase(self, one: Purchase) -> dict[str, Any]:
        shown = super().purchase(one)
        return shown | {"date": "0000-00-00"} if one.quantity == 40 else shown


# Offers and all users


@wrong("Offers are wrapped in an object.", "KLO-8-02")
class WrappedOffers(Clean):
    async def offers(self, call: Call) -> Any:
        return {"offers": await super().offers(call)}


@wrong("getAllUsers is an array of objects.", "KLO-9-01")
class UsersAsObjects(Clean):
    async def all_users(self, call: Call) -> Any:
        return [{"phone": person.phone} for person in self.shop.people]

    async def all_users_extended(self, call: Call) -> Any:
        return [one | {"params": []} for one in await self.all_users(call)]


@wrong("Phones of getAllUsers have a plus.", "KLO-9-02")
class UsersWithPlus(Clean):
    async def all_users(self, call: Call) -> Any:
        return [f"+{phone}" for phone in await super().all_users(call)]

    async def all_users_extended(self, call: Call) -> Any:
        return [{"phone": phone, "params": []} for phone in await super().all_users(call)]


@wrong("`params` of getAllUsersExtended is an object.", "KLO-9-05")
class ParamsAsObject(Clean):
    async def all_users_extended(self, call: Call) -> Any:
        return [{"phone": phone, "params": {"segment": "all"}} for phone in await self.all_users(call)]


# Receipts


class Careless(Shop):
    """Credits again whatever is known already, if ``knows`` says so."""

    def knows(self, receipt: Receipt) -> bool:
        return receipt.identity in self.receipts

    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        receipt = self.receipt(self.qr_values(given))
        if not self.knows(receipt):
            self.receipts.pop(receipt.identity, None)
        return await super().register(given)


@wrong("The same receipt again is credited again.", "KLO-10-12", "KLO-10-13", "KLO-10-14", "KLO-10-15",
       "KLO-10-16", "KLO-10-24", "KLO-10-42")  # fmt: skip
class DoubleCredit(Careless):
    def knows(self, receipt: Receipt) -> bool:
        return False


class Later(Shop):
    """Points of a receipt come later than the answer, each after the next of these delays."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.delays = cycle(seconds)

    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card = self.holder(given)
        before = card.points
        answer = await super().register(given)
        points, card.points = card.points - before, before
        if points:
            asyncio.get_running_loop().call_later(next(self.delays), self.credit, card, points)
        return {"status": "accepted"} if answer else {}

    def credit(self, card: Card, points: int) -> None:
        card.points += points


@wrong("The same receipt again is credited again, both times a little later.", "KLO-10-12", "KLO-10-13",
       "KLO-10-14", "KLO-10-15", "KLO-10-16", "KLO-10-24", "KLO-10-42",
       receipt_wait=10)  # fmt: skip
class DoubleCreditLater(DoubleCredit, Later):
    def __init__(self) -> None:
        super().__init__(0.6)


@wrong("The same receipt sent at the same time is credited each time.", "KLO-10-13", "KLO-10-42")
class DoubleCreditInParallel(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        receipt = self.receipt(self.qr_values(given))
        is_new = receipt.identity not in self.receipts
        await asyncio.sleep(0.02)
        if is_new:
            self.receipts.pop(receipt.identity, None)
        return await super().register(given)


@wrong("A receipt in another spelling is another receipt.", "KLO-10-14")
class KnownByItsText(Careless):
    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = set()

    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        text = self.text(given, "qrCode", "qr", "code") or ""
        receipt = self.receipt(self.qr_values(given))
        known = self.receipts.get(receipt.identity)
        if known is not None and known[1] == receipt and text not in self.texts:
            self.receipts.pop(receipt.identity)
        self.texts.add(text)
        return await Shop.register(self, given)


@wrong("The same receipt again is refused.", "KLO-10-11")
class ReceiptIsNotRepeatable(Shop):
    def again(
        self, card: Card, receipt: Receipt, known: tuple[str, Receipt, dict[str, Any]]
    ) -> dict[str, Any]:
        raise Refusal("used", "The receipt was used")


@wrong("The receipt of another card is accepted.", "KLO-10-15")
class ReceiptOfAnother(Shop):
    def again(
        self, card: Card, receipt: Receipt, known: tuple[str, Receipt, dict[str, Any]]
    ) -> dict[str, Any]:
        return super().again(card, receipt, (card.number, known[1], known[2]))


@wrong("A known receipt with another total is accepted.", "KLO-10-16")
class TotalMayChange(Shop):
    def again(
        self, card: Card, receipt: Receipt, known: tuple[str, Receipt, dict[str, Any]]
    ) -> dict[str, Any]:
        return super().again(card, replace(receipt, total=known[1].total), known)


@wrong("`i` and `fp` are compared as texts.", "KLO-10-24")
class DocumentNumberIsText(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        receipt = super().receipt(values)
        return replace(receipt, i=f"#{receipt.i}", fp=f"#{receipt.fp}")


@wrong("A receipt of the day after tomorrow is accepted.", "KLO-10-33")
class ReceiptOfTheFuture(Shop):
    def plausible(self, moment: datetime, total: Decimal) -> None:
        super().plausible(min(moment, datetime(2020, 1, 1)), total)  # noqa: DTZ001 - local, as receipts are


@wrong("A total of zero is accepted.", "KLO-10-34")
class TotalOfZero(Shop):
    def plausible(self, moment: datetime, total: Decimal) -> None:
        super().plausible(moment, total or Decimal(1))


@wrong("`n=5` is accepted.", "KLO-10-38")
class FifthSign(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        return super().receipt(values | {"n": "1"} if values.get("n") == "5" else values)


@wrong("A time without seconds is refused.", "KLO-10-17", "KLO-10-01", "KLO-10-02", "KLO-10-05", "KLO-10-06",
       "KLO-10-19", "KLO-S-07")  # fmt: skip
class SecondsAreNeeded(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        if len(values.get("t", "")) == 13:
            raise Refusal("qr", "t is wrong")
        return super().receipt(values)


@wrong("A `fn` of fewer than 16 digits is refused.", "KLO-10-22")
class LongFn(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        if len(values.get("fn", "")) < 16:
            raise Refusal("qr", "fn is wrong")
        return super().receipt(values)


@wrong("A repeated key of a QR code: the last one counts.", "KLO-10-31")
class LastKeyCounts(Shop):
    def qr_values(self, given: dict[str, Any]) -> dict[str, str]:
        text = self.text(given, "qrCode")
        if text is None or "&" not in text:
            return super().qr_values(given)
        last = dict(pair.partition("=")[::2] for pair in (text.partition("?")[2] or text).split("&"))
        return super().qr_values(
            given | {"qrCode": "&".join(f"{key}={value}" for key, value in last.items())}
        )


@wrong("A receipt without a holder is accepted.", "KLO-10-09")
class ReceiptOfNobody(Clean):
    async def receipt(self, call: Call) -> Any:
        try:
            return await super().receipt(call)
        except Refusal as refusal:
            if refusal.code == "holder":
                return {"status": "accepted"}
            raise


@wrong("The answer to a receipt is an array.", "KLO-10-07")
class ReceiptsAsArray(Clean):
    async def receipt(self, call: Call) -> Any:
        return [await super().receipt(call)]


# Promo codes


@wrong("A used promo code gives its points again.", "KLO-12-11", "KLO-12-12")
class CodeAgain(Shop):
    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        self.used_codes.discard((code, card.number))
        return super().redeem(code, card)


@wrong("An unknown promo code is answered 200.", "KLO-12-07")
class AnyCode(Clean):
    async def promo_code(self, call: Call) -> Any:
        try:
            return await super().promo_code(call)
        except Refusal as refusal:
            if "no such promo" in str(refusal):
                return {"status": "refused"}
            raise


@wrong("A promo code is taken without a holder.", "KLO-12-09")
class CodeOfNobody(Clean):
    async def promo_code(self, call: Call) -> Any:
        try:
            return await super().promo_code(call)
        except Refusal as refusal:
            if refusal.code == "holder":
                return {"status": "accepted"}
            raise


# Transport


@wrong("The connection is closed in the middle of the offers.", "KLO-8-02")
class BreaksOff(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = await super().handle(request)
        if not request.path.endswith("/offers") or answer.status != 200:
            return answer
        cut = web.StreamResponse(headers=answer.headers)
        cut.content_length = 100
        await cut.prepare(request)
        await cut.write(b"[{")
        assert request.transport is not None
        request.transport.close()
        return cut


@wrong("Offers take five seconds.", "KLO-0-36")
class Slow(Clean):
    async def offers(self, call: Call) -> Any:
        await asyncio.sleep(5)
        return await super().offers(call)


# No defects: the suite has to leave these alone


@wrong("Nothing: every connection is closed after its answer.")
class ClosesConnections(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = await super().handle(request)
        answer.force_close()
        return answer


@wrong("Nothing: a card has more fields than documented.")
class MoreFields(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        return super().card_object(card) | {"level": "gold", "partners": [{"name": "Аптека"}]}


@wrong("Nothing: all errors have one code.")
class OneCode(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"code": "1", "description": str(refusal)}


@wrong("Nothing: all errors have one code and one description.")
class OneError(Clean):
    def envelope(self, refusal: Refusal) -> Any:
        return {"code": "1", "description": "Ошибка"}


@wrong("Nothing: a used promo code is answered 200 and gives nothing.")
class CodeIsRepeatable(Shop):
    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        if (code, card.number) in self.used_codes:
            return {"status": "used", "points": 0}
        return super().redeem(code, card)


@wrong("Nothing: points of a receipt come half a second later, or two.", receipt_wait=10)
class PointsComeLater(Later):
    def __init__(self) -> None:
        super().__init__(0.5, 2)


@wrong(
    "Nothing: receipts and the promo code are for known people alone, and points of a receipt come later.",
    receipt_holder="existing", promo_holder="existing",
)  # fmt: skip
class ForKnownPeople(Later):
    def __init__(self) -> None:
        super().__init__(0.05, 0.15)

    def holder(self, given: dict[str, Any]) -> Card:
        card = super().holder(given)
        if card.owner not in self.people[:3]:
            raise Refusal("programme", "This customer takes no part")
        return card


@wrong("Nothing: half of the people that a run makes up are known from earlier runs.")
class KeepsEarlierRuns(Shop):
    def by_phone(self, phone: str | None) -> Person | None:
        found = super().by_phone(phone)
        if found is None and phone and phone.startswith("7900000") and int(phone) % 2:
            found = Person(phone, f"earlier-{phone}@example.org", card=self.new_card())
            assert found.card is not None
            found.card.owner = found
            self.people.append(found)
        return found


@wrong("Nothing: a reserved number is an object with the number alone.")
class NumberAlone(Clean):
    async def reserve(self, call: Call) -> Any:
        return {"card": {"cardNumber": self.shop.reserve().number}}


class ZeroesInFront(Shop):
    """Numbers that are no JSON numbers."""

    def new_card(self, *, reserved: bool = False) -> Card:
        card = super().new_card(reserved=reserved)
        del self.cards[card.number]
        card.number = f"00{card.number}"
        self.cards[card.number] = card
        return card


@wrong("Nothing: a reserved number is a bare text that begins with a zero.")
class NumberAsText(Clean):
    shop_class = ZeroesInFront

    def card_object(self, card: Card) -> dict[str, Any]:
        barcode = {"barcodeNumber": card.number, "barcodeType": "CODE_128"}
        return super().card_object(card) | {"barcode": barcode}

    async def reserve(self, call: Call) -> Any:
        return self.shop.reserve().number.encode()

    def encoded(self, value: Any) -> bytes:
        return value if isinstance(value, bytes) else super().encoded(value)


@wrong("Nothing: purchases tell their time in UTC, while days are those of Moscow.")
class TimesInUtc(Clean):
    def purchase(self, one: Purchase) -> dict[str, Any]:
        before = one.day - timedelta(days=1)
        time = f"{before}T22:30:00Z" if one.quantity == 2 else f"{one.day}T09:00:00Z"
        return super().purchase(one) | {"date": time}


@wrong("Nothing: it lies below /app, and errors say what was asked.", base_path="app")
class BelowApp(Clean):
    def method(self, verb: str, path: str) -> tuple[str, str]:
        return super().method(verb, path.removeprefix("/app"))

    def error(self, refusal: Refusal, call: Call) -> web.StreamResponse:
        return super().error(Refusal(refusal.code, f"{refusal}: {call.verb} {call.path}"), call)


@wrong("Nothing: Content-Type ends with a semicolon, as the documentation prints it.")
class SemicolonAtTheEnd(Clean):
    def response(self, status: int, value: Any, headers: dict[str, str] | None = None) -> web.Response:
        answer = super().response(status, value, headers)
        answer.headers["Content-Type"] += ";"
        return answer


@wrong("Nothing: whoever does not send the usual headers is turned away.")
class WantsTheUsualHeaders(Clean):
    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not {"User-Agent", "Accept", "Host"} <= request.headers.keys():
            return web.Response(status=403, text="Forbidden")
        return await super().handle(request)


@wrong("Nothing: a plastic card without an owner is active.")
class PlasticIsActive(Clean):
    def card_object(self, card: Card) -> dict[str, Any]:
        state = {"cardState": "active"} if card.owner is None and not card.reserved else {}
        return super().card_object(card) | state


@wrong("Nothing: it reserves no numbers, since it issues cards without.")
class NoReservations(Clean):
    async def reserve(self, call: Call) -> Any:
        raise Refusal("reserve", "Numbers are not reserved here")


@wrong("Nothing: OPTIONS is answered with the verbs that there are.")
class TellsItsVerbs(Clean):
    async def process(self, call: Call) -> Any:
        return NOTHING if call.verb == "OPTIONS" else await super().process(call)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = await super().handle(request)
        if request.method == "OPTIONS":
            answer.headers["Allow"] = "GET, OPTIONS"
        return answer


@wrong("Nothing: receipts are looked up at the tax service, and the run was given none that it knows.")
class WantsRealReceipts(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        super().receipt(values)
        raise Refusal("unknown", "The tax service does not know this receipt")


@wrong("Nothing: the promo code is over.")
class CodeIsOver(Shop):
    def redeem(self, code: str, card: Card) -> dict[str, Any]:
        raise Refusal("over", "The promo code is over")


@wrong("Nothing: `fn` is compared as a text: a lost zero makes another receipt.")
class FnIsText(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        receipt = super().receipt(values)
        return replace(receipt, fn=f"#{receipt.fn}")


@wrong("Nothing: receipts give no points, as their answers say.")
class NoPoints(Shop):
    async def register(self, given: dict[str, Any]) -> dict[str, Any]:
        card = self.holder(given)
        before = card.points
        answer = await super().register(given)
        card.points = before
        return answer | {"points": 0}


@wrong(
    "Nothing: receipts are looked up at the tax service, which knows but one.",
    receipt="t=20240105T1200&s=100.00&fn=9289440300000001&i=77&fp=1234567890&n=1",
)
class ChecksReceipts(Shop):
    def receipt(self, values: dict[str, str]) -> Receipt:
        receipt = super().receipt(values)
        if receipt.fn != "9289440300000001":
            raise Refusal("unknown", "The tax service does not know this receipt")
        return receipt
