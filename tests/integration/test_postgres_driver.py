"""The PostgreSQL driver over its own schema, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from pydantic import SecretStr

from crm_backends.model import ChannelConsents, Credit, FiscalReceipt, Holder, Profile
from crm_backends.ports import (
    BackendUnavailable,
    Coupons,
    Deadline,
    FindsByCard,
    KeepsCards,
    Outcome,
    Points,
    Refusal,
    Users,
    Written,
)
from crm_backends.postgres import BACKEND, PostgresSettings
from crm_backends.postgres.driver import PostgresBackend
from crm_backends.registry import BackendContext

ZONE = ZoneInfo("Europe/Moscow")
PHONE = "+79001234567"
ANNA = Profile(
    phone=PHONE,
    email="Anna@example.com",
    first_name="Анна",
    patronymic="Ивановна",
    surname="Котова",
    birth_date=date(1990, 2, 3),
    sex="f",
    country_code="RU",
    locality="Тверь",
)
RECEIPT = FiscalReceipt(
    "0000100001101254", "99456", "1250448795", 97588, datetime(2025, 5, 18, 22, 5, tzinfo=ZONE), 1
)


def soon() -> Deadline:
    return Deadline.after(20)


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    async with asyncpg.create_pool(fresh_database, min_size=0, max_size=20) as pool:
        yield pool


@pytest.fixture
async def crm(pool: asyncpg.Pool[asyncpg.Record], fresh_database: str) -> PostgresBackend:
    """The driver as it is without settings: on the adapter's own database and pool."""
    settings = PostgresSettings(statement_timeout=20)
    driver = PostgresBackend(settings, BackendContext(fresh_database, pool, ZONE, "RU"))
    await driver.open()
    return driver


@pytest.fixture
async def anna(crm: PostgresBackend) -> str:
    written = await crm.register(ANNA, idempotency_key="r-anna", deadline=soon())
    assert written.crm_reference
    return written.crm_reference


async def points(crm: PostgresBackend, account: str) -> Decimal:
    return (await crm.balance(account, deadline=soon())).total


def test_the_driver_fits_its_description(crm: PostgresBackend) -> None:
    assert isinstance(crm, Users)
    assert isinstance(crm, Points)
    assert isinstance(crm, Coupons)
    assert isinstance(crm, FindsByCard)
    assert isinstance(crm, KeepsCards)
    assert BACKEND.build(PostgresSettings(), BackendContext("", None, ZONE, "RU")).name == BACKEND.name


async def test_check_finds_that_every_statement_fits(crm: PostgresBackend) -> None:
    findings = await crm.check()
    assert [finding for finding in findings if not finding.ok or finding.warning] == []
    assert "17 of 17 fit and may be executed" in [finding.detail for finding in findings]


