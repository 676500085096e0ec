"""One attempt to deliver one operation, and what its outcome leads to.

``sent`` is written before the call and no database connection is held during it. Only a write that
certainly did not reach the CRM is tried again; an unknown one is settled as the driver declares.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
import tenacity

from adapter.catalogue import Refused
from adapter.delivery.pace import Pace
from adapter.loyalty.model import FINAL, Operation, OperationKind, OperationState
from adapter.loyalty.performing import crm_account, perform, refusal_code, settle
from adapter.loyalty.ports import StoreUnavailable
from adapter.loyalty.programme import Programme
from adapter.settings import Delivery
from adapter.store.desk import CERTAINLY_NOT_SENT
from adapter.store.operations import PostgresOperations
from crm_backends.ports import BackendError, Deadline, Outcome, Settlement, Written

log = structlog.get_logger("delivery")


class Later(Exception):
    """The operation has to be looked at again after ``delay``."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__("later")
        self.delay = delay


@dataclass(frozen=True, slots=True)
class Deliverer:
    programme: Programme
    operations: PostgresOperations
    settings: Delivery
    observe: Callable[[OperationKind, str, Outcome], None] = lambda *_: None
    """Is told the outcome of every write that was ``sent``, and of every doubt ``settled``."""
    pace: Mapping[OperationKind, Pace] = field(init=False)
    """Of everything but first attempts, per CRM."""

    def __post_init__(self) -> None:
        backends = {
            OperationKind.REGISTRATION: self.programme.users,
            OperationKind.RECEIPT: self.programme.points,
            OperationKind.PROMO_CODE: self.programme.coupons,
        }
        paces = {id(backend): Pace(self.settings.retries_per_second) for backend in backends.values()}
        object.__setattr__(self, "pace", {kind: paces[id(backend)] for kind, backend in backends.items()})

    async def deliver(self, operation_id: int, *, again: bool = False) -> None:
        """Bring the operation one step on. ``again``: it was looked at before.

        Raises:
            Later: it is not over; call again after the delay.
            StoreUnavailable: the adapter's database does not answer; nothing is known to have changed.
        """
        if again and not await self._has_its_turn(operation_id):
            return
        by_key = [kind for kind, how in self.programme.settlement.items() if how is Settlement.KEY]
        # Counted from before it is marked as sent: a process that sleeps after that must not wake up and
        # send when others have long since looked what became of it.
        deadline = Deadline.after(self.settings.call_timeout)
        if Settlement.COMPARE in self.programme.settlement.values():
            operation = await self._begin_comparable(operation_id, by_key, deadline)
        else:
            operation = await self.operations.begin(operation_id, resendable=by_key)
        if operation is None:
            await self._not_to_be_sent(operation_id)
        else:
            await self._conclude(operation, await self._attempt(operation, deadline))

    async def _has_its_turn(self, operation_id: int) -> bool:
        """Whether to call the CRM once more; ``False``: it is over. Raises ``Later`` in a crowd.

        When a CRM comes back, what waited for it comes in single file, next to what is new.
        """
        operation = await self.operations.get(operation_id)
        if operation is None or operation.state in FINAL or operation.state is OperationState.HELD:
            return False
        delay = self.pace[operation.kind].admit()
        if delay:
            raise Later(timedelta(seconds=delay))
        return True

    async def _begin_comparable(
        self, operation_id: int, by_key: Sequence[OperationKind], deadline: Deadline
    ) -> Operation | None:
        """Begin; where the outcome is settled by comparing, with the account for itself and its balance."""
        known = await self.operations.get(operation_id)
        if known is None or known.state is not OperationState.RECORDED or not self._compares(known):
            return await self.operations.begin(operation_id, resendable=by_key)
        try:
            account = await crm_account(self.programme, known, deadline)
            if account is None or self.programme.points is None:
                return await self.operations.begin(operation_id)
            if not await self.operations.lease(known, account, self._lease_seconds):
                raise Later(timedelta(seconds=self.settings.retry_first))
            before = await self.programme.points.balance(account, deadline=deadline)
        except (BackendError, StoreUnavailable) as error:
            log.warning("delivery_postponed", operation=operation_id, reason=type(error).__name__)
            await self.operations.release(known)
            raise Later(self._pause(known.attempt + 1)) from None
        return await self.operations.begin(operation_id, before=before)

    def _compares(self, operation: Operation) -> bool:
        return self.programme.settlement[operation.kind] is Settlement.COMPARE

    @property
    def _lease_seconds(self) -> float:
        """Long enough to send, to wait, and to compare; a lost holder must not block an account for ever."""
        return self.settings.settle_after * 3 + self.settings.call_timeout * 3

    async def _not_to_be_sent(self, operation_id: int) -> None:
        """Over already, or sent by somebody who is either still at it or gone, or in doubt."""
        operation = await self.operations.get(operation_id)
        if operation is None:
            return
        age = operation.since_sent
        if operation.state is OperationState.RECORDED:
            raise Later(timedelta(seconds=self.settings.retry_first))
        if operation.state is OperationState.SENT:
            if age < timedelta(seconds=self.settings.call_timeout * 2):
                raise Later(timedelta(seconds=self.settings.call_timeout))
            await self._unknown(operation)
        elif operation.state is OperationState.UNKNOWN:
            patience = timedelta(seconds=self.settings.settle_after)
            if age < patience:
                raise Later(patience - age)
            await self._settle(operation)

    async def _settle(self, operation: Operation) -> None:
        """Look an unknown outcome up; what cannot be told is held for a person."""
        deadline = Deadline.after(self.settings.call_timeout)
        try:
            written = await settle(self.programme, operation, deadline)
        except (BackendError, StoreUnavailable) as error:
            log.warning("settling_postponed", operation=operation.id, reason=type(error).__name__)
            raise Later(self._pause(operation.attempt + 1)) from None
        self.observe(operation.kind, "settled", written.outcome)
        log.info("settled", operation=operation.id, kind=operation.kind, outcome=written.outcome)
        if written.outcome is Outcome.UNKNOWN:
            await self._hold(operation, "outcome unknown")
        elif written.outcome is Outcome.NOT_SENT:
            await self._not_sent(operation)
        else:
            await self._end(operation, written)

    async def _attempt(self, operation: Operation, deadline: Deadline) -> Written:
        if not deadline.remaining():
            return Written.not_sent()
        try:
            return await perform(self.programme, operation, deadline)
        except (BackendError, StoreUnavailable, Refused) as error:
            log.warning("delivery_postponed", operation=operation.id, reason=type(error).__name__)
            return Written.not_sent()
        except Exception as error:
            # A defect on our side: whether the call went out cannot be told from here.
            log.exception("delivery_failed", operation=operation.id, reason=type(error).__name__)
            return Written.unknown()

    async def _conclude(self, operation: Operation, written: Written) -> None:
        self.observe(operation.kind, "sent", written.outcome)
        log.info(
            "delivered",
            operation=operation.id,
            kind=operation.kind,
            attempt=operation.attempt,
            outcome=written.outcome,
        )
        if written.outcome is Outcome.NOT_SENT:
            await self._not_sent(operation)
        elif written.outcome is Outcome.UNKNOWN:
            await self._unknown(operation)
        else:
            await self._end(operation, written)

    async def _end(self, operation: Operation, written: Written) -> None:
        """Write down what the CRM said. While the database is away the answer is only known here."""
        done = written.outcome is Outcome.DONE
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            wait=tenacity.wait_random_exponential(0.05, max=1),
            stop=tenacity.stop_after_delay(self.settings.call_timeout),
            reraise=True,
        ):
            with attempt:
                await self.operations.end(
                    operation,
                    OperationState.DONE if done else OperationState.REFUSED,
                    code=None if done else refusal_code(operation.kind, written.refusal),
                    points=written.points,
                    crm_reference=written.crm_reference,
                    message=written.message,
                )
        await self._release(operation)

    async def _release(self, operation: Operation) -> None:
        if self._compares(operation):
            await self.operations.release(operation)

    async def _not_sent(self, operation: Operation) -> None:
        if operation.age > timedelta(seconds=self.settings.give_up_after):
            await self._hold(operation, CERTAINLY_NOT_SENT)
        elif await self.operations.again(operation):
            await self._release(operation)
            raise Later(self._pause(operation.attempt))

    async def _unknown(self, operation: Operation) -> None:
        await self.operations.end(operation, OperationState.UNKNOWN)
        how = self.programme.settlement[operation.kind]
        if how is Settlement.MANUAL or operation.age > timedelta(seconds=self.settings.give_up_after):
            await self._hold(operation, "outcome unknown")
        elif how is Settlement.KEY:
            raise Later(self._pause(operation.attempt))
        else:
            raise Later(timedelta(seconds=self.settings.settle_after))

    async def _hold(self, operation: Operation, reason: str) -> None:
        await self.operations.end(operation, OperationState.HELD, reason=reason)
        await self._release(operation)
        log.error("held_for_a_person", operation=operation.id, kind=operation.kind, reason=reason)

    def _pause(self, attempt: int) -> timedelta:
        """Exponential with full-range jitter, up to the ceiling."""
        longest = min(self.settings.retry_ceiling, self.settings.retry_first * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - no secret
