"""``check --phone`` and ``check --writes``: one real person walked through, a CRM put to the test."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from contracts.sandbox import kolibri, odoo, running
from crm_backends.postgres.statements import OWN_SQL
from tests.integration.processes import PASSWORD, Ended, run

pytestmark = pytest.mark.programs  # the command over a CRM, a process for each

ROOT = Path(__file__).parents[2]
PHONE, EMAIL, NAME = "79165550177", "planted@planted.example", "Плантагена"
Checked = tuple[Ended, list[dict[str, str]]]


@pytest.fixture
async def shop(database: str, tmp_path: Path) -> Any:
    """A CRM with one person in it; runs ``check`` with SQL files of the test's own."""
    connection = await asyncpg.connect(database)
    (tmp_path / "sql").mkdir()

    def check(*options: str, more: str = "", given: str = "", **files: str) -> Checked:
        for name, sql in files.items():
            (tmp_path / "sql" / f"{name}.sql").write_text(sql, encoding="utf-8")
        (tmp_path / "koshelek-adapter.toml").write_text(
            f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{database}"\n'
            "[[cards.ranges]]\nprefix = \"2900\"\n[crm]\nsql_dir = 'sql'\nmanage_schema = true\n" + more,
            encoding="utf-8",
        )
        done = run("check", "--json", *options, cwd=tmp_path, given=given)
        for planted in (PHONE, PHONE[1:], EMAIL, NAME, "2907777777778", "Чайник", PASSWORD):
            assert planted not in done.text
        return done, [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]

    check()  # makes the schema
    await connection.execute(
        """
        INSERT INTO crm.customers (phone, email, first_name, card_number)
        VALUES ('+' || $1::text, $2, $3, '2907777777778')
        """,
        PHONE,
        EMAIL,
        NAME,
    )
    await connection.execute(
        """
        INSERT INTO crm.points_ledger (customer_id, amount, remaining, description)
        SELECT id, 40 + n, 40 + n, 'Чайник' FROM crm.customers, generate_series(1, 5) AS n
        """
    )
    await connection.execute(
        "INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks) "
        "SELECT id, now() - interval '1 day', 'Чайник', 199900 FROM crm.customers"
    )
    yield check, connection
    await connection.close()


def told(found: list[dict[str, str]], subject: str) -> dict[str, str]:
    (one,) = [line for line in found if line["subject"] == subject]
    return one


async def counts(connection: asyncpg.Connection[asyncpg.Record]) -> list[int]:
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM crm.customers), (SELECT count(*) FROM crm.points_ledger), "
        "(SELECT count(*) FROM koshelek.cards), (SELECT count(*) FROM koshelek.operations)"
    )
    assert row is not None
    return list(row)


# --- one person ----------------------------------------------------------------------------------------


async def test_a_person_is_walked_through_what_koshelek_would_ask(shop: Any) -> None:
    check, connection = shop
    before = await counts(connection)
    done, found = check("--phone", f"+{PHONE}")
    assert done.status == 0, done.text
    assert await counts(connection) == before  # nothing is changed, no card taken over
    assert told(found, "customer")["detail"] == "known by phone, email, first_name"
    find = told(found, "find")["detail"]
    assert '"cardNumber": "2907…778", "cardState": "active"' in find
    assert "taken over from the CRM then" in find
    assert " ms)" in find
    balance = told(found, "balance")["detail"]
    assert '"total": "215", "available": "215"' in balance
    assert " and 2 more" in balance
    assert '"amount": "199900"' in told(found, "purchases")["detail"]
    assert "the newest for 1999.00 roubles" in told(found, "purchases")["detail"]
    assert told(found, "offers")["detail"].startswith("[]")
    assert told(found, "getAllUsers")["detail"].startswith("told, as number 1 of the list")


async def test_the_barcode_shown_is_the_one_that_is_served(shop: Any) -> None:
    check, connection = shop
    await connection.execute(
        "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state) "
        "VALUES ('2907777777778', '2907777777778', 'QR_CODE', 'ownerless')"
    )
    _, found = check("--phone", PHONE)
    assert '"barcodeType": "QR_CODE"' in told(found, "find")["detail"]  # as it was entered here
    await connection.execute(
        "INSERT INTO crm.cards (number, barcode, barcode_type, state) "
        "VALUES ('2907777777778', '4006381333931', 'EAN_13', 'blocked')"
    )
    _, found = check("--phone", PHONE)
    assert "the card is blocked" in told(found, "find")["detail"]
    await connection.execute("UPDATE crm.cards SET state = 'active'")
    _, found = check("--phone", PHONE)
    assert '"barcodeType": "EAN_13"' in told(found, "find")["detail"]  # the CRM's own


