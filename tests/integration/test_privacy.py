"""A person in every corner: shown, erased, and searched for in the whole database and all logs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from adapter.process.embedded import EmbeddedServer
from tests.integration.processes import PASSWORD, Answer, Ended, Running, call, free_ports, run

PHONE, OTHER = "79161230987", "79161230986"
PLANTED = {
    "phone": PHONE,
    "email": "Planted.Person@example.com",
    "firstname": "Посажен",
    "surname": "Посаженный",
    "birthDate": "1987-06-05",
    "locality": "Посадск",
}
NEEDLES = (PHONE, "planted.person@", "Посажен", "1987-06-05", "Посадск", "planted item")
"""What must be nowhere afterwards, in any case of letters."""

_TABLES = """
    SELECT format('%I.%I', nspname, relname) AS name
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE relkind IN ('r', 'p', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')
       AND nspname NOT LIKE 'pg_toast%'
"""


async def places(url: str) -> set[tuple[str, str]]:
    """Every table of the database, and what of the person stands in it."""
    connection = await asyncpg.connect(url)
    try:
        found = set()
        for row in await connection.fetch(_TABLES):
            for needle in NEEDLES:
                asked = f"SELECT EXISTS (SELECT FROM {row['name']} AS row WHERE row::text ILIKE $1)"
                if await connection.fetchval(asked, f"%{needle}%"):
                    found.add((row["name"], needle))
        return found
    finally:
        await connection.close()


def _written(folder: Path, pattern: str) -> str:
    files = [file for file in folder.glob(pattern) if file.is_file()]
    return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


class Shop:
    """A running service, and what happens in it."""

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self.folder, self.url, self.port = folder, url, port

    async def call(self, verb: str, path: str, body: object = None) -> Answer:
        return await asyncio.to_thread(call, self.port, verb, path, body)

    async def command(self, *words: str) -> Ended:
        return await asyncio.to_thread(run, *words, cwd=self.folder)

    async def sql(self, statement: str, *arguments: object) -> object:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def receipt(self, card: str, document: int) -> Answer:
        moment = datetime.now(ZoneInfo("Europe/Moscow")) - timedelta(hours=1)
        qr = f"t={moment:%Y%m%d}T0001&s=1000.00&fn=8710000101125654&i={document}&fp=1250448795&n=1"
        return await self.call("POST", "/v1/promo/qrCode", {"qrCode": qr, "cardNumber": card})

    async def ended(self) -> None:
        """Wait until nothing is under way any more."""
        until = time.monotonic() + 15
        while await self.sql(
            "SELECT count(*) FROM koshelek.operations WHERE state NOT IN ('done', 'refused')"
        ):
            assert time.monotonic() < until
            await asyncio.sleep(0.1)

    async def plant(self) -> str:
        """The person in every table that can hold something of a person; returns the card's number."""
        answer = await self.call("POST", "/v1/card/anonymous", PLANTED)
        card = str(answer.json["card"]["cardNumber"])
        customer = await self.sql("SELECT users_reference FROM koshelek.cards WHERE number = $1", card)
        consents = {"allow": ["sms"], "deny": ["email"]}
        assert (await self.call("PUT", f"/v1/card/{card}/communication", consents)).status == 200
        assert (await self.receipt(card, 7)).status == 200
        await self.sql("INSERT INTO crm.promo_codes (code, points) VALUES ('SPRING', 10)")
        promo = await self.call("POST", "/v1/promo/code", {"code": "SPRING", "cardNumber": card})
        assert promo.status == 200, promo.raw
        await self.ended()
        await self.sql("INSERT INTO koshelek.consents VALUES ($1, 'push', true)", card)
        await self.sql("INSERT INTO koshelek.last_balances VALUES ($1, 60, 60)", card)
        await self.sql("INSERT INTO koshelek.emails VALUES ('planted.person@example.com', $1)", customer)
        await self.sql(
            "UPDATE koshelek.operations SET message = $1, detail = $1, before = '{}' WHERE card_number = $2",
            f"told {PHONE}",
            card,
        )
        await self.sql(
            "INSERT INTO koshelek.operation_events (operation_id, who, from_state, to_state, attempt, note) "
            "SELECT id, 'somebody', 'held', 'done', 1, $1 FROM koshelek.operations WHERE card_number = $2",
            f"called {PHONE}",
            card,
        )
        await self.sql(
            "INSERT INTO koshelek.console_audit (who, action, card_number, note) "
            "VALUES ('review', 'shown', $1, $2)",
            card,
            f"asked by {PHONE}",
        )
        await self.sql(
            "INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks) "
            "VALUES ($1::text::bigint, now(), 'planted item', 100)",
            customer,
        )
        new = "2900999999999"
        note = f"lost, said {PHONE}"
        done = await self.command("cards", "replace", card, new, "--yes", "--note", note, "--by", "review")
        assert done.status == 0, done.text
        return new


@asynccontextmanager
async def shop(folder: Path, url: str) -> AsyncIterator[Shop]:
    (port,) = free_ports(1)
    (folder / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{url}"\n[server]\nport = {port}\n'
        '[management]\nenabled = false\n[log]\nformat = "json"\nlevel = "debug"\n'
        '[[cards.ranges]]\nprefix = "2900"\n',
        encoding="utf-8",
    )
    with Running("serve", cwd=folder) as serve:
        await asyncio.to_thread(serve.wait_for, '"ready"')
        yield Shop(folder, url, port)


async def test_an_erased_person_is_nowhere_and_the_money_is_where_it_was(
    tmp_path: Path, database: str, postgresql: EmbeddedServer
) -> None:
    async with shop(tmp_path, database) as service:
        card = await service.plant()
        before = {table for table, _ in await places(database)}
        assert before >= {
            "crm.customers",
            "crm.purchases",
            "koshelek.operations",
            "koshelek.operation_events",
            "koshelek.card_events",
            "koshelek.console_audit",
            "koshelek.emails",
        }
        other = (await service.call("POST", "/v1/card/anonymous", {"phone": OTHER})).json["card"]
        await service.ended()
        ledger = "SELECT string_agg(points_ledger::text, ';' ORDER BY id) FROM crm.points_ledger"
        money = await service.sql(ledger)

        done = await service.command("person", "erase", "--phone", f"+{PHONE}", "--yes", "--by", "review")
        assert done.status == 0, done.text
        assert PHONE not in done.text

        assert await places(database) == set()
        assert await service.sql(ledger) == money
        # Nobody is credited for the receipt again, and nobody gets the number.
        again = await service.receipt(other["cardNumber"], 7)
        assert (again.status, again.json["code"]) == (422, "306")
        assert await service.sql(ledger) == money
        assert await service.sql("SELECT state FROM koshelek.cards WHERE number = $1", card) == "inactive"
        assert (await service.call("GET", f"/v1/card?msisdn={PHONE}")).raw == b""
        assert (await service.call("GET", f"/v1/card?msisdn={OTHER}")).json["card"] == other
        anew = await service.call("POST", "/v1/card/anonymous", {"phone": PHONE})
        assert anew.json["card"]["cardNumber"] not in (card, other["cardNumber"])
        assert (
            await service.sql("SELECT who FROM koshelek.card_events WHERE event = 'erased' LIMIT 1")
            == "review"
        )
    logs = _written(tmp_path, "adapter-*") + _written(postgresql.data, "log")
    assert '"event":"request"' in logs
    assert "database system is ready" in logs
    for needle in NEEDLES:
        assert needle.lower() not in logs.lower(), needle


async def test_everything_that_is_kept_is_shown_to_who_asks_and_that_is_noted(
    tmp_path: Path, database: str
) -> None:
    async with shop(tmp_path, database) as service:
        card = await service.plant()
        words = ("person", "export", "--phone", PHONE, "--by", "review", "--output", "person.json")
        done = await service.command(*words)
        assert done.status == 0, done.text
        file = tmp_path / "person.json"
        assert file.stat().st_mode & 0o777 == 0o600
        shown = json.loads(file.read_text(encoding="utf-8"))
        assert {row["number"] for row in shown["cards"]} >= {card}
        in_database = {table.removeprefix("koshelek.") for table, _ in await places(database)}
        for table in in_database:
            assert any(
                needle.lower() in json.dumps(shown[table], ensure_ascii=False).lower() for needle in NEEDLES
            )
        assert shown["consents"]
        assert shown["last_balances"]
        assert shown["crm.points_ledger"]
        seen = await service.sql(
            "SELECT count(*) FROM koshelek.card_events WHERE event = 'shown' AND who = 'review'"
        )
        assert seen == len(shown["cards"])
        assert (await service.command(*words)).status == 1  # the file is there


async def test_a_person_with_something_under_way_is_not_erased(tmp_path: Path, database: str) -> None:
    async with shop(tmp_path, database) as service:
        await service.plant()
        before = await places(database)
        await service.sql("UPDATE koshelek.operations SET state = 'held' WHERE kind = 'receipt'")
        done = await service.command("person", "erase", "--phone", PHONE, "--yes")
        assert done.status == 1
        assert "1 operations of this person are not over" in done.err
        assert await places(database) == before


async def test_nothing_happens_without_a_yes_or_for_nobody(tmp_path: Path, database: str) -> None:
    async with shop(tmp_path, database) as service:
        await service.plant()
        before = await places(database)
        assert (await service.command("person", "erase", "--phone", PHONE)).status == 1
        assert (await service.command("person", "erase", "--phone", "no phone", "--yes")).status == 1
        nobody = await service.command("person", "erase", "--phone", OTHER, "--yes")
        assert (nobody.status, nobody.out) == (1, "")
        assert "knows nobody like that" in nobody.err
        assert (await service.command("person", "export", "--phone", OTHER)).status == 1
        assert "say who" in (await service.command("person", "erase", "--yes")).err
        assert await places(database) == before


async def test_nobody_else_is_erased_beside_a_person(tmp_path: Path, database: str) -> None:
    async with shop(tmp_path, database) as service:
        await service.plant()
        answer = await service.call("POST", "/v1/card/anonymous", {"phone": OTHER})
        card = answer.json["card"]["cardNumber"]
        owner = "SELECT users_reference FROM koshelek.cards WHERE number = $1"
        other = str(await service.sql(owner, card))
        refused = await service.command("person", "erase", "--phone", PHONE, "--customer", other, "--yes")
        assert (refused.status, refused.out) == (1, "")
        assert "it is another customer's" in refused.err
        assert str(await service.sql(owner, card)) == other
        # Two customers with one phone: nobody is erased before one of them is named.
        await service.sql("ALTER TABLE crm.customers DROP CONSTRAINT IF EXISTS customers_phone_key")
        await service.sql("DROP INDEX IF EXISTS crm.customers_phone_key")
        await service.sql(
            "UPDATE crm.customers SET phone = $1 WHERE id = $2::bigint", f"+{PHONE}", int(other)
        )
        both = await service.command("person", "erase", "--phone", PHONE, "--yes")
        assert (both.status, both.out) == (1, "")
        assert "2 customers have it" in both.err
        one = await service.command("person", "erase", "--phone", PHONE, "--customer", other, "--yes")
        assert one.status == 0, one.text
        assert await service.sql(owner, card) is None
        assert await service.sql("SELECT count(*) FROM crm.customers WHERE phone = $1", f"+{PHONE}") == 1


async def test_a_file_that_cannot_be_written_shows_nobody(tmp_path: Path, database: str) -> None:
    async with shop(tmp_path, database) as service:
        await service.plant()
        (tmp_path / "there.json").touch()
        done = await service.command("person", "export", "--phone", PHONE, "--output", "there.json")
        assert done.status == 1
        shown = "SELECT count(*) FROM koshelek.card_events WHERE event = 'shown'"
        assert await service.sql(shown) == 0


async def test_the_phone_of_a_registration_is_kept_hashed(tmp_path: Path, database: str) -> None:
    async with shop(tmp_path, database) as service:
        first = (await service.call("POST", "/v1/card/anonymous", PLANTED)).json
        await service.ended()
        identity = await service.sql("SELECT identity FROM koshelek.operations WHERE kind = 'registration'")
        assert isinstance(identity, str)
        assert len(identity) == 64
        # The same person is still recognised, by another process as well.
        assert (await service.call("POST", "/v1/card/anonymous", PLANTED)).json == first


async def test_phones_of_registrations_from_before_are_hashed_by_the_update(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapter.store import migrate as migrating
    from adapter.store.identities import Identities
    from adapter.store.pool import Gateway

    older = [one for one in migrating.migrations() if one[0] < 12]
    with monkeypatch.context() as patched:
        patched.setattr("adapter.store.migrate.migrations", lambda: older)
        await migrating.migrate(fresh_database)
    async with asyncpg.create_pool(fresh_database, min_size=1, max_size=2) as pool:
        await pool.execute(
            "INSERT INTO koshelek.operations (kind, identity, fingerprint, request) "
            "VALUES ('registration', '+79161230987', '', '{}'), ('receipt', '1:2:3', '', '{}')"
        )
        await migrating.migrate(fresh_database)
        kept = await pool.fetch("SELECT kind, identity FROM koshelek.operations ORDER BY id")
        hashed = await Identities(Gateway(pool, 1.0)).kept("+79161230987")
    assert [tuple(row) for row in kept] == [("registration", hashed), ("receipt", "1:2:3")]
