"""The adapter's own tables, where several write to them at once, or the line to them breaks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import struct
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import asyncpg
import pytest

from adapter.errors import Code
from adapter.loyalty.idempotency_keys import new_key
from adapter.loyalty.model import Entry, NewOperation, Operation, OperationKind, OperationState
from adapter.loyalty.numbers import range_number
from adapter.loyalty.ports import StoreUnavailable
from adapter.process.embedded import EmbeddedServer
from adapter.settings import Database
from adapter.store import ledger_sql
from adapter.store import pool as pools
from adapter.store.balances import PostgresBalances
from adapter.store.emails import PostgresEmails
from adapter.store.migrate import SchemaUnfit, latest_version, migrate, migrations, schema_version
from adapter.store.operations import PostgresLedger
from adapter.store.pool import Gateway, open_pool
from adapter.store.queue import CalmDriver, PostgresPickedJobs, enqueue
from crm_backends.model import Balance
from tests.integration.processes import run

from ..conftest import create_database
from .conftest import RANGE, Adapter, StartAdapter, new_phone, running, settings_for_tests
from .payloads import RECEIPT

ANONYMOUS = "/v1/card/anonymous"
INSERT = (
    "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state) "
    "VALUES ($1, $1, 'CODE_128', 'free')"
)


# --- cards ---------------------------------------------------------------------------------------------


async def test_a_reservation_that_ran_out_is_not_another_callers_number_while_there_are_others(
    adapter: Adapter,
) -> None:
    late = await adapter.reserve()
    await adapter.sql("UPDATE koshelek.cards SET reserved_until = now() - interval '1 second'")
    assert await adapter.reserve() != late
    answer = await adapter.post(f"{ANONYMOUS}/{late}", {"phone": new_phone()})
    assert answer.code == Code.RESERVATION_EXPIRED


async def test_a_card_that_a_call_beside_this_one_has_just_taken_over_is_found(adapter: Adapter) -> None:
    cards = adapter.service.cards
    entry = Entry("2900000000018", "2900000000018", "CODE_128", owner="17")
    first = await cards.adopt(entry)
    assert first is not None
    assert await cards.adopt(entry) == first
    assert await cards.adopt(dataclasses.replace(entry, owner="18")) is None


async def test_a_number_that_an_import_is_about_to_take_is_passed_over(adapter: Adapter) -> None:
    taken = [range_number(RANGE, value) for value in (1, 2, 3)]
    async with adapter.service.pool.acquire() as connection:
        importing = connection.transaction()
        await importing.start()
        await connection.executemany(INSERT, [(number,) for number in taken])
        waiting = asyncio.create_task(adapter.service.cards.reserve())
        issued = asyncio.create_task(adapter.service.cards.issue("17", None))
        await asyncio.sleep(0.1)
        await importing.commit()
    assert (await waiting).number != (await issued).number


async def drawn(adapter: Adapter, count: int) -> list[str]:
    """Numbers of as many reservations, many at a time."""
    several = asyncio.Semaphore(20)

    async def one() -> str:
        async with several:
            return (await adapter.service.cards.reserve()).number

    return await asyncio.gather(*[one() for _ in range(count)])


async def test_a_restored_older_dump_and_a_second_database_repeat_no_number(
    start: StartAdapter, postgresql: EmbeddedServer, template: str
) -> None:
    cards = {"ranges": [{"prefix": "2900", "length": 19, "check_digit": "none"}]}
    adapter = await start(cards=cards)
    before = await drawn(adapter, 1000)
    await adapter.sql("TRUNCATE koshelek.cards, koshelek.number_ranges CASCADE")  # as the older dump was
    after = await drawn(adapter, 1000)
    url = await create_database(postgresql, template)
    async with running(settings_for_tests(cards=cards), url) as second:
        elsewhere = await drawn(second, 1000)
    assert len({*before, *after, *elsewhere}) == 3000


async def test_a_nearly_full_range_gives_every_number_once_to_parallel_calls(start: StartAdapter) -> None:
    rule = RANGE.model_copy(update={"last": 500, "order": "random"})
    adapter = await start(cards={"ranges": [rule.model_dump()]})
    imported = {await adapter.plastic(value) for value in range(3, 500, 10)}
    every = {range_number(rule, value) for value in range(1, 501)}
    numbers = await drawn(adapter, 450)
    assert numbers != sorted(numbers)
    assert sorted(numbers) == sorted(every - imported)
    assert (await adapter.get(ANONYMOUS)).code == Code.NO_NUMBERS
    # It is not looked through again: the counter is behind its end.
    assert await adapter.sql("SELECT next_value FROM koshelek.number_ranges") == 501


async def test_a_pool_is_taken_from_anywhere_and_gives_every_number_once(start: StartAdapter) -> None:
    adapter = await start(cards={"ranges": []})
    pool = {range_number(RANGE, value) for value in range(1, 301)}
    await adapter.service.pool.executemany(INSERT, [(number,) for number in pool])
    numbers = await drawn(adapter, 300)
    assert set(numbers[:20]) != set(sorted(pool)[:20])
    assert sorted(numbers) == sorted(pool)
    assert (await adapter.get(ANONYMOUS)).code == Code.NO_NUMBERS


async def test_a_pool_of_odd_numbers_gives_every_one_once(start: StartAdapter) -> None:
    adapter = await start(cards={"ranges": []})
    pool = {"A-1", "7", "70000000000000000000000000001", "Z"}
    await adapter.service.pool.executemany(INSERT, [(number,) for number in pool])
    assert {await adapter.reserve() for _ in pool} == pool
    assert (await adapter.get(ANONYMOUS)).code == Code.NO_NUMBERS


async def test_what_lies_behind_the_counter_is_not_drawn(start: StartAdapter) -> None:
    rule = RANGE.model_copy(update={"last": 500, "order": "random"})
    adapter = await start(cards={"ranges": [rule.model_dump()]})
    await adapter.sql("INSERT INTO koshelek.number_ranges VALUES ('2900', 13, 'ean', 481)")
    assert set(await drawn(adapter, 20)) == {range_number(rule, value) for value in range(481, 501)}
    assert (await adapter.get(ANONYMOUS)).code == Code.NO_NUMBERS


# --- operations ----------------------------------------------------------------------------------------


async def test_batches_that_share_receipts_do_not_wait_for_each_other_in_a_circle(adapter: Adapter) -> None:
    """Both meet a receipt that a third is about to record, each on its way through the others."""
    news = [NewOperation(f"{number:02}", "29", "1:1", RECEIPT, new_key()) for number in range(9)]
    orders = (news, [*reversed(news)])
    async with adapter.service.pool.acquire() as connection:
        third = connection.transaction()
        await third.start()
        await connection.execute(
            "INSERT INTO koshelek.operations (kind, identity, fingerprint, request) "
            "VALUES ('receipt', '04', '', '{}')"
        )
        both = [
            asyncio.create_task(PostgresLedger(adapter.service.gateway)._record_batch(order))
            for order in orders
        ]
        await asyncio.sleep(0.1)
        await third.rollback()
    batches = await asyncio.gather(*both)
    for batch, order in zip(batches, orders, strict=True):
        assert [operation.identity for operation, _ in batch] == [new.identity for new in order]
    assert sum(created for batch in batches for _, created in batch) == len(news)


async def test_a_job_is_written_as_the_queue_itself_writes_it(adapter: Adapter) -> None:
    """Recording does so in its own statement; a version of the queue that does it otherwise is seen here."""
    await adapter.service.stop_delivery()
    operation, _ = await adapter.service.operations.record(
        NewOperation("job", "29", "1:1", RECEIPT, new_key())
    )
    async with adapter.service.pool.acquire() as connection, connection.transaction():
        await enqueue(connection, [operation.id])
    columns = await adapter.sql(
        "SELECT array_agg(column_name::text) FROM information_schema.columns WHERE table_schema = 'koshelek' "
        "AND table_name = 'pgqueuer' AND column_name <> ALL(ARRAY['id', 'created', 'updated', 'heartbeat', "
        "'execute_after'])"
    )
    assert {"payload", "priority", "entrypoint", "status"} <= set(columns)
    rows = await adapter.service.pool.fetch(
        f"SELECT {', '.join(columns)}, execute_after <= now() AS due FROM koshelek.pgqueuer ORDER BY id"
    )
    ours, theirs = map(dict, rows)
    assert ours == theirs
    assert ours["due"]
    logged = await adapter.service.pool.fetch(
        "SELECT status, priority, entrypoint, traceback, aggregated FROM koshelek.pgqueuer_log ORDER BY id"
    )
    ours, theirs = map(dict, logged)
    assert ours == theirs


async def test_a_job_that_is_picked_from_the_start_is_one_like_any_other(adapter: Adapter) -> None:
    operations = adapter.service.operations
    await adapter.service.stop_delivery()
    taken: list[tuple[Operation, int]] = []

    class Room:
        def deliver(self, operation: Operation, job_id: int) -> None:
            taken.append((operation, job_id))

        def give_back(self) -> None:
            raise AssertionError("both were new")

    async def place(kind: OperationKind) -> Room | None:
        return Room() if kind is OperationKind.RECEIPT else None

    queued, _ = await operations.record(NewOperation("queued", "29", "1:1", RECEIPT, new_key()))
    operations.find_place = place
    operation, _ = await operations.record(NewOperation("picked", "29", "1:1", RECEIPT, new_key()))
    ((delivered, job_id),) = taken
    assert delivered == operation
    assert await operations.get(operation.id) == dataclasses.replace(operation, read_at=ANY)
    assert (operation.state, operation.attempt) == (OperationState.SENT, 1)
    assert operation.sent_at == operation.recorded_at
    theirs, ours = map(dict, await adapter.service.pool.fetch("SELECT * FROM koshelek.pgqueuer ORDER BY id"))
    assert ours["id"] == job_id
    assert (theirs.pop("payload"), ours.pop("payload")) == tuple(
        str(one.id).encode() for one in (queued, operation)
    )
    differ = {name for name in ours if ours[name] != theirs[name]}
    assert differ == {"id", "created", "updated", "heartbeat", "execute_after", "status"}
    assert (theirs["status"], ours["status"]) == ("queued", "picked")


async def test_jobs_that_are_picked_are_kept_put_off_and_removed(adapter: Adapter) -> None:
    await adapter.service.stop_delivery()
    jobs = PostgresPickedJobs(adapter.service.gateway)
    first, second = await adapter.service.pool.fetch(
        "INSERT INTO koshelek.pgqueuer (priority, entrypoint, payload, headers, status, heartbeat) "
        "SELECT 0, 'deliver', '1', 'null', 'picked', now() - interval '14 seconds' "
        "FROM generate_series(1, 2) RETURNING id"
    )
    await jobs.keep([first["id"]])
    old = "SELECT array_agg(id) FROM koshelek.pgqueuer WHERE heartbeat < now() - interval '10 seconds'"
    assert await adapter.sql(old) == [second["id"]]
    await jobs.put_off(second["id"], timedelta(seconds=60))
    row = await adapter.service.pool.fetchrow(
        "SELECT status, attempts, execute_after > now() + interval '50 seconds' AS later "
        "FROM koshelek.pgqueuer WHERE id = $1",
        second["id"],
    )
    assert row is not None
    assert tuple(row) == ("queued", 1, True)
    await jobs.finish([first["id"]])
    assert await adapter.sql("SELECT array_agg(id) FROM koshelek.pgqueuer") == [second["id"]]


async def test_the_queue_is_told_of_many_changes_a_few_times_and_of_the_last_one(fresh_database: str) -> None:
    told: list[Any] = []
    changed, other = '{"type" : "table_changed_event"}', '{"type" : "health_check_event"}'
    async with (
        asyncpg.create_pool(fresh_database, min_size=0, max_size=2) as pool,
        CalmDriver(pool) as driver,
        asyncio.timeout(10),
    ):
        await driver.add_listener("calm", told.append)
        for _ in range(20):
            await pool.execute("SELECT pg_notify('calm', $1), pg_sleep(0.005)", changed)
        await pool.execute("SELECT pg_notify('calm', $1)", other)
        while other not in told:  # noqa: ASYNC110 - the server tells
            await asyncio.sleep(0.01)
        many = told.count(changed)
        assert 1 <= many <= 10
        await pool.execute("SELECT pg_notify('calm', $1)", changed)
        while told.count(changed) <= many:  # noqa: ASYNC110 - the server tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("analysed", [False, True])
async def test_a_batch_is_found_by_its_ids_however_many_wait(adapter: Adapter, analysed: bool) -> None:
    """Also with statistics from before they came."""
    await adapter.service.stop_delivery()
    async with adapter.service.pool.acquire() as connection:
        await connection.execute("ANALYZE koshelek.operations")
        await connection.execute(
            "INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request, reference) "
            "SELECT 'receipt', 'x' || g, '29', '1:1', '{}', 'K' || g FROM generate_series(1, 20000) AS g"
        )
        if analysed:
            await connection.execute("ANALYZE koshelek.operations")
        first = await connection.fetchval("SELECT min(id) FROM koshelek.operations")
        ids = [first + 300 * number for number in range(32)]
        ends = json.dumps([{"operation_id": one, "attempt": 1, "state": "done"} for one in ids])
        for statement, arguments in (
            (ledger_sql.BEGIN, (ids, [None] * 32, [""] * 32)),
            (ledger_sql.END, (ends, ids)),
            (ledger_sql.ENDED_BY_IDS, (ids,)),
            (ledger_sql.LIVE_BY_IDENTITY, (["receipt"] * 32, [f"x{one}" for one in ids])),
        ):
            rows = await connection.fetch(f"EXPLAIN {statement}", *arguments)
            plan = "\n".join(row[0] for row in rows)
            assert "Seq Scan on operations" not in plan, plan
            assert "operations_open" not in plan, plan
            assert "operations_pkey" in plan or "operations_identity" in plan, plan


# --- e-mails -------------------------------------------------------------------------------------------


async def test_somebody_elses_email_does_not_cost_a_person_their_own(adapter: Adapter) -> None:
    emails = PostgresEmails(adapter.service.gateway)
    await emails.note("1", "anna@example.com")
    await emails.note("2", "boris@example.com")
    await emails.note("1", "Boris@example.com")
    assert await emails.owner("anna@example.com") == "1"
    assert await emails.owner("boris@example.com") == "2"
    await emails.note("1", "new@example.com")
    assert (await emails.owner("anna@example.com"), await emails.owner("new@example.com")) == (None, "1")


# --- connections ---------------------------------------------------------------------------------------


@pytest.fixture
async def mute() -> AsyncIterator[str]:
    """URL of a server that takes a connection and then never answers."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!I", len(body) + 4) + body

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            if struct.unpack("!I", body[:4])[0] == 196608:  # a start, and no request to cancel
                writer.write(
                    message(b"R", struct.pack("!I", 0))
                    + message(b"S", b"server_version\x0016.0\x00")
                    + message(b"S", b"client_encoding\x00UTF8\x00")
                    + message(b"K", struct.pack("!II", 1, 2))
                    + message(b"Z", b"I")
                )
            await reader.read()  # to the end
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"postgresql://u@127.0.0.1:{server.sockets[0].getsockname()[1]}/d?sslmode=disable"
    server.close()


