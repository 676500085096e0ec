"""When "not found" is believed: proved, for as long as the CRM has answered, and as two clocks agree."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from adapter.delivery.absence import Absence
from adapter.delivery.deliverer import Deliverer
from adapter.delivery.later import Later
from adapter.loyalty.model import (
    NOT_FOUND_REFUTED,
    NOT_FOUND_UNPROVED,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.process.embedded import EmbeddedServer
from adapter.store.migrate import migrate
from crm_backends.ports import Reconciliation, Refusal, Written
from tests.support.scripted_crm import DONE, LOST_AFTER, LOST_BEFORE, Effect, ScriptedCrm

from ..conftest import create_database, drop_database
from .clocks import DATABASE_CLOCK, MOVE_DATABASE_CLOCK
from .conftest import Adapter, new_phone, running, settings_for_tests

HOUR = 3600.0
PATIENCE = 0.6
POINTS = Decimal(62)


class Scene:
    """An adapter that delivers only when told, and a receipt."""

    def __init__(self, adapter: Adapter, database: asyncpg.Connection[Any]) -> None:
        self.adapter = adapter
        self.database = database
        """Its clock is the true one as long as it is not moved; also for who was connected before."""
        self.crm = ScriptedCrm([LOST_BEFORE], usual=DONE)
        self.operation_id = 0
        self.card = ""
        self.deliverer = self._deliverer()

    def _deliverer(self, **delivery: object) -> Deliverer:
        programme = dataclasses.replace(
            self.adapter.service.programme,
            points=self.crm,
            reconciliation={
                **self.adapter.service.programme.reconciliation,
                OperationKind.RECEIPT: self.crm.reconciliation,
            },
        )
        settings = self.adapter.service.settings.delivery.model_copy(update=delivery)
        service = self.adapter.service
        return Deliverer(programme, service.operations, service.visibility, settings)

    async def with_settings(self, **delivery: object) -> None:
        await self.deliverer.close()
        self.deliverer = self._deliverer(**delivery)

    async def jump(self, seconds: float) -> None:
        await self.database.execute(MOVE_DATABASE_CLOCK, seconds)

    async def proved(self) -> None:
        await self.adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)

    async def receipt(self) -> None:
        answer = await self.adapter.post(
            "/v1/promo/qrCode", {"qrCode": self.adapter.qr(), "cardNumber": self.card}
        )
        assert answer.status == 200
        self.operation_id = await self.adapter.sql(
            "SELECT max(id) FROM koshelek.operations WHERE kind = 'receipt'"
        )

    async def doubt(self) -> None:
        """The receipt is sent, and nobody knows what came of it."""
        await self.receipt()
        assert await self.deliver(tries=0) is not None
        assert await self.state() is OperationState.UNKNOWN

    async def deliver(self, tries: int = 1) -> float | None:
        """One step; tells the seconds after which the next is due, or ``None`` when it is over."""
        try:
            await self.deliverer.deliver(self.operation_id, tries=tries)
        except Later as later:
            return later.delay.total_seconds()
        return None

    async def deliver_for(self, seconds: float) -> None:
        """Step by step as the queue does, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            delay = await self.deliver()
            if delay is None:
                return
            await asyncio.sleep(min(delay, 0.1))

    async def operation(self) -> Operation:
        found = await self.adapter.service.operations.get(self.operation_id)
        assert found is not None
        return found

    async def state(self) -> OperationState:
        return (await self.operation()).state

    async def reason(self) -> Any:
        return await self.adapter.sql(
            "SELECT reason FROM koshelek.operations WHERE id = $1", self.operation_id
        )


@pytest.fixture
async def scene(postgresql: EmbeddedServer) -> AsyncIterator[Scene]:
    url = await create_database(postgresql, "template0")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(drop_database, postgresql, url)
        database = await asyncpg.connect(url)
        stack.push_async_callback(database.close)
        await database.execute(DATABASE_CLOCK)
        await migrate(url)
        delivery = {
            "retry_first": 0.05,
            "retry_ceiling": 0.2,
            "reconcile_after": PATIENCE,
            "call_timeout": 1.0,
            "retries_per_second": 1000,
        }
        settings = settings_for_tests(receipts={"wait": 0}, delivery=delivery)
        adapter = await stack.enter_async_context(running(settings, url))
        scene = Scene(adapter, database)
        scene.card = await adapter.issue(phone=new_phone())
        await adapter.service.stop_delivery()
        stack.push_async_callback(lambda: scene.deliverer.close())
        yield scene


