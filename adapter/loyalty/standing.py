"""How a card stands, here and in the users CRM: the CRM's word on it is followed.

A card that is blocked there is blocked here, one that was replaced there is replaced here, and a number the
CRM knows is what it is there: plastic, or somebody's. A number that is one person's here and another's there
serves neither, until a person has settled whose it is. Where the CRM cannot be asked, or does not answer, the
registry's word holds; but no number is handed out then that might be another's.
"""

from __future__ import annotations

import dataclasses

import structlog

from adapter.errors import Code, Refused
from adapter.loyalty.coupon_triggers import card_to_be_told
from adapter.loyalty.crm_cards import CrmCards
from adapter.loyalty.model import Card, CardState, Entry
from adapter.loyalty.numbers import BadNumber, shown
from adapter.loyalty.programme import Programme
from crm_backends.model import CrmCard, CrmCardState, Customer, Profile
from crm_backends.ports import BackendError, Deadline

log = structlog.get_logger("cards")

_HOPS = 5
"""Replacements that are followed from one number to the next."""
_TRIES = 50
"""Numbers asked about, at most, to find one that the CRM does not know."""
_NOT_OURS = frozenset({CardState.FREE, CardState.RESERVED})


# -- a person's card -----------------------------------------------------------------------------------


async def persons_card(
    programme: Programme, customer: Customer, card: Card | None, deadline: Deadline
) -> Card | None:
    """The customer's card here, brought in line with what the CRM says; ``None`` when there is none.

    Raises ``Refused``: HAS_ANOTHER_CARD or NUMBER_USED where the CRM keeps a card for them that cannot be
    theirs here, or their card for another: nobody gets a second card beside it.
    """
    kept = customer.card_number if programme.settings.cards.adopt else None
    if card is None:
        return None if kept is None else await _taken_over(programme, customer, kept, deadline)
    if kept is not None and kept != card.number:
        return await _other_number(programme, customer, card, kept, deadline)
    if customer.card_number == card.number and customer.card_state not in (None, "replaced"):
        return await _follow(programme, card, customer.card_state)
    crm = programme.crm_cards
    if crm is not None and (card.by_crm or customer.card_state == "replaced" or not crm.tells_state()):
        told = await _word(crm, card.number, deadline)
        if told is None:
            return card
        if is_anothers(card, told):
            _note_other_owner(programme, card.number)
            raise Refused(Code.NUMBER_USED)
        return await _current(programme, card, told, deadline)
    return card


async def _taken_over(programme: Programme, customer: Customer, number: str, deadline: Deadline) -> Card:
    """Enter the card that the CRM keeps for somebody who has none here."""
    number, state, told = await as_it_is_now(programme, customer, number, deadline)
    entry = _entry(programme, number, told, customer.customer_id, state)
    if entry is None:
        raise Refused(Code.HAS_ANOTHER_CARD)
    card = await _adopted(programme, entry)
    if card is None:
        _note_taken(programme, number)
        raise Refused(Code.NUMBER_USED)
    return card


async def as_it_is_now(
    programme: Programme, customer: Customer, number: str, deadline: Deadline
) -> tuple[str, CrmCardState, CrmCard | None]:
    """Number and state of the customer's card, and what else the CRM tells of it, replacements followed."""
    crm = programme.crm_cards
    told = None if crm is None else await _word(crm, number, deadline)
    if crm is not None and told is not None:
        told = await _last_of(crm, told, deadline)
        return told.number, told.state, told
    return number, customer.card_state or "active", None


async def _other_number(
    programme: Programme, customer: Customer, card: Card, kept: str, deadline: Deadline
) -> Card:
    """The CRM names another number than the registry: it has replaced the card, or we have and it lags."""
    known = await programme.cards.get(kept)
    if known is not None and known.replaced_by is not None:
        crm = programme.crm_cards
        told = None if crm is None else await _word(crm, card.number, deadline)
        if told is None or told.state != "replaced":
            return card  # replaced here; the CRM has not been told yet
    number, state, told = await as_it_is_now(programme, customer, kept, deadline)
    return await _replaced(programme, card, number, told, state)


