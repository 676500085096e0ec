"""All users of the programme: the lists of KLO-9.

The users CRM lists them where it can. Where it cannot, the owners of the adapter's own cards are listed.
Their phones are not kept here, so the CRM is asked for every owner, a few at a time. It may not know which
CRM that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from adapter.loyalty.programme import Programme
from crm_backends.model import Customer, ListedPhone
from crm_backends.ports import Deadline

_PART = 16
"""Owners of one part of a list: the first one has to be there in time for the answer to begin."""
_AT_ONCE = 4
"""Owners the CRM is asked for at the same time; most of its patience is for holders who wait."""
_PATIENCE = 10.0
"""Seconds for one owner, tries included."""


def all_phones(programme: Programme) -> AsyncIterator[Sequence[str]]:
    """Every phone of the programme (E.164), in batches (KLO-9)."""
    return programme.users.list_phones() if programme.lists_users else _phones_of_owners(programme)


def all_users(programme: Programme) -> AsyncIterator[Sequence[ListedPhone]]:
    """The same with what the partner selects about each (KLO-9 extended)."""
    return programme.users.list_users() if programme.lists_users else _users_who_own(programme)


async def _users_who_own(programme: Programme) -> AsyncIterator[Sequence[ListedPhone]]:
    async for phones in _phones_of_owners(programme):
        yield [ListedPhone(phone) for phone in phones]


async def _phones_of_owners(programme: Programme) -> AsyncIterator[Sequence[str]]:
    """Phones of those who have a card; whom the CRM does not know, or keeps no phone of, is left out.

    Raises a ``BackendError`` where it does not answer: half a list must not be taken for a whole one.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def owner(reference: str) -> Customer | None:
        async with places:
            return await programme.users.get(reference, deadline=Deadline.after(_PATIENCE))

    after = ""
    while references := await programme.cards.owners(after=after, limit=_PART):
        found = await asyncio.gather(*map(owner, references))
        yield [customer.profile.phone for customer in found if customer and customer.profile.phone]
        after = references[-1]
