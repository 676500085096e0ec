"""Brings the state of a card here in line with the users CRM, which has the last word on cards.

A card that is blocked in the CRM is blocked here. A card that was replaced in the CRM is replaced here. A
number that only the CRM knows is entered here as plastic or with its owner. If registry and CRM name
different owners of a number, the card is inactive for both until a person corrects that. If the CRM cannot be
asked, or does not answer, the registry decides; but then no number is handed out that might have an owner in
the CRM.
"""

from __future__ import annotations

import dataclasses

import structlog

from adapter.errors import Code, Refused
from adapter.loyalty.card_entries import adopted, entry_for, note_fallback, note_other_owner, note_taken
from adapter.loyalty.crm_cards import CrmCards
from adapter.loyalty.model import NOT_IN_HAND, Card, CardState
from adapter.loyalty.programme import Programme
from crm_backends.model import CrmCard, CrmCardState, Customer
from crm_backends.ports import BackendError, Deadline

log = structlog.get_logger("cards")

_HOPS = 5
"""Replacements that are followed from one number to the next."""
_TRIES = 50
"""Numbers asked about, at most, to find one that the CRM does not know."""


# -- a person's card -----------------------------------------------------------------------------------


async def persons_card(
    programme: Programme, customer: Customer, card: Card | None, deadline: Deadline
) -> Card | None:
    """The customer's card here, brought in line with what the CRM says; ``None``: they have no card.

    Raises ``Refused``: HAS_ANOTHER_CARD or NUMBER_USED if the CRM keeps a card for the customer that cannot
    be theirs here, or keeps their card for somebody else. Nobody gets a second card then.
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
        told = await _crm_says_quickly(crm, card.number, deadline)
        if told is None:
            return card
        if is_anothers(card, told):
            note_other_owner(programme, card.number)
            raise Refused(Code.NUMBER_USED)
        return await _current(programme, card, told, deadline)
    return card


async def _taken_over(programme: Programme, customer: Customer, number: str, deadline: Deadline) -> Card:
    """Enter the card that the CRM keeps for a customer who has no card here."""
    number, state, told = await as_it_is_now(programme, customer, number, deadline)
    entry = entry_for(programme, number, told, customer.customer_id, state)
    if entry is None:
        raise Refused(Code.HAS_ANOTHER_CARD)
    card = await adopted(programme, entry)
    if card is None:
        note_taken(programme, number)
        raise Refused(Code.NUMBER_USED)
    return card


async def as_it_is_now(
    programme: Programme, customer: Customer, number: str, deadline: Deadline
) -> tuple[str, CrmCardState, CrmCard | None]:
    """Number and state of the customer's card, and all the CRM tells of it; replacements are followed."""
    crm = programme.crm_cards
    told = None if crm is None else await _crm_says_quickly(crm, number, deadline)
    if crm is not None and told is not None:
        told = await _last_of(crm, told, deadline)
        return told.number, told.state, told
    return number, customer.card_state or "active", None


async def _other_number(
    programme: Programme, customer: Customer, card: Card, kept: str, deadline: Deadline
) -> Card:
    """The CRM names another number than the registry. Either the CRM replaced the card, or the card was
    replaced here and the CRM does not know it yet."""
    known = await programme.cards.get(kept)
    if known is not None and known.replaced_by is not None:
        crm = programme.crm_cards
        told = None if crm is None else await _crm_says_quickly(crm, card.number, deadline)
        if told is None or told.state != "replaced":
            return card  # replaced here; the CRM has not been told yet
    number, state, told = await as_it_is_now(programme, customer, kept, deadline)
    return await _replaced(programme, card, number, told, state)


async def _replaced(
    programme: Programme, card: Card, number: str, told: CrmCard | None, state: CrmCardState
) -> Card:
    """Put the CRM's number in the place of a card. If that is not possible, the owner keeps the card."""
    if number == card.number:
        return card
    entry = entry_for(programme, number, told, card.users_reference, state)
    if entry is None:
        return card
    new = await programme.cards.replace(card.number, entry, by=None, note=None)
    if new is None:
        note_taken(programme, number)
        return card
    note_fallback(programme, entry)
    return new


# -- a card by its number ------------------------------------------------------------------------------