async def test_what_would_go_wrong_for_this_person_is_told(shop: Any) -> None:
    check, connection = shop
    done, found = check("--phone", "79165550199")
    assert done.status == 1
    assert "nobody has this phone" in told(found, "find")["detail"]
    assert "phones in one form" in told(found, "find")["remedy"]
    done, found = check("--phone", "916-55")
    assert told(found, "phone")["state"] == "fail"
    _, found = check(
        "--phone", PHONE, more="[cards]\nbarcode_type = 'EAN_8'\nranges = []\n".replace("ranges = []\n", "")
    )
    hidden = "SELECT phone FROM crm.customers WHERE id < 0"
    await connection.execute("UPDATE crm.customers SET card_number = NULL")
    _, found = check("--phone", PHONE, users_list_phones=hidden)
    assert "no card yet" in told(found, "find")["detail"]
    assert told(found, "getAllUsers")["state"] == "warn"
    assert "not among the 0 phones" in told(found, "getAllUsers")["detail"]


async def test_a_slow_question_is_told_by_itself(shop: Any) -> None:
    check, _ = shop
    own = (OWN_SQL / "points_balance.sql").read_text(encoding="utf-8")
    slow = f"SELECT late.* FROM (\n{own}\n) AS late, (SELECT pg_sleep(2) OFFSET 0) AS nap"
    _, found = check("--phone", PHONE, points_balance=slow)
    lines = [line for line in found if line["subject"] == "balance"]
    assert any("where a whole request may take 3.5 s" in line["detail"] for line in lines)


# --- writes --------------------------------------------------------------------------------------------


async def test_our_own_crm_keeps_the_promise_and_what_is_left_is_told_first(shop: Any) -> None:
    check, connection = shop
    people, ledger, cards, operations = await counts(connection)
    done, found = check("--writes", given="n\n")
    assert "takes nothing back" in done.err
    assert "registers up to three made-up people" in done.err
    assert await counts(connection) == [people, ledger, cards, operations]
    done, found = check("--writes", "--yes")
    assert done.status == 0, done.text
    assert [line["state"] for line in found if line["subject"] in ("registration", "credit")] == ["ok"] * 8
    assert await counts(connection) == [people + 2, ledger + 2, cards, operations]


_WRONG: dict[str, tuple[str, str, str]] = {
    "credited twice": (
        "points_credit",
        "INSERT INTO crm.points_ledger (customer_id, amount, remaining, description) "
        "SELECT id, :points, :points, :description FROM crm.customers WHERE id = :account::bigint "
        "AND :idempotency_key IS NOT NULL RETURNING amount AS points",
        "the balance changed by 1 instead of 0",
    ),
    "ten times as much": (
        "points_credit",
        "INSERT INTO crm.points_ledger AS kept (customer_id, amount, remaining, description, reference) "
        "SELECT id, :points * 10, :points * 10, :description, :idempotency_key FROM crm.customers "
        "WHERE id = :account::bigint "
        "ON CONFLICT (reference) DO UPDATE SET reference = EXCLUDED.reference RETURNING amount AS points",
        "done, but it says that it credited 10 of 1 points asked for and the balance changed by 10 instead",
    ),
    "another amount told": (
        "points_credit",
        "INSERT INTO crm.points_ledger AS kept (customer_id, amount, remaining, description, reference) "
        "SELECT id, :points, :points, :description, :idempotency_key FROM crm.customers "
        "WHERE id = :account::bigint "
        "ON CONFLICT (reference) DO UPDATE SET reference = EXCLUDED.reference RETURNING 999 AS points",
        "done, but it says that it credited 999 of 1 points asked for",
    ),
    "a word that is no outcome": (
        "points_credit",
        "SELECT :points AS points, 'okay' AS outcome WHERE :account <> '' AND :idempotency_key <> ''",
        "points_credit.sql: its outcome is 'okay'; the words are done, ",
    ),
    "another amount believed": (
        "points_credit",
        "INSERT INTO crm.points_ledger AS kept (customer_id, amount, remaining, description, reference) "
        "SELECT id, :points, :points, :description, :idempotency_key FROM crm.customers "
        "WHERE id = :account::bigint "
        "ON CONFLICT (reference) DO UPDATE SET reference = EXCLUDED.reference RETURNING amount AS points",
        "the same key with another amount: told as done",
    ),
    "not told again": (
        "points_credit",
        "INSERT INTO crm.points_ledger AS kept (customer_id, amount, remaining, description, reference) "
        "SELECT id, :points, :points, :description, :idempotency_key FROM crm.customers "
        "WHERE id = :account::bigint "
        "ON CONFLICT (reference) DO NOTHING RETURNING amount AS points",
        "the same again: told as refused",
    ),
    "at once": (
        "points_credit",
        "INSERT INTO crm.points_ledger (customer_id, amount, remaining, description, valid_until) "
        "SELECT id, :points, :points, :idempotency_key, NULL "
        "FROM crm.customers, (SELECT pg_sleep(0.3) OFFSET 0) AS nap WHERE id = :account::bigint "
        "AND NOT EXISTS (SELECT FROM crm.points_ledger WHERE description = :idempotency_key) "
        "RETURNING amount AS points",
        "4 at once under one key: the balance changed by 4 instead of 1",
    ),
    "a stranger": (
        "users_register",
        "WITH known AS (SELECT id FROM crm.customers WHERE reference = :idempotency_key OR phone = :phone), "
        "made AS (INSERT INTO crm.customers (phone, reference) SELECT :phone, :idempotency_key "
        "WHERE NOT EXISTS (SELECT FROM known) "
        "ON CONFLICT (phone) DO UPDATE SET phone = EXCLUDED.phone RETURNING id) "
        "SELECT id AS reference FROM known UNION ALL SELECT id FROM made LIMIT 1",
        "a known key with another phone gets the FIRST person's customer",
    ),
}


