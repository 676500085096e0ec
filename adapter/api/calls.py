"""One function per method of the contract: request in, use case, JSON out.

A handler returns data, never a response: for every call ``adapter.api.app`` makes the envelope, the string
typing, the log line and the content type, so that none can be forgotten here. Only what never becomes a call
(107: no HTTP; 901: a defect outside a call) is answered by ``adapter.api.server``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from adapter.api import answers, requests
from adapter.api.observed_names import ObservedNames
from adapter.errors import Code, Language, Refused
from adapter.loyalty import enrolment, finding, fiscal, holder, listing, promo, receipts
from adapter.loyalty.model import Card, OperationState
from adapter.loyalty.programme import Programme
from crm_backends import inputs
from crm_backends.ports import Deadline

RESERVED_SEGMENTS = frozenset({"anonymous", "getAllUsers", "getAllUsersExtended"})
"""Literal path segments that are never a card number."""


@dataclass(slots=True)
class Call:
    """One request on its way through."""

    request: web.Request
    programme: Programme
    deadline: Deadline
    name: str
    """Of the method, as in ``adapter.api.app.ROUTES``."""
    observed_names: ObservedNames

    @property
    def region(self) -> str:
        return self.programme.settings.koshelek.region

    @property
    def language(self) -> Language:
        return self.programme.settings.koshelek.language

    @property
    def card_number(self) -> str:
        """The number in the path. Raises ``Refused(CARD_UNKNOWN)`` if it cannot be a card number."""
        number = inputs.visible(self.request.match_info["cardNumber"])
        if number in RESERVED_SEGMENTS:
            raise Refused(Code.UNKNOWN_METHOD)
        if not (number.isascii() and number.isprintable() and 1 <= len(number) <= 64):
            raise Refused(Code.CARD_UNKNOWN)
        return number

    def query(self) -> dict[str, str]:
        """Query parameters, names in lower case; of equal names the first counts."""
        values: dict[str, str] = {}
        for name, value in self.request.query.items():
            values.setdefault(name.lower(), value)
        others = self.programme.settings.koshelek.other_names
        return requests.by_lower_case(values, others) if others else values

    async def body(self) -> dict[str, object]:
        """The JSON object of the body, names in lower case.

        Raises ``Refused``: NOT_JSON, NOT_AN_OBJECT, BODY_TOO_LARGE.
        """
        given = requests.read_object(await self.request.read())
        self.observed_names.body(self.name, given)
        return requests.by_lower_case(given, self.programme.settings.koshelek.other_names)


@dataclass(frozen=True, slots=True)
class Streamed:
    """An array that is too long to be built in memory, in parts."""

    parts: AsyncGenerator[Sequence[answers.Json], None]


Row = TypeVar("Row")
Handler = Callable[[Call], Awaitable[answers.Json | Streamed]]


async def find_card(call: Call) -> answers.Json:
    """KLO-1."""
    query = requests.read(requests.FindQuery, call.query())
    card = await finding.find_card(
        call.programme,
        phone=requests.phone_field("msisdn", query.msisdn, call.region),
        email=requests.email_field("email", query.email),
        birth_date=query.birth_date,
        deadline=call.deadline,
    )
    return None if card is None else answers.found_card_json(card)


async def set_consents(call: Call) -> answers.Json:
    """KLO-2. A body with neither list is refused: passed over, somebody's "no" would be lost unnoticed."""
    number = call.card_number
    given = await call.body()
    if given and "allow" not in given and "deny" not in given:
        raise Refused(Code.FIELD_MISSING, "allow")
    body = requests.read(requests.ConsentsBody, given)
    await holder.set_consents(call.programme, number, body.consents(), call.deadline)
    return None


async def card_info(call: Call) -> answers.Json:
    """KLO-3."""
    return answers.card_info_json(await holder.card_info(call.programme, call.card_number, call.deadline))


async def update_profile(call: Call) -> answers.Json:
    """KLO-4."""
    number = call.card_number
    body = requests.read(requests.ProfileBody, await call.body())
    await holder.update_profile(call.programme, number, body.profile(call.region), call.deadline)
    return None


async def reserve_number(call: Call) -> answers.Json:
    """KLO-5."""
    card = await enrolment.reserve_number(call.programme, call.deadline)
    if call.programme.settings.koshelek.reserve_answer == "number":
        return card.number
    return answers.found_card_json(card)


async def issue_reserved(call: Call) -> answers.Json:
    """KLO-6."""
    number = call.card_number
    body = requests.read(requests.ProfileBody, await call.body())
    await enrolment.issue_card(call.programme, body.profile(call.region), number, call.deadline)
    return None