async def card_with(programme: Programme, number: str, deadline: Deadline) -> Card | None:
    """The card with this number, brought in line with what the CRM says. ``None``: neither registry nor CRM
    knows it.

    Raises ``BackendError`` if the registry does not know the number and the CRM does not answer.
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
    """For a number that is to be issued: its card, and the owner that it has in the CRM already.

    Raises ``BackendError`` if the CRM can be asked for card numbers and does not answer.
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
    if card is None or card.state in NOT_IN_HAND:
        return await _entered(programme, number, told, deadline)
    if card.replaced_by is not None and card.users_reference is None:
        return await _taken_back(programme, card, told, deadline)
    if is_anothers(card, told):
        note_other_owner(programme, number)
        return _as_ownerless(card)
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
    """Whether registry and CRM name different owners. If either names no owner, they do not differ."""
    owner = told.customer
    return (
        owner is not None and card.users_reference is not None and owner.customer_id != card.users_reference
    )


def _as_ownerless(card: Card) -> Card:
    """The card as it is shown while registry and CRM name different owners: inactive, without an account.

    The registry is not changed: operations recorded for the number still belong to its owner here.
    """
    return dataclasses.replace(
        card, state=CardState.INACTIVE, users_reference=None, points_reference=None, coupons_reference=None
    )


async def _current(programme: Programme, card: Card, told: CrmCard, deadline: Deadline) -> Card:
    """The card that the owner of ``card`` has now, by what the CRM told of ``card``."""
    crm = programme.crm_cards
    if told.state != "replaced" or told.replaced_by is None or crm is None:
        return await _follow(programme, card, told.state)
    last = await _last_of(crm, told, deadline)
    if last.customer is not None and last.customer.customer_id != card.users_reference:
        note_taken(programme, last.number)
        return card
    return await _replaced(programme, card, last.number, last, last.state)


async def _taken_back(programme: Programme, card: Card, told: CrmCard, deadline: Deadline) -> Card:
    """A card that was replaced: if the CRM has given the number back to its owner, so do we."""
    if told.state != "active" or told.customer is None or told.customer.card_number != card.number:
        return card
    for current in await programme.cards.of_customers([told.customer.customer_id]):
        await persons_card(programme, told.customer, current, deadline)
    return await programme.cards.get(card.number) or card


async def _entered(programme: Programme, number: str, told: CrmCard, deadline: Deadline) -> Card | None:
    """Enter a number that only the CRM knows. ``None``: it cannot be a card here."""
    # A replaced number is entered without an owner: its owner has another card by now.
    replaced = told.state == "replaced"
    owner = None if told.customer is None or replaced else told.customer.customer_id
    if owner is None or programme.settings.cards.adopt:
        entry = entry_for(programme, number, told, owner, told.state)
        card = None if entry is None else await adopted(programme, entry)
        if card is not None and card.number != number and programme.crm_cards is not None:
            # The owner has another card here, which the CRM may have replaced by this number.
            other = await _crm_says_quickly(programme.crm_cards, card.number, deadline)
            if other is not None and not is_anothers(card, other):
                card = await _current(programme, card, other, deadline)
        if card is not None and card.number == number:
            return card
    # The owner has another card here, or cards.adopt is off.
    await programme.cards.set_aside(number)
    return None


# -- numbers for those who have none -------------------------------------------------------------------


async def vacant_number(programme: Programme, deadline: Deadline) -> Card:
    """Reserve a number that has no owner, neither here nor in the CRM.

    Raises ``Refused(NO_NUMBERS)``; ``BackendError`` if the CRM can be asked and does not answer.
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


async def _crm_says_quickly(crm: CrmCards, number: str, deadline: Deadline) -> CrmCard | None:
    """What the CRM tells of a card that the registry knows; ``None``: nothing, or it does not answer."""
    try:
        return await crm.says_quickly(number, deadline)
    except BackendError:
        return None


async def _last_of(crm: CrmCards, told: CrmCard, deadline: Deadline) -> CrmCard:
    """The card at the end of a chain of replacements; a number that the CRM only names counts as active."""
    seen = {told.number}
    for _ in range(_HOPS):
        if told.state != "replaced" or told.replaced_by is None or told.replaced_by in seen:
            break
        seen.add(told.replaced_by)
        told = await _crm_says_quickly(crm, told.replaced_by, deadline) or CrmCard(told.replaced_by)
    return told if told.state != "replaced" else dataclasses.replace(told, state="inactive")


async def _follow(programme: Programme, card: Card, state: CrmCardState) -> Card:
    """Give the card the state that the CRM tells, unless a person blocked it here."""
    if state == "active":
        differs = card.by_crm
    elif state == "blocked":
        differs = card.state is not CardState.BLOCKED
    else:
        differs = card.state is not CardState.INACTIVE and (
            card.state is not CardState.BLOCKED or card.by_crm
        )
    return await programme.cards.follow(card.number, state) or card if differs else card