async def _replaced(
    programme: Programme, card: Card, number: str, told: CrmCard | None, state: CrmCardState
) -> Card:
    """Put the CRM's number in the place of a card. Where that cannot be, the person keeps what they have."""
    if number == card.number:
        return card
    entry = _entry(programme, number, told, card.users_reference, state)
    if entry is None:
        return card
    new = await programme.cards.replace(card.number, entry, by=None, note=None)
    if new is None:
        _note_taken(programme, number)
        return card
    _note_fallback(programme, entry)
    return new


# -- a card by its number ------------------------------------------------------------------------------


async def card_with(programme: Programme, number: str, deadline: Deadline) -> Card | None:
    """The card with this number, brought in line with what the CRM says; ``None``: nobody knows it.

    Raises ``BackendError`` where only the CRM could tell, and does not answer.
    """
    crm = programme.crm_cards
    if crm is None or crm.is_nobodys(number):
        return await programme.cards.get(number)
    card, told = await crm.with_card(programme.cards, number, deadline)
    if card is None and told is None:
        crm.note_unknown(number)
    return card if told is None else await _in_line(programme, number, card, told, deadline)


async def issuable(
    programme: Programme, number: str, deadline: Deadline
) -> tuple[Card | None, Customer | None]:
    """A number that is to be issued: its card, and whose it is in the CRM already.

    Raises ``BackendError``: the CRM can be asked for card numbers, and does not answer.
    """
    crm = programme.crm_cards
    if crm is None:
        return await programme.cards.get(number), None
    told = await crm.find(number, deadline)
    card = await programme.cards.get(number)
    if told is None:
        return card, None
    return await _in_line(programme, number, card, told, deadline), told.customer


async def _in_line(
    programme: Programme, number: str, card: Card | None, told: CrmCard, deadline: Deadline
) -> Card | None:
    if card is None or card.state in _NOT_OURS:
        return await _entered(programme, number, told, deadline)
    if card.replaced_by is not None and card.users_reference is None:
        return await _taken_back(programme, card, told, deadline)
    if is_anothers(card, told):
        _note_other_owner(programme, number)
        return _nobodys(card)
    if told.state == "replaced":
        if card.users_reference is None and told.replaced_by is not None:
            return await _entered(programme, number, told, deadline) or card
        await _current(programme, card, told, deadline)
        return await programme.cards.get(number)
    card = await _follow(programme, card, told.state)
    if card.state is CardState.OWNERLESS and told.customer is not None:
        return await _entered(programme, number, told, deadline) or card
    return card


def is_anothers(card: Card, told: CrmCard) -> bool:
    """Whether registry and CRM name different owners of the number; naming none contradicts nobody."""
    owner = told.customer
    return (
        owner is not None and card.users_reference is not None and owner.customer_id != card.users_reference
    )


def _nobodys(card: Card) -> Card:
    """The card as it is shown while its owner is in dispute: inactive, and leading to nobody's account.

    It is not handed over here: what was recorded for the number is still its owner's of then.
    """
    return dataclasses.replace(
        card, state=CardState.INACTIVE, users_reference=None, points_reference=None, coupons_reference=None
    )


async def _current(programme: Programme, card: Card, told: CrmCard, deadline: Deadline) -> Card:
    """The card that its owner has now, by the CRM's word on the one they have here."""
    crm = programme.crm_cards
    if told.state != "replaced" or told.replaced_by is None or crm is None:
        return await _follow(programme, card, told.state)
    last = await _last_of(crm, told, deadline)
    if last.customer is not None and last.customer.customer_id != card.users_reference:
        _note_taken(programme, last.number)
        return card
    return await _replaced(programme, card, last.number, last, last.state)


