"""Cards that a CRM has before anybody is given one: printed, counted, in one of its own states.

It may not know any CRM.
"""

from __future__ import annotations

from typing import ClassVar

from contracts.sandbox.fields import Row
from contracts.sandbox.server import Switches
from contracts.sandbox.shop import Member
from contracts.sandbox.skin import Skin

PRINTED = "2900"


class CardSwitches(Switches):
    """What a retailer decides about cards."""

    batch: str = PRINTED
    """Cards whose number begins so have all been printed, in no certain order; empty: none have."""


class CardStock(Skin):
    """A stand-in whose cards have numbers of their own; a card is one customer's or nobody's."""

    takes: ClassVar[type[Switches]] = CardSwitches
    fresh: ClassVar[str]
    """What the CRM calls the state of a card that nobody has."""
    in_use: ClassVar[str]
    """And that of a card that somebody has."""
    cards: dict[str, Row]
    """By their numbers: ``id``, ``number``, ``owner`` (a customer's number in the shop) and ``state``."""

    def __init__(self, switches: CardSwitches) -> None:
        self.batch = switches.batch
        super().__init__(switches)

    def populate(self) -> None:
        self.cards = {}
        super().populate()

    def put_card(self, number: str, owner: Member | None = None) -> Row:
        """A card of this number, in use where it is somebody's."""
        state = self.fresh if owner is None else self.in_use
        card = {"id": self.shop.number(), "number": number, "owner": owner and owner.id, "state": state}
        self.cards[number] = card
        return card

    def card_numbered(self, number: str) -> Row | None:
        """The card, which is printed now if it is of the batch."""
        if self.batch and number.startswith(self.batch) and number not in self.cards:
            self.put_card(number)
        return self.cards.get(number)

    def cards_of(self, member: Member) -> list[Row]:
        """A customer's cards, in the order in which they were made."""
        return [card for card in self.cards.values() if card["owner"] == member.id]
