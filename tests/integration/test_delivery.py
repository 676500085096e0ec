"""The life of an operation between the ledger and a CRM that answers in every possible way."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapter.delivery.later import Later
from adapter.errors import Code
from adapter.loyalty.idempotency_keys import new_key
from adapter.loyalty.model import (
    CERTAINLY_NOT_SENT,
    CONFLICT,
    IN_DOUBT,
    IN_DOUBT_ONCE,
    NewOperation,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.payloads import ReceiptPayload
from adapter.loyalty.ports import StoreUnavailable
from adapter.store.review import PostgresReview
from crm_backends.model import Balance, FiscalReceipt
from crm_backends.ports import (
    BackendMisconfigured,
    BackendUnavailable,
    Reconciliation,
    Refusal,
    Written,
)
from tests.support.scripted_crm import (
    AWAY,
    DONE,
    LOST_AFTER,
    LOST_BEFORE,
    NOT_SENT,
    Effect,
    Reply,
    ScriptedCrm,
)

from .clocks import FollowsTheDatabase
from .conftest import Adapter, StartAdapter, new_phone

QR = "/v1/promo/qrCode"


@contextmanager
def crm(adapter: Adapter, scripted: ScriptedCrm) -> Iterator[None]:
    """Let the adapter's points be kept by the scripted CRM."""
    worker = adapter.service._worker
    assert worker is not None
    programme = adapter.service.programme
    ratings = {**programme.reconciliation, OperationKind.RECEIPT: scripted.reconciliation}
    programme = dataclasses.replace(programme, points=scripted, reconciliation=ratings)
    before = worker.deliverer
    worker.deliverer = dataclasses.replace(before, programme=programme, clock=FollowsTheDatabase())
    try:
        yield
        assert scripted.unforeseen == []
    finally:
        worker.deliverer = before


@pytest.fixture
async def adapter(start: StartAdapter) -> Adapter:
    """One whose points CRM has already proved that it finds what it was given."""
    adapter = await start(
        receipts={"wait": 10.0},
        server={"deadline": 15.0},
        delivery={"retry_first": 0.05, "reconcile_after": 0.1, "call_timeout": 0.5},
    )
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    return adapter


async def send(adapter: Adapter) -> Any:
    number = await adapter.issue(phone=new_phone())
    return await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})


async def receipt(adapter: Adapter) -> Operation:
    found = await adapter.service.operations.get(
        await adapter.sql("SELECT max(id) FROM koshelek.operations WHERE kind = 'receipt'")
    )
    assert found is not None
    return found


async def test_not_sent_is_tried_again_with_the_same_reference(adapter: Adapter) -> None:
    scripted = ScriptedCrm([NOT_SENT, AWAY, DONE])
    with crm(adapter, scripted):
        assert (await send(adapter)).body["status"] == "credited"
    assert len(scripted.sent) == 3
    assert len(set(scripted.sent)) == 1
    assert (await receipt(adapter)).attempt == 3


async def test_a_lost_answer_is_found_by_probing_and_nothing_is_sent_again(adapter: Adapter) -> None:
    scripted = ScriptedCrm([LOST_AFTER])
    with crm(adapter, scripted):
        assert (await send(adapter)).body == {
            "status": "credited",
            "points": "62",
            "description": "Баллы за чек начислены",
        }
    assert len(scripted.sent) == len(scripted.credited) == 1


async def test_a_probe_that_finds_nothing_sends_again(adapter: Adapter) -> None:
    scripted = ScriptedCrm([LOST_BEFORE, DONE])
    with crm(adapter, scripted):
        assert (await send(adapter)).body["status"] == "credited"
    assert len(scripted.credited) == 1


async def test_a_probe_that_cannot_be_asked_is_asked_again_later(adapter: Adapter) -> None:
    scripted = ScriptedCrm([LOST_AFTER], look_ups=[BackendUnavailable("away")] * 2)
    with crm(adapter, scripted):
        assert (await send(adapter)).body["status"] == "credited"
    assert len(scripted.sent) == 1


