"""One ordinary call of each operation, for the scenarios that are about all of them.

This module may not know what a call is expected to do.
"""
# ruff: noqa: S101

from __future__ import annotations

import itertools
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import cast

from crm_backends.conformance.base import is_there, soon
from crm_backends.conformance.rig import ZONE, Rig
from crm_backends.model import ChannelConsents, Credit, Customer, FiscalReceipt, Holder, Profile
from crm_backends.ports import (
    KEY_LENGTH,
    Backend,
    Coupons,
    Deadline,
    FindsByCard,
    KeepsCards,
    LimitsKeys,
    Points,
    Users,
    Written,
)

FIVE = Decimal(5)
CONSENTS = ChannelConsents(allow=frozenset({"sms"}), deny=frozenset({"call"}))
_numbers = itertools.count(secrets.randbelow(10**6) * 10)


def new_person() -> Profile:
    """Somebody nobody knows; phone and e-mail are never given twice."""
    number = next(_numbers)
    return Profile(
        phone=f"+7999{number % 10**7:07d}",
        email=f"adelaida.{number}@example.com",
        first_name="Аделаида",
        patronymic="Елисеевна",
        surname="Загорулькина",
        birth_date=date(1987, 6, 5),
        sex="f",
        country_code="RU",
        locality="Урюпинск",
    )


def new_key(backend: Backend | None = None) -> str:
    """A key as the adapter makes them, which was never used: no longer than the driver says."""
    length = backend.key_length if isinstance(backend, LimitsKeys) else KEY_LENGTH
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(length))


def new_card_number() -> str:
    """A card number that was never used, of thirteen digits."""
    return f"2755{next(_numbers) % 10**9:09d}"


def five(rig: Rig) -> Credit:
    """Five points for a receipt of this minute, which no other credit has; said so where the CRM is told."""
    return Credit(FIVE if rig.takes_points else None, "Purchase", new_receipt())


def new_receipt() -> FiscalReceipt:
    """A sale of 1250 roubles an hour ago."""
    return FiscalReceipt(
        fiscal_drive="8710000101125654",
        document=str(secrets.randbelow(10**9) + 1),
        sign=str(secrets.randbelow(10**9) + 1),
        total_kopecks=125000,
        issued_at=datetime.now(ZONE).replace(second=0, microsecond=0) - timedelta(hours=1),
        calculation_type=1,
    )


def users(backend: Backend) -> Users:
    """The driver as the users port; G1 has seen that it is one."""
    return cast(Users, backend)


def by_card(backend: Backend) -> FindsByCard:
    """The driver as one that declares ``users.find_by_card``."""
    return cast(FindsByCard, backend)


def points(backend: Backend) -> Points:
    return cast(Points, backend)


def coupons(backend: Backend) -> Coupons:
    return cast(Coupons, backend)


@dataclass(frozen=True, slots=True, repr=False)
class Subject:
    """Whom the calls are about, and what they need."""

    holder: Holder
    newcomer: Profile
    """Somebody who is not in the CRM, to be registered."""
    points: str
    coupons: str
    occasion: str
    code: str
    card: str
    """The card the holder has, or is to get."""
    credit: Callable[[], Credit]
    """Five points, for another receipt at each call."""

    @property
    def customer(self) -> str:
        return self.holder.users_reference

    @property
    def person(self) -> Profile:
        return self.holder.profile

    def unknown(self, nobody: str) -> Subject:
        """The same calls, about somebody the CRM does not know."""
        holder = replace(self.holder, users_reference=nobody)
        card = new_card_number()
        return replace(self, holder=holder, points=nobody, coupons=nobody, code="NO-SUCH-CODE", card=card)


async def points_account(backend: Backend, holder: Holder) -> str:
    """The holder's account, which the CRM is known to have."""
    account = await points(backend).points_account(holder, deadline=soon())
    assert account is not None, "points_account does not know the customer that Rig.new_customer made"
    return account


async def coupons_account(backend: Backend, holder: Holder) -> str:
    """The same for coupons."""
    account = await coupons(backend).coupons_account(holder, deadline=soon())
    assert account is not None, "coupons_account does not know the customer that Rig.new_customer made"
    return account


async def new_subject(rig: Rig, backend: Backend) -> Subject:
    """A new customer, with accounts and a code where the driver has the operations for them."""
    holder = await rig.new_customer(new_person())
    account = await coupons_account(backend, holder) if "coupons" in rig.spec.ports else ""
    return Subject(
        holder=holder,
        newcomer=new_person(),
        points=await points_account(backend, holder) if "points" in rig.spec.ports else "",
        coupons=account,
        occasion=await rig.occasion() if is_there(backend, "coupons.issue") else "visit",
        code=await rig.code(account) if is_there(backend, "coupons.redeem") else "CODE",
        card=await rig.give_card(holder) if is_there(backend, "users.find_by_card") else new_card_number(),
        credit=lambda: five(rig),
    )