async def test_the_schema_may_be_created_by_many_at_once_and_again(
    fresh_database: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    drivers = [
        PostgresBackend(PostgresSettings(), BackendContext(fresh_database, pool, ZONE, "RU"))
        for _ in range(8)
    ]
    await asyncio.gather(*(driver.open() for driver in drivers))
    await pool.execute("COMMENT ON SCHEMA crm IS NULL")
    again = PostgresBackend(PostgresSettings(), BackendContext(fresh_database, pool, ZONE, "RU"))
    await again.open()
    assert all(finding.ok for finding in await again.check())


async def test_a_schema_of_another_version_is_brought_up_to_date_by_the_service_alone(
    fresh_database: str, pool: asyncpg.Pool[asyncpg.Record], crm: PostgresBackend
) -> None:
    mark = "SELECT obj_description('crm'::regnamespace)"
    ours = await pool.fetchval(mark)
    await pool.execute("COMMENT ON SCHEMA crm IS 'koshelek-adapter of another day'")
    for upgrade, there in ((False, "koshelek-adapter of another day"), (True, ours)):
        context = BackendContext(fresh_database, pool, ZONE, "RU", upgrade=upgrade)
        driver = PostgresBackend(PostgresSettings(), context)
        await driver.open()
        assert all(finding.ok for finding in await driver.check())
        assert await pool.fetchval(mark) == there


async def test_a_pooler_before_the_adapters_database_need_not_be_told_twice(
    fresh_database: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    context = BackendContext(fresh_database, pool, ZONE, "RU", pooler=True)
    assert not PostgresBackend(PostgresSettings(), context).finds_many
    elsewhere = PostgresSettings(url=SecretStr(fresh_database))
    assert PostgresBackend(elsewhere, context)._database.pooler is False


async def test_close_leaves_the_shared_pool_open(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await crm.close()
    assert await pool.fetchval("SELECT 1") == 1


# -- users ---------------------------------------------------------------------------------------------


async def test_a_registered_customer_is_found_by_phone_or_email_or_reference(
    crm: PostgresBackend, anna: str
) -> None:
    searches = [(PHONE, None), (None, "aNNa@EXAMPLE.com"), (PHONE, "anna@example.com"), (PHONE, "x@y.z")]
    for phone, email in searches:
        (found,) = await crm.find(phone=phone, email=email, birth_date=None, deadline=soon())
        assert found.customer_id == anna
        assert found.profile == ANNA
        assert found.registered_at is not None
        assert found.registered_at.tzinfo is not None
    got = await crm.get(anna, deadline=soon())
    assert got is not None
    assert got.profile == ANNA


async def test_phone_of_one_and_email_of_another_find_both(crm: PostgresBackend, anna: str) -> None:
    other = await crm.register(Profile(email="bob@example.com"), idempotency_key="r-bob", deadline=soon())
    found = await crm.find(phone=PHONE, email="BOB@example.com", birth_date=None, deadline=soon())
    assert {customer.customer_id for customer in found} == {anna, other.crm_reference}


async def test_nothing_is_found_by_nothing_or_by_a_birth_date_alone(crm: PostgresBackend, anna: str) -> None:
    assert await crm.find(phone=None, email=None, birth_date=ANNA.birth_date, deadline=soon()) == []
    assert await crm.find(phone="+79009999999", email=None, birth_date=None, deadline=soon()) == []
    assert await crm.get("999999", deadline=soon()) is None


async def test_find_reads_two_indexes_and_no_table(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute(
        "INSERT INTO crm.customers (phone, email) "
        "SELECT '+7900' || lpad(n::text, 7, '0'), 'u' || n || '@example.com' FROM generate_series(1, 20000) n"
    )
    await pool.execute("ANALYZE crm.customers")
    statement = crm._statements["users_find"]
    async with pool.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE finding AS {statement.text}")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN EXECUTE finding('a', 'b')"))
    assert "Seq Scan" not in plan
    assert "customers_phone_key" in plan
    assert "customers_email" in plan


async def test_registering_a_phone_again_gives_the_same_customer_unchanged(
    crm: PostgresBackend, anna: str
) -> None:
    again = await crm.register(Profile(phone=PHONE, surname="Другая"), idempotency_key="r-2", deadline=soon())
    assert again == Written.done(crm_reference=anna)
    got = await crm.get(anna, deadline=soon())
    assert got is not None
    assert got.profile == ANNA


async def test_parallel_registrations_of_a_phone_make_one_customer(crm: PostgresBackend) -> None:
    person = Profile(phone="+79005550000", email="p@example.com")
    ends = await asyncio.gather(
        *(crm.register(person, idempotency_key=f"r{n}", deadline=soon()) for n in range(20))
    )
    assert len({end.crm_reference for end in ends if end.outcome is Outcome.DONE}) == 1
    assert {end.outcome for end in ends} == {Outcome.DONE}


async def test_registering_without_a_phone_is_settled_by_the_reference(crm: PostgresBackend) -> None:
    person = Profile(email="only@example.com")
    first = await crm.register(person, idempotency_key="r-only", deadline=soon())
    assert first.outcome is Outcome.DONE
    assert await crm.register(person, idempotency_key="r-only", deadline=soon()) == first
    other = await crm.register(person, idempotency_key="r-other", deadline=soon())
    assert other == Written.refused(Refusal.CONFLICT)


async def test_registering_an_email_of_another_customer_is_a_conflict(
    crm: PostgresBackend, anna: str
) -> None:
    person = Profile(phone="+79001110000", email="ANNA@example.com")
    written = await crm.register(person, idempotency_key="r-2", deadline=soon())
    assert written == Written.refused(Refusal.CONFLICT)


async def test_update_sets_only_what_is_given(crm: PostgresBackend, anna: str) -> None:
    written = await crm.update(anna, Profile(locality="Псков"), deadline=soon())
    assert written.outcome is Outcome.DONE
    got = await crm.get(anna, deadline=soon())
    assert got is not None
    assert (got.profile.locality, got.profile.surname, got.profile.phone) == ("Псков", "Котова", PHONE)


async def test_update_refuses_the_phone_of_another_and_an_unknown_customer(
    crm: PostgresBackend, anna: str
) -> None:
    await crm.register(Profile(phone="+79001110000"), idempotency_key="r-2", deadline=soon())
    taken = await crm.update(anna, Profile(phone="+79001110000"), deadline=soon())
    assert taken == Written.refused(Refusal.CONFLICT)
    nobody = await crm.update("999999", Profile(surname="X"), deadline=soon())
    assert nobody == Written.refused(Refusal.NO_SUCH_CUSTOMER)


async def test_consents_leave_unnamed_channels_and_deny_wins(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    steps = [
        ChannelConsents(frozenset({"sms", "email"}), frozenset({"call"})),
        ChannelConsents(frozenset({"call", "push"}), frozenset({"sms", "push"})),
    ]
    for consents in steps:
        assert (await crm.set_consents(anna, consents, deadline=soon())).outcome is Outcome.DONE
    kept = await pool.fetch("SELECT channel, allowed FROM crm.consents")
    assert dict(tuple(row) for row in kept) == {"sms": False, "email": True, "call": True, "push": False}
    nobody = await crm.set_consents("999999", steps[0], deadline=soon())
    assert nobody == Written.refused(Refusal.NO_SUCH_CUSTOMER)


async def test_phones_are_listed_in_batches(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await crm.register(Profile(email="nophone@example.com"), idempotency_key="r-2", deadline=soon())
    await pool.execute(
        "INSERT INTO crm.customers (phone) "
        "SELECT '+7911' || lpad(n::text, 7, '0') FROM generate_series(1, 12000) n"
    )
    batches = [batch async for batch in crm.list_phones()]
    phones = [phone for batch in batches for phone in batch]
    assert batches[0][0] == PHONE
    assert (len(phones), len(set(phones)), max(map(len, batches))) == (12001, 12001, 2000)


async def test_a_list_that_is_left_early_gives_its_connection_back(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    listing = crm.list_phones()
    await anext(listing)
    await listing.aclose()  # type: ignore[attr-defined]
    assert pool.get_idle_size() == pool.get_size()


async def test_a_list_that_nobody_goes_on_reading_gives_its_connection_back(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_backends.postgres.users._LIST_TOTAL", 0.05)
    listing = crm.list_phones()
    await anext(listing)
    await asyncio.sleep(0.1)
    with pytest.raises(BackendUnavailable):
        await anext(listing)
    assert pool.get_idle_size() == pool.get_size()


# -- points --------------------------------------------------------------------------------------------


async def test_the_account_is_found_by_phone_else_by_email(crm: PostgresBackend, anna: str) -> None:
    other = await crm.register(Profile(email="bob@example.com"), idempotency_key="r-bob", deadline=soon())

    async def account(profile: Profile) -> tuple[str | None, str | None]:
        holder = Holder(card_number="1", users_reference="of another CRM", profile=profile)
        return (
            await crm.points_account(holder, deadline=soon()),
            await crm.coupons_account(holder, deadline=soon()),
        )

    assert await account(Profile(phone=PHONE, email="bob@example.com")) == (anna, anna)
    assert await account(Profile(email="BOB@example.com")) == (other.crm_reference, other.crm_reference)
    assert await account(Profile(phone="+79009999999", email="bob@example.com")) == (None, None)


async def test_a_credit_is_one_lot_and_one_purchase_however_often_it_is_sent(
    crm: PostgresBackend, anna: str
) -> None:
    credit = Credit(Decimal("9.75"), "Чек 99456", RECEIPT)
    ends = await asyncio.gather(
        *(crm.credit(anna, credit, idempotency_key="op-1", deadline=soon()) for _ in range(20))
    )
    assert {(end.outcome, end.points) for end in ends} == {(Outcome.DONE, Decimal("9.75"))}
    assert len({end.crm_reference for end in ends}) == 1
    later = await crm.credit(
        anna, Credit(Decimal("9.750"), "x", RECEIPT), idempotency_key="op-1", deadline=soon()
    )
    assert later == ends[0]
    assert await points(crm, anna) == Decimal("9.75")
    (line,) = await crm.purchases(anna, since=date(2025, 5, 18), until=date(2025, 5, 18), deadline=soon())
    assert (line.item, line.amount_kopecks, line.bonuses, line.at) == (
        "Чек 99456",
        97588,
        Decimal("9.75"),
        RECEIPT.issued_at,
    )
    (entry,) = await crm.entries(anna, limit=10, deadline=soon())
    assert (entry.amount, entry.description) == (Decimal("9.75"), "Чек 99456")


async def test_a_receipt_the_till_has_written_gets_no_second_line(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute(
        "INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks, fiscal_drive, fiscal_document, "
        "fiscal_sign) SELECT $1, $2, unnest('{Milk,Bread}'::text[]), 48794, $3, $4, $5",
        int(anna), RECEIPT.issued_at, RECEIPT.fiscal_drive, RECEIPT.document, RECEIPT.sign,
    )  # fmt: skip
    await crm.credit(anna, Credit(Decimal(9), "Чек", RECEIPT), idempotency_key="op-1", deadline=soon())
    lines = await crm.purchases(anna, since=date(2025, 5, 1), until=date(2025, 5, 31), deadline=soon())
    assert {line.item for line in lines} == {"Milk", "Bread"}


async def test_without_an_amount_the_rule_of_the_programme_counts(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute("UPDATE crm.programme SET points_per_rouble = 0.05, points_days = 30")
    written = await crm.credit(anna, Credit(None, "Чек", RECEIPT), idempotency_key="op-1", deadline=soon())
    assert written.points == 48
    (entry,) = await crm.entries(anna, limit=10, deadline=soon())
    assert entry.valid_until == datetime.now(ZONE).date() + timedelta(days=30)


async def test_credits_that_cannot_be_are_refused(crm: PostgresBackend, anna: str) -> None:
    for credit in (Credit(Decimal(-5), "x"), Credit(None, "x"), Credit(Decimal(10) ** 13, "x")):
        written = await crm.credit(anna, credit, idempotency_key="op-1", deadline=soon())
        assert written == Written.refused(Refusal.OTHER)
    nobody = await crm.credit("999999", Credit(Decimal(5), "x"), idempotency_key="op-1", deadline=soon())
    assert nobody == Written.refused(Refusal.NO_SUCH_CUSTOMER)
    assert await points(crm, anna) == 0


async def test_purchases_are_of_whole_days_in_the_zone_of_the_programme(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    moments = [
        datetime(2025, 5, 17, 20, 59, tzinfo=UTC),  # 23:59 of the 17th in Moscow
        datetime(2025, 5, 17, 21, 0, tzinfo=UTC),
        datetime(2025, 5, 18, 20, 59, tzinfo=UTC),
        datetime(2025, 5, 18, 21, 0, tzinfo=UTC),
    ]
    await pool.executemany(
        "INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks) VALUES ($1, $2, 'x', 1)",
        [(int(anna), at) for at in moments],
    )
    lines = await crm.purchases(anna, since=date(2025, 5, 18), until=date(2025, 5, 18), deadline=soon())
    assert [line.at for line in lines] == [moments[2], moments[1]]


async def _lot(
    pool: asyncpg.Pool[asyncpg.Record], account: str, points: int, until: date | None, wait: str = "0"
) -> None:
    await pool.execute(
        "INSERT INTO crm.points_ledger"
        " (customer_id, amount, remaining, description, valid_until, available_from)"
        " VALUES ($1, $2, $2, 'lot', $3, now() + $4::text::interval)",
        int(account),
        points,
        until,
        wait,
    )


async def test_expired_lots_do_not_count_and_later_ones_are_not_available(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    today = datetime.now(ZONE).date()
    await _lot(pool, anna, 1, today - timedelta(days=1))
    await _lot(pool, anna, 20, today)
    await _lot(pool, anna, 300, None)
    await _lot(pool, anna, 4000, None, wait="1 day")
    balance = await crm.balance(anna, deadline=soon())
    assert (balance.total, balance.available) == (Decimal(4320), Decimal(320))
    entries = await crm.entries(anna, limit=3, deadline=soon())
    assert [entry.amount for entry in entries] == [4000, 300, 20]


async def test_spending_takes_the_lots_that_expire_first(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    today = datetime.now(UTC).date()
    await _lot(pool, anna, 100, None)
    await _lot(pool, anna, 10, today + timedelta(days=9))
    await _lot(pool, anna, 20, today + timedelta(days=5))
    spend = "SELECT crm.spend_points($1, $2, 'till', $3)"
    for _ in range(2):
        assert await pool.fetchval(spend, int(anna), Decimal("25.50"), "till-1") == Decimal("25.50")
    left = await pool.fetch("SELECT remaining FROM crm.points_ledger WHERE remaining IS NOT NULL ORDER BY id")
    assert [row["remaining"] for row in left] == [100, Decimal("4.50"), 0]
    (spent, *_) = await crm.entries(anna, limit=10, deadline=soon())
    assert spent.amount == Decimal("-25.50")
    with pytest.raises(asyncpg.RaiseError, match="not enough points"):
        await pool.execute(spend, int(anna), 105, "till-2")
    with pytest.raises(asyncpg.RaiseError, match="no such customer"):
        await pool.execute(spend, 999999, 1, "till-3")
    with pytest.raises(asyncpg.RaiseError, match="must be positive"):
        await pool.execute(spend, int(anna), -1, "till-4")
    assert await points(crm, anna) == Decimal("104.50")


async def test_parallel_spending_never_overdraws(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    for _ in range(10):
        await _lot(pool, anna, 7, None)
    ends = await asyncio.gather(
        *(
            pool.fetchval("SELECT crm.spend_points($1, 10, 'till', $2)", int(anna), f"t{n}")
            for n in range(15)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(end, Exception) for end in ends) == 7
    assert await points(crm, anna) == 0


# -- coupons -------------------------------------------------------------------------------------------


async def _code(pool: asyncpg.Pool[asyncpg.Record], code: str, **columns: object) -> None:
    names = ["code", "points", *columns]
    marks = ", ".join(f"${n}" for n in range(1, len(names) + 1))
    await pool.execute(
        f"INSERT INTO crm.promo_codes ({', '.join(names)}) VALUES ({marks})", code, 50, *columns.values()
    )


async def _people(crm: PostgresBackend, count: int) -> list[str]:
    ends = [
        await crm.register(Profile(phone=f"+7922{n:07}"), idempotency_key=f"p{n}", deadline=soon())
        for n in range(count)
    ]
    return [str(end.crm_reference) for end in ends]


async def test_a_code_is_used_once_per_reference_whatever_its_case(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await _code(pool, "Весна-25", message="Спасибо!")
    done = Written.done(points=Decimal(50), message="Спасибо!")
    ends = await asyncio.gather(
        *(crm.redeem(anna, "  вЕСНА-25 ", idempotency_key="op-1", deadline=soon()) for _ in range(10))
    )
    assert set(ends) == {done}
    await pool.execute("UPDATE crm.promo_codes SET valid_until = now() - interval '1 day'")
    assert await crm.redeem(anna, "весна-25", idempotency_key="op-1", deadline=soon()) == done
    assert await points(crm, anna) == 50


async def test_codes_are_refused_with_their_reason(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    now = datetime.now(UTC)
    await _code(pool, "early", valid_from=now + timedelta(days=1))
    await _code(pool, "late", valid_until=now - timedelta(days=1))
    await _code(pool, "mine")
    await _code(pool, "one", max_uses=1)
    await _code(pool, "two", max_uses=2)
    await _code(pool, "twice", per_customer=2)
    first, second = await _people(crm, 2)
    used = [(anna, "mine"), (first, "one"), (first, "two"), (second, "two"), (anna, "twice"), (anna, "twice")]
    for number, (who, code) in enumerate(used):
        end = await crm.redeem(who, code, idempotency_key=f"use-{number}", deadline=soon())
        assert end.outcome is Outcome.DONE
    expected = {
        "nothing": Refusal.CODE_UNKNOWN,
        "early": Refusal.CODE_NOT_YET_VALID,
        "late": Refusal.CODE_EXPIRED,
        "mine": Refusal.CODE_USED,
        "one": Refusal.CODE_USED,
        "two": Refusal.CODE_EXHAUSTED,
        "twice": Refusal.CODE_USED,
    }
    for code, refusal in expected.items():
        assert await crm.redeem(anna, code, idempotency_key=f"no-{code}", deadline=soon()) == Written.refused(
            refusal
        )
    nobody = await crm.redeem("999999", "mine", idempotency_key="no", deadline=soon())
    assert nobody == Written.refused(Refusal.NO_SUCH_CUSTOMER)
    assert await points(crm, anna) == 150


@pytest.mark.parametrize(("uses", "refusal"), [(1, Refusal.CODE_USED), (3, Refusal.CODE_EXHAUSTED)])
async def test_fifty_at_once_use_a_code_as_often_as_it_allows(
    crm: PostgresBackend, pool: asyncpg.Pool[asyncpg.Record], uses: int, refusal: Refusal
) -> None:
    await _code(pool, "gift", max_uses=uses)
    ends = await asyncio.gather(
        *(
            crm.redeem(who, "GIFT", idempotency_key=f"op-{who}", deadline=soon())
            for who in await _people(crm, 50)
        )
    )
    assert sum(end.outcome is Outcome.DONE for end in ends) == uses
    assert {end.refusal for end in ends if end.outcome is not Outcome.DONE} == {refusal}
    assert await pool.fetchval("SELECT sum(remaining) FROM crm.points_ledger") == 50 * uses


async def test_offers_are_the_general_ones_and_those_issued_once_per_reference(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute(
        "INSERT INTO crm.offers (title, active, valid_until, occasion) VALUES"
        " ('all', true, null, null), ('off', false, null, null),"
        " ('over', true, now() - interval '1 day', null),"
        " ('visit 1', true, null, 'visit'), ('visit 2', true, null, 'visit'), ('other', true, null, 'sale')"
    )

    async def titles() -> set[str]:
        return {offer.title for offer in await crm.offers(anna, deadline=soon())}

    assert await titles() == {"all"}
    ends = await asyncio.gather(
        *(crm.issue(anna, "visit", idempotency_key="op-1", deadline=soon()) for _ in range(10))
    )
    assert {end.outcome for end in ends} == {Outcome.DONE}
    assert len({end.crm_reference for end in ends}) == 1
    await pool.execute("INSERT INTO crm.offers (title, occasion) VALUES ('visit 3', 'visit')")
    assert await crm.issue(anna, "visit", idempotency_key="op-1", deadline=soon()) == ends[0]
    assert await titles() == {"all", "visit 1", "visit 2"}
    assert await crm.issue(anna, "nothing", idempotency_key="op-2", deadline=soon()) == Written.done()
    nobody = await crm.issue("999999", "visit", idempotency_key="op-3", deadline=soon())
    assert nobody == Written.refused(Refusal.NO_SUCH_CUSTOMER)


# -- behind a pooler -----------------------------------------------------------------------------------


async def test_behind_a_pooler_nothing_is_prepared_and_all_goes_on_as_before(fresh_database: str) -> None:
    settings = PostgresSettings(
        url=SecretStr(fresh_database), manage_schema=True, pooler=True, statement_timeout=20
    )
    crm = PostgresBackend(settings, BackendContext("", None, ZONE, "RU"))
    await crm.open()
    try:
        assert all(finding.ok for finding in await crm.check())
        end = await crm.register(ANNA, idempotency_key="r-1", deadline=soon())
        assert end.crm_reference
        assert await crm.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
        assert (
            await crm.credit(end.crm_reference, Credit(Decimal(5), "x"), idempotency_key="o", deadline=soon())
        ).points == 5
        assert [batch async for batch in crm.list_phones()]
        pool = crm._database._pool
        assert pool is not None
        assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    finally:
        await crm.close()


async def set_card(crm: PostgresBackend, customer: str, number: str, replaces: str | None = None) -> Written:
    return await crm.set_card(
        customer, number, number, "EAN_13", replaces=replaces, idempotency_key=f"r-{number}", deadline=soon()
    )


async def test_many_card_numbers_are_asked_for_at_once(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    assert crm.finds_many_by_card
    assert await set_card(crm, anna, "2900000000018") == Written.done(anna)
    await pool.execute("INSERT INTO crm.cards (number, state) VALUES ('P-1', 'active'), ('P-2', 'blocked')")
    asked = ["P-2", "nobody's", "2900000000018", "P-1", "P-2"]
    found = await crm.find_many_by_card(asked, "SELECT * FROM found ORDER BY 1", deadline=soon())
    places = [row["wanted.number"] for row in found]
    cards = [crm.crm_card(row, asked[place - 1]) for row, place in zip(found, places, strict=True)]
    assert [(card.number, card.state, card.customer is not None) for card in cards] == [
        ("P-2", "blocked", False),
        ("2900000000018", "active", True),
        ("P-1", "active", False),
        ("P-2", "blocked", False),
    ]
    assert places == [1, 3, 4, 5]


async def test_a_till_that_changes_a_customers_number_replaces_the_card_and_may_take_it_back(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    assert await set_card(crm, anna, "A") == Written.done(anna)
    for now, before in (("B", "A"), ("A", "B")):
        await pool.execute("UPDATE crm.customers SET card_number = $1", now)
        old, new = [await crm.find_by_card(number, deadline=soon()) for number in (before, now)]
        assert old is not None
        assert new is not None
        assert (old.state, old.replaced_by, old.customer) == ("replaced", now, None)
        assert (new.state, new.customer is not None) == ("active", True)
    await pool.execute("UPDATE crm.customers SET card_number = NULL")
    taken = await crm.find_by_card("A", deadline=soon())
    assert taken is not None
    assert (taken.state, taken.customer) == ("inactive", None)


async def test_a_number_that_is_blocked_or_was_replaced_is_given_to_nobody(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await pool.execute(
        "INSERT INTO crm.cards (number, state, replaced_by)"
        " VALUES ('lost', 'replaced', 'new'), ('bad', 'blocked', NULL)"
    )
    for number in ("lost", "bad"):
        assert await set_card(crm, anna, number) == Written.refused(Refusal.CONFLICT)
    assert await pool.fetchval("SELECT card_number FROM crm.customers") is None
    # Blocked after it was given: the same again is still no error.
    assert await set_card(crm, anna, "good") == Written.done(anna)
    await pool.execute("UPDATE crm.cards SET state = 'blocked' WHERE number = 'good'")
    assert await set_card(crm, anna, "good") == Written.done(anna)


async def test_who_may_change_customers_alone_may_give_them_another_card(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    assert await set_card(crm, anna, "A") == Written.done(anna)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("CREATE ROLE till_of_the_test")
        await connection.execute("GRANT USAGE ON SCHEMA crm TO till_of_the_test")
        await connection.execute("GRANT SELECT, UPDATE ON crm.customers TO till_of_the_test")
        await connection.execute("SET LOCAL ROLE till_of_the_test")
        await connection.execute("UPDATE crm.customers SET card_number = 'B'")
        await connection.execute("RESET ROLE")
        assert await connection.fetchval("SELECT replaced_by FROM crm.cards WHERE number = 'A'") == "B"
        await connection.execute("DROP OWNED BY till_of_the_test; DROP ROLE till_of_the_test")


async def test_the_schema_of_an_older_version_gets_what_is_new_of_cards(
    crm: PostgresBackend, anna: str, pool: asyncpg.Pool[asyncpg.Record], fresh_database: str
) -> None:
    await pool.execute(
        "UPDATE crm.customers SET card_number = 'A';"
        "DROP TRIGGER card_changes_hands ON crm.customers; DROP FUNCTION crm.card_changes_hands;"
        "DROP TABLE crm.cards; COMMENT ON SCHEMA crm IS 'koshelek-adapter of before'"
    )
    settings = PostgresSettings(statement_timeout=20)
    newer = PostgresBackend(settings, BackendContext(fresh_database, pool, ZONE, "RU"))
    await newer.open()
    known = await newer.find_by_card("A", deadline=soon())
    assert known is not None
    assert (known.state, known.customer and known.customer.customer_id) == ("active", anna)
    (found,) = await newer.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
    assert (found.card_number, found.card_state) == ("A", "active")