async def _taken_back(programme: Programme, card: Card, told: CrmCard, deadline: Deadline) -> Card:
    """A card that was replaced here: the CRM may have undone that."""
    if told.state != "active" or told.customer is None or told.customer.card_number != card.number:
        return card
    for current in await programme.cards.of_customers([told.customer.customer_id]):
        await persons_card(programme, told.customer, current, deadline)
    return await programme.cards.get(card.number) or card


async def _entered(programme: Programme, number: str, told: CrmCard, deadline: Deadline) -> Card | None:
    """Enter a number that only the CRM knows as what it is there; ``None``: it is not to be had here."""
    # A replaced number is nobody's here: else it would stand where its owner's card of now belongs.
    replaced = told.state == "replaced"
    owner = None if told.customer is None or replaced else told.customer.customer_id
    if owner is None or programme.settings.cards.adopt:
        entry = _entry(programme, number, told, owner, told.state)
        card = None if entry is None else await _adopted(programme, entry)
        if card is not None and card.number != number and programme.crm_cards is not None:
            # Its owner has another card here, which the CRM may have replaced by this one.
            other = await _word(programme.crm_cards, card.number, deadline)
            if other is not None and not is_anothers(card, other):
                card = await _current(programme, card, other, deadline)
        if card is not None and card.number == number:
            return card
    # Its owner has another card here, or numbers of owners are not taken over.
    await programme.cards.set_aside(number)
    return None


# -- a person decides ----------------------------------------------------------------------------------


class CannotReplace(Exception):
    """The card cannot be replaced by that number; the message is one sentence."""


async def replace_card(
    programme: Programme,
    old: str,
    new: str,
    *,
    by: str,
    note: str | None,
    deadline: Deadline,
    force: bool = False,
) -> Card:
    """Put the number ``new`` in the place of the card ``old``, and have the CRM told. Again, it is no error.

    ``force``: even where only ``cards.barcode_fallback`` can carry the number, and not the barcode's type.
    Raises ``CannotReplace``; ``BackendError`` where the CRM can be asked about ``new`` and does not answer.
    """
    card = await programme.cards.get(old)
    if card is None:
        raise CannotReplace("there is no card with the number that is to be replaced")
    if card.replaced_by not in (None, new):
        raise CannotReplace(f"the card was replaced by {card.replaced_by} before")
    if card.state in _NOT_OURS:
        raise CannotReplace(f"the card is {card.state}, only one in somebody's hands can be replaced")
    if old == new:
        raise CannotReplace("the two numbers are the same")
    told = None if programme.crm_cards is None else await programme.crm_cards.find(new, deadline)
    if told is not None and card.replaced_by is None:
        if told.customer is not None and told.customer.customer_id != card.users_reference:
            raise CannotReplace("in the CRM the new number is another customer's")
        if told.state != "active":
            raise CannotReplace(f"in the CRM the new number is {told.state}")
    try:
        entry = _made(programme, new, told, card.users_reference, "active")
    except BadNumber as error:
        raise CannotReplace(f"the new number cannot be a card's: {error}") from None
    if not entry.barcode_fits and not force and card.replaced_by is None:
        raise CannotReplace(
            f"cards.barcode_type is {programme.settings.cards.barcode_type}, which cannot carry the new "
            f"number; correct it, or with --force it is shown as {entry.barcode_type}"
        )
    replaced = await programme.cards.replace(old, entry, by=by, note=note)
    if replaced is None:
        raise CannotReplace("the new number is somebody's here, or a person has blocked it")
    if replaced.users_reference is not None:
        owner = Customer(replaced.users_reference, Profile())
        await card_to_be_told(programme, replaced, owner)
    return replaced


# -- numbers for those who have none -------------------------------------------------------------------