async def test_a_doubt_nobody_can_settle_is_held_and_not_sent_again(start: StartAdapter) -> None:
    adapter = await start(
        receipts={"wait": 1.0}, delivery={"retry_first": 0.05, "reconcile_after": 0.1, "call_timeout": 0.5}
    )
    for rated, look_ups in ((Reconciliation.PROBE, [Written.unknown()]), (Reconciliation.MANUAL, [])):
        scripted = ScriptedCrm([LOST_AFTER], look_ups=look_ups, rated=rated)
        with crm(adapter, scripted):
            assert (await send(adapter)).body["status"] == "accepted"
            for _ in range(100):
                if (await receipt(adapter)).state is OperationState.HELD:
                    break
                await asyncio.sleep(0.05)
        assert (await receipt(adapter)).state is OperationState.HELD
        assert len(scripted.sent) == 1


async def test_a_refusal_is_final(adapter: Adapter) -> None:
    scripted = ScriptedCrm([Reply(False, Written.refused(Refusal.OTHER))])
    with crm(adapter, scripted):
        assert (await send(adapter)).code == Code.RECEIPT_REFUSED
    assert (await receipt(adapter)).state is OperationState.REFUSED


async def test_a_defect_of_ours_during_the_call_is_a_doubt(adapter: Adapter) -> None:
    scripted = ScriptedCrm([Reply(True, ZeroDivisionError("79161112233"))])
    with crm(adapter, scripted):
        assert (await send(adapter)).body["status"] == "credited"
    assert len(scripted.sent) == 1


async def test_comparing_gets_the_balance_before_and_the_account_alone(adapter: Adapter) -> None:
    scripted = ScriptedCrm([DONE, LOST_AFTER, DONE, DONE], rated=Reconciliation.COMPARE)
    with crm(adapter, scripted):
        number = await adapter.issue(phone=new_phone())
        answers = await asyncio.gather(
            *[adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number}) for _ in range(4)]
        )
    assert [answer.body["status"] for answer in answers] == ["credited"] * 4
    assert scripted.most_at_once == 1
    assert scripted.befores == [Balance(Decimal(62), Decimal(62))]
    async with asyncio.timeout(5):  # the answers may be a moment ahead of it
        while await adapter.sql("SELECT count(*) FROM koshelek.account_leases"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_sent_by_a_process_that_is_gone_becomes_a_doubt(adapter: Adapter) -> None:
    scripted = ScriptedCrm()
    number = await adapter.issue(phone=new_phone())
    await adapter.service.stop_delivery()
    recorded = asyncio.create_task(adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number}))
    while not await adapter.sql(  # noqa: ASYNC110 - another process would write it
        "SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt'"
    ):
        await asyncio.sleep(0.02)
    begun = await adapter.service.operations.begin((await receipt(adapter)).id)
    assert begun is not None
    # It was credited, and then the process that began it died.
    scripted.effects.append(Effect("the account", begun.idempotency_key, Decimal(62)))
    await adapter.service.start_delivery()
    with crm(adapter, scripted):
        assert (await recorded).body["status"] == "credited"
    assert scripted.sent == []


async def test_what_never_gets_through_is_held_in_the_end(start: StartAdapter) -> None:
    adapter = await start(
        receipts={"wait": 1.0}, delivery={"retry_first": 0.05, "give_up_after": 0.3, "call_timeout": 0.5}
    )
    scripted = ScriptedCrm(usual=NOT_SENT)
    with crm(adapter, scripted):
        assert (await send(adapter)).body["status"] == "accepted"
        for _ in range(100):
            if (await receipt(adapter)).state is OperationState.HELD:
                break
            await asyncio.sleep(0.05)
    assert (await receipt(adapter)).state is OperationState.HELD


async def recorded_receipts(adapter: Adapter, count: int) -> list[Operation]:
    """Receipts that nobody delivers for now."""
    number = await adapter.issue(phone=new_phone())
    await adapter.service.stop_delivery()
    for _ in range(count):
        assert (await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})).status == 200
    ids = await adapter.sql(
        "SELECT array_agg(id ORDER BY id) FROM koshelek.operations WHERE kind = 'receipt'"
    )
    found = [await adapter.service.operations.get(operation_id) for operation_id in ids]
    return [operation for operation in found if operation is not None]


@pytest.fixture
async def unhurried(start: StartAdapter) -> Adapter:
    """Requests do not wait for their receipt's end."""
    return await start(
        receipts={"wait": 0},
        delivery={"retry_first": 0.05, "reconcile_after": 0.1, "call_timeout": 0.5, "retries_per_second": 4},
    )


