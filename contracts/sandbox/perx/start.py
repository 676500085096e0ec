"""What the stand-in for Perx has from the start, and what a test may add."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from contracts.sandbox.people import ANNA, BORIS, PEOPLE
from contracts.sandbox.perx.keeping import Keeping
from contracts.sandbox.perx.records import DAY, IDENTIFIERS
from contracts.sandbox.perx.rewards import COFFEE, DISCOUNT, REWARDS
from contracts.sandbox.perx.switches import NewCustomer
from contracts.sandbox.server import now


class Start(Keeping):
    """Balances agree with the history but for one trap: a burn that failed is in it, too."""

    def populate(self) -> None:
        self.accounts, self.movements, self.vouchers, self.reservations = {}, [], {}, {}
        self._numbers = itertools.count(1001)
        for person in PEOPLE:
            account = self._add_account(
                identifier=IDENTIFIERS[person.phone],
                phone=person.phone,
                email=person.email,
                first_name=person.first_name,
                last_name=person.last_name,
                personal_properties={"birthday": person.birth_date.isoformat()},
            )
            account.points = person.points
        anna, boris, _vera = self.accounts.values()
        anna.aging = [(now().date() + 30 * DAY, Decimal(250)), (now().date() + 90 * DAY, Decimal(400))]
        purchase = {"type": "Transaction", "data": {"transaction_type": "purchase", "currency": "RUB"}}
        self._move(
            anna, ANNA.points, "Purchase", "seed-1", ago=20 * DAY, money=Decimal(125000), details=purchase
        )
        self._move(
            boris, BORIS.points, "Purchase", "seed-2", ago=10 * DAY, money=Decimal(8000), details=purchase
        )
        self._move(
            boris,
            Decimal(-500),
            "Points redemption",
            "seed-3",
            ago=5 * DAY,
            properties={"error_message": "Insufficient points", "requested_by": "till 4"},
        )
        self._give(anna, REWARDS[COFFEE])
        self._give(anna, REWARDS[DISCOUNT])
        self._give(boris, REWARDS[COFFEE]).code = None

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer with the fields of ``NewCustomer``."""
        wanted = NewCustomer.model_validate(values)
        if self._by_identifier(wanted.identifier) is not None:
            raise ValueError(f"identifier: {wanted.identifier} is taken")
        unknown = [number for number in wanted.rewards if number not in REWARDS]
        if unknown:
            raise ValueError(f"rewards: no reward {unknown[0]}; there are: {', '.join(map(str, REWARDS))}")
        account = self._add_account(**wanted.model_dump(exclude={"points", "rewards"}))
        if wanted.points:
            account.points = wanted.points
            self._move(account, wanted.points, "Opening balance", None)
        for number in wanted.rewards:
            self._give(account, REWARDS[number])
        return account.as_json()
