"""The PostgreSQL driver and keys that are known already, with the same contents or with others.

What is there under a key is believed only if it is what was asked for; else it is a conflict, and
nothing is written. The tables are the judge.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from crm_backends.model import Credit, FiscalReceipt, Profile
from crm_backends.ports import Deadline, Outcome, Refusal, Written
from crm_backends.postgres import PostgresSettings
from crm_backends.postgres.driver import PostgresBackend
from crm_backends.registry import BackendContext

ZONE = ZoneInfo("Europe/Moscow")
PHONE = "+79001234567"
ANNA = Profile(phone=PHONE, email="Anna@example.com", first_name="Анна")
RECEIPT = FiscalReceipt(
    "0000100001101254", "99456", "1250448795", 97588, datetime(2025, 5, 18, 22, 5, tzinfo=ZONE), 1
)
TAKEN = Written.refused(Refusal.KEY_TAKEN)


def soon() -> Deadline:
    return Deadline.after(20)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    async with asyncpg.create_pool(database, min_size=0, max_size=20) as pool:
        yield pool


@pytest.fixture
async def crm(pool: asyncpg.Pool[asyncpg.Record], database: str) -> PostgresBackend:
    driver = PostgresBackend(
        PostgresSettings(statement_timeout=20), BackendContext(database, pool, ZONE, "RU")
    )
    await driver.open()
    return driver


@pytest.fixture
async def anna(crm: PostgresBackend) -> str:
    written = await crm.register(ANNA, idempotency_key="r-anna", deadline=soon())
    assert written.crm_reference
    return written.crm_reference


async def _points(crm: PostgresBackend, account: str) -> Decimal:
    return (await crm.balance(account, deadline=soon())).total


async def _lot(pool: asyncpg.Pool[asyncpg.Record], account: str, points: int) -> None:
    """Points that the till gave."""
    await pool.execute(
        "INSERT INTO crm.points_ledger (customer_id, amount, remaining, description)"
        " VALUES ($1, $2, $2, 'lot')",
        int(account),
        points,
    )


async def _code(pool: asyncpg.Pool[asyncpg.Record], code: str) -> None:
    await pool.execute("INSERT INTO crm.promo_codes (code, points) VALUES ($1, 50)", code)


async def _people(crm: PostgresBackend, count: int) -> list[str]:
    ends = [
        await crm.register(Profile(phone=f"+7922{n:07}"), idempotency_key=f"p{n}", deadline=soon())
        for n in range(count)
    ]
    return [str(end.crm_reference) for end in ends]


async def _contents(pool: asyncpg.Pool[asyncpg.Record]) -> list[object]:
    """All rows of the tables that a write may change."""
    tables = (
        "customers", "points_ledger", "purchases", "customer_offers", "promo_redemptions", "promo_codes",
    )  # fmt: skip
    return [await pool.fetch(f"SELECT * FROM crm.{table} ORDER BY id") for table in tables]


async def test_a_credit_under_a_known_reference_is_done_only_with_the_same_contents(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    (other,) = await _people(crm, 1)
    first = await crm.credit(anna, Credit(Decimal(5), "x", RECEIPT), idempotency_key="R", deadline=soon())
    before = await _contents(pool)
    dearer = dataclasses.replace(RECEIPT, total_kopecks=97589)
    for account, credit, expected in (
        (anna, Credit(Decimal(5), "y", RECEIPT), first),
        (anna, Credit(None, "x", RECEIPT), first),
        (other, Credit(Decimal(5), "x", RECEIPT), TAKEN),
        (anna, Credit(Decimal(500), "x", RECEIPT), TAKEN),
        (anna, Credit(Decimal(5), "x", dearer), TAKEN),
        (anna, Credit(None, "x", dearer), TAKEN),
        (other, Credit(None, "x", RECEIPT), TAKEN),
    ):
        assert await crm.credit(account, credit, idempotency_key="R", deadline=soon()) == expected
    assert await _contents(pool) == before


async def test_points_left_to_the_crm_are_the_first_ones_though_the_rule_has_changed(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    credit = Credit(None, "x", RECEIPT)
    first = await crm.credit(anna, credit, idempotency_key="R", deadline=soon())
    await pool.execute("UPDATE crm.programme SET points_per_rouble = 1")
    assert await crm.credit(anna, credit, idempotency_key="R", deadline=soon()) == first
    # A row of the version before does not know its total.
    await pool.execute("UPDATE crm.points_ledger SET total_kopecks = NULL")
    assert await crm.credit(anna, credit, idempotency_key="R", deadline=soon()) == first


async def test_a_row_of_the_till_under_our_reference_is_a_conflict(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await _lot(pool, anna, 100)
    await pool.execute("SELECT crm.spend_points($1, 5, 'till', 'R')", int(anna))
    for points_asked in (Decimal(5), Decimal(-5), None):
        end = await crm.credit(anna, Credit(points_asked, "x", RECEIPT), idempotency_key="R", deadline=soon())
        assert end.outcome is Outcome.REFUSED
        assert end.refusal is (Refusal.OTHER if points_asked == -5 else Refusal.KEY_TAKEN)
    assert await _points(crm, anna) == 95


async def test_the_till_spends_under_a_reference_only_what_it_spent_before(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    (other,) = await _people(crm, 1)
    for account in (anna, other):
        await _lot(pool, account, 100)
    spend = "SELECT crm.spend_points($1, $2, 'till', 'till:1')"
    for _ in range(2):
        assert await pool.fetchval(spend, int(anna), 5) == 5
    for account, wanted in ((other, 5), (anna, 6)):
        with pytest.raises(asyncpg.RaiseError, match="reference taken"):
            await pool.execute(spend, int(account), wanted)
    assert [await _points(crm, who) for who in (anna, other)] == [95, 100]


async def test_credits_of_two_accounts_at_once_under_one_reference_are_one(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    people = await _people(crm, 4)
    ends = await asyncio.gather(
        *(
            crm.credit(who, Credit(Decimal(5), "x", RECEIPT), idempotency_key="R", deadline=soon())
            for who in people * 4
        )
    )
    assert await pool.fetchval("SELECT count(*) FROM crm.points_ledger") == 1
    assert await pool.fetchval("SELECT count(*) FROM crm.purchases") == 1
    assert sum(end.outcome is Outcome.DONE for end in ends) == 4
    assert {end for end in ends if end.outcome is not Outcome.DONE} == {TAKEN}


async def test_a_registration_under_a_known_reference_gives_no_strangers_customer(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    (bob,) = await _people(crm, 1)
    await crm.register(Profile(email="only@example.com"), idempotency_key="R-MAIL", deadline=soon())
    before = await _contents(pool)
    done = Written.done(crm_reference=anna)
    for person, reference, expected in (
        (ANNA, "r-anna", done),
        (Profile(phone=PHONE), "r-anna", done),
        (Profile(phone="+79229999999", email="new@example.com"), "r-anna", TAKEN),
        (Profile(phone="+79229999999"), "r-anna", TAKEN),
        (Profile(phone="+79220000000"), "r-anna", Written.done(crm_reference=bob)),  # the phone decides
        (Profile(email="new@example.com"), "r-anna", TAKEN),
        (Profile(email="aNNa@example.com"), "r-anna", done),
        (Profile(email="ONLY@example.com"), "R-MAIL", None),
        (Profile(phone="+79229999999", email="only@example.com"), "R-MAIL", TAKEN),
    ):
        end = await crm.register(person, idempotency_key=reference, deadline=soon())
        assert end == expected or (expected is None and end.outcome is Outcome.DONE)
    assert await _contents(pool) == before


async def test_a_customer_whose_phone_has_changed_since_is_not_given_for_the_old_one(
    crm: PostgresBackend, anna: str
) -> None:
    await crm.update(anna, Profile(phone="+79228888888"), deadline=soon())
    assert await crm.register(Profile(phone=PHONE), idempotency_key="r-anna", deadline=soon()) == TAKEN


async def test_two_people_registered_at_once_under_one_reference_are_one_and_a_conflict(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    people = [Profile(phone=f"+7933000000{n}") for n in range(4)]
    ends = await asyncio.gather(
        *(crm.register(person, idempotency_key="R", deadline=soon()) for person in people * 4)
    )
    assert await pool.fetchval("SELECT count(*) FROM crm.customers") == 1
    assert sum(end.outcome is Outcome.DONE for end in ends) == 4
    assert {end for end in ends if end.outcome is not Outcome.DONE} == {TAKEN}


async def test_coupons_under_a_known_reference_go_to_nobody_else(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    (other,) = await _people(crm, 1)
    await pool.execute("INSERT INTO crm.offers (title, occasion) VALUES ('a', 'visit'), ('b', 'sale')")
    first = await crm.issue(anna, "visit", idempotency_key="R", deadline=soon())
    assert first.outcome is Outcome.DONE
    before = await _contents(pool)
    for who, occasion, expected in (
        (anna, "visit", first),
        (other, "visit", TAKEN),
        (other, "sale", TAKEN),
        (other, "nothing", TAKEN),
    ):
        assert await crm.issue(who, occasion, idempotency_key="R", deadline=soon()) == expected
    assert await _contents(pool) == before


async def test_occasions_of_two_holders_at_once_under_one_reference_give_to_one(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute("INSERT INTO crm.offers (title, occasion) VALUES ('a', 'visit'), ('b', 'sale')")
    asked = [(who, occasion) for who in await _people(crm, 4) for occasion in ("visit", "sale")]
    ends = await asyncio.gather(
        *(crm.issue(who, occasion, idempotency_key="R", deadline=soon()) for who, occasion in asked * 3)
    )
    assert await pool.fetchval("SELECT count(DISTINCT customer_id) FROM crm.customer_offers") == 1
    assert await pool.fetchval("SELECT count(*) FROM crm.customer_offers") == 1
    assert {end for end in ends if end.outcome is not Outcome.DONE} == {TAKEN}


async def test_a_redemption_under_a_known_reference_is_done_only_with_the_same_contents(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    (other,) = await _people(crm, 1)
    for code in ("spring", "summer"):
        await _code(pool, code)
    first = await crm.redeem(anna, "spring", idempotency_key="R", deadline=soon())
    assert first == Written.done(points=Decimal(50))
    before = await _contents(pool)
    for who, code, expected in (
        (anna, " SPRING", first),
        (other, "spring", TAKEN),
        (anna, "summer", TAKEN),
        (anna, "no such code", TAKEN),
    ):
        assert await crm.redeem(who, code, idempotency_key="R", deadline=soon()) == expected
    assert await _contents(pool) == before


async def test_codes_used_at_once_under_one_reference_are_one(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    for code in ("spring", "summer"):
        await _code(pool, code)
    asked = [(who, code) for who in await _people(crm, 4) for code in ("spring", "summer")]
    ends = await asyncio.gather(
        *(crm.redeem(who, code, idempotency_key="R", deadline=soon()) for who, code in asked * 3)
    )
    assert await pool.fetchval("SELECT count(*) FROM crm.promo_redemptions") == 1
    assert await pool.fetchval("SELECT sum(uses) FROM crm.promo_codes") == 1
    assert sum(end.outcome is Outcome.DONE for end in ends) == 3
    assert {end for end in ends if end.outcome is not Outcome.DONE} == {TAKEN}


async def test_the_schema_of_the_version_before_is_brought_up_to_date(
    database: str, pool: asyncpg.Pool[asyncpg.Record], crm: PostgresBackend, anna: str
) -> None:
    await crm.credit(anna, Credit(Decimal(5), "x", RECEIPT), idempotency_key="R", deadline=soon())
    await pool.execute(
        "ALTER TABLE crm.points_ledger DROP COLUMN total_kopecks; DROP FUNCTION crm.issue_offers;"
        "COMMENT ON SCHEMA crm IS 'koshelek-adapter of another day'"
    )
    driver = PostgresBackend(PostgresSettings(), BackendContext(database, pool, ZONE, "RU"))
    assert not all(finding.ok for finding in await driver.check())
    await driver.open()
    assert all(finding.ok for finding in await driver.check())
    again = await driver.credit(anna, Credit(Decimal(5), "x", RECEIPT), idempotency_key="R", deadline=soon())
    assert again.points == 5


# --- several credits at once ---------------------------------------------------------------------------


async def _together(crm: PostgresBackend, *wanted: tuple[str, Credit, str]) -> list[Written]:
    """Credits that arrive at once: accounts, what they are credited, and the keys."""
    return await asyncio.gather(
        *(
            crm.credit(account, credit, idempotency_key=key, deadline=soon())
            for account, credit, key in wanted
        )
    )


async def test_credits_that_go_together_end_as_each_would_alone(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    boris, vera = await _people(crm, 2)
    known = Credit(Decimal(7), "known", RECEIPT)
    await crm.credit(vera, known, idempotency_key="known", deadline=soon())
    returned = dataclasses.replace(RECEIPT, document="2", calculation_type=2)
    wanted = [
        (anna, Credit(Decimal(5), "a", dataclasses.replace(RECEIPT, document="1")), "a"),
        (anna, Credit(Decimal("0.5"), "b", dataclasses.replace(RECEIPT, document="3")), "b"),
        (boris, Credit(None, "c", returned), "c"),
        (boris, Credit(Decimal(9), "without a receipt"), "d"),
        (vera, known, "known"),
        ("999999", Credit(Decimal(5), "nobody's"), "e"),
    ]
    commits = "SELECT count(DISTINCT xmin::text) FROM crm.points_ledger"
    before = await pool.fetchval(commits)
    together = await _together(crm, *wanted)
    assert await pool.fetchval(commits) <= before + 2
    assert [written.points for written in together] == [5, Decimal("0.5"), 0, 9, 7, None]
    assert [written.outcome for written in together] == [Outcome.DONE] * 5 + [Outcome.REFUSED]
    assert together[-1].refusal is Refusal.NO_SUCH_CUSTOMER
    contents = await _contents(pool)
    alone = [
        await crm.credit(account, credit, idempotency_key=key, deadline=soon())
        for account, credit, key in wanted
    ]
    assert alone == together
    others = await _together(crm, wanted[0], (anna, known, "known"), (anna, wanted[1][1], "a"))
    assert [written.refusal for written in others] == [None, Refusal.KEY_TAKEN, Refusal.KEY_TAKEN]
    assert await _contents(pool) == contents
    line = (
        "SELECT array_agg((customer_id, amount_kopecks, bonuses)::text ORDER BY id > 1, customer_id, bonuses)"
        " FROM crm.purchases"
    )
    assert await pool.fetchval(line) == [
        f"({vera},97588,7.00)",
        f"({anna},97588,0.50)",
        f"({anna},97588,5.00)",
        f"({boris},-97588,0.00)",
    ]


async def test_a_credit_that_the_database_refuses_is_no_others_trouble(
    crm: PostgresBackend, anna: str
) -> None:
    amounts = ("1", "1", "1e15", "2", "3")
    ends = await _together(
        crm, *((anna, Credit(Decimal(amount), "x"), f"k{n}") for n, amount in enumerate(amounts))
    )
    assert [written.outcome for written in ends] == [
        Outcome.DONE, Outcome.DONE, Outcome.REFUSED, Outcome.DONE, Outcome.DONE,
    ]  # fmt: skip
    assert await _points(crm, anna) == 7


async def test_credits_that_have_no_time_left_are_no_others_trouble(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """The others still go together."""
    await crm.credit(anna, Credit(Decimal(1), "x"), idempotency_key="k", deadline=soon())
    ends = await asyncio.gather(
        *(
            crm.credit(anna, Credit(Decimal(1), "x"), idempotency_key=f"k{n}", deadline=deadline)
            for n, deadline in enumerate((soon(), Deadline.after(0), soon(), Deadline.after(0)))
        )
    )
    assert [written.outcome for written in ends] == [Outcome.DONE, Outcome.NOT_SENT] * 2
    assert await _points(crm, anna) == 3
    commits = "SELECT count(DISTINCT xmin::text) FROM crm.points_ledger"
    assert await pool.fetchval(commits) == 2


SLEEPS = """
    CREATE FUNCTION crm.sleeps() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
    CREATE TRIGGER sleeps BEFORE INSERT ON crm.points_ledger EXECUTE FUNCTION crm.sleeps()
