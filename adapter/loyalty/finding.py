"""Find the card of a person: KLO-1."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from adapter.catalogue import Code, Refused
from adapter.loyalty.model import Card, CardState
from adapter.loyalty.programme import Programme
from crm_backends.model import Customer
from crm_backends.ports import Deadline

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def find_card(
    programme: Programme,
    *,
    phone: str | None,
    email: str | None,
    birth_date: date | None,
    deadline: Deadline,
) -> Card | None:
    """The card of the person with this phone (E.164) or e-mail; ``None`` when there is none.

    Phone and e-mail combine by OR; the birth date chooses among several people and never identifies
    alone (KLO-1). Raises ``Refused``: CARD_BLOCKED, SEVERAL_MATCH.
    """
    if phone is None and email is None:
        return None
    found = await programme.users.find(phone=phone, email=email, birth_date=birth_date, deadline=deadline)
    if not found:
        return None
    by_owner = await _cards_of(programme, found)
    holders = [customer for customer in found if customer.reference in by_owner]
    if not holders:
        return None
    chosen = choose(programme, holders, phone=phone, birth_date=birth_date)
    card = by_owner[chosen.reference]
    if card.state is CardState.BLOCKED:
        raise Refused(Code.CARD_BLOCKED)
    return card


async def _cards_of(programme: Programme, customers: Sequence[Customer]) -> dict[str, Card]:
    """Cards by owner; a number that only the CRM knows is taken over on the way."""
    cards = await programme.cards.of_customers([customer.reference for customer in customers])
    by_owner = {card.users_reference: card for card in cards if card.users_reference is not None}
    if programme.settings.cards.adopt:
        for customer in customers:
            if customer.card_number and customer.reference not in by_owner:
                adopted = await programme.cards.adopt(customer.card_number, customer.reference)
                if adopted is not None:
                    by_owner[customer.reference] = adopted
    return by_owner


def choose(
    programme: Programme, people: Sequence[Customer], *, phone: str | None, birth_date: date | None
) -> Customer:
    """One of several matching people, by birth date and then by ``matching.several``.

    Raises ``Refused(SEVERAL_MATCH)`` when the setting is ``error`` or does not lead to one person.
    """
    if len(people) > 1 and birth_date is not None:
        people = [person for person in people if person.profile.birth_date == birth_date] or people
    if len(people) == 1:
        return people[0]
    several = programme.settings.matching.several
    if several == "newest":
        return max(people, key=lambda person: person.registered_at or _LONG_AGO)
    if several == "phone":
        by_phone = [person for person in people if phone is not None and person.profile.phone == phone]
        if len(by_phone) == 1:
            return by_phone[0]
    raise Refused(Code.SEVERAL_MATCH)