async def test_an_account_is_not_taken_over_while_a_credit_to_it_is_in_doubt(unhurried: Adapter) -> None:
    """Not even when the lease has run out: the next credit would be mistaken for the doubtful one."""
    operations = unhurried.service.operations
    first, second = await recorded_receipts(unhurried, 2)
    assert await operations.lease(first, "account", -1)  # over at once
    assert await operations.lease(second, "account", -1)  # it is only recorded: nothing can have happened
    assert await operations.lease(first, "account", 60)
    begun = await operations.begin(first.id, before=Balance(Decimal(1), Decimal(1)))
    assert begun is not None
    assert await operations.lease(begun, "account", -1)
    assert not await operations.lease(second, "account", 60)
    await operations.release(first)  # by a process that has slept
    assert not await operations.lease(second, "account", 60)
    await operations.end(begun, OperationState.UNKNOWN)
    assert not await operations.lease(second, "account", 60)
    await operations.end(begun, OperationState.HELD, reason="a test")
    assert await operations.lease(second, "account", 60)


async def test_what_is_to_be_compared_is_not_sent_after_its_lease_has_run_out(unhurried: Adapter) -> None:
    operations, before = unhurried.service.operations, Balance(Decimal(1), Decimal(1))
    (operation,) = await recorded_receipts(unhurried, 1)
    assert await operations.lease(operation, "account", -1)
    assert await operations.begin(operation.id, before=before) is None
    assert await operations.lease(operation, "account", 60)
    assert await operations.begin(operation.id, before=before) is not None


