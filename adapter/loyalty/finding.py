"""Find the card of a person: KLO-1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from adapter.errors import Code, Refused
from adapter.loyalty.model import Card, CardState
from adapter.loyalty.ports import CardRegistry, EmailBook
from adapter.loyalty.programme import Programme, remember_accounts
from adapter.loyalty.standing import persons_card
from crm_backends.model import Customer
from crm_backends.ports import Deadline, Users

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
    alone (KLO-1). Raises ``Refused``: CARD_BLOCKED, SEVERAL_MATCH, and what ``persons_card`` raises.
    """
    if phone is None and email is None:
        return None
    found = await programme.finder.find(phone=phone, email=email, birth_date=birth_date, deadline=deadline)
    cards: dict[str, Card] = {}
    refused = None
    for customer, card in found:
        try:
            card = await persons_card(programme, customer, card, deadline)
        except Refused as error:
            refused = error
        else:
            if card is not None:
                cards[customer.customer_id] = card
    holders = [customer for customer, _ in found if customer.customer_id in cards]
    if not holders:
        if refused is not None:
            raise refused
        return None
    owner = choose(programme, holders, phone=phone, birth_date=birth_date)
    chosen = cards[owner.customer_id]
    if chosen.state is CardState.BLOCKED:
        raise Refused(Code.CARD_BLOCKED)
    if programme.emails is not None and owner.profile.email is not None:
        await programme.emails.note(owner.customer_id, owner.profile.email)
    await remember_accounts(programme, chosen, owner, deadline)
    return chosen


@dataclass(frozen=True, slots=True)
class TwoStepFinder:
    """Asks the users CRM, then the registry. Implements ``adapter.loyalty.ports.Finder``."""

    users: Users
    cards: CardRegistry
    emails: EmailBook | None

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[tuple[Customer, Card | None]]:
        people = await people_with(
            self.users, self.emails, phone=phone, email=email, birth_date=birth_date, deadline=deadline
        )
        if not people:
            return ()
        cards = await self.cards.of_customers([person.customer_id for person in people])
        by_owner = {card.users_reference: card for card in cards}
        return [(person, by_owner.get(person.customer_id)) for person in people]


async def people_with(
    users: Users,
    emails: EmailBook | None,
    *,
    phone: str | None,
    email: str | None,
    birth_date: date | None,
    deadline: Deadline,
) -> Sequence[Customer]:
    """Customers whose phone (E.164) or e-mail matches, also where the CRM cannot be asked for an e-mail."""
    found = await users.find(phone=phone, email=email, birth_date=birth_date, deadline=deadline)
    if emails is None or email is None:
        return found
    customer_id = await emails.owner(email)
    if customer_id is None or any(person.customer_id == customer_id for person in found):
        return found
    by_email = await users.get(customer_id, deadline=deadline)
    return found if by_email is None else [*found, by_email]


def choose(
    programme: Programme, people: Sequence[Customer], *, phone: str | None, birth_date: date | None
) -> Customer:
    """Choose among several matching people, by birth date and then by ``matching.several``.

    Raises ``Refused(SEVERAL_MATCH)`` if the setting is ``error`` or does not lead to a single person.
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
