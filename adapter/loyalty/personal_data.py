"""Everything that is kept of one person: found by a phone, shown, removed but for what the money needs.

What the person's CRM keeps is the CRM's, unless its tables are the adapter's own. It may not know the
database, nor who asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crm_backends.inputs import read_phone
from crm_backends.ports import Deadline, ForgetsPeople, Users

_PATIENCE = 60.0  # seconds for one question to a CRM


class NoPhone(Exception):
    """The text is no phone."""


class SomebodyElse(Exception):
    """The customer with this phone is not the customer who was named."""


class SeveralPeople(Exception):
    """Several customers of the CRM have this phone."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__("several customers have this phone")
        self.ids = ids


class StillOpen(Exception):
    """Operations of the person are still under way, and need the person's data until they end."""

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__("operations are still open")
        self.ids = ids


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Whom a request is about."""

    customer_ids: list[str]
    """In the users CRM."""
    identities: list[str]
    """By which the ledger knows the person's registrations, as it keeps them (hashed)."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed, and what remains to be done elsewhere."""

    rows: Mapping[str, int]
    """Per table of the adapter, how many were removed or changed."""
    in_our_crm: int
    """Customers that were removed in a CRM whose tables are the adapter's."""
    others: Sequence[str]
    """CRMs in which the person is to be erased by whoever runs them."""


class PersonBook(Protocol):
    """What the adapter's own tables keep. Raises ``StoreUnavailable``."""

    async def kept(
        self, ids: Sequence[str], identities: Sequence[str], *, by: str
    ) -> dict[str, list[dict[str, Any]]]:
        """Every row, per table; that ``by`` was shown it is noted."""

    async def erase(self, ids: Sequence[str], identities: Sequence[str], *, by: str) -> Mapping[str, int]:
        """Rows that were removed or changed, per table. Raises ``StillOpen``; then nothing was changed."""


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Answers what the law lets a person ask (152-FZ, GDPR).

    Every method raises ``BackendError`` when a CRM cannot be asked, ``StoreUnavailable``.
    """

    users: Users
    region: str
    kept_identity: Callable[[str], Awaitable[str]]
    """What is kept of an identity, which may be a hash."""
    book: PersonBook
    ours: Sequence[ForgetsPeople]
    """CRMs whose tables are the adapter's."""
    others: Sequence[str]
    """Names of the other CRMs."""

    async def find(self, phone: str | None, customers: Sequence[str] = ()) -> KnownPerson:
        """The person with this phone, or the ``customers`` with these ids.

        The ids are needed if several customers have the phone, or if the CRM finds nobody by it any more.

        Raises ``NoPhone``; ``SomebodyElse``: the phone is another customer's; ``SeveralPeople``.
        """
        if phone is None:
            return KnownPerson(list(customers), [])
        number = read_phone(phone, self.region)
        if number is None:
            raise NoPhone
        found = await self.users.find(
            phone=number, email=None, birth_date=None, deadline=Deadline.after(_PATIENCE)
        )
        known = {one.customer_id: one for one in found}
        if not customers and len(known) > 1:
            raise SeveralPeople(list(known))
        if customers and known and not set(customers) <= known.keys():
            raise SomebodyElse
        ids = list(dict.fromkeys(customers or known))
        emails = [known[one].profile.email for one in ids if one in known]
        identities = [number, *[f"email:{email}" for email in emails if email]]
        kept = [await self.kept_identity(identity) for identity in identities]
        return KnownPerson(ids, [*identities, *kept])

    async def export(self, person: KnownPerson, *, by: str) -> dict[str, list[dict[str, Any]]]:
        """Every row that is kept of the person, per table; that it was shown, and to whom, is noted."""
        found = await self.book.kept(person.customer_ids, person.identities, by=by)
        for crm in self.ours:
            for customer_id in person.customer_ids:
                tables = await crm.kept_of(customer_id, deadline=Deadline.after(_PATIENCE))
                for table, rows in tables.items():
                    found.setdefault(table, []).extend(dict(row) for row in rows)
        return found

    async def erase(self, person: KnownPerson, *, by: str) -> Erased:
        """Remove the person for good. Raises ``StillOpen``; then nothing was changed.

        It may be done again after it broke off.
        """
        rows = await self.book.erase(person.customer_ids, person.identities, by=by)
        # Last: until then the person is found by the phone, so that this may be run again.
        for crm in self.ours:
            for customer_id in person.customer_ids:
                await crm.forget(customer_id, deadline=Deadline.after(_PATIENCE))
        return Erased(rows, len(person.customer_ids) if self.ours else 0, self.others)