async def test_absence_is_believed_after_its_time_and_it_is_sent_once_more(scene: Scene) -> None:
    await scene.proved()
    await scene.doubt()
    began = time.monotonic()
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.DONE
    assert time.monotonic() - began >= 2 * PATIENCE - 0.1
    assert scene.crm.credited == [(await scene.operation()).idempotency_key]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_before_the_first_look_makes_nothing_early(jump: float, scene: Scene) -> None:
    await scene.proved()
    await scene.doubt()
    await scene.jump(jump)
    assert await scene.deliver() is not None
    assert scene.crm.looked == 1, "asked before it was sent, and not since"
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.DONE


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("during", [False, True], ids=["between looks", "during a look"])
async def test_a_jump_while_it_is_looked_for_makes_nothing_early(
    during: bool, jump: float, scene: Scene
) -> None:
    await scene.proved()
    await scene.doubt()
    await asyncio.sleep(PATIENCE)
    if during:
        scene.crm.while_looked = lambda: scene.jump(jump)
    assert await scene.deliver() is not None
    scene.crm.while_looked = None
    await scene.jump(jump)
    for _ in range(3):
        assert await scene.deliver() is not None
    assert await scene.state() is OperationState.UNKNOWN
    began = time.monotonic()
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.DONE, "and it does not wait for ever"
    assert time.monotonic() - began >= PATIENCE - 0.1


async def test_the_time_in_which_the_crm_does_not_answer_does_not_count(scene: Scene) -> None:
    await scene.proved()
    await scene.doubt()
    scene.crm.answers_look_ups = False
    await scene.deliver_for(2 * PATIENCE + 0.2)
    scene.crm.answers_look_ups = True
    began = time.monotonic()
    assert await scene.deliver() is not None, "it may still do what had queued up"
    assert await scene.state() is OperationState.UNKNOWN
    await scene.deliver_for(10)
    assert time.monotonic() - began >= PATIENCE - 0.1
    assert await scene.state() is OperationState.DONE


async def test_a_break_while_it_is_looked_for_begins_the_waiting_anew(scene: Scene) -> None:
    await scene.proved()
    await scene.doubt()
    await asyncio.sleep(PATIENCE)
    assert await scene.deliver() is not None
    await asyncio.sleep(PATIENCE * 0.8)
    scene.crm.answers_look_ups = False
    assert await scene.deliver() is not None
    scene.crm.answers_look_ups = True
    await asyncio.sleep(PATIENCE * 0.5)
    assert await scene.deliver() is not None
    assert await scene.state() is OperationState.UNKNOWN


async def test_who_has_not_looked_for_long_does_not_know_whether_it_answered(scene: Scene) -> None:
    """All workers were away: the CRM may have been, too, and wake up with what had queued up."""
    await scene.with_settings(call_timeout=0.2)
    await scene.proved()
    await scene.doubt()
    await asyncio.sleep(PATIENCE)
    assert await scene.deliver() is not None
    await asyncio.sleep(PATIENCE / 3 + 0.2 + 2 + 0.2)
    assert await scene.deliver() is not None
    assert await scene.state() is OperationState.UNKNOWN


async def test_unproved_it_waits_and_is_held_in_the_end(scene: Scene) -> None:
    await scene.with_settings(give_up_after=3.0)
    await scene.doubt()
    await scene.deliver_for(2.5)
    assert await scene.state() is OperationState.UNKNOWN
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.HELD
    assert await scene.reason() == NOT_FOUND_UNPROVED
    assert len(scene.crm.sent) == 1


async def test_what_waits_for_a_control_that_nobody_finds_is_held_in_the_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> bool:
        return False

    monkeypatch.setattr(Absence, "_finds_control", never)
    await scene.with_settings(give_up_after=2.0)
    await scene.proved()
    await scene.doubt()
    await scene.deliver_for(3.5)
    assert await scene.state() is OperationState.UNKNOWN
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.HELD
    assert await scene.reason() == NOT_FOUND_UNPROVED
    assert len(scene.crm.sent) == 1


async def test_what_is_looked_for_too_seldom_to_be_missed_is_held_in_the_end(scene: Scene) -> None:
    """A worker that runs now and then never sees that the CRM answers without a break."""
    await scene.with_settings(give_up_after=HOUR)
    await scene.proved()
    await scene.doubt()
    await asyncio.sleep(PATIENCE)
    seldom = (
        "UPDATE koshelek.operations SET recorded_at = recorded_at - $2::interval, "
        "sent_at = sent_at - $2::interval, looked_at = looked_at - $2::interval WHERE id = $1"
    )
    for _ in range(4):
        await scene.adapter.sql(seldom, scene.operation_id, timedelta(minutes=28))
        scene.deliverer.doubts.answering[OperationKind.RECEIPT].failed()  # another process by now
        assert await scene.deliver() is not None
        assert await scene.state() is OperationState.UNKNOWN
    await scene.adapter.sql(seldom, scene.operation_id, timedelta(minutes=28))
    scene.deliverer.doubts.answering[OperationKind.RECEIPT].failed()
    assert await scene.deliver() is None
    assert await scene.reason() == NOT_FOUND_UNPROVED
    assert len(scene.crm.sent) == 1