async def test_a_server_that_falls_silent_is_told_as_away(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the connection cannot be given back in time."""
    monkeypatch.setattr(pools, "_RELEASE", 0.05)
    pool = await open_pool(mute, Database(statement_timeout=0.1), size=1)
    with pytest.raises(StoreUnavailable):
        async with Gateway(pool, 1.0).connection() as connection:
            await connection.fetchval("SELECT 1")
    pool.terminate()


async def test_a_connection_whose_caller_is_cancelled_comes_back(fresh_database: str) -> None:
    pool = await open_pool(fresh_database, Database(), size=1)

    async def ask() -> None:
        async with Gateway(pool, 5.0).connection() as connection:
            await connection.execute("SELECT pg_sleep(30)")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with Gateway(pool, 5.0).connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_balance_that_was_just_told_is_known_before_it_is_written(adapter: Adapter) -> None:
    balances, number = PostgresBalances(adapter.service.gateway), await adapter.reserve()
    balances.note(number, Balance(Decimal(62), Decimal(60)))
    assert await balances.last_known(number, 60) == Balance(Decimal(62), Decimal(60))
    await asyncio.sleep(0)  # now it is being written
    assert await balances.last_known(number, 60) == Balance(Decimal(62), Decimal(60))
    await balances.close()
    assert await balances.last_known(number, 60) == Balance(Decimal(62), Decimal(60))
    assert await balances.last_known(number, 0) is None


# The tests' own server keeps nothing for sure; what a session asked for itself is what counts.
WAITED_FOR = "SELECT setting = 'on' OR source <> 'client' FROM pg_settings WHERE name = 'synchronous_commit'"


async def test_the_queue_alone_is_not_waited_for_until_it_is_on_disk(start: StartAdapter) -> None:
    """What tells that an operation was sent, or how it ended, is always on disk before anything follows."""
    service = (await start()).service
    queue = service._worker_pool
    assert queue is not None
    waited_for = {pool is queue: await pool.fetchval(WAITED_FOR) for pool in service._pools}
    assert waited_for == {True: False, False: True}
    service.renew_database(service.database_url)
    await queue.expire_connections()
    assert await queue.fetchval(WAITED_FOR) is False


async def test_through_a_pooler_no_session_is_changed(fresh_database: str) -> None:
    pool = await open_pool(fresh_database, Database(pooler=True), size=1, durable=False)
    try:
        assert await pool.fetchval(WAITED_FOR)
    finally:
        await pool.close()


async def test_a_statement_that_a_pooler_has_lost_is_told_with_the_setting(database: str) -> None:
    pool = await open_pool(database, Database(), size=1)
    with pytest.raises(StoreUnavailable, match=r"set database\.pooler = true"):
        async with Gateway(pool, 1.0).connection() as connection:
            await connection.execute("DEALLOCATE nobody_has_prepared_it")
    await pool.close()


# --- versions ------------------------------------------------------------------------------------------


async def test_commands_leave_the_schema_of_another_version_alone(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = migrations()[:-1]
    with monkeypatch.context() as patched:
        patched.setattr("adapter.store.migrate.migrations", lambda: before)
        await migrate(fresh_database)
    with pytest.raises(SchemaUnfit, match="update the service first"):
        await migrate(fresh_database, upgrade=False)
    env = {"KOSHELEK_DATABASE__URL": fresh_database}
    for words in (("receipts", "held"), ("check",)):
        done = await asyncio.to_thread(run, *words, cwd=tmp_path, env=env)
        assert done.status == 1
        assert "update the service first" in done.text
    connection = await asyncpg.connect(fresh_database)
    try:
        assert await schema_version(connection) == before[-1][0]
        await migrate(fresh_database)
        assert await schema_version(connection) == latest_version()
    finally:
        await connection.close()
    assert await migrate(fresh_database, upgrade=False) == (latest_version(), latest_version())


async def test_an_empty_database_gets_its_tables_by_any_command(fresh_database: str) -> None:
    assert await migrate(fresh_database, upgrade=False) == (0, latest_version())


async def test_a_replica_stays_ready_when_a_newer_one_has_brought_the_schema_on(adapter: Adapter) -> None:
    await adapter.sql(
        "INSERT INTO koshelek.schema_version (version, name) VALUES ($1, 'later')", latest_version() + 1
    )
    assert await adapter.service.problem() is None
    await adapter.sql("DELETE FROM koshelek.schema_version WHERE version >= $1", latest_version())
    assert "needs" in str(await adapter.service.problem())


async def test_one_that_cannot_be_written_down_does_not_take_others_with_it(adapter: Adapter) -> None:
    """They end in one batch; what a CRM says of one may be nothing that PostgreSQL can hold."""
    await adapter.service.stop_delivery()
    operations = adapter.service.operations
    news = [NewOperation(f"batch-{number}", "29", "1:1", RECEIPT, new_key()) for number in range(5)]
    recorded = [(await operations.record(new))[0] for new in news]
    begun = [await operations.begin(operation.id) for operation in recorded]
    texts = ["a", "b\x00c", "d", "e", "f"]
    ended = await asyncio.gather(
        *[
            operations.end(operation, OperationState.DONE, crm_reference=text)
            for operation, text in zip(begun, texts, strict=True)
            if operation is not None
        ],
        return_exceptions=True,
    )
    assert [isinstance(end, Exception) for end in ended] == [False, True, False, False, False]
