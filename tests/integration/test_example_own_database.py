"""The worked example of a shop's own database, as it stands: its SQL, its settings, its files.

A copy of the folder gets the secrets; the commands are those of the page.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from tests.integration.processes import PASSWORD, Answer, Running, call, free_ports, run

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "own-database"
ANNA, BORIS = "79000000001", "79000000002"


@pytest.fixture
async def shop(fresh_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The shop's database with what the page adds to it."""
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("DROP ROLE IF EXISTS koshelek")
    for name in ("schema.sql", "data.sql", "additions.sql"):
        await connection.execute((EXAMPLE / name).read_text(encoding="utf-8"))
    yield connection
    await connection.execute("DROP OWNED BY koshelek; DROP ROLE koshelek")
    await connection.close()


@pytest.fixture
def folder(
    shop: asyncpg.Connection[asyncpg.Record], fresh_database: str, database: str, tmp_path: Path
) -> Path:
    """A copy of the example with its secrets."""
    copy = tmp_path / "own-database"
    shutil.copytree(EXAMPLE, copy)
    (copy / "secrets").mkdir(0o700)
    for name, secret in {
        "koshelek-password": PASSWORD,
        "database-url": database,
        "shop-url": fresh_database.replace("://postgres:@", "://koshelek:@"),
    }.items():
        (copy / "secrets" / name).write_text(f"{secret}\n", encoding="utf-8")
    return copy


def check(folder: Path, *options: str) -> list[dict[str, str]]:
    done = run("check", "--json", *options, cwd=folder, timeout=60)
    found = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 0, [line for line in found if line["state"] != "ok"]
    return found


async def test_the_additions_come_whole_or_not_at_all_though_the_role_is_there(
    shop: asyncpg.Connection[asyncpg.Record],
) -> None:
    """A role is the whole server's: the second database once got half of it, and could not be mended."""
    additions = (EXAMPLE / "additions.sql").read_text(encoding="utf-8")
    await shop.execute("DROP SCHEMA shop CASCADE")
    await shop.execute((EXAMPLE / "schema.sql").read_text(encoding="utf-8"))
    await shop.execute("ALTER TABLE shop.promo RENAME TO promos")  # is met near the end
    with pytest.raises(asyncpg.UndefinedObjectError):
        await shop.execute(additions)
    await shop.execute("ROLLBACK")
    assert await shop.fetchval("SELECT to_regproc('shop.last_ten')") is None
    await shop.execute("ALTER TABLE shop.promos RENAME TO promo")
    await shop.execute(additions)
    assert await shop.fetchval("SELECT has_table_privilege('koshelek', 'shop.bonus', 'INSERT')")


async def test_check_finds_nothing_to_say(folder: Path) -> None:
    found = check(folder)
    # The role of this try may do too much with the adapter's own tables, which is told.
    assert [(line["state"], line["subject"]) for line in found if line["state"] != "ok"] == [
        ("warn", "rights")
    ]
    text = "\n".join(line["detail"] for line in found)
    assert "16 of 16 fit and may be executed" in text
    assert "coupons_issue.sql: declined: offers go by the status of a customer" in text
    assert "3 of the list read, 3 of them written otherwise" in text


async def test_a_right_that_lacks_inside_a_function_is_found_with_its_grant(
    folder: Path, shop: asyncpg.Connection[asyncpg.Record]
) -> None:
    await shop.execute("REVOKE INSERT ON shop.bonus FROM koshelek")
    done = run("check", "--json", cwd=folder, timeout=60)
    assert done.status == 1
    (wrong,) = [line for line in map(json.loads, done.out.splitlines()) if line["state"] == "fail"]
    assert "shop.koshelek_credit" in wrong["detail"]
    assert wrong["remedy"] == "GRANT INSERT ON TABLE shop.bonus TO koshelek;"
    await shop.execute(wrong["remedy"])
    check(folder)


async def test_check_walks_a_person_through(folder: Path) -> None:
    told = {line["subject"]: line["detail"] for line in check(folder, "--phone", ANNA)}
    assert '"cardNumber": "2900…024", "cardState": "active"' in told["find"]
    assert '"total": "380"' in told["balance"]
    assert '"amount": "38000"' in told["purchases"]
    assert told["getAllUsers"].startswith("told, as number 1")


async def test_the_files_keep_the_promise_of_one_effect(
    folder: Path, shop: asyncpg.Connection[asyncpg.Record]
) -> None:
    found = check(folder, "--writes", "--yes")
    assert [line["state"] for line in found if line["subject"] in ("registration", "credit")] == ["ok"] * 8
    assert await _balances_hold(shop)