async def test_unproved_it_is_sent_as_soon_as_the_crm_has_proved_itself(scene: Scene) -> None:
    await scene.doubt()
    await scene.deliver_for(2)
    assert len(scene.crm.sent) == 1
    await scene.proved()
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.DONE
    assert len(scene.crm.sent) == 2


async def test_refuted_it_is_held_and_never_sent_again(scene: Scene) -> None:
    await scene.proved()
    await scene.doubt()
    await scene.adapter.service.visibility.not_found(OperationKind.RECEIPT)
    await scene.proved()
    await scene.with_settings()  # what was read is believed for a moment
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.HELD
    assert await scene.reason() == NOT_FOUND_REFUTED
    assert len(scene.crm.sent) == 1


async def test_refuted_a_doubt_that_shows_late_is_found_before_it_is_held(scene: Scene) -> None:
    """That it is not there yet, while the CRM may be late, is no reason to hold it."""
    await scene.adapter.service.visibility.found(OperationKind.RECEIPT, 1.0)
    await scene.adapter.service.visibility.not_found(OperationKind.RECEIPT)
    scene.crm.script = deque([LOST_AFTER])
    scene.crm.shows = False
    await scene.doubt()
    await scene.deliver_for(1.5)
    assert await scene.state() is OperationState.UNKNOWN
    scene.crm.shows = True
    await scene.deliver_for(5)
    assert await scene.state() is OperationState.DONE
    assert len(scene.crm.sent) == 1


async def test_what_a_crm_shows_before_it_is_complete_is_looked_at_again(scene: Scene) -> None:
    """An entry whose sum is still to come looks like another's at first."""
    await scene.adapter.service.visibility.found(OperationKind.RECEIPT, 1.0)
    scene.crm.script = deque([LOST_AFTER])
    scene.crm.look_ups = deque([Written.refused(Refusal.KEY_TAKEN), Written.refused()])
    await scene.doubt()
    await scene.deliver_for(10)
    assert await scene.state() is OperationState.DONE
    assert scene.crm.looked == 3


async def test_the_proof_is_that_of_this_crm(scene: Scene) -> None:
    """Other settings of the CRM are another CRM, which has shown nothing yet."""
    await scene.proved()
    await scene.adapter.sql("UPDATE koshelek.visibility SET crm = 'another'")
    await scene.doubt()
    await scene.deliver_for(2)
    assert await scene.state() is OperationState.UNKNOWN
    assert len(scene.crm.sent) == 1


async def test_the_wait_is_three_times_the_worst_delay_seen(scene: Scene) -> None:
    await scene.adapter.service.visibility.found(OperationKind.RECEIPT, 1.0)
    await scene.doubt()
    began = time.monotonic()
    await scene.deliver_for(20)
    assert await scene.state() is OperationState.DONE
    assert time.monotonic() - began >= 6 - 0.2


async def test_what_is_there_is_found_at_once_though_another_is_missing(scene: Scene) -> None:
    """Only what is sent again needs the proof that it is not there."""
    await scene.proved()
    await scene.adapter.service.visibility.missing(OperationKind.RECEIPT, 200.0)
    scene.crm.script = deque([LOST_AFTER])
    await scene.doubt()
    await scene.deliver_for(PATIENCE + 3)
    assert await scene.state() is OperationState.DONE
    assert len(scene.crm.sent) == 1


async def test_looked_for_early_it_is_still_sent_again_only_after_twice_the_wait(scene: Scene) -> None:
    await scene.adapter.service.visibility.found(OperationKind.RECEIPT, 1.0)
    await scene.doubt()
    began = time.monotonic()
    await asyncio.sleep(PATIENCE)
    looked = scene.crm.looked
    assert await scene.deliver() is not None
    assert scene.crm.looked == looked + 1
    await scene.deliver_for(20)
    assert await scene.state() is OperationState.DONE
    assert time.monotonic() - began >= 6 - 0.2


async def test_what_does_not_tell_whose_it_is_is_held_no_earlier_than_before(scene: Scene) -> None:
    await scene.adapter.service.visibility.found(OperationKind.RECEIPT, 1.0)
    scene.crm.reconciliation = Reconciliation.COMPARE
    await scene.with_settings()
    scene.crm.script = deque([LOST_AFTER])
    await scene.doubt()
    began = time.monotonic()
    scene.crm.effects = [effect._replace(points=POINTS + 1) for effect in scene.crm.effects]
    await scene.deliver_for(2)
    assert await scene.state() is OperationState.UNKNOWN
    await scene.deliver_for(20)
    assert await scene.state() is OperationState.HELD
    assert time.monotonic() - began >= 3 - 0.2
    assert len(scene.crm.sent) == 1


