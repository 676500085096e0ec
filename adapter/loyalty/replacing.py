"""A person puts another number in the place of a card, and the users CRM is told of it."""

from __future__ import annotations

from adapter.loyalty.card_entries import make_entry
from adapter.loyalty.coupon_triggers import card_to_be_told
from adapter.loyalty.model import NOT_IN_HAND, Card
from adapter.loyalty.numbers import BadNumber
from adapter.loyalty.programme import Programme
from crm_backends.model import Customer, Profile
from crm_backends.ports import Deadline


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
    """Put the number ``new`` in the place of the card ``old``, and have the CRM told.

    A repeated call is no error. ``force``: also if ``cards.barcode_type`` cannot carry the number and
    ``cards.barcode_fallback`` has to. Raises ``CannotReplace``; ``BackendError`` if the CRM can be asked
    about ``new`` and does not answer.
    """
    card = await programme.cards.get(old)
    if card is None:
        raise CannotReplace("there is no card with the number that is to be replaced")
    if card.replaced_by not in (None, new):
        raise CannotReplace(f"the card was replaced by {card.replaced_by} before")
    if card.state in NOT_IN_HAND:
        raise CannotReplace(f"the card is {card.state}; only a card that was handed out can be replaced")
    if old == new:
        raise CannotReplace("the two numbers are the same")
    told = None if programme.crm_cards is None else await programme.crm_cards.find(new, deadline)
    if told is not None and card.replaced_by is None:
        if told.customer is not None and told.customer.customer_id != card.users_reference:
            raise CannotReplace("in the CRM the new number belongs to another customer")
        if told.state != "active":
            raise CannotReplace(f"in the CRM the new number is {told.state}")
    try:
        entry = make_entry(programme, new, told, card.users_reference, "active")
    except BadNumber as error:
        raise CannotReplace(f"the new number cannot be a card number: {error}") from None
    if not entry.barcode_fits and not force and card.replaced_by is None:
        raise CannotReplace(
            f"cards.barcode_type is {programme.settings.cards.barcode_type}, which cannot carry the new "
            f"number; correct it, or with --force it is shown as {entry.barcode_type}"
        )
    replaced = await programme.cards.replace(old, entry, by=by, note=note)
    if replaced is None:
        raise CannotReplace("the new number has an owner here, or a person has blocked it")
    if replaced.users_reference is not None:
        owner = Customer(replaced.users_reference, Profile())
        await card_to_be_told(programme, replaced, owner)
    return replaced