@pytest.mark.parametrize("case", _WRONG)
async def test_a_crm_that_breaks_the_promise_is_found_out(case: str, shop: Any) -> None:
    check, _ = shop
    name, sql, says = _WRONG[case]
    done, found = check("--writes", "--yes", **{name: sql})
    assert done.status == 1
    wrong = [line for line in found if line["state"] == "fail"]
    assert any(says in line["detail"] for line in wrong), wrong
    assert all(line["remedy"] for line in wrong)


@pytest.mark.parametrize("case", ["ten times as much", "another amount told"])
async def test_after_another_amount_nothing_else_is_blamed(case: str, shop: Any) -> None:
    check, _ = shop
    name, sql, _ = _WRONG[case]
    _, found = check("--writes", "--yes", **{name: sql})
    (wrong,) = [line for line in found if line["state"] == "fail"]
    assert wrong["remedy"].startswith("points_credit: put just :points on the account")


async def test_nothing_is_written_where_the_check_has_failed(shop: Any) -> None:
    check, connection = shop
    before = await counts(connection)
    to_the_first = (
        "INSERT INTO crm.points_ledger (customer_id, amount, remaining, description, reference) "
        "SELECT min(id), :points, :points, :description, :idempotency_key FROM crm.customers "
        "RETURNING amount AS points"
    )
    done, found = check("--writes", "--yes", points_credit=to_the_first)
    assert done.status == 1
    assert "takes nothing back" not in done.err  # nobody is asked either
    assert told(found, "writes")["detail"].startswith("nothing is written: a line above says")
    assert await counts(connection) == before


async def test_what_is_declined_is_not_tried_and_the_rest_goes_on(shop: Any) -> None:
    check, connection = shop
    before = await counts(connection)
    done, found = check("--writes", "--yes", users_register="-- unsupported: at the till only")
    assert done.status == 0
    line = told(found, "registration")
    assert line["state"] == "warn"
    assert "not tried: this CRM does not do it (postgres: users_register: at the till only)" in line["detail"]
    assert await counts(connection) == before
    done, found = check("--writes", "--yes", "--phone", PHONE)  # still declined, and not needed
    assert done.status == 0
    assert [line["state"] for line in found if line["subject"] == "credit"] == ["ok"] * 4
    _, found = check("--writes", "--yes", "--phone", PHONE, points_balance="-- unsupported: slow")
    assert "points_balance: slow" in told(found, "credit")["detail"]


