"""One attempt to deliver one operation, and what its outcome leads to.

``sent`` is written before the call and no database connection is held during it. Only a write that
certainly did not reach the CRM is tried again; an unknown one is settled as the driver declares.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import structlog
import tenacity

from adapter.catalogue import Refused
from adapter.delivery.pace import Pace
from adapter.loyalty.model import (
    CERTAINLY_NOT_SENT,
    FINAL,
    IN_DOUBT,
    IN_DOUBT_ONCE,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.occasions import receipt_credited
from adapter.loyalty.performing import crm_account, perform, refusal_code, settle
from adapter.loyalty.ports import StoreUnavailable
from adapter.loyalty.programme import Programme
from adapter.settings import Delivery
from adapter.store.operations import PostgresOperations
from crm_backends.ports import BackendError, Deadline, Outcome, Refusal, Settlement, Written

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
            OperationKind.COUPONS: self.programme.coupons,
        }
        paces = {id(backend): Pace(self.settings.retries_per_second) for backend in backends.values()}
        object.__setattr__(self, "pace", {kind: paces[id(backend)] for kind, backend in backends.items()})

    async def deliver(self, operation_id: int, *, tries: int = 0) -> None:
        """Bring the operation one step on. ``tries``: how often it was looked at before.

        Raises:
            Later: it is not over; call again after the delay.
            StoreUnavailable: the adapter's database does not answer; nothing is known to have changed.
        """
        compares = Settlement.COMPARE in self.programme.settlement.values()
        known = await self.operations.get(operation_id) if tries or compares else None
        if known is not None and (known.state in FINAL or known.state is OperationState.HELD):
            return
        if known is not None and tries:
            self._wait_for_its_turn(known)
        by_key = [kind for kind, how in self.programme.settlement.items() if how is Settlement.KEY]
        # Counted from before it is marked as sent: a process that sleeps after that must not wake up and
        # send when others have long since looked what became of it.
        deadline = Deadline.after(self.settings.call_timeout)
        operation = None
        if known is None or not self._compares(known):
            operation = await self.operations.begin(operation_id, resendable=by_key)
        elif known.state is OperationState.RECORDED:
            operation = await self._begin_comparable(known, tries, deadline)
        if operation is None:
            await self._not_to_be_sent(operation_id, tries)
        else:
            await self._conclude(operation, await self._attempt(operation, deadline), "sent")

    def _wait_for_its_turn(self, operation: Operation) -> None:
        """Raise ``Later`` in a crowd.

        When a CRM comes back, what waited for it comes in single file, next to what is new.
        """
        delay = self.pace[operation.kind].admit()
        if delay:
            raise Later(timedelta(seconds=delay))

    async def _begin_comparable(self, known: Operation, tries: int, deadline: Deadline) -> Operation | None:
        """Begin what is settled by comparing: with the account for itself, and its balance."""
        try:
            account = await crm_account(self.programme, known, deadline)
            if account is None or self.programme.points is None:
                return await self.operations.begin(known.id)
            if not await self.operations.lease(known, account, self._lease_seconds):
                raise Later(timedelta(seconds=self.settings.retry_first))
            before = await self.programme.points.balance(account, deadline=deadline)
        except (BackendError, StoreUnavailable) as error:
            log.warning("delivery_postponed", operation=known.id, reason=type(error).__name__)
            await self.operations.release(known)
            if self._is_late(known):
                await self._hold_unsent(known)
                return None
            raise Later(self._pause(tries + 1)) from None
        return await self.operations.begin(known.id, before=before)

    def _compares(self, operation: Operation) -> bool:
        return self.programme.settlement[operation.kind] is Settlement.COMPARE

    @property
    def _lease_seconds(self) -> float:
        """Long enough to send, to wait, and to compare; a lost holder must not block an account for ever."""
        return self.settings.settle_after * 3 + self.settings.call_timeout * 3

    async def _not_to_be_sent(self, operation_id: int, tries: int) -> None:
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
            await self._unknown(operation, abandoned=True)
        elif operation.state is OperationState.UNKNOWN:
            patience = timedelta(seconds=self.settings.settle_after)
            if age < patience:
                raise Later(patience - age)
            await self._settle(operation, tries)

    async def _settle(self, operation: Operation, tries: int) -> None:
        """Look an unknown outcome up; what cannot be told is held for a person."""
        deadline = Deadline.after(self.settings.call_timeout)
        try:
            written = await settle(self.programme, operation, deadline)
        except (BackendError, StoreUnavailable) as error:
            log.warning("settling_postponed", operation=operation.id, reason=type(error).__name__)
            if not self._is_late(operation):
                raise Later(self._pause(tries + 1)) from None
            await self._hold(operation, IN_DOUBT)
        else:
            await self._conclude(operation, written, "settled")

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

    async def _conclude(
        self, operation: Operation, written: Written, step: Literal["sent", "settled"]
    ) -> None:
        try:
            if written.outcome is Outcome.NOT_SENT:
                await self._not_sent(operation)
            elif written.outcome is not Outcome.UNKNOWN:
                await self._end(operation, written)
            elif step == "sent":
                await self._unknown(operation)
            else:
                await self._hold(operation, IN_DOUBT)
        finally:  # counting and logging may fail; what the CRM has said is written down before
            self.observe(operation.kind, step, written.outcome)
            log.info(
                "delivered" if step == "sent" else "settled",
                operation=operation.id,
                kind=operation.kind,
                attempt=operation.attempt,
                outcome=written.outcome,
            )

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
                if done and operation.kind is OperationKind.RECEIPT:
                    await receipt_credited(self.programme, operation)
                await self.operations.end(
                    operation,
                    OperationState.DONE if done else OperationState.REFUSED,
                    code=None if done else refusal_code(operation.kind, written.refusal),
                    points=written.points,
                    crm_reference=written.crm_reference,
                    message=written.message,
                    nobody=written.refusal is Refusal.NO_SUCH_CUSTOMER,
                )
        await self._release(operation)

    async def _release(self, operation: Operation) -> None:
        if self._compares(operation):
            await self.operations.release(operation)

    async def _not_sent(self, operation: Operation) -> None:
        if self._is_late(operation):
            await self._hold_unsent(operation)
        elif await self.operations.again(operation):
            await self._release(operation)
            raise Later(self._pause(operation.attempt))

    async def _unknown(self, operation: Operation, *, abandoned: bool = False) -> None:
        """In doubt from now on. ``abandoned``: by a process that is gone, so it was not our own last try."""
        await self.operations.end(operation, OperationState.UNKNOWN)
        how = self.programme.settlement[operation.kind]
        tried_for_long = self._is_late(operation) and not abandoned
        if how is Settlement.MANUAL or (how is Settlement.KEY and tried_for_long):
            await self._hold(operation, IN_DOUBT)
        elif how is Settlement.KEY:
            raise Later(self._pause(operation.attempt))
        else:
            raise Later(timedelta(seconds=self.settings.settle_after))

    def _is_late(self, operation: Operation) -> bool:
        return operation.age > timedelta(seconds=self.settings.give_up_after)

    async def _hold_unsent(self, operation: Operation) -> None:
        await self._hold(operation, IN_DOUBT_ONCE if operation.doubted else CERTAINLY_NOT_SENT)

    async def _hold(self, operation: Operation, reason: str) -> None:
        held = await self.operations.end(operation, OperationState.HELD, reason=reason)
        await self._release(operation)
        if held is not None:
            log.error("held_for_a_person", operation=operation.id, kind=operation.kind, reason=reason)

    def _pause(self, attempt: int) -> timedelta:
        """Exponential with full-range jitter, up to the ceiling."""
        longest = min(self.settings.retry_ceiling, self.settings.retry_first * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - no secret
