"""The adapter's database is new, restored from an older dump, or one of two over one CRM.

Nobody is mistaken for another, what the CRM has done is not done again, a new receipt gets its own points.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from adapter.loyalty.model import CONFLICT
from adapter.process.embedded import EmbeddedServer
from adapter.settings import NumberRange
from contracts.sandbox import Sandbox, perx
from contracts.sandbox import running as sandbox_running
from crm_backends.ports import Deadline
from crm_backends.postgres.database import SCHEMA
from tests.integration.processes import run

from ..conftest import create_database, drop_database
from .conftest import Adapter, new_phone, running, settings_for_tests

QR = "/v1/promo/qrCode"
DELIVERY = {"retry_first": 0.05, "reconcile_after": 0.3, "call_timeout": 2.0}


class Crm(ABC):
    """A CRM that outlives the adapter's database."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The section [crm]."""

    @abstractmethod
    async def credits(self) -> Counter[tuple[str, Decimal]]:
        """How often which account was really credited with how many points."""

    @abstractmethod
    async def customers(self) -> int:
        """How many customers it has that were registered here."""


@dataclass
class PostgresCrm(Crm):
    url: str

    def settings(self) -> dict[str, Any]:
        return {"driver": "postgres", "url": self.url, "manage_schema": False}

    async def _rows(self, statement: str) -> list[Any]:
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    async def credits(self) -> Counter[tuple[str, Decimal]]:
        rows = await self._rows("SELECT customer_id::text, amount FROM crm.points_ledger")
        return Counter((row[0], row[1]) for row in rows)

    async def customers(self) -> int:
        return len(await self._rows("SELECT FROM crm.customers"))


@dataclass
class PerxCrm(Crm):
    sandbox: Sandbox
    identifier: str

    def settings(self) -> dict[str, Any]:
        return {
            "driver": "perx",
            "base_url": self.sandbox.base_url,
            "client_id": perx.CLIENT_ID,
            "client_secret": perx.CLIENT_SECRET,
            "merchant_identifier": perx.MERCHANT_IDENTIFIER,
            "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
            "identifier": self.identifier,
            "identifier_secret": "only for tests, and long enough",
            "send_phone": True,
            "send_names": True,
        }

    async def credits(self) -> Counter[tuple[str, Decimal]]:
        found = self.sandbox.ledger().select("points_credited")
        return Counter((str(effect.customer), effect.amount or Decimal(0)) for effect in found)

    async def customers(self) -> int:
        return self.sandbox.ledger().count("customer_created")


@dataclass
class World:
    """One CRM, and adapters over databases that come and go."""

    server: EmbeddedServer
    crm: Crm
    template: str
    stack: AsyncExitStack
    people: list[dict[str, str]] = field(default_factory=list)
    _documents: int = 1000

    async def database(self, template: str | None = None) -> str:
        """A new database with the adapter's schema, or a copy of one that nobody uses."""
        url = await create_database(self.server, template or self.template)
        self.stack.push_async_callback(drop_database, self.server, url)
        return url

    async def dump(self, url: str) -> str:
        """Name of a copy of a database that nobody uses just now."""
        return urlsplit(await self.database(urlsplit(url).path.removeprefix("/"))).path.removeprefix("/")

    @asynccontextmanager
    async def adapter(self, url: str, rate: Decimal = Decimal(1)) -> AsyncIterator[Adapter]:
        settings = settings_for_tests(
            crm=self.crm.settings(),
            receipts={"wait": 10.0, "rate": rate},
            server={"deadline": 15.0},
            delivery=DELIVERY,
            # As delivered: drawn at random, so that another database does not give the same numbers.
            cards={"ranges": [NumberRange(prefix="29", length=19)]},
        )
        async with running(settings, url) as adapter:
            yield adapter

    def person(self) -> dict[str, str]:
        self.people.append({"phone": new_phone(), "firstname": "Somebody"})
        return self.people[-1]

    def receipt(self, roubles: int) -> dict[str, str]:
        """What makes the receipt, the same whoever reads it."""
        self._documents += 1
        return {"i": str(self._documents), "s": f"{roubles}.00"}


async def credited(adapter: Adapter, card: str, receipt: dict[str, str]) -> int:
    """Send it; tells the points that the caller is told."""
    answer = await adapter.post(QR, {"qrCode": adapter.qr(changed=receipt), "cardNumber": card})
    assert answer.status == 200, answer
    assert answer.body["status"] == "credited", answer
    return int(answer.body["points"])


async def seen(adapter: Adapter, number: str) -> tuple[int, str | None]:
    """Balance that the holder of the card is shown, and the phone of the customer behind it."""
    shown = (await adapter.get(f"/v1/card/{number}")).body
    card = await adapter.service.cards.get(number)
    assert card is not None
    owner = await adapter.service.programme.users.get(card.users_reference or "", deadline=Deadline.after(5))
    assert owner is not None
    return int(shown["card"]["bonus"]["total"]), (owner.profile.phone or "").removeprefix("+")


