"""What crashes leave behind is put right and what is old is removed: a real database, real kills."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapter.delivery.housekeeping import Housekeeping, PassReport
from adapter.loyalty.idempotency_keys import new_key
from adapter.loyalty.model import NewOperation, Operation, OperationKind, OperationState
from adapter.settings import Settings
from adapter.store.operations import PostgresLedger
from adapter.store.pool import Gateway, open_pool
from adapter.store.review import PostgresReview
from adapter.store.upkeep import PostgresUpkeep
from crm_backends.model import Balance
from tests.integration.processes import Ended, Running, call, free_ports, run
from tests.integration.test_processes import serve, settings_file

from .conftest import StartAdapter, new_phone, settings_for_tests
from .payloads import RECEIPT, payload

QUEUE = "koshelek.pgqueuer"
MINUTE = timedelta(minutes=1)


class House:
    """A database, its ledger, and somebody who keeps it."""

    def __init__(self, pool: Any, settings: Settings) -> None:
        self.pool = pool
        self.settings = settings
        self.gateway = Gateway(pool, 5.0)
        self.operations = PostgresLedger(self.gateway)

    def keeper(self) -> Housekeeping:
        return Housekeeping(PostgresUpkeep(self.gateway), self.settings)

    async def once(self) -> PassReport:
        """A pass, whenever the last one was."""
        await self.sql("UPDATE koshelek.housekeeping SET begun_at = '-infinity'")
        report = await self.keeper().once()
        assert report is not None
        return report

    async def sql(self, statement: str, *arguments: Any) -> Any:
        return await self.pool.fetchval(statement, *arguments, timeout=60)

    async def record(self, identity: str, kind: OperationKind = OperationKind.RECEIPT) -> Operation:
        """A new operation with its job."""
        operation, created = await self.operations.record(
            NewOperation(identity, "29", "100:1", payload(kind), new_key())
        )
        assert created
        return operation

    async def end(self, operation: Operation, state: OperationState) -> None:
        assert await self.operations.lease(operation, f"account-{operation.id}", 60)
        begun = await self.operations.begin(operation.id, before=Balance(Decimal(1), Decimal(1)))
        assert begun is not None
        await self.operations.end(begun, state, message="told", crm_reference="crm-7")

    async def lose_jobs(self) -> None:
        await self.sql(f"TRUNCATE {QUEUE}")

    async def age(self, operation: Operation, by: timedelta) -> None:
        await self.sql(
            """
            UPDATE koshelek.operations
               SET recorded_at = recorded_at - $2::interval, sent_at = sent_at - $2::interval,
                   finished_at = finished_at - $2::interval
             WHERE id = $1
            """,
            operation.id,
            by,
        )

    async def state(self, operation: Operation) -> tuple[str, int]:
        """State of an operation, and how many jobs it has."""
        row = await self.pool.fetchrow(
            f"""
            SELECT state, (SELECT count(*) FROM {QUEUE} WHERE payload = operation.id::text::bytea) AS jobs
              FROM koshelek.operations AS operation WHERE id = $1
            """,
            operation.id,
        )
        return row["state"], row["jobs"]


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    settings = settings_for_tests(
        delivery={"call_timeout": 1.0}, cards={"reservation": 60.0}, retention={"bodies_days": 30}
    )
    pool = await open_pool(database, settings.database, size=8)
    yield House(pool, settings)
    await pool.close()


# --- lost jobs -----------------------------------------------------------------------------------------


async def test_a_job_that_a_clock_put_back_has_moved_far_away_is_due_at_once(house: House) -> None:
    """And one that was put off for as long as a pause may be is left where it is."""
    far, near, picked = [await house.record(str(n)) for n in range(3)]
    move = f"UPDATE {QUEUE} SET execute_after = now() + $2::interval WHERE payload = $1"
    for operation, put_off in ((far, 60 * MINUTE), (near, 10 * MINUTE)):
        await house.sql(move, str(operation.id).encode(), put_off)
    beaten = f"UPDATE {QUEUE} SET status = 'picked', heartbeat = now() + '1 hour' WHERE payload = $1"
    await house.sql(beaten, str(picked.id).encode())
    assert (await house.once()).jobs_brought_forward == 2
    due = f"SELECT execute_after <= now() FROM {QUEUE} WHERE payload = $1"
    assert [await house.sql(due, str(one.id).encode()) for one in (far, near)] == [True, False]
    late = f"SELECT heartbeat <= now() FROM {QUEUE} WHERE payload = $1"
    assert await house.sql(late, str(picked.id).encode())


async def test_an_operation_of_the_future_that_lost_its_job_gets_one(house: House) -> None:
    """The clock of the database was put back since."""
    recorded, sent = [await house.record(str(n)) for n in range(2)]
    assert await house.operations.begin(sent.id)
    await house.lose_jobs()
    for operation in (recorded, sent):
        await house.age(operation, -60 * MINUTE)
    report = await house.once()
    assert (report.jobs_restored, report.became_doubtful) == (2, 1)
    assert await house.state(recorded) == ("recorded", 1)
    assert await house.state(sent) == ("unknown", 1)


async def test_an_operation_that_lost_its_job_gets_one(house: House) -> None:
    recorded, sent, unknown, held, done, young, queued = [await house.record(str(n)) for n in range(7)]
    assert await house.operations.begin(sent.id)
    for operation, state in ((unknown, "unknown"), (held, "held"), (done, "done")):
        await house.end(operation, OperationState(state))
    await house.lose_jobs()
    for operation in (recorded, sent, unknown, held, done):
        await house.age(operation, 2 * MINUTE)
    with_job = await house.record("with a job")
    await house.age(with_job, 2 * MINUTE)
    report = await house.once()
    assert (report.jobs_restored, report.became_doubtful) == (3, 1)
    assert await house.state(recorded) == ("recorded", 1)
    assert await house.state(sent) == ("unknown", 1)
    assert await house.state(unknown) == ("unknown", 1)
    assert await house.state(held) == ("held", 0)
    assert await house.state(done) == ("done", 0)
    assert await house.state(young) == ("recorded", 0)
    assert await house.state(queued) == ("recorded", 0)
    assert await house.state(with_job) == ("recorded", 1)
    assert (await house.once()).jobs_restored == 0


async def test_a_job_that_failed_is_replaced_and_one_at_work_is_left(house: House) -> None:
    failed, at_work = await house.record("failed"), await house.record("at work")
    for operation, status in ((failed, "failed"), (at_work, "picked")):
        await house.sql(
            f"UPDATE {QUEUE} SET status = '{status}' WHERE payload = $1", str(operation.id).encode()
        )
        await house.age(operation, 2 * MINUTE)
    assert (await house.once()).jobs_restored == 1
    assert await house.state(failed) == ("recorded", 1)
    assert await house.state(at_work) == ("recorded", 1)
    assert await house.sql(f"SELECT count(*) FROM {QUEUE} WHERE status = 'failed'") == 0


async def test_looking_for_lost_jobs_stays_quick_with_a_long_queue(house: House) -> None:
    """As right after a burst: nothing has told the planner how long the queue is."""
    count = 30_000
    await house.sql(
        """
        INSERT INTO koshelek.operations (kind, identity, fingerprint, request, recorded_at)
        SELECT 'receipt', number::text, '', '{}', now() - interval '1 hour'
          FROM generate_series(1, $1) AS number
        """,
        count,
    )
    await house.sql(
        f"""
        INSERT INTO {QUEUE} (priority, status, entrypoint, payload)
        SELECT 0, 'queued', 'deliver', id::text::bytea FROM koshelek.operations WHERE id % 1000 <> 7
        """
    )
    started = time.monotonic()
    report = await house.once()
    took = time.monotonic() - started
    print(f"{report.jobs_restored} lost jobs among {count} found in {took:.2f} s")
    assert report.jobs_restored == 30
    assert took < 15  # comparing everything with everything takes minutes


# --- the rest ------------------------------------------------------------------------------------------


async def test_expired_reservations_go_back_to_the_pool_after_a_while(house: House) -> None:
    await house.sql(
        """
        INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state, reserved_until)
        SELECT number, number, 'CODE_128', 'reserved', now() - age FROM (VALUES
            ('1', interval '-10 s'), ('2', interval '10 s'), ('3', interval '90 s')) AS row (number, age)
        """
    )
    assert (await house.once()).reservations_freed == 1
    assert await house.sql("SELECT array_agg(number) FROM koshelek.cards WHERE state = 'free'") == ["3"]
    assert await house.sql("SELECT count(*) FROM koshelek.cards WHERE state = 'reserved'") == 2


async def test_leases_nobody_came_back_for_are_dropped(house: House) -> None:
    gone, doubtful, here = [await house.record(str(n)) for n in range(3)]
    for operation, account, seconds in ((gone, "gone", 0.3), (doubtful, "doubtful", 0.3), (here, "here", 60)):
        assert await house.operations.lease(operation, account, seconds)
    assert await house.operations.begin(doubtful.id, before=Balance(Decimal(1), Decimal(1)))
    await asyncio.sleep(0.4)
    assert (await house.once()).leases_dropped == 1
    left = await house.sql("SELECT array_agg(account ORDER BY account) FROM koshelek.account_leases")
    assert left == ["doubtful", "here"]


async def test_the_history_of_the_queue_is_trimmed(house: House) -> None:
    for operation in [await house.record(str(n)) for n in range(3)]:
        await house.age(operation, MINUTE)
    await house.sql("UPDATE koshelek.pgqueuer_log SET created = now() - interval '8 days' WHERE job_id < 3")
    assert (await house.once()).queue_history_trimmed == 2
    assert await house.sql("SELECT count(*) FROM koshelek.pgqueuer_log") == 1
    assert await house.sql(f"SELECT count(*) FROM {QUEUE}") == 3


async def test_one_pass_is_made_per_interval_however_many_keep_house(house: House) -> None:
    reports = await asyncio.gather(*(house.keeper().once() for _ in range(3)))
    assert sum(report is not None for report in reports) == 1
    assert await house.keeper().once() is None


async def test_a_pass_waits_for_nobody_who_is_at_it(house: House) -> None:
    upkeep = PostgresUpkeep(house.gateway)
    async with upkeep.turn(timedelta(0)) as first, upkeep.turn(timedelta(0)) as second:
        assert (first, second) == (True, False)
    async with upkeep.turn(timedelta(0)) as third:
        assert third


async def test_it_goes_on_when_the_database_comes_back(database: str, capsys: Any) -> None:
    settings = settings_for_tests(delivery={"housekeeping": 0.05})
    nowhere = await open_pool("postgresql://nobody@127.0.0.1:9/nowhere", settings.database, size=3)
    pool = await open_pool(database, settings.database, size=3)
    gateway = Gateway(nowhere, 0.5)
    keeper = Housekeeping(PostgresUpkeep(gateway), settings)
    running = asyncio.create_task(keeper.run())
    try:
        await asyncio.sleep(0.2)
        gateway.pool = pool
        async with asyncio.timeout(5):
            never = "SELECT begun_at = '-infinity' FROM koshelek.housekeeping WHERE task = 'pass'"
            while await pool.fetchval(never):  # noqa: ASYNC110 - it is the database that tells
                await asyncio.sleep(0.02)
    finally:
        keeper.stop()
        await asyncio.wait_for(running, 5)
        await pool.close()
        await nowhere.close()
    assert "housekeeping_postponed" in capsys.readouterr().out


# --- retention -----------------------------------------------------------------------------------------


async def bodies(house: House, operations: Sequence[Operation]) -> list[bool]:
    """Whether each still has its details."""
    rows = await house.pool.fetch(
        "SELECT request <> '{}' AS body FROM koshelek.operations WHERE id = ANY($1) ORDER BY id",
        [operation.id for operation in operations],
    )
    return [row["body"] for row in rows]


async def test_old_details_go_and_what_a_repeat_needs_stays(house: House) -> None:
    old_done, old_refused, old_held, old_open, young = all_of = [await house.record(str(n)) for n in range(5)]
    await house.end(old_done, OperationState.DONE)
    await house.end(old_refused, OperationState.REFUSED)
    await house.end(old_held, OperationState.HELD)
    await house.end(young, OperationState.DONE)
    for operation in (old_done, old_refused, old_held, old_open):
        await house.age(operation, timedelta(days=40))
    assert (await house.once()).bodies_purged == 2
    assert await bodies(house, all_of) == [False, False, True, True, True]
    row = await house.pool.fetchrow("SELECT * FROM koshelek.operations WHERE id = $1", old_done.id)
    assert (row["message"], row["before"], row["crm_reference"]) == (None, None, None)
    assert (row["identity"], row["card_number"], row["fingerprint"]) == ("0", "29", "100:1")
    again, created = await house.operations.record(NewOperation("1", "29", "100:1", RECEIPT, new_key()))
    assert (again.id, again.state, created) == (old_refused.id, OperationState.REFUSED, False)
    # The held one is settled at last; its details stay for as long as those of any other.
    await PostgresReview(house.gateway).settle(old_held.id, OperationState.DONE, by="olga", note="seen")
    assert (await house.once()).bodies_purged == 0
    await house.age(old_held, timedelta(days=31))
    assert (await house.once()).bodies_purged == 1
    assert await bodies(house, all_of) == [False, False, False, True, True]
    assert await house.sql("SELECT array_agg(operation_id) FROM koshelek.purge_later") == [old_open.id]


async def test_of_an_old_registration_nothing_personal_is_left(house: House) -> None:
    done, refused = [await house.record(f"+7999000000{n}", OperationKind.REGISTRATION) for n in (1, 2)]
    for registration, state in ((done, OperationState.DONE), (refused, OperationState.REFUSED)):
        await house.end(registration, state)
        await house.age(registration, timedelta(days=40))
    await house.once()
    rows = await house.pool.fetch("SELECT operation::text FROM koshelek.operations AS operation")
    assert len(rows) == 2
    assert not any("+7999" in row[0] or "crm-7" in row[0] for row in rows)
    again = await house.record("+79990000001", OperationKind.REGISTRATION)
    assert again.id not in (done.id, refused.id)


async def test_the_purge_by_hand_counts_first_and_then_does_it(
    house: House, tmp_path: Path, database: str
) -> None:
    await house.sql(
        """
        INSERT INTO koshelek.operations
               (kind, identity, fingerprint, request, state, recorded_at, finished_at)
        SELECT 'receipt', number::text, '', '{"fn": "1"}', 'done', now() - age, now() - age
          FROM generate_series(1, 2500) AS number,
               LATERAL (SELECT CASE WHEN number <= 2300 THEN 400 ELSE 1 END * interval '1 day' AS age) AS aged
        """
    )
    env = {"KOSHELEK_DATABASE__URL": database}

    async def purge(*words: str, anew: bool = False) -> str:
        done = await asyncio.to_thread(run, "receipts", "purge", *words, cwd=tmp_path, env=env, anew=anew)
        assert done.status == 0
        return done.out

    count = "SELECT count(*) FROM koshelek.operations WHERE request = '{}'"
    assert await purge("--dry-run", anew=True) == "2300 would be purged\n"
    assert await house.sql(count) == 0
    assert await purge() == "2300 purged\n"
    assert await house.sql(count) == 2300
    assert await purge() == "0 purged\n"


# --- at work in the service ----------------------------------------------------------------------------


async def test_a_service_that_delivers_keeps_house(start: StartAdapter) -> None:
    adapter = await start(
        receipts={"wait": 0}, delivery={"in_process": False, "call_timeout": 1.0, "housekeeping": 0.2}
    )
    reference = await adapter.register(phone=f"+{new_phone()}")
    card = (await adapter.service.cards.issue(reference, None)).number
    receipt = {"qrCode": adapter.qr(), "cardNumber": card}
    assert (await adapter.post("/v1/promo/qrCode", receipt)).body["status"] == "accepted"
    await adapter.sql(f"TRUNCATE {QUEUE}")
    await adapter.service.start_delivery()
    await asyncio.sleep(0.5)
    assert (await adapter.post("/v1/promo/qrCode", receipt)).body["status"] == "accepted"
    await adapter.sql("UPDATE koshelek.operations SET recorded_at = recorded_at - interval '2 minutes'")
    async with asyncio.timeout(20):
        while (await adapter.post("/v1/promo/qrCode", receipt)).body["status"] != "credited":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (await adapter.get(f"/v1/card/{card}")).body["card"]["bonus"]["total"] == "62"


# --- a worker that is killed ---------------------------------------------------------------------------


async def test_what_a_killed_worker_was_at_is_taken_over(tmp_path: Path, database: str) -> None:
    """SIGKILL while the CRM is at work, which it then finishes: the next worker credits nothing twice."""
    settings_file(
        tmp_path,
        f'[database]\nurl = "{database}"\n[receipts]\nwait = 0\n'
        "[delivery]\ncall_timeout = 2.5\nreconcile_after = 0.5\nin_process = false\n",
    )
    state = "SELECT state FROM koshelek.operations WHERE kind = 'receipt'"
    connection = await asyncpg.connect(database)

    async def until(*states: str) -> None:
        async with asyncio.timeout(60):
            while await connection.fetchval(state) not in states:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.05)

    async def post(port: int, path: str, body: dict[str, str]) -> Any:
        return (await asyncio.to_thread(call, port, "POST", path, body)).json

    try:
        port, management, workers = free_ports(3)
        with serve(tmp_path, database, port, management) as serving:
            serving.wait_for('"ready"')
            with Running("worker", cwd=tmp_path, name="first") as first:
                first.wait_for("delivering")
                issued = await post(port, "/v1/card/anonymous", {"phone": "79995550188"})
                card = issued["card"]["cardNumber"]
                # The CRM is a table here; while it is locked, a credit takes its time.
                busy = connection.transaction()
                await busy.start()
                await connection.execute("LOCK TABLE crm.points_ledger IN EXCLUSIVE MODE")
                moment = time.strftime("%Y%m%dT%H%M", time.gmtime(time.time() - 3600))
                qr = f"t={moment}&s=1250.00&fn=8710000101125654&i=77&fp=1250448795&n=1"
                sent = await post(port, "/v1/promo/qrCode", {"cardNumber": card, "qrCode": qr})
                assert sent["status"] == "accepted"
                await until("sent")
                await asyncio.sleep(0.2)
                first.process.kill()
                first.process.wait(10)
                await busy.commit()
            options = ("--management-port", str(workers))
            with Running("worker", *options, cwd=tmp_path, name="second") as second:
                second.wait_for("delivering")
                began = time.monotonic()
                await until("done", "held")
                print(f"taken over after {time.monotonic() - began:.1f} s")
                # Whoever made the delivery tells of it.
                metrics = f"http://127.0.0.1:{workers}/metrics"
                told = await asyncio.to_thread(lambda: urllib.request.urlopen(metrics).read().decode())
                assert re.search(r'koshelek_deliveries_total{kind="receipt",outcome="done",.*} 1.0', told)

                def also(*words: str) -> Ended:
                    return run(*words, cwd=tmp_path)

                healthy = await asyncio.to_thread(also, "healthcheck", "--port", str(workers))
                assert healthy.status == 0
                refused = await asyncio.to_thread(also, "worker", *options)
                assert refused.status == 1
                assert f"port {workers} on 127.0.0.1 is in use" in refused.err
                assert "(--management-port)" in refused.err
        assert await connection.fetchval(state) == "done"
        assert await connection.fetchval("SELECT count(*) FROM crm.points_ledger") == 1
    finally:
        await connection.close()