async def test_found_late_it_is_as_late_as_it_was_missing_and_not_as_we_paused(scene: Scene) -> None:
    await scene.proved()
    scene.crm.script = deque([LOST_AFTER])
    await scene.doubt()
    scene.crm.shows = False
    scene.crm.answers_look_ups = False
    await scene.deliver_for(1.5)
    scene.crm.answers_look_ups = True
    assert await scene.deliver() is not None
    await asyncio.sleep(1.0)
    scene.crm.shows = True
    assert await scene.deliver() is None
    assert await scene.state() is OperationState.DONE
    known = (await scene.adapter.service.visibility.known())[OperationKind.RECEIPT]
    assert known.worst_seconds < 0.5


async def test_an_account_is_kept_while_its_credit_is_looked_for_and_not_long_after_we_are_gone(
    scene: Scene,
) -> None:
    """By comparing: until the balance shows it the next credit would be mistaken for it."""
    scene.crm.reconciliation = Reconciliation.COMPARE
    await scene.with_settings(proof_patience=600.0)
    scene.crm.script.clear()
    await scene.receipt()
    first = scene.operation_id
    lease = "SELECT extract(epoch FROM until - now())::float FROM koshelek.account_leases"
    scene.crm.shows = False
    assert await scene.deliver(tries=0) is None
    assert (await scene.operation()).state is OperationState.DONE
    for _ in range(4):
        await asyncio.sleep(0.5)
        assert 0 < await scene.adapter.sql(lease) < 10
    await scene.receipt()
    assert scene.operation_id != first
    assert await scene.deliver(tries=0) is not None
    assert len(scene.crm.sent) == 1
    await scene.deliverer.close()  # as if it had been killed
    scene.deliverer = scene._deliverer(proof_patience=600.0)
    scene.crm.shows = True
    await scene.deliver_for(15)
    assert await scene.state() is OperationState.DONE


async def test_a_receipt_that_the_crm_knows_already_is_not_sent(scene: Scene) -> None:
    """By another adapter over the same CRM, or by this one before its database was lost."""
    await scene.receipt()
    reference = (await scene.operation()).idempotency_key
    scene.crm.effects.append(Effect("the account", reference, POINTS))
    assert await scene.deliver(tries=0) is None
    operation = await scene.operation()
    assert (operation.state, operation.points) == (OperationState.DONE, POINTS)
    assert len(scene.crm.sent) == 0


async def test_unless_it_is_not_to_be_asked(scene: Scene) -> None:
    await scene.with_settings(ask_before_sending=False)
    scene.crm.script.clear()
    await scene.receipt()
    assert await scene.deliver(tries=0) is None
    assert (len(scene.crm.sent), scene.crm.looked) == (1, 0)


async def test_a_receipt_of_the_same_fiscal_identity_has_the_same_reference_everywhere(scene: Scene) -> None:
    await scene.receipt()
    reference = (await scene.operation()).idempotency_key
    identity = (await scene.operation()).identity
    await scene.adapter.sql("DELETE FROM koshelek.operations")
    fn, document, sign = identity.split(":")
    again = scene.adapter.qr(changed={"fn": fn, "i": document, "fp": sign})
    await scene.adapter.post("/v1/promo/qrCode", {"qrCode": again, "cardNumber": scene.card})
    scene.operation_id = await scene.adapter.sql(
        "SELECT max(id) FROM koshelek.operations WHERE kind = 'receipt'"
    )
    assert (await scene.operation()).idempotency_key == reference


async def test_in_thick_traffic_one_look_in_a_hundred_credits_is_made(scene: Scene) -> None:
    """Once proved; those before sending apart."""
    await scene.with_settings(ask_before_sending=False)
    scene.crm.script.clear()

    async def credits(count: int) -> int:
        for _ in range(count):
            await scene.adapter.post(
                "/v1/promo/qrCode", {"qrCode": scene.adapter.qr(), "cardNumber": scene.card}
            )
        ids = await scene.adapter.sql(
            "SELECT array_agg(id) FROM koshelek.operations WHERE kind = 'receipt' AND state = 'recorded'"
        )
        before = scene.crm.looked
        for scene.operation_id in ids:
            assert await scene.deliver(tries=0) is None
        await asyncio.sleep(0.1)
        return scene.crm.looked - before

    assert 10 <= await credits(20) <= 14
    assert await credits(300) <= 3