"""
"""A statement of credits takes a second."""


async def _in_time(crm: PostgresBackend, *wanted: tuple[str, float]) -> list[Written]:
    """Credits of one point that arrive at once: accounts, and the seconds that they may take."""
    return await asyncio.gather(
        *(
            crm.credit(
                account,
                Credit(Decimal(1), "x"),
                idempotency_key=f"{account}:{n}",
                deadline=Deadline.after(seconds),
            )
            for n, (account, seconds) in enumerate(wanted)
        )
    )


async def test_a_credit_that_has_little_time_brings_no_other_into_doubt(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """It goes alone, and is in doubt alone where that time is not enough."""
    await pool.execute(SLEEPS)
    boris, vera = await _people(crm, 2)
    ends = await _in_time(crm, (anna, 5), (boris, 0.5), (vera, 5))
    assert [written.outcome for written in ends] == [Outcome.DONE, Outcome.UNKNOWN, Outcome.DONE]
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM crm.points_ledger") == 1


async def test_a_credit_whose_time_goes_by_while_it_waits_for_others_is_not_sent(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute(SLEEPS)
    lanes = []
    for account in await _people(crm, 2):
        lanes.append(asyncio.create_task(_in_time(crm, (account, 5))))
        await asyncio.sleep(0.1)  # its statement is under way, alone
    ends = await _in_time(crm, (anna, 5), (anna, 1.2), (anna, 5))
    assert [written.outcome for written in ends] == [Outcome.DONE, Outcome.NOT_SENT, Outcome.DONE]
    assert [written.outcome for (written,) in await asyncio.gather(*lanes)] == [Outcome.DONE] * 2
    assert await _points(crm, anna) == 2


async def test_credits_that_go_together_are_in_doubt_together_when_the_line_breaks(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """The server sleeps while it writes them, and is told meanwhile to end their connection."""
    wanted = [(anna, Credit(Decimal(1), "x"), key) for key in ("k1", "k2")]
    await pool.execute("""
        CREATE FUNCTION crm.sleeps() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(20); RETURN NULL; END $$;
        CREATE TRIGGER sleeps BEFORE INSERT ON crm.points_ledger EXECUTE FUNCTION crm.sleeps()
    """)
    both = asyncio.create_task(_together(crm, *wanted))
    asleep = (
        "SELECT max(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    async with asyncio.timeout(5):
        while (pid := await pool.fetchval(asleep)) is None:  # noqa: ASYNC110 - the server sleeps
            await asyncio.sleep(0.02)
    await pool.execute("SELECT pg_terminate_backend($1)", pid)
    assert [written.outcome for written in await both] == [Outcome.UNKNOWN] * 2
    await pool.execute("DROP TRIGGER sleeps ON crm.points_ledger")
    assert [written.outcome for written in await _together(crm, *wanted)] == [Outcome.DONE] * 2
    assert await _points(crm, anna) == 2


async def test_a_customer_whom_another_program_locks_is_no_others_trouble(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """As many locked ones as statements may be under way: the others are credited all the same, and they are
    when the locks are gone."""
    locked = await _people(crm, 3)
    theirs = []
    async with pool.acquire() as till, till.transaction():
        await till.execute(
            "SELECT FROM crm.customers WHERE id = ANY($1::bigint[]) FOR UPDATE", [int(one) for one in locked]
        )
        for n in range(2):
            wanted = [(one, Credit(Decimal(1), "x"), f"t{one}{n}") for one in locked]
            theirs.append(asyncio.create_task(_together(crm, *wanted)))
            await asyncio.sleep(0.05)  # or they would all go in one statement
        async with asyncio.timeout(5):
            ours = await _together(crm, *((anna, Credit(Decimal(1), "x"), f"a{n}") for n in range(8)))
        assert [written.outcome for written in ours] == [Outcome.DONE] * 8
        assert not any(task.done() for task in theirs)
    for ends in await asyncio.gather(*theirs):
        assert [written.outcome for written in ends] == [Outcome.DONE] * 3
    assert [await _points(crm, one) for one in (anna, *locked)] == [8, 2, 2, 2]
