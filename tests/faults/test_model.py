"""A model of the ledger: any order of sending, delivering, dying, lost replies, time and people's decisions.

The PostgreSQL, the use case, the deliverer and the review are the real ones. The CRM is the scripted one:
it can lose what a real one can, and knows what it has done. For every way of reconciling a doubt: never
two effects for a receipt, one for each that counts as credited, none for one that was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapter.bootstrap import Service
from adapter.delivery.deliverer import Deliverer
from adapter.delivery.later import Later
from adapter.errors import Refused
from adapter.loyalty.model import FINAL, Operation, OperationKind, OperationState
from adapter.loyalty.receipts import register_receipt
from adapter.store.operations import PostgresLedger
from adapter.store.review import PostgresReview
from crm_backends.ports import Deadline, Reconciliation, Refusal, Written
from tests.faults.servers import Server, own_server
from tests.faults.stage import DRIVE, card_number
from tests.integration.clocks import FollowsTheDatabase
from tests.integration.conftest import settings_for_tests
from tests.support.scripted_crm import AWAY, DONE, LOST_AFTER, LOST_BEFORE, NOT_SENT, Reply, ScriptedCrm

PEOPLE = 2
DELIVERY = {"call_timeout": 1.0, "reconcile_after": 2.0, "retry_first": 0.01, "retry_ceiling": 0.02}
LOOK = DELIVERY["reconcile_after"] / 3
LEASE = DELIVERY["reconcile_after"] * 3 + DELIVERY["call_timeout"] * 3

WRITES = ("begin", "end", "again", "release", "lease")
Result = TypeVar("Result")


class Died(BaseException):
    """The process is gone: nothing of ours runs any more in this attempt."""


REPLIES = {
    "well": DONE,
    "lost before": LOST_BEFORE,
    "lost after": LOST_AFTER,
    "not sent": NOT_SENT,
    "away": AWAY,
    "no": Reply(False, Written.refused()),
    "nobody": Reply(False, Written.refused(Refusal.NO_SUCH_CUSTOMER)),
    "dies before": Reply(False, Died()),
    "dies after": Reply(True, Died()),
}
OFTEN = ("well", "lost before", "lost after")
"""These are drawn twice as often."""


class DyingOperations(PostgresLedger):
    """The ledger; the process may die just before or just after a write of it."""

    dies: str = ""
    after: bool = False


def _dying(name: str) -> Any:
    original = getattr(PostgresLedger, name)

    async def write(self: DyingOperations, *arguments: Any, **given: Any) -> Any:
        if self.dies == name and not self.after:
            raise Died
        result = await original(self, *arguments, **given)
        if self.dies == name:
            raise Died
        return result

    return write


for _name in WRITES:
    setattr(DyingOperations, _name, _dying(_name))


class World:
    """The real parts around the fake CRM, on an event loop of their own; emptied for each example."""

    def __init__(self, server: Server) -> None:
        self.loop = asyncio.new_event_loop()
        self.service = Service(
            settings_for_tests(receipts={"rate": 1, "wait": 0}, delivery=DELIVERY), server.url("model")
        )
        self.operations: DyingOperations
        self.review: PostgresReview

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    async def open(self) -> None:
        await self.service.open()
        self.operations = DyingOperations(self.service.gateway)
        self.review = PostgresReview(self.service.gateway)
        for person in range(1, PEOPLE + 1):
            await self.sql(
                "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state, users_reference, "
                "points_reference, issued_at) VALUES ($1, $1, 'CODE_128', 'active', $2, $3, now())",
                card_number(person),
                str(person),
                f"account of {card_number(person)}",
            )

    async def sql(self, statement: str, *arguments: Any) -> None:
        await self.service.pool.execute(statement, *arguments)

    async def empty(self) -> None:
        await self.sql(
            "TRUNCATE koshelek.operations, koshelek.account_leases, koshelek.operation_events, "
            "koshelek.purge_later"
        )
        await self.service.visibility.found(OperationKind.RECEIPT, 0.0)

    def close(self) -> None:
        self.run(self.service.close())
        self.loop.close()


class Ledger(RuleBasedStateMachine):
    """What may happen to receipts, and what must hold whatever happens."""

    world: ClassVar[World]
    reconciliation: ClassVar[Reconciliation]

    @initialize()
    def begin(self) -> None:
        world = self.world
        world.run(world.empty())
        self.crm = ScriptedCrm(usual=DONE, rated=self.reconciliation)
        self.programme = dataclasses.replace(
            world.service.programme,
            operations=world.operations,
            points=self.crm,
            reconciliation={
                **world.service.programme.reconciliation,
                OperationKind.RECEIPT: self.reconciliation,
            },
        )
        self.deliverer = Deliverer(
            self.programme,
            world.operations,
            world.service.visibility,
            world.service.settings.delivery,
            clock=FollowsTheDatabase(),
        )
        self.sent: list[tuple[int, int, int]] = []
        """Person, roubles, and the id of the operation."""
        self.former: list[int] = []
        """Operations of receipts that were refused and have come again."""

    async def _register(self, number: int, person: int, roubles: int) -> Operation:
        card = await self.programme.cards.get(card_number(person))
        assert card is not None
        moment = self.programme.now() - timedelta(hours=1)
        return await register_receipt(
            self.programme,
            card,
            {
                "t": f"{moment:%Y%m%dT%H%M}",
                "s": f"{roubles}.00",
                "fn": DRIVE,
                "i": str(number),
                "fp": "1",
                "n": "1",
            },
            Deadline.after(10),
        )

    async def _deliver(self, operation_id: int) -> None:
        with contextlib.suppress(Later, Died):
            await self.deliverer.deliver(operation_id)

    async def _states(self) -> dict[int, Operation]:
        ids = [operation_id for _, _, operation_id in self.sent] + self.former
        found = [await self.world.operations.get(operation_id) for operation_id in ids]
        return {operation.id: operation for operation in found if operation is not None}

    def _crm_answers(self, reply: str) -> None:
        self.crm.usual = REPLIES[reply]
        self.crm.tells_balance = reply != "away"
        self.crm.answers_look_ups = reply not in ("away", "not sent")

    @precondition(lambda self: len(self.sent) < 4)
    @rule(person=st.sampled_from([1, 1, 1, 2]), roubles=st.sampled_from([10, 10, 20]))
    def send(self, person: int, roubles: int) -> None:
        operation = self.world.run(self._register(len(self.sent) + 1, person, roubles))
        assert operation.state is OperationState.RECORDED
        self.sent.append((person, roubles, operation.id))

    @precondition(lambda self: self.sent)
    @rule(pick=st.integers(0, 3))
    def repeat(self, pick: int) -> None:
        number = pick % len(self.sent)
        person, roubles, operation_id = self.sent[number]
        known = self.world.run(self._states())[operation_id]
        try:
            now = self.world.run(self._register(number + 1, person, roubles)).id
        except Refused:
            assert known.state is OperationState.REFUSED
        else:
            if now != operation_id:
                assert known.state is OperationState.REFUSED
                self.former.append(operation_id)
                self.sent[number] = (person, roubles, now)

    @precondition(lambda self: self.sent)
    @rule(
        picks=st.lists(st.integers(0, 3), min_size=1, max_size=2),
        reply=st.sampled_from((*OFTEN, *REPLIES)),
        dies=st.sampled_from(("", "", "", "", "", *WRITES)),
        after=st.booleans(),
    )
    def deliver(self, picks: list[int], reply: str, dies: str, after: bool) -> None:
        """One job, or several at once, perhaps of the same operation; the process may die at any write."""
        self._crm_answers(reply)
        self.world.operations.dies, self.world.operations.after = dies, after
        chosen = [self.sent[pick % len(self.sent)][2] for pick in picks]

        async def work() -> None:
            await asyncio.gather(*[self._deliver(operation_id) for operation_id in chosen])

        self.world.run(work())
        self.world.operations.dies = ""
        self._crm_answers("well")
        self.check()

    @rule(
        seconds=st.sampled_from(
            [LOOK, LOOK, DELIVERY["call_timeout"] * 2, DELIVERY["reconcile_after"], LEASE, 3600.0]
        )
    )
    def time_passes(self, seconds: float) -> None:
        self.world.run(self._age(seconds))

    async def _age(self, seconds: float) -> None:
        """Everything is older: the deliverer goes by what is written down."""
        self.deliverer.doubts.absence._tried.clear()
        interval = timedelta(seconds=seconds)
        await self.world.sql(
            "UPDATE koshelek.operations "
            "SET recorded_at = recorded_at - $1::interval, sent_at = sent_at - $1::interval, "
            "looked_at = looked_at - $1::interval, answering_since = answering_since - $1::interval",
            interval,
        )
        await self.world.sql("UPDATE koshelek.account_leases SET until = until - $1::interval", interval)

    @precondition(lambda self: self.sent)
    @rule()
    def a_person_decides(self) -> None:
        """Whoever looks at what is held finds out in the CRM what became of it."""
        self.world.run(self._decide())
        self.check()

    async def _decide(self) -> None:
        for operation in (await self._states()).values():
            if operation.state is not OperationState.HELD:
                continue
            if self.crm.times(operation.idempotency_key):
                await self.world.review.settle(
                    operation.id, OperationState.DONE, by="test", note="it is there"
                )
            else:
                assert not await self.world.review.requeue([operation.id], by="test", note="it is not there")

    def check(self) -> None:
        states = self.world.run(self._states())
        # A receipt that was refused and has come again has its key still.
        come_again = {states[now].idempotency_key for _, _, now in self.sent} if self.former else set()
        for operation in states.values():
            if operation.id in self.former and operation.idempotency_key in come_again:
                continue
            effects = self.crm.times(operation.idempotency_key)
            assert effects <= 1, f"{effects} effects of {operation}"
            if operation.state is OperationState.DONE:
                assert effects == 1, f"no effect of {operation}"
            if operation.state is OperationState.REFUSED:
                assert effects == 0, f"an effect of {operation}"

    def teardown(self) -> None:
        """With a CRM that is well everything comes to its end, and is right."""
        if not hasattr(self, "sent"):
            return
        self.world.run(self.deliverer.close())
        for seconds in (3600, *[LOOK] * 12) * 6:
            states = self.world.run(self._states())
            if all(operation.state in FINAL for operation in states.values()):
                break
            self.world.run(self._decide())
            self.world.run(self._age(seconds))
            for operation in states.values():
                self.world.run(self._deliver(operation.id))
        self.world.run(self.deliverer.close())
        assert all(operation.state in FINAL for operation in self.world.run(self._states()).values())
        self.check()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with own_server() as server:
        asyncio_run = asyncio.new_event_loop()
        try:
            asyncio_run.run_until_complete(server.execute("CREATE DATABASE model"))
            asyncio_run.run_until_complete(_migrate(server.url("model")))
        finally:
            asyncio_run.close()
        world = World(server)
        world.run(world.open())
        yield world
        world.close()


async def _migrate(url: str) -> None:
    from adapter.store.migrate import migrate

    await migrate(url)


def _run(world: World, reconciliation: Reconciliation, examples: int, *, always_the_same: bool) -> None:
    class Machine(Ledger):
        pass

    Machine.world, Machine.reconciliation = world, reconciliation
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            derandomize=always_the_same,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_doubt_is_not_settled_by_the_credit_of_another_receipt(world: World) -> None:
    """A credit that never arrived is in doubt while the CRM is away; then another of the same sum arrives."""

    class Machine(Ledger):
        pass

    Machine.world, Machine.reconciliation = world, Reconciliation.COMPARE
    machine = Machine()
    machine.begin()
    machine.send(1, 10)
    machine.send(1, 10)
    machine.deliver([0], "lost before", "", after=False)
    machine.time_passes(3600)
    machine.deliver([1], "well", "", after=False)
    machine.deliver([0], "well", "", after=False)
    machine.teardown()


@pytest.mark.parametrize("reconciliation", [Reconciliation.KEY, Reconciliation.PROBE])
@pytest.mark.parametrize("first", ["nobody", "lost before", "lost after", "dies before", "dies after"])
def test_a_receipt_of_somebody_the_crm_does_not_know_comes_again_and_counts_once(
    first: str, reconciliation: Reconciliation, world: World
) -> None:
    class Machine(Ledger):
        pass

    Machine.world, Machine.reconciliation = world, reconciliation
    machine = Machine()
    machine.begin()
    machine.send(1, 10)
    machine.deliver([0], first, "", after=False)
    for _ in range(3):
        machine.time_passes(3600)
        machine.deliver([0], "nobody", "", after=False)
    machine.repeat(0)
    machine.deliver([0], "well", "", after=False)
    machine.teardown()
    if reconciliation is Reconciliation.KEY:  # all of the CRM's ends are looked at in check
        assert len(machine.crm.credited) == 1


@pytest.mark.parametrize("reconciliation", list(Reconciliation))
def test_nothing_is_lost_and_nothing_doubled_whatever_happens(
    reconciliation: Reconciliation, world: World
) -> None:
    _run(world, reconciliation, 20, always_the_same=True)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("reconciliation", list(Reconciliation))
def test_nothing_is_lost_and_nothing_doubled_at_length(reconciliation: Reconciliation, world: World) -> None:
    _run(world, reconciliation, 1000, always_the_same=False)