async def issue_card(call: Call) -> answers.Json:
    """KLO-11."""
    body = requests.read(requests.ProfileBody, await call.body())
    card = await enrolment.issue_card(call.programme, body.profile(call.region), None, call.deadline)
    return answers.found_card_json(card)


async def purchases(call: Call) -> answers.Json:
    """KLO-7."""
    number = call.card_number
    query = requests.read(requests.PurchasesQuery, call.query())
    if query.start_date is None:
        raise Refused(Code.FIELD_MISSING, "startDate")
    found = await holder.purchases(call.programme, number, query.start_date, query.end_date, call.deadline)
    return [answers.purchase_json(purchase, call.programme.settings.zone) for purchase in found]


async def offers(call: Call) -> answers.Json:
    """KLO-8."""
    found = await holder.offers(call.programme, call.card_number, call.deadline)
    return [answers.offer_json(offer, call.programme.settings.zone) for offer in found]


async def all_users(call: Call) -> Streamed:
    """KLO-9."""
    return Streamed(_parts(listing.all_phones(call.programme), answers.listed_phones_json))


async def all_users_extended(call: Call) -> Streamed:
    """KLO-9, extended."""
    return Streamed(_parts(listing.all_users(call.programme), answers.listed_users_json))


async def _parts(
    batches: AsyncIterator[Sequence[Row]], as_json: Callable[[Sequence[Row]], Sequence[answers.Json]]
) -> AsyncGenerator[Sequence[answers.Json], None]:
    async for batch in batches:
        yield as_json(batch)


_UNDER_WAY: Mapping[Language, str] = {
    "ru": "Запрос принят, результат будет позже",
    "en": "Accepted, the result will follow",
}


def _in_every_state(done: Mapping[Language, str]) -> Mapping[Language, Mapping[OperationState, str]]:
    """What a caller is told of an operation, by its state. Done twice is told as done."""
    over = (OperationState.DONE, OperationState.DOUBLED)
    return {
        language: dict.fromkeys(OperationState, _UNDER_WAY[language]) | dict.fromkeys(over, text)
        for language, text in done.items()
    }


_RECEIPT_TEXTS = _in_every_state(
    {"ru": "Баллы за чек начислены", "en": "Points for the receipt are credited"}
)
_RECEIPT_WITHOUT_POINTS = _in_every_state(
    {"ru": "Чек принят, баллов за него нет", "en": "The receipt is accepted, it brings no points"}
)
_PROMO_TEXTS = _in_every_state({"ru": "Промокод принят", "en": "The promo code is accepted"})


async def register_receipt(call: Call) -> answers.Json:
    """KLO-10: the QR text in a field of a configured name, or its six values in a field each."""
    body = await call.body()
    text = requests.text_field(body, call.programme.settings.koshelek.qr_fields)
    if text is not None:
        values = fiscal.read_qr(text)
    else:
        given = {name: requests.receipt_field(body, name) for name in fiscal.NAMES}
        values = fiscal.by_key((name, value) for name, value in given.items() if value is not None)
        if not values:
            raise Refused(Code.FIELD_MISSING, call.programme.settings.koshelek.qr_fields[0])
    card = await _participant(call, body)
    operation = await receipts.register_receipt(call.programme, card, values, call.deadline)
    texts = _RECEIPT_WITHOUT_POINTS if operation.points == 0 else _RECEIPT_TEXTS
    return answers.operation_json(operation, texts[call.language])


async def use_promo_code(call: Call) -> answers.Json:
    """KLO-12."""
    body = await call.body()
    names = call.programme.settings.koshelek.promo_fields
    code = requests.text_field(body, names)
    if code is None:
        raise Refused(Code.FIELD_MISSING, names[0])
    code = inputs.one_line(code)
    if len(code) > 100:
        raise Refused(Code.FIELD_INVALID, names[0])
    card = await _participant(call, body)
    operation = await promo.use_promo_code(call.programme, card, code, call.deadline)
    return answers.operation_json(operation, _PROMO_TEXTS[call.language])


async def _participant(call: Call, body: Mapping[str, object]) -> Card:
    """The active card of a receipt or promo code: by card number, else by the owner's phone (inferred).

    A phone beside a card number is passed over: only a call to the CRM could tell whose phone it is.
    """
    fields = requests.read(requests.HolderFields, body)
    if fields.card_number is not None:
        return await holder.active_card(call.programme, fields.card_number, call.deadline)
    phone = requests.phone_field("msisdn", fields.msisdn, call.region)
    if phone is None:
        raise Refused(Code.FIELD_MISSING, "cardNumber")
    card = await finding.find_card(
        call.programme, phone=phone, email=None, birth_date=None, deadline=call.deadline
    )
    if card is None:
        raise Refused(Code.CARD_UNKNOWN)
    return holder.must_be_active(card)
