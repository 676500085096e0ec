"""A users CRM whose search is seconds behind what it has confirmed: one person, one customer, one card."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from datetime import date

import pytest

from adapter.errors import Code
from adapter.loyalty.finding import TwoStepFinder
from crm_backends.model import Customer, Profile
from crm_backends.ports import Deadline, Reconciliation, Refusal, Written

from .conftest import Adapter, StartAdapter, new_phone

BEHIND = 3.0
"""Seconds by which the search is behind."""
PEOPLE, AT_ONCE, TIMES = 40, 3, 3
BUSY = (Code.OVERLOADED, Code.STILL_WORKING, Code.DATABASE_DOWN, Code.CRM_DOWN)


class LaggingUsers:
    """People who are found only some seconds after they were registered. It takes anybody, also twice.

    ``by_key``: a registration under a reference that it knows is the same one.
    """

    finds_by_email = True

    def __init__(self, *, by_key: bool) -> None:
        self.reconciliation = Reconciliation.KEY if by_key else Reconciliation.PROBE
        self.rows: list[tuple[float, Customer, str]] = []

    def _seen(self) -> Sequence[Customer]:
        return [customer for at, customer, _ in self.rows if time.monotonic() - at >= BEHIND]

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[Customer]:
        return [customer for customer in self._seen() if phone and customer.profile.phone == phone]

    async def get(self, customer_id: str, *, deadline: Deadline) -> Customer | None:
        return next((customer for customer in self._seen() if customer.customer_id == customer_id), None)

    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        await asyncio.sleep(0.05)
        if self.reconciliation is Reconciliation.KEY:
            for _, customer, known in self.rows:
                if known == idempotency_key:
                    return Written.done(customer.customer_id)
        elif any(customer.profile.phone == profile.phone for customer in self._seen()):
            return Written.refused(Refusal.CONFLICT)
        customer = Customer(f"customer-{len(self.rows) + 1}", profile)
        self.rows.append((time.monotonic(), customer, idempotency_key))
        return Written.done(customer.customer_id)

    async def update(self, customer: str, profile: Profile, *, deadline: Deadline) -> Written:
        return Written.done(customer)


@pytest.mark.parametrize("by_key", [True, False], ids=["with a key", "without a key"])
async def test_one_person_one_customer_one_card(start: StartAdapter, by_key: bool) -> None:
    adapter = await start()
    users = LaggingUsers(by_key=by_key)
    _replace_users(adapter, users)
    told: dict[str, set[str]] = {}

    async def call(phone: str) -> None:
        """Until there is a card, as Koshelek repeats a call; a busy machine may answer that it is."""
        answer = await adapter.post("/v1/card/anonymous", {"phone": phone})
        while answer.status != 200:
            assert answer.code in BUSY, answer
            await asyncio.sleep(0.2)
            answer = await adapter.post("/v1/card/anonymous", {"phone": phone})
        told.setdefault(phone, set()).add(answer.body["card"]["cardNumber"])

    async def person(phone: str) -> None:
        for _ in range(TIMES):
            await asyncio.gather(*[call(phone) for _ in range(AT_ONCE)])
            await asyncio.sleep(BEHIND / 2)

    phones = [new_phone() for _ in range(PEOPLE)]
    await asyncio.gather(*map(person, phones))
    assert [len(numbers) for numbers in told.values()] == [1] * PEOPLE
    assert len({number for numbers in told.values() for number in numbers}) == PEOPLE
    assert len(users.rows) == PEOPLE


class ForgetfulUsers(LaggingUsers):
    """A CRM that calls every new customer by the id of the first one, and keeps the first one's phone."""

    def _seen(self) -> Sequence[Customer]:
        return [customer for _, customer, _ in self.rows[:1]]

    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        self.rows.append((time.monotonic(), Customer("customer-1", profile), idempotency_key))
        return Written.done("customer-1")


async def test_nobody_gets_the_card_of_another_whose_id_the_crm_gives_them(start: StartAdapter) -> None:
    adapter = await start()
    _replace_users(adapter, ForgetfulUsers(by_key=True))
    first, second = {"phone": new_phone()}, {"phone": new_phone()}
    own = await adapter.post("/v1/card/anonymous", first)
    assert own.status == 200
    for _ in range(2):  # also where the registration has ended already
        refused = await adapter.post("/v1/card/anonymous", second)
        assert (refused.status, refused.code) == (422, Code.CONFLICT)
    assert (await adapter.post("/v1/card/anonymous", first)).body == own.body


def _replace_users(adapter: Adapter, users: LaggingUsers) -> None:
    """Let the use cases and the delivery know these people instead of the adapter's own."""
    programme = adapter.service.programme
    finder = TwoStepFinder(users, adapter.service.cards, None)  # type: ignore[arg-type]
    changed = dataclasses.replace(
        programme,
        users=users,  # type: ignore[arg-type]
        finder=finder,
        points=None,
        coupons=None,
    )
    for field in dataclasses.fields(programme):
        object.__setattr__(programme, field.name, getattr(changed, field.name))