async def vacant_number(programme: Programme, deadline: Deadline) -> Card:
    """A reserved number that is nobody's, in the CRM neither.

    Raises ``Refused(NO_NUMBERS)``; ``BackendError`` where the CRM can be asked and does not answer.
    """
    crm = programme.crm_cards
    if crm is None:
        return await programme.cards.reserve()
    for _ in range(_TRIES):
        card = await programme.cards.reserve()
        try:
            told = await crm.find(card.number, deadline)
        except BackendError:
            await programme.cards.release(card.number)
            raise
        if told is None:
            return card
        await _entered(programme, card.number, told, deadline)
    log.error("numbers_are_the_crms", tried=_TRIES, remedy="choose a range, or a pool, of numbers of its own")
    raise Refused(Code.NO_NUMBERS)


# -- small parts ---------------------------------------------------------------------------------------


async def _word(crm: CrmCards, number: str, deadline: Deadline) -> CrmCard | None:
    """The CRM's word on a card the registry knows; ``None`` as well where it does not answer."""
    try:
        return await crm.word(number, deadline)
    except BackendError:
        return None


async def _last_of(crm: CrmCards, told: CrmCard, deadline: Deadline) -> CrmCard:
    """What was put in the place of a replaced card, at last; a number the CRM only names counts as active."""
    seen = {told.number}
    for _ in range(_HOPS):
        if told.state != "replaced" or told.replaced_by is None or told.replaced_by in seen:
            break
        seen.add(told.replaced_by)
        told = await _word(crm, told.replaced_by, deadline) or CrmCard(told.replaced_by)
    return told if told.state != "replaced" else dataclasses.replace(told, state="inactive")


async def _follow(programme: Programme, card: Card, state: CrmCardState) -> Card:
    """The card in the state that the CRM tells, unless a person has blocked it here."""
    if state == "active":
        differs = card.by_crm
    elif state == "blocked":
        differs = card.state is not CardState.BLOCKED
    else:
        differs = card.state is not CardState.INACTIVE and (
            card.state is not CardState.BLOCKED or card.by_crm
        )
    return await programme.cards.follow(card.number, state) or card if differs else card


def _entry(
    programme: Programme, number: str, told: CrmCard | None, owner: str | None, state: CrmCardState
) -> Entry | None:
    """A number of the CRM's as it can be shown; ``None``: it cannot, and that was noted."""
    try:
        return _made(programme, number, told, owner, state)
    except BadNumber:
        programme.odd_numbers.note(
            "unfit", number, "give the person a number that cards.barcode_type and a path can carry"
        )
        return None


def _made(
    programme: Programme, number: str, told: CrmCard | None, owner: str | None, state: CrmCardState
) -> Entry:
    """The same. Raises ``BadNumber``."""
    barcode, kind = (told.barcode, told.barcode_type) if told is not None else (None, None)
    looks = shown(number, barcode, kind, programme.settings.cards)
    return Entry(
        number=number,
        barcode_number=looks.barcode,
        barcode_type=looks.barcode_type,
        owner=owner,
        state=state,
        replaced_by=told.replaced_by if told is not None and state == "replaced" else None,
        barcode_told=looks.told,
        barcode_fits=looks.fits,
    )


async def _adopted(programme: Programme, entry: Entry) -> Card | None:
    card = await programme.cards.adopt(entry)
    if card is not None and card.number == entry.number:
        _note_fallback(programme, entry)
    return card


def _note_fallback(programme: Programme, entry: Entry) -> None:
    """Note a barcode of another type than the settings say, where the card is shown at all."""
    hidden = entry.replaced_by is not None and programme.settings.cards.replaced_answer == "unknown"
    if not entry.barcode_fits and not hidden:
        programme.odd_numbers.note(
            "barcode",
            entry.number,
            "it is shown as cards.barcode_fallback; cards.barcode_type cannot carry it",
        )


def _note_other_owner(programme: Programme, number: str) -> None:
    programme.odd_numbers.note(
        "other_owner",
        number,
        "in the CRM it is another customer's: correct it there, or give its owner here another number with "
        "koshelek-adapter cards replace NUMBER NEW",
    )


def _note_taken(programme: Programme, number: str) -> None:
    programme.odd_numbers.note(
        "taken",
        number,
        "it is another person's here: koshelek-adapter cards show NUMBER, and compare with the CRM",
    )