async def find(
    backend: Backend, *, phone: str | None = None, email: str | None = None, birth_date: date | None = None
) -> dict[str, Customer]:
    """The customers found, by id."""
    found = await users(backend).find(phone=phone, email=email, birth_date=birth_date, deadline=soon())
    by_id = {customer.customer_id: customer for customer in found}
    assert len(by_id) == len(found), "a customer is found twice"
    return by_id


async def got(backend: Backend, customer_id: str) -> Customer:
    """A customer who is known to be there."""
    customer = await users(backend).get(customer_id, deadline=soon())
    assert customer is not None
    return customer


async def listed(backend: Backend) -> list[str]:
    """All phones of ``list_phones``."""
    return [phone async for batch in users(backend).list_phones() for phone in batch]


async def _find(backend: Backend, about: Subject, deadline: Deadline) -> object:
    who = about.person
    return await users(backend).find(
        phone=who.phone, email=who.email, birth_date=who.birth_date, deadline=deadline
    )


async def _purchases(backend: Backend, about: Subject, deadline: Deadline) -> object:
    today = datetime.now(ZONE).date()
    return await points(backend).purchases(
        about.points, since=today - timedelta(days=7), until=today, deadline=deadline
    )


async def set_card(
    backend: Backend,
    customer: str,
    number: str,
    deadline: Deadline,
    *,
    replaces: str | None = None,
    idempotency_key: str | None = None,
) -> Written:
    """Tell the CRM of a card; its barcode is the number with a letter before it."""
    return await cast(KeepsCards, backend).set_card(
        customer,
        number,
        f"B{number}",
        "CODE_128",
        replaces=replaces,
        idempotency_key=idempotency_key or new_key(backend),
        deadline=deadline,
    )


PortCall = Callable[[Backend, Subject, Deadline], Awaitable[object]]
Write = Callable[[Backend, Subject, Deadline], Awaitable[Written]]
KeyedWrite = Callable[[Backend, Subject, str, Deadline], Awaitable[Written]]

READS: Mapping[str, PortCall] = {
    "users.find": _find,
    "users.get": lambda b, about, d: users(b).get(about.customer, deadline=d),
    "users.find_by_card": lambda b, about, d: by_card(b).find_by_card(about.card, deadline=d),
    "points.balance": lambda b, about, d: points(b).balance(about.points, deadline=d),
    "points.entries": lambda b, about, d: points(b).entries(about.points, limit=10, deadline=d),
    "points.purchases": _purchases,
    "coupons.offers": lambda b, about, d: coupons(b).offers(about.coupons, deadline=d),
}
"""Operation -> a call of it, for the reads that take a deadline."""

LISTING: Mapping[str, PortCall] = {"users.list_phones": lambda b, about, d: listed(b)}
"""The read without one."""

KEYED: Mapping[str, KeyedWrite] = {
    "users.register": lambda b, about, r, d: users(b).register(about.newcomer, idempotency_key=r, deadline=d),
    "points.credit": lambda b, about, r, d: points(b).credit(
        about.points, about.credit(), idempotency_key=r, deadline=d
    ),
    "coupons.issue": lambda b, about, r, d: coupons(b).issue(
        about.coupons, about.occasion, idempotency_key=r, deadline=d
    ),
    "coupons.redeem": lambda b, about, r, d: coupons(b).redeem(
        about.coupons, about.code, idempotency_key=r, deadline=d
    ),
}
"""The writes that carry a key of ours, which is given."""


def _under_a_new_key(write: KeyedWrite) -> Write:
    return lambda b, about, d: write(b, about, new_key(b), d)


WRITES: Mapping[str, Write] = {
    "users.update": lambda b, about, d: users(b).update(
        about.customer, Profile(locality="Чухлома"), deadline=d
    ),
    "users.set_consents": lambda b, about, d: users(b).set_consents(about.customer, CONSENTS, deadline=d),
    "users.set_card": lambda b, about, d: set_card(b, about.customer, about.card, d),
    **{operation: _under_a_new_key(write) for operation, write in KEYED.items()},
}

CALLS: Mapping[str, PortCall] = {**READS, **LISTING, **WRITES}


def of_port(port: str) -> list[str]:
    """The operations of a port."""
    return [operation for operation in CALLS if operation.startswith(f"{port}.")]


def those_there(backend: Backend, *tables: Mapping[str, PortCall]) -> dict[str, PortCall]:
    """The calls of these tables that the driver declares to have."""
    return {
        operation: call
        for table in tables
        for operation, call in table.items()
        if is_there(backend, operation)
    }
