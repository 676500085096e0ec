"""All users of the programme: the lists of KLO-9.

The users CRM lists them if it can. If it cannot, the owners of the adapter's own cards are listed; their
phones are not kept here, so the CRM is asked for every owner, a few at a time. This module may not know which
CRM that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from adapter.loyalty.programme import Programme
from crm_backends.model import Customer, ListedPhone
from crm_backends.ports import Deadline

_PART = 16
"""Owners in one part of a list. Small, because the answer begins only when the first part is there."""
_AT_ONCE = 4
"""Owners the CRM is asked for at the same time. Few, so that calls of holders who wait have room."""
_PATIENCE = 10.0
"""Seconds for each owner, all tries together."""


def all_phones(programme: Programme) -> AsyncIterator[Sequence[str]]:
    """Every phone of the programme (E.164), in batches (KLO-9)."""
    return programme.users.list_phones() if programme.lists_users else _phones_of_owners(programme)


def all_users(programme: Programme) -> AsyncIterator[Sequence[ListedPhone]]:
    """Every phone of the programme with the further values that the partner selects (KLO-9 extended)."""
    return programme.users.list_users() if programme.lists_users else _users_who_own(programme)


async def _users_who_own(programme: Programme) -> AsyncIterator[Sequence[ListedPhone]]:
    async for phones in _phones_of_owners(programme):
        yield [ListedPhone(phone) for phone in phones]


async def _phones_of_owners(programme: Programme) -> AsyncIterator[Sequence[str]]:
    """Phones of the owners of cards. Owners that the CRM does not know, or knows no phone of, are left out.

    Raises a ``BackendError`` if the CRM does not answer: half a list must not be taken for a whole list.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def owner(customer_id: str) -> Customer | None:
        async with places:
            return await programme.users.get(customer_id, deadline=Deadline.after(_PATIENCE))

    after = ""
    while owners := await programme.cards.owners(after=after, limit=_PART):
        found = await asyncio.gather(*map(owner, owners))
        yield [customer.profile.phone for customer in found if customer and customer.profile.phone]
        after = owners[-1]