async def _balances_hold(shop: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Whether every running balance is the sum of all changes up to it."""
    return not await shop.fetchval(
        "SELECT count(*) FROM (SELECT balance <> sum(change) OVER (PARTITION BY client ORDER BY id) AS off "
        "FROM shop.bonus) AS rows WHERE off"
    )


class Shop:
    """The adapter on this database, and a caller."""

    def __init__(self, port: int, crm: asyncpg.Connection[asyncpg.Record], url: str) -> None:
        self.port, self.crm, self.url = port, crm, url

    async def call(self, verb: str, path: str, body: Any = None) -> Answer:
        return await asyncio.to_thread(call, self.port, verb, path, body)

    async def good(self, verb: str, path: str, body: Any = None) -> Any:
        answer = await self.call(verb, path, body)
        assert answer.status == 200, answer.raw
        return answer.json

    async def code(self, verb: str, path: str, body: Any = None) -> str:
        answer = await self.call(verb, path, body)
        assert answer.status == 422, answer.raw
        return str(answer.json["code"])

    def receipt(self, number: int) -> str:
        bought = datetime.now(ZoneInfo("Europe/Moscow")) - timedelta(hours=1)
        return f"t={bought:%Y%m%dT%H%M}&s=1000.00&fn=9999078900004792&i={number}&fp=3522207165&n=1"


@pytest.fixture
def served(folder: Path, shop: asyncpg.Connection[asyncpg.Record], fresh_database: str) -> Iterator[Shop]:
    port, management = free_ports(2)
    with Running("serve", "--port", str(port), "--management-port", str(management), cwd=folder) as serving:
        serving.wait_for('"ready"')
        yield Shop(port, shop, fresh_database)


async def test_a_refused_write_makes_the_crm_wrong_until_the_right_is_there(
    folder: Path, shop: asyncpg.Connection[asyncpg.Record]
) -> None:
    port, management = free_ports(2)
    env = {
        "KOSHELEK_MANAGEMENT__PORT": str(management),
        "KOSHELEK_MANAGEMENT__CRM_CHECK_EVERY": "1",
        "KOSHELEK_MANAGEMENT__READY_NEEDS_CRM": "true",
    }
    with Running("serve", "--port", str(port), cwd=folder, env=env) as serving:
        await asyncio.to_thread(serving.wait_for, '"ready"')
        served = Shop(port, shop, "")
        await asyncio.to_thread(serving.wait_for, '"crm_well"')
        await shop.execute("REVOKE INSERT ON shop.bonus FROM koshelek")
        body = {"cardNumber": "2900000010024", "qrCode": served.receipt(7)}
        await served.good("POST", "/v1/promo/qrCode", body)
        await asyncio.to_thread(serving.wait_for, '"crm_wrong"')
        (line,) = [line for line in serving.lines() if line["event"] == "crm_wrong"]
        assert "shop.bonus" in line["reason"]
        assert line["remedy"] == "GRANT INSERT ON TABLE shop.bonus TO koshelek;"
        assert (await asyncio.to_thread(call, management, "GET", "/health/ready")).status == 503
        await shop.execute(line["remedy"])
        await asyncio.to_thread(serving.wait_for, '"crm_wrong"[^§]*"crm_well"')
        assert (await asyncio.to_thread(call, management, "GET", "/health/ready")).status == 200


async def test_customers_are_found_however_their_phone_is_written(served: Shop) -> None:
    for query in (f"msisdn={ANNA}", "email=anna@EXAMPLE.com"):
        found = await served.good("GET", f"/v1/card?{query}")
        assert found["card"]["cardNumber"] == "2900000010024"  # her newest, not the one that was replaced
    assert await served.code("GET", f"/v1/card?msisdn={BORIS}") == "202"  # blocked in the shop
    assert (await served.call("GET", "/v1/card?msisdn=79000000009")).raw == b""


async def test_a_new_customer_is_one_whatever_comes_at_once_and_the_till_knows_the_card(served: Shop) -> None:
    profile = {"phone": "79000000077", "firstName": "Даша", "surname": "Новая", "birthDate": "2001-02-03"}
    cards = await asyncio.gather(*(served.good("POST", "/v1/card/anonymous", profile) for _ in range(5)))
    (number,) = {card["card"]["cardNumber"] for card in cards}
    assert number.startswith("2901")
    row = await served.crm.fetchrow(
        "SELECT count(*) AS n, min(last_name) AS name FROM shop.client WHERE phone LIKE '%77'"
    )
    assert row is not None
    assert (row["n"], row["name"]) == (1, "Новая")
    for _ in range(100):
        if await served.crm.fetchval("SELECT client FROM shop.card WHERE number = $1", number) is not None:
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the till was never told of the card")


async def test_a_customer_without_a_card_gets_one_and_plastic_is_left_alone(served: Shop) -> None:
    issued = await served.good("POST", "/v1/card/anonymous", {"phone": "79000000003"})
    assert issued["card"]["cardNumber"].startswith("2901")
    plastic = "2900000010048"  # from the box, its number typed by its owner
    assert (await served.good("GET", f"/v1/card/{plastic}"))["card"]["cardState"] == "inactive"
    await served.good("POST", f"/v1/card/anonymous/{plastic}", {"phone": "79000000088"})
    assert (await served.good("GET", "/v1/card?msisdn=79000000088"))["card"]["cardNumber"] == plastic


async def test_receipts_at_once_and_a_till_that_takes_points_leave_the_running_balance_right(
    served: Shop,
) -> None:
    await served.good("GET", f"/v1/card?msisdn={ANNA}")
    card = "2900000010024"

    async def pay(number: int) -> None:
        connection = await asyncpg.connect(served.url)
        await connection.execute("SELECT shop.pay_with_bonus(1, 10, $1)", str(number))
        await connection.close()

    sent = [
        served.good(
            "POST", "/v1/promo/qrCode", {"cardNumber": card, "qrCode": served.receipt(number % 10 + 1)}
        )
        for number in range(20)  # each twice
    ]
    await asyncio.gather(*sent, *(pay(number) for number in range(5)))
    for _ in range(100):
        if await served.crm.fetchval("SELECT count(*) FROM shop.bonus WHERE koshelek IS NOT NULL") == 10:
            break
        await asyncio.sleep(0.1)
    assert await served.crm.fetchval("SELECT count(*) FROM shop.bonus WHERE koshelek IS NOT NULL") == 10
    assert await _balances_hold(served.crm)
    info = await served.good("GET", f"/v1/card/{card}")
    assert info["card"]["bonus"]["total"] == str(380 + 10 * 50 - 50)


async def test_points_are_to_be_spent_at_once_whatever_the_zone_of_the_server(
    folder: Path, shop: asyncpg.Connection[asyncpg.Record], fresh_database: str
) -> None:
    """In UTC a credit once was usable three hours later only, and a purchase was told three hours late."""
    name = await shop.fetchval("SELECT quote_ident(current_database())")
    await shop.execute(f"ALTER DATABASE {name} SET timezone = 'UTC'")
    port, management = free_ports(2)
    env = {"KOSHELEK_MANAGEMENT__PORT": str(management)}
    with Running("serve", "--port", str(port), cwd=folder, env=env) as serving:
        await asyncio.to_thread(serving.wait_for, '"ready"')
        served = Shop(port, shop, fresh_database)
        body = {"cardNumber": "2900000010024", "qrCode": served.receipt(7)}
        assert (await served.good("POST", "/v1/promo/qrCode", body))["status"] == "credited"
        bonus = (await served.good("GET", "/v1/card/2900000010024"))["card"]["bonus"]
        assert (bonus["total"], bonus["available"]) == ("430", "430")
        noted = await shop.fetchval("SELECT at FROM shop.bonus ORDER BY id DESC LIMIT 1")
        moscow = datetime.now(ZoneInfo("Europe/Moscow")).replace(tzinfo=None)
        assert abs(noted - moscow) < timedelta(minutes=2)


async def test_promo_codes_keep_their_limits(served: Shop) -> None:
    for phone in (ANNA, "79000000003"):
        await served.good("POST", "/v1/card/anonymous", {"phone": phone})
    first = str((await served.good("GET", f"/v1/card?msisdn={ANNA}"))["card"]["cardNumber"])
    other = str((await served.good("GET", "/v1/card?msisdn=79000000003"))["card"]["cardNumber"])
    used = await asyncio.gather(
        *(
            served.call("POST", "/v1/promo/code", {"cardNumber": card, "code": "once "})
            for card in (first, other)
        )
    )
    assert sorted(answer.status for answer in used) == [200, 422]
    assert {answer.json["code"] for answer in used if answer.status == 422} == {"705"}
    assert (await served.good("POST", "/v1/promo/code", {"cardNumber": first, "code": "welcome"}))[
        "points"
    ] == "100"
    assert await served.code("POST", "/v1/promo/code", {"cardNumber": first, "code": "OLD"}) == "703"
    assert await served.code("POST", "/v1/promo/code", {"cardNumber": first, "code": "NONE"}) == "701"
    assert await _balances_hold(served.crm)


async def test_the_lines_of_the_page_are_answered_each(served: Shop, folder: Path) -> None:
    """Every method of the contract once, with the body the page gives it."""
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("curl ")]
    assert len(lines) == 12
    today = f"{datetime.now(ZoneInfo('Europe/Moscow')):%Y%m%dT0000}"
    for line in lines:
        words = shlex.split(line.replace('"$(date +%Y%m%dT0000)"', today).replace("$A", "/v1"))
        verb = words[words.index("-X") + 1] if "-X" in words else "GET"
        body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        (path,) = [word for word in words if word.startswith("/v1/")]
        answer = await served.call(verb, path, body)
        assert answer.status == 200, (line, answer.raw)
        if path == "/v1/promo/qrCode":
            assert answer.json["points"] == "61"


async def test_profile_consents_purchases_and_lists(served: Shop) -> None:
    card = (await served.good("GET", f"/v1/card?msisdn={ANNA}"))["card"]["cardNumber"]
    await served.good("POST", f"/v1/card/{card}", {"locality": "Казань"})
    await served.good("PUT", f"/v1/card/{card}/communication", {"allow": ["email"], "deny": ["sms", "push"]})
    row = await served.crm.fetchrow("SELECT city, last_name, sms, mail, call FROM shop.client WHERE id = 1")
    assert row is not None
    assert list(row) == ["Казань", "Иванова", False, True, None]
    since = f"{datetime.now(ZoneInfo('Europe/Moscow')) - timedelta(days=10):%Y-%m-%d}"
    lines = await served.good("GET", f"/v1/card/{card}/purchases?startDate={since}")
    assert {(line["item"], line["amount"], line["quantity"]) for line in lines} == {
        ("Чай чёрный", "38000", "2"),
        ("Сахар", "9550", "1"),
    }
    listed = await served.good("GET", "/v1/card/getAllUsersExtended")
    assert {one["phone"] for one in listed} == {ANNA, BORIS, "79000000003"}
    assert {"name": "status", "value": "gold"} in listed[0]["params"]


OLD, NEW = "2900000010017", "2900000010024"


@pytest.mark.parametrize("first", [OLD, NEW, ANNA])
async def test_the_card_of_a_customer_is_the_current_one_whichever_number_is_seen_first(
    served: Shop, first: str
) -> None:
    await served.good("GET", f"/v1/card?msisdn={first}" if first == ANNA else f"/v1/card/{first}")
    assert (await served.good("GET", f"/v1/card/{OLD}"))["card"]["cardState"] == "inactive"
    for path in (f"?msisdn={ANNA}", f"/{NEW}"):
        card = (await served.good("GET", f"/v1/card{path}"))["card"]
        assert (card["cardNumber"], card["cardState"]) == (NEW, "active")
    issued = await served.good("POST", "/v1/card/anonymous", {"phone": ANNA})
    assert issued["card"]["cardNumber"] == NEW
    assert (await served.good("GET", f"/v1/card/{OLD}"))["card"]["cardState"] == "inactive"


@pytest.mark.parametrize("seen", [f"/{NEW}", f"/{OLD}", f"?msisdn={ANNA}", "issue"])
async def test_a_replaced_number_that_stands_for_its_owner_gives_way_at_the_next_use(
    served: Shop, database: str, seen: str
) -> None:
    registry = await asyncpg.connect(database)
    await registry.execute(
        "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, users_reference, state,"
        " blocked_from, replaced_by) VALUES ($1, $1, 'EAN_13', '1', 'inactive', 'active', $2)",
        OLD,
        NEW,
    )
    if seen == "issue":
        await served.good("POST", "/v1/card/anonymous", {"phone": ANNA})
    else:
        await served.good("GET", f"/v1/card{seen}")
    rows = await registry.fetch("SELECT number, users_reference FROM koshelek.cards ORDER BY number")
    await registry.close()
    assert [tuple(row) for row in rows] == [(OLD, None), (NEW, "1")]
    card = (await served.good("GET", f"/v1/card?msisdn={ANNA}"))["card"]
    assert (card["cardNumber"], card["cardState"]) == (NEW, "active")
    assert card["barcode"]["barcodeType"] == "EAN_13"
