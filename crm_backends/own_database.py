"""What a driver may offer whose CRM is in the adapter's own database, or keeps people as that one does.

No driver has to offer any of this: without it the adapter asks through the ports, with the same result. This
module may not know any driver, nor the adapter's tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import asyncpg

from crm_backends.model import CrmCard, Customer, Wanted
from crm_backends.ports import Deadline


@runtime_checkable
class SharesDatabase(Protocol):
    """A driver whose CRM may be in the adapter's own database, so that both fail together."""

    @property
    def in_adapters_database(self) -> bool:
        """Whether it is, as the settings have it."""


@runtime_checkable
class KeepsOneCustomerId(Protocol):
    """A driver of several ports that may keep a customer under the same id in all of them."""

    @property
    def accounts_are_customers(self) -> bool:
        """Whether a customer's id is also the account of their points and coupons."""


@runtime_checkable
class JoinsOurTables(Protocol):
    """A Users driver that can join the adapter's tables in its own statements. For speed alone."""

    @property
    def finds_many(self) -> bool:
        """Whether ``find_many`` may be used."""

    async def find_many(
        self, wanted: Sequence[Wanted], join: str, *, deadline: Deadline
    ) -> Sequence[Sequence[tuple[Customer, asyncpg.Record]]]:
        """``Users.find`` for several at once, its rows, called ``found``, joined by this SQL."""

    @property
    def finds_many_by_card(self) -> bool:
        """Whether ``find_many_by_card`` may be used."""

    async def find_many_by_card(
        self, numbers: Sequence[str], join: str, *, deadline: Deadline
    ) -> Sequence[asyncpg.Record]:
        """``FindsByCard.find_by_card`` for several at once, joined in the same way."""

    def crm_card(self, row: asyncpg.Record, number: str) -> CrmCard:
        """What a row of ``find_many_by_card`` tells of the number."""