async def test_of_two_that_begin_the_same_at_once_one_may_send(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    begun = await asyncio.gather(*(unhurried.service.operations.begin(operation.id) for _ in range(5)))
    assert len([one for one in begun if one is not None]) == 1


async def test_who_slept_between_marking_and_sending_does_not_send(
    unhurried: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have looked meanwhile what became of it, and found nothing."""
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([DONE])
    with crm(unhurried, scripted):
        worker = unhurried.service._worker
        assert worker is not None
        begin = type(worker.deliverer.ledger).begin

        async def begin_and_sleep(self: Any, *given: Any, **named: Any) -> Operation | None:
            begun = await begin(self, *given, **named)
            await asyncio.sleep(0.6)
            return begun

        monkeypatch.setattr(type(worker.deliverer.ledger), "begin", begin_and_sleep)
        with pytest.raises(Later):
            await worker.deliverer.deliver(operation.id)
        assert scripted.sent == []
        monkeypatch.undo()
        await worker.deliverer.deliver(operation.id)
    assert scripted.credited == [operation.idempotency_key]


async def test_what_waited_for_a_crm_comes_back_in_single_file(unhurried: Adapter) -> None:
    waiting = await recorded_receipts(unhurried, 12)
    scripted = ScriptedCrm([DONE] * 12)
    with crm(unhurried, scripted):
        worker = unhurried.service._worker
        assert worker is not None
        delays = []
        for operation in waiting:
            try:
                await worker.deliverer.deliver(operation.id, tries=1)
            except Later as later:
                delays.append(later.delay.total_seconds())
    assert 4 <= len(scripted.credited) <= 6
    assert len(delays) == 12 - len(scripted.credited)
    assert all(0.5 <= delay <= 4 for delay in delays)


async def test_a_defect_of_ours_before_the_call_does_not_lose_the_operation(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.delivery.worker._DEFECT", timedelta(seconds=0.1))
    scripted = ScriptedCrm([DONE])
    broken = [ZeroDivisionError("79161112233")]

    async def begin(self: Any, *given: Any, **named: Any) -> Operation | None:
        if broken:
            raise broken.pop()
        return await whole(self, *given, **named)

    with crm(adapter, scripted):
        number = await adapter.issue(phone=new_phone())
        whole = type(adapter.service.operations).begin
        monkeypatch.setattr(type(adapter.service.operations), "begin", begin)
        await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
        async with asyncio.timeout(30):
            while (await receipt(adapter)).state is not OperationState.DONE:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert not broken


# --- at once, without a turn through the queue ----------------------------------------------------------

JOBS = "SELECT string_agg(status::text, ',' ORDER BY id) FROM koshelek.pgqueuer"


async def jobs_are_gone(adapter: Adapter) -> None:
    async with asyncio.timeout(5):
        while await adapter.sql(JOBS) is not None:  # noqa: ASYNC110 - another connection removes them
            await asyncio.sleep(0.02)


async def test_what_is_delivered_at_once_is_marked_as_sent_before_the_crm_is_told(adapter: Adapter) -> None:
    scripted = ScriptedCrm([DONE], rated=Reconciliation.KEY)
    scripted.pause = 0.2
    with crm(adapter, scripted):
        answer = asyncio.create_task(send(adapter))
        async with asyncio.timeout(5):
            while not scripted.sent:  # noqa: ASYNC110 - the CRM is told by another task
                await asyncio.sleep(0.01)
        assert scripted.credited == []
        marked = await receipt(adapter)
        assert (marked.state, marked.attempt) == (OperationState.SENT, 1)
        assert marked.sent_at is not None
        assert "queued" not in await adapter.sql(JOBS)
        assert (await answer).body["status"] == "credited"
    await jobs_are_gone(adapter)
    picks = "SELECT count(*) FROM koshelek.pgqueuer_log WHERE status = 'picked'"
    assert await adapter.sql(picks) == 0


@pytest.mark.parametrize(
    "rated", [Reconciliation.PROBE, Reconciliation.COMPARE, Reconciliation.MANUAL], ids=str
)
async def test_a_crm_that_does_not_honour_our_key_is_told_by_way_of_the_queue(
    adapter: Adapter, rated: Reconciliation
) -> None:
    """A doubt there may wait for a person, so nothing is marked as sent before its turn has come."""
    worker = adapter.service._worker
    assert worker is not None
    with crm(adapter, ScriptedCrm(rated=rated)):
        assert await worker.at_once.place(OperationKind.RECEIPT) is None
    place = await worker.at_once.place(OperationKind.RECEIPT)
    assert place is not None
    place.give_back()


async def test_what_was_not_sent_at_once_comes_again_through_the_queue(adapter: Adapter) -> None:
    scripted = ScriptedCrm([NOT_SENT, LOST_AFTER, AWAY, DONE], rated=Reconciliation.KEY)
    with crm(adapter, scripted):
        assert (await send(adapter)).body["status"] == "credited"
    assert len(scripted.sent) == 4
    assert len(set(scripted.credited)) == 1
    assert (await receipt(adapter)).attempt == 4
    await jobs_are_gone(adapter)


async def test_what_a_process_that_dies_was_to_deliver_at_once_is_taken_over(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = ScriptedCrm([DONE], rated=Reconciliation.KEY)
    worker = adapter.service._worker
    assert worker is not None
    number = await adapter.issue(phone=new_phone())
    await jobs_are_gone(adapter)
    with crm(adapter, scripted):
        # It died when it had committed, and before it sent.
        monkeypatch.setattr(type(worker.at_once), "start", lambda _, place, *__: place.give_back())
        answer = asyncio.create_task(adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number}))
        async with asyncio.timeout(5):
            while await adapter.sql(JOBS) is None:  # noqa: ASYNC110 - another connection writes it
                await asyncio.sleep(0.02)
        assert (await receipt(adapter)).state is OperationState.SENT
        await adapter.sql("UPDATE koshelek.pgqueuer SET heartbeat = now() - interval '16 seconds'")
        assert (await answer).body["status"] == "credited"
    assert scripted.sent == scripted.credited
    assert len(scripted.sent) == 1


async def test_every_place_is_given_back(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is known already, by what cannot be recorded, and by what has been delivered."""
    worker = adapter.service._worker
    assert worker is not None
    places = worker.at_once.places
    free = places._value
    with crm(adapter, ScriptedCrm([DONE], rated=Reconciliation.KEY)):
        number = await adapter.issue(phone=new_phone())
        body = {"qrCode": adapter.qr(), "cardNumber": number}
        answers = await asyncio.gather(*(adapter.post(QR, body) for _ in range(5)))
        assert {answer.body["status"] for answer in answers} == {"credited"}
        async with asyncio.timeout(5):  # the answers may be a moment ahead of it
            while places._value < free:  # noqa: ASYNC110 - the deliveries end
                await asyncio.sleep(0.01)
        operations = adapter.service.operations

        def away() -> Any:
            raise StoreUnavailable("away")

        monkeypatch.setattr(operations.gateway, "connection", away)
        values = FiscalReceipt("9999078900004792", "7", "7", 100, datetime.now(UTC), 1)
        with pytest.raises(StoreUnavailable):
            await operations.record(
                NewOperation("at once", number, "1:1", ReceiptPayload(values, Decimal(1)), new_key())
            )
        monkeypatch.undo()
    assert places._value == free


async def test_nothing_is_delivered_at_once_by_a_process_that_stops_or_has_its_hands_full(
    adapter: Adapter,
) -> None:
    worker = adapter.service._worker
    assert worker is not None
    taken = [await worker.at_once.place(OperationKind.RECEIPT) for _ in range(worker.concurrency)]
    assert None not in taken
    assert await worker.at_once.place(OperationKind.RECEIPT) is None
    for place in taken:
        assert place is not None
        place.give_back()
    worker.stop()
    assert await worker.at_once.place(OperationKind.RECEIPT) is None


async def test_a_job_that_others_have_taken_over_is_theirs(adapter: Adapter) -> None:
    """Who slept, and learns late that its attempt counts no more, leaves the job of the next one alone."""
    worker = adapter.service._worker
    assert worker is not None
    scripted = ScriptedCrm([DONE, DONE], rated=Reconciliation.KEY)
    scripted.pause = 0.4
    with crm(adapter, scripted):
        answer = asyncio.create_task(send(adapter))
        async with asyncio.timeout(5):
            while not scripted.sent:  # noqa: ASYNC110 - the CRM is told by another task
                await asyncio.sleep(0.01)
        # Another process has taken the job over, seen a doubt, and sends again.
        await adapter.sql(
            "UPDATE koshelek.pgqueuer SET queue_manager_id = gen_random_uuid(), heartbeat = now() WHERE id ="
            " (SELECT max(id) FROM koshelek.pgqueuer)"
        )
        again = "UPDATE koshelek.operations SET state = $1, attempt = 2, begun = 2 WHERE id = $2"
        operation = await receipt(adapter)
        await adapter.sql("UPDATE koshelek.operations SET state = 'unknown' WHERE id = $1", operation.id)
        await adapter.sql(again, "sent", operation.id)
        async with asyncio.timeout(5):
            while worker.at_once._tidying is not None:  # noqa: ASYNC110 - the delivery ends
                await asyncio.sleep(0.02)
        assert (await receipt(adapter)).state is OperationState.SENT
        assert await adapter.sql(JOBS) == "picked"
        # That process dies as well.
        await adapter.sql("UPDATE koshelek.pgqueuer SET heartbeat = now() - interval '16 seconds'")
        assert (await answer).body["status"] == "credited"
    assert len(scripted.credited) == 1
    await jobs_are_gone(adapter)


async def test_a_later_attempt_keeps_its_job_when_the_one_before_ends(adapter: Adapter) -> None:
    """The queue removes a job by its number, whoever has it now."""
    scripted = ScriptedCrm([DONE, DONE])
    scripted.pause = 0.4
    with crm(adapter, scripted):
        answer = asyncio.create_task(send(adapter))
        async with asyncio.timeout(5):
            while not scripted.sent:  # noqa: ASYNC110 - the CRM is told by another task
                await asyncio.sleep(0.01)
        # Another process has seen a doubt, and has just sent again.
        operation = await receipt(adapter)
        await adapter.sql("UPDATE koshelek.operations SET state = 'unknown' WHERE id = $1", operation.id)
        await adapter.sql(
            "UPDATE koshelek.operations SET state = 'sent', attempt = 2, begun = 2 WHERE id = $1",
            operation.id,
        )
        await asyncio.sleep(1.2)  # the queue has removed what is over
        assert await adapter.sql(JOBS) is not None
        # That process dies: what became of its attempt is looked for.
        assert (await answer).body["status"] == "credited"
    assert len(scripted.credited) == 1
    await jobs_are_gone(adapter)


async def test_who_stops_waits_for_what_is_being_recorded_as_sent(adapter: Adapter) -> None:
    worker, task = adapter.service._worker, adapter.service._worker_task
    assert worker is not None
    assert task is not None
    place = await worker.at_once.place(OperationKind.RECEIPT)
    assert place is not None
    worker.stop()
    done, _ = await asyncio.wait([task], timeout=1.5)
    assert not done
    place.give_back()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done == {task}


async def test_a_place_is_given_back_where_none_is_found_for_the_next(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, operations = adapter.service._worker, adapter.service.operations
    assert worker is not None
    number = await adapter.issue(phone=new_phone())
    await jobs_are_gone(adapter)
    free, find = worker.at_once.places._value, worker.at_once.place
    asked = 0

    async def fails_at_the_second(kind: OperationKind) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("a defect")
        return await find(kind)

    values = FiscalReceipt("9999078900004792", "7", "7", 100, datetime.now(UTC), 1)
    news = [
        NewOperation(f"at once {n}", number, "1:1", ReceiptPayload(values, Decimal(1)), new_key())
        for n in range(2)
    ]
    monkeypatch.setattr(operations, "find_place", fails_at_the_second)
    with pytest.raises(RuntimeError):
        await operations._record_batch(news)
    assert worker.at_once.places._value == free


async def test_others_keep_away_from_what_takes_long(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.delivery.at_once._BEAT_EVERY", 0.0)
    scripted = ScriptedCrm([DONE], rated=Reconciliation.KEY)
    scripted.pause = 0.2
    beat = "SELECT max(heartbeat) FROM koshelek.pgqueuer"
    with crm(adapter, scripted):
        number = await adapter.issue(phone=new_phone())
        await jobs_are_gone(adapter)
        answer = asyncio.create_task(adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number}))
        async with asyncio.timeout(5):
            while (first := await adapter.sql(beat)) is None:  # noqa: ASYNC110 - another connection
                await asyncio.sleep(0.01)
            while (await adapter.sql(beat) or first) == first:  # noqa: ASYNC110 - another connection beats
                await asyncio.sleep(0.02)
        assert (await answer).body["status"] == "credited"


# --- late, and in doubt --------------------------------------------------------------------------------


async def age(adapter: Adapter, operation: Operation) -> None:
    """It was recorded, and sent if it was, longer ago than anything is tried."""
    await adapter.sql(
        "UPDATE koshelek.operations SET recorded_at = recorded_at - interval '30 days', "
        "sent_at = sent_at - interval '30 days' WHERE id = $1",
        operation.id,
    )


async def looked_at(adapter: Adapter, operation: Operation, *, tries: int = 1) -> float | None:
    """Seconds until it has to be looked at again; ``None``: it is over, or held."""
    worker = adapter.service._worker
    assert worker is not None
    try:
        await worker.deliverer.deliver(operation.id, tries=tries)
    except Later as later:
        return later.delay.total_seconds()
    return None


async def reason(adapter: Adapter) -> Any:
    """Why the last receipt is held."""
    assert (await receipt(adapter)).state is OperationState.HELD
    return await adapter.sql("SELECT reason FROM koshelek.operations ORDER BY id DESC LIMIT 1")


async def test_a_crm_that_tells_no_balance_is_asked_more_and_more_rarely_and_not_for_ever(
    unhurried: Adapter,
) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm(rated=Reconciliation.COMPARE)
    scripted.tells_balance = False
    with crm(unhurried, scripted):
        early = await looked_at(unhurried, operation, tries=0)
        late = await looked_at(unhurried, operation, tries=8)
        assert early is not None
        assert late is not None
        assert late > 10 * early
        await age(unhurried, operation)
        assert await looked_at(unhurried, operation) is None
    assert await reason(unhurried) == CERTAINLY_NOT_SENT
    assert scripted.sent == []
    assert await unhurried.sql("SELECT count(*) FROM koshelek.account_leases") == 0


async def test_a_doubt_that_cannot_be_looked_up_is_held_in_the_end(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([LOST_AFTER], look_ups=[BackendUnavailable("away")] * 3)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is not None
        await asyncio.sleep(0.1)
        early = await looked_at(unhurried, operation, tries=1)
        late = await looked_at(unhurried, operation, tries=8)
        assert early is not None
        assert late is not None
        assert late > 10 * early
        await age(unhurried, operation)
        assert await looked_at(unhurried, operation) is None
    assert await reason(unhurried) == IN_DOUBT


async def test_a_late_doubt_is_looked_up_before_it_is_held(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    await age(unhurried, operation)
    scripted = ScriptedCrm([LOST_AFTER])
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is not None
        await asyncio.sleep(0.1)
        assert await looked_at(unhurried, operation) is None
    assert (await receipt(unhurried)).state is OperationState.DONE


async def test_what_a_process_left_long_ago_is_sent_once_more_where_that_does_no_harm(
    unhurried: Adapter,
) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    assert await unhurried.service.operations.begin(operation.id)
    await age(unhurried, operation)
    scripted = ScriptedCrm([DONE], rated=Reconciliation.KEY)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is not None
        assert await looked_at(unhurried, operation) is None
    assert (await receipt(unhurried)).state is OperationState.DONE


async def test_sent_again_by_a_person_it_has_all_the_time_once_more(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    await age(unhurried, operation)
    scripted = ScriptedCrm([NOT_SENT, NOT_SENT, DONE])
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is None
        assert await reason(unhurried) == CERTAINLY_NOT_SENT
        review = PostgresReview(unhurried.service.gateway)
        assert not await review.requeue([operation.id], by="olga", note="the CRM is back")
        assert await looked_at(unhurried, operation) is not None
        assert await looked_at(unhurried, operation) is None
    assert scripted.credited == [operation.idempotency_key]


async def test_a_doubt_is_remembered_however_many_attempts_came_before_it(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    await unhurried.sql("UPDATE koshelek.operations SET attempt = 12 WHERE id = $1", operation.id)
    scripted = ScriptedCrm([LOST_AFTER, NOT_SENT], rated=Reconciliation.KEY)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is not None
        await age(unhurried, operation)
        assert await looked_at(unhurried, operation) is None
    assert await reason(unhurried) == IN_DOUBT_ONCE
    (item,) = await PostgresReview(unhurried.service.gateway).held(None, 10)
    assert item.may_double


NOBODY = Reply(False, Written.refused(Refusal.NO_SUCH_CUSTOMER))


async def refused_after_a_doubt(adapter: Adapter, scripted: ScriptedCrm) -> tuple[Operation, dict[str, str]]:
    """A receipt that may have got there, and was refused then: the operation, and how it is sent."""
    number = await adapter.issue(phone=new_phone())
    await adapter.service.stop_delivery()
    body = {"qrCode": adapter.qr(), "cardNumber": number}
    assert (await adapter.post(QR, body)).body["status"] == "accepted"
    operation = await receipt(adapter)
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    with crm(adapter, scripted):
        for _ in range(50):
            if await looked_at(adapter, operation) is None:
                break
            await asyncio.sleep(0.2)
    assert (await receipt(adapter)).state is OperationState.REFUSED
    return operation, body


async def test_a_receipt_that_may_have_got_there_does_not_come_again_as_a_new_one(unhurried: Adapter) -> None:
    scripted = ScriptedCrm([LOST_BEFORE, NOBODY], rated=Reconciliation.PROBE)
    operation, body = await refused_after_a_doubt(unhurried, scripted)
    assert (await unhurried.post(QR, body)).code == Code.RECEIPT_REFUSED
    assert (await receipt(unhurried)).id == operation.id


async def test_it_does_where_the_crm_would_know_it_by_its_key(unhurried: Adapter) -> None:
    """The shop may have added the person, and whatever became of the doubt it counts once."""
    scripted = ScriptedCrm([LOST_BEFORE, NOBODY], rated=Reconciliation.KEY)
    operation, body = await refused_after_a_doubt(unhurried, scripted)
    assert (await unhurried.post(QR, body)).body["status"] == "accepted"
    again = await receipt(unhurried)
    assert again.id != operation.id
    assert again.idempotency_key == operation.idempotency_key


async def test_it_does_not_where_its_key_would_be_another_one_now(unhurried: Adapter) -> None:
    """Programs of before made other keys: the CRM could not know that it is the same."""
    number = await unhurried.issue(phone=new_phone())
    await unhurried.service.stop_delivery()
    body = {"qrCode": unhurried.qr(), "cardNumber": number}
    await unhurried.post(QR, body)
    operation = await receipt(unhurried)
    await unhurried.sql("UPDATE koshelek.operations SET reference = 'koshelek-receipt-1'")
    with crm(unhurried, ScriptedCrm([LOST_BEFORE, NOBODY], rated=Reconciliation.KEY)):
        assert await looked_at(unhurried, operation) is not None
        assert await looked_at(unhurried, operation) is None
    assert (await unhurried.post(QR, body)).code == Code.RECEIPT_REFUSED


async def test_what_the_crm_said_is_written_down_before_it_is_counted(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    with crm(unhurried, ScriptedCrm([DONE], rated=Reconciliation.MANUAL)):
        worker = unhurried.service._worker
        assert worker is not None

        def full(*_: Any) -> None:
            raise OSError("no space left on device")

        worker.deliverer = dataclasses.replace(worker.deliverer, observe=full)
        with pytest.raises(OSError, match="no space"):
            await worker.deliverer.deliver(operation.id)
    assert (await receipt(unhurried)).state is OperationState.DONE


async def test_what_is_to_be_compared_is_never_begun_without_its_account(
    unhurried: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was at another worker when it was read, and is free again a moment later."""
    (operation,) = await recorded_receipts(unhurried, 1)
    operations = type(unhurried.service.operations)
    begun = await unhurried.service.operations.begin(operation.id)
    assert begun is not None
    get = operations.get

    async def get_and_lose_time(self: Any, operation_id: int) -> Operation | None:
        found = await get(self, operation_id)
        await self.again(begun)
        return found

    scripted = ScriptedCrm([DONE], rated=Reconciliation.COMPARE)
    with crm(unhurried, scripted):
        monkeypatch.setattr(operations, "get", get_and_lose_time)
        assert await looked_at(unhurried, operation) is not None
        assert scripted.sent == []
        monkeypatch.undo()
        assert await looked_at(unhurried, operation) is None
    assert scripted.credited == [operation.idempotency_key]


async def test_why_it_waits_stands_in_the_ledger_the_log_and_the_metrics(
    unhurried: Adapter, capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver's sentence, not the name of a class alone."""
    (operation,) = await recorded_receipts(unhurried, 1)
    sentence = "perx: the programme 7 does not exist (status 404)"
    scripted = ScriptedCrm([Reply(False, BackendMisconfigured(sentence)), DONE])
    review = PostgresReview(unhurried.service.gateway)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is not None
        shown = await review.show(operation.id)
        assert shown is not None
        assert (shown[0].state, shown[0].detail) == (OperationState.RECORDED, sentence)
        assert sentence in capsys.readouterr().out
        told = (await unhurried.service.metrics.exposition()).decode()
        labels = 'kind="receipt",reason="BackendMisconfigured",what="postponed"'
        assert f"koshelek_delivery_reasons_total{{{labels}}} 1.0" in told
        assert await looked_at(unhurried, operation) is None
    shown = await review.show(operation.id)
    assert shown is not None
    assert (shown[0].state, shown[0].detail) == (OperationState.DONE, None)


async def test_why_it_was_refused_is_kept(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([Reply(False, Written.refused(Refusal.OTHER, "perx: says no (status 422)"))])
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is None
    shown = await PostgresReview(unhurried.service.gateway).show(operation.id)
    assert shown is not None
    assert (shown[0].state, shown[0].detail) == (OperationState.REFUSED, "perx: says no (status 422)")


async def test_a_reference_known_with_other_contents_is_held_for_a_person(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([Reply(False, Written.refused(Refusal.KEY_TAKEN))], rated=Reconciliation.KEY)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is None
    assert await reason(unhurried) == CONFLICT
    assert (await receipt(unhurried)).state is OperationState.HELD


@pytest.mark.parametrize("told", ["999", "0", "-5", "620"])
@pytest.mark.parametrize("how", [Reconciliation.KEY, Reconciliation.PROBE, Reconciliation.COMPARE])
async def test_another_amount_than_asked_for_is_held_and_never_told_as_credited(
    told: str, how: Reconciliation, unhurried: Adapter, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the driver: what comes back is compared with what was asked, 62 points."""
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([Reply(True, Written.done(points=Decimal(told)))], rated=how)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is None
    assert await reason(unhurried) == CONFLICT
    held = await receipt(unhurried)
    assert (held.state, held.points) == (OperationState.HELD, None)
    shown = await PostgresReview(unhurried.service.gateway).show(operation.id)
    assert shown is not None
    said = f"62 points were asked for, and the CRM says that it credited {told}"
    assert shown[0].detail == said
    assert said in capsys.readouterr().out


async def test_another_amount_found_for_a_doubt_is_held(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([LOST_AFTER], look_ups=[Written.done(points=Decimal(7))])
    with crm(unhurried, scripted):
        for _ in range(50):
            if await looked_at(unhurried, operation) is None:
                break
            await asyncio.sleep(0.05)
    assert await reason(unhurried) == CONFLICT


async def test_an_amount_in_fewer_decimals_is_credited_as_the_crm_says(unhurried: Adapter) -> None:
    (operation,) = await recorded_receipts(unhurried, 1)
    scripted = ScriptedCrm([Reply(True, Written.done(points=Decimal("62.00")))], rated=Reconciliation.KEY)
    with crm(unhurried, scripted):
        assert await looked_at(unhurried, operation) is None
    assert (await receipt(unhurried)).state is OperationState.DONE