@pytest.fixture(params=["postgres", "perx", "perx, token"])
async def world(
    request: pytest.FixtureRequest, postgresql: EmbeddedServer, template: str
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        kind, _, identifier = request.param.partition(", ")
        crm: Crm
        if kind == "postgres":
            url = await create_database(postgresql, "template0")
            stack.push_async_callback(drop_database, postgresql, url)
            connection = await asyncpg.connect(url)
            await connection.execute(SCHEMA.read_text(encoding="utf-8"))
            await connection.close()
            crm = PostgresCrm(url)
        else:
            sandbox = await stack.enter_async_context(sandbox_running("perx"))
            crm = PerxCrm(sandbox, identifier or "hmac_phone")
        yield World(postgresql, crm, template, stack)


async def used(world: World, adapter: Adapter, people: int = 4) -> dict[str, tuple[dict[str, str], int]]:
    """Register so many people, each with a receipt of a sum of its own; by card: receipt and points."""
    cards: dict[str, tuple[dict[str, str], int]] = {}
    for number in range(1, people + 1):
        card = await adapter.issue(**world.person())
        receipt = world.receipt(10 * number)
        cards[card] = receipt, await credited(adapter, card, receipt)
    return cards


async def test_a_new_and_empty_database_over_a_crm_that_was_used(world: World) -> None:
    async with world.adapter(await world.database()) as before:
        old = await used(world, before)
    assert [points for _, points in old.values()] == [10, 20, 30, 40]
    old_people = list(world.people)
    done = await world.crm.credits()
    async with world.adapter(await world.database()) as after:
        for number in range(4):
            person = world.person()
            card = await after.issue(**person)
            assert await seen(after, card) == (0, person["phone"])
            assert await credited(after, card, world.receipt(7 + number)) == 7 + number
            assert await seen(after, card) == (7 + number, person["phone"])
        assert await world.crm.customers() == 8
        assert (await world.crm.credits() - done).total() == 4
        for person, (receipt, points) in zip(old_people, old.values(), strict=True):
            card = await after.issue(phone=person["phone"])
            assert await seen(after, card) == (points, person["phone"])
            assert await credited(after, card, receipt) == points
        assert await world.crm.customers() == 8
        assert (await world.crm.credits() - done).total() == 4


async def test_a_database_restored_from_an_older_dump(world: World) -> None:
    url = await world.database()
    async with world.adapter(url) as adapter:
        early = await used(world, adapter, 2)
    dump = await world.dump(url)
    async with world.adapter(url) as adapter:
        (card, _), *_ = early.items()
        late = world.receipt(50)
        assert await credited(adapter, card, late) == 50
        lost = await used(world, adapter, 3)
    done = await world.crm.credits()
    async with world.adapter(await world.database(dump)) as adapter:
        assert await credited(adapter, card, late) == 50
        assert (await world.crm.credits() - done).total() == 0, "it was credited before the loss"
        for number in range(3):
            person = world.person()
            new = await adapter.issue(**person)
            assert await seen(adapter, new) == (0, person["phone"])
            assert await credited(adapter, new, world.receipt(80 + number)) == 80 + number
        assert await credited(adapter, card, world.receipt(90)) == 90
    assert await world.crm.customers() == 2 + len(lost) + 3
    assert (await world.crm.credits() - done).total() == 4


async def test_two_adapters_over_one_crm(world: World) -> None:
    async with (
        world.adapter(await world.database()) as one,
        world.adapter(await world.database()) as other,
    ):
        people = {"one": [world.person() for _ in range(4)], "other": [world.person() for _ in range(4)]}

        async def enrol(adapter: Adapter, person: dict[str, str], roubles: int) -> None:
            card = await adapter.issue(**person)
            assert await credited(adapter, card, world.receipt(roubles)) == roubles
            assert await seen(adapter, card) == (roubles, person["phone"])

        await asyncio.gather(
            *[enrol(one, person, 10 + number) for number, person in enumerate(people["one"])],
            *[enrol(other, person, 20 + number) for number, person in enumerate(people["other"])],
        )
        assert await world.crm.customers() == 8
        assert set((await world.crm.credits()).values()) == {1}
        # The same person, and the same receipt, at both: one customer, one credit, one answer.
        shared = people["one"][0]
        receipt = world.receipt(70)
        cards = [await adapter.issue(phone=shared["phone"]) for adapter in (one, other)]
        told = [
            await credited(adapter, card, receipt) for adapter, card in zip((one, other), cards, strict=True)
        ]
        assert told == [70, 70]
        assert await world.crm.customers() == 8
        assert (await world.crm.credits()).total() == 9


async def test_what_the_crm_knows_otherwise_is_a_conflict_and_shown(world: World, tmp_path: Path) -> None:
    """The same receipt, once more, worth more by other rules: nothing is put on, and nobody is told so."""
    async with world.adapter(await world.database()) as before:
        card = await before.issue(**world.person())
        receipt = world.receipt(40)
        assert await credited(before, card, receipt) == 40
    done = await world.crm.credits()
    url = await world.database()
    async with world.adapter(url, rate=Decimal(2)) as after:
        card = await after.issue(phone=world.people[0]["phone"])
        answer = await after.post(QR, {"qrCode": after.qr(changed=receipt), "cardNumber": card})
        assert answer.status == 422 or answer.body["status"] != "credited", answer
        row = "SELECT state || ': ' || reason FROM koshelek.operations WHERE kind = 'receipt'"
        assert await after.sql(row) == f"held: {CONFLICT}"
        assert await world.crm.credits() == done
        (tmp_path / "koshelek-adapter.toml").write_text(f'[database]\nurl = "{url}"\n', encoding="utf-8")
        shown = await asyncio.to_thread(run, "receipts", "held", cwd=tmp_path)
        assert CONFLICT in shown.out, shown
