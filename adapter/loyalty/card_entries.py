"""Turns a card that the users CRM tells of into an entry of the registry: number, barcode, owner, state.

A number that cannot be a card here is logged and counted, and not entered. This module may not know why a
card is to be entered.
"""

from __future__ import annotations

from adapter.loyalty.model import Card, Entry
from adapter.loyalty.numbers import BadNumber, shown
from adapter.loyalty.programme import Programme
from crm_backends.model import CrmCard, CrmCardState


def entry_for(
    programme: Programme, number: str, told: CrmCard | None, owner: str | None, state: CrmCardState
) -> Entry | None:
    """The registry's entry for a number of the CRM's. ``None``: it cannot be shown, which was logged."""
    try:
        return make_entry(programme, number, told, owner, state)
    except BadNumber:
        programme.odd_numbers.note(
            "unfit", number, "give the person a number that cards.barcode_type and a path can carry"
        )
        return None


def make_entry(
    programme: Programme, number: str, told: CrmCard | None, owner: str | None, state: CrmCardState
) -> Entry:
    """The registry's entry for a number of the CRM's. Raises ``BadNumber`` if it cannot be shown."""
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


async def adopted(programme: Programme, entry: Entry) -> Card | None:
    card = await programme.cards.adopt(entry)
    if card is not None and card.number == entry.number:
        note_fallback(programme, entry)
    return card


def note_fallback(programme: Programme, entry: Entry) -> None:
    """Log a barcode of another type than the settings say, unless the card is not shown anyway."""
    hidden = entry.replaced_by is not None and programme.settings.cards.replaced_answer == "unknown"
    if not entry.barcode_fits and not hidden:
        programme.odd_numbers.note(
            "barcode",
            entry.number,
            "it is shown as cards.barcode_fallback; cards.barcode_type cannot carry it",
        )


def note_other_owner(programme: Programme, number: str) -> None:
    programme.odd_numbers.note(
        "other_owner",
        number,
        "in the CRM it is another customer's: correct it there, or give its owner here another number with "
        "koshelek-adapter cards replace NUMBER NEW",
    )


def note_taken(programme: Programme, number: str) -> None:
    programme.odd_numbers.note(
        "taken",
        number,
        "it is another person's here: koshelek-adapter cards show NUMBER, and compare with the CRM",
    )