async def test_where_the_crm_alone_makes_people_one_is_to_be_named(shop: Any, tmp_path: Path) -> None:
    """Made-up people are in our own database alone: the CRM that keeps the points knows none of them."""
    check, _ = shop
    text = (ROOT / "tests/connectors/kolibri.yaml").read_text(encoding="utf-8")
    own = "  points.account: {result: {id: input.customer}}\n"
    assert own in text
    by_phone = (
        "  points.account:\n    steps: [{get: /guest, query: {tel: '${input.phone | national}'}}]\n"
        "    result: {id: body.guest.id}\n"
    )
    (tmp_path / "kolibri.yaml").write_text(text.replace(own, by_phone), encoding="utf-8")
    async with running("kolibri") as sandbox:
        more = (
            f'driver = "postgres"\n[crm.points]\ndriver = "kolibri.yaml"\nbase_url = "{sandbox.base_url}"\n'
            f'login = "{kolibri.LOGIN}"\npassword = "{kolibri.PASSWORD}"\n'
        )
        _, found = await asyncio.to_thread(check, "--writes", "--yes", more=more)
    lines = [line for line in found if line["subject"] == "credit"]
    assert [line["detail"] for line in lines] == ["the points CRM knows no account of this person"]
    assert "check --writes --phone NUMBER" in lines[0]["remedy"]


@pytest.mark.parametrize(
    ("rate", "states", "says"),
    [
        ("0.004", ["ok", "ok"], "done, and seen in the balance"),
        ("0", ["warn", "ok"], "the CRM's rule gives no points for 1000.00 roubles"),
    ],
)
async def test_points_that_the_crm_computes_are_counted_by_what_it_says(
    rate: str, states: list[str], says: str, shop: Any
) -> None:
    """Few rules give points for one rouble; what the CRM says it gave is what is counted."""
    check, _ = shop
    async with running("odoo") as sandbox:
        cast(odoo.Odoo, sandbox.stand_in).rate = Decimal(rate)
        own = (
            f'driver = "odoo"\nbase_url = "{sandbox.base_url}"\ndatabase = "{odoo.DATABASE}"\n'
            f'user_id = {odoo.USER}\napi_key = "{odoo.API_KEY}"\n'
            f"program = {odoo.PROGRAM}\nproduct = {odoo.PRODUCT}\n"
        )
        more = f'driver = "postgres"\n[crm.users]\n{own}[crm.points]\n{own}[receipts]\npoints_by = "crm"\n'
        done, found = await asyncio.to_thread(check, "--writes", "--yes", more=more)
    lines = [line for line in found if line["subject"] == "credit"]
    assert [line["state"] for line in lines] == states, found
    assert says in lines[0]["detail"]
    assert "the points of up to five purchases" in done.err


async def test_made_up_people_are_named_to_be_removed(shop: Any) -> None:
    check, connection = shop
    _, found = check("--writes", "--yes")
    line = told(found, "left behind")["detail"]
    made = await connection.fetch(
        "SELECT id, phone FROM crm.customers WHERE phone LIKE '+7900000%' ORDER BY id"
    )
    assert line == "made-up people: " + ", ".join(f"{row['phone']} ({row['id']})" for row in made)


async def test_points_may_be_given_to_somebody_who_is_there(shop: Any) -> None:
    check, connection = shop
    people, ledger, *_ = await counts(connection)
    done, _ = check("--writes", "--yes", "--phone", PHONE)
    assert done.status == 0, done.text
    assert "the person with this phone" in done.err
    assert (await counts(connection))[:2] == [people, ledger + 2]


async def test_an_account_that_the_crm_does_not_know_is_told_and_no_balance_of_zero(
    shop: Any, tmp_path: Path
) -> None:
    """Nothing is lost where no row means that nothing was given; else it is, by the CRM that told it."""
    check, _ = shop
    none = "SELECT 1::numeric AS total, 1::numeric AS available WHERE :account = 'nobody'"
    done, found = check("--phone", PHONE, points_balance=none)
    line = told(found, "balance")
    assert (done.status, line["state"]) == (0, "warn")
    assert "a card without an earlier balance shows 0" in line["detail"]
    (tmp_path / "sql" / "points_balance.sql").unlink()
    (tmp_path / "kolibri.yaml").write_text(
        (ROOT / "tests/connectors/kolibri.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    async with running("kolibri") as sandbox:
        more = (
            f'driver = "postgres"\n[crm.points]\ndriver = "kolibri.yaml"\nbase_url = "{sandbox.base_url}"\n'
            f'login = "{kolibri.LOGIN}"\npassword = "{kolibri.PASSWORD}"\n'
        )
        done, found = await asyncio.to_thread(check, "--phone", PHONE, more=more)
    line = told(found, "balance")
    assert (done.status, line["state"]) == (1, "fail")
    assert "there is no such account, though it told this account" in line["detail"]
    assert line["remedy"] == "see whether the customer was removed or merged in the CRM"
