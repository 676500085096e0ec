"""One attempt to deliver one operation, and what its outcome leads to.

``sent`` is written before the call and no database connection is held during it. Only a write that
certainly did not reach the CRM is tried again; an unknown one is settled as the driver declares.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from adapter.catalogue import Refused
from adapter.loyalty.model import Operation, OperationState
from adapter.loyalty.performing import perform, refusal_code
from adapter.loyalty.ports import StoreUnavailable
from adapter.loyalty.programme import Programme
from adapter.settings import Delivery
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

    async def deliver(self, operation_id: int) -> None:
        """Bring the operation one step on.

        Raises:
            Later: it is not over; call again after the delay.
            StoreUnavailable: the adapter's database does not answer; nothing is known to have changed.
        """
        settlement = self.programme.settlement
        by_key = [kind for kind, how in settlement.items() if how is Settlement.KEY]
        operation = await self.operations.begin(operation_id, resendable=by_key)
        if operation is None:
            await self._not_to_be_sent(operation_id)
        else:
            await self._conclude(operation, await self._attempt(operation))

    async def _not_to_be_sent(self, operation_id: int) -> None:
        """Over already, or sent by somebody who is either still at it or gone."""
        operation = await self.operations.get(operation_id)
        if operation is None:
            return
        if operation.state is OperationState.SENT:
            patience = timedelta(seconds=self.settings.call_timeout * 2)
            if datetime.now(UTC) - (operation.sent_at or operation.recorded_at) < patience:
                raise Later(timedelta(seconds=self.settings.call_timeout))
            await self._unknown(operation)
        elif operation.state is OperationState.UNKNOWN:
            await self._hold(operation, "outcome unknown")

    async def _attempt(self, operation: Operation) -> Written:
        deadline = Deadline.after(self.settings.call_timeout)
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
        if written.outcome is Outcome.DONE:
            await self.operations.end(
                operation,
                OperationState.DONE,
                points=written.points,
                crm_reference=written.crm_reference,
                message=written.message,
            )
        elif written.outcome is Outcome.REFUSED:
            code = refusal_code(operation.kind, written.refusal)
            await self.operations.end(operation, OperationState.REFUSED, code=code)
        elif written.outcome is Outcome.NOT_SENT:
            await self._not_sent(operation)
        else:
            await self._unknown(operation)
        log.info(
            "delivered",
            operation=operation.id,
            kind=operation.kind,
            attempt=operation.attempt,
            outcome=written.outcome,
        )

    async def _not_sent(self, operation: Operation) -> None:
        age = datetime.now(UTC) - operation.recorded_at
        if age > timedelta(seconds=self.settings.give_up_after):
            await self._hold(operation, "never got through")
        elif await self.operations.again(operation):
            raise Later(self._pause(operation.attempt))

    async def _unknown(self, operation: Operation) -> None:
        await self.operations.end(operation, OperationState.UNKNOWN)
        if self.programme.settlement[operation.kind] is not Settlement.KEY:
            await self._hold(operation, "outcome unknown")
            return
        raise Later(self._pause(operation.attempt))

    async def _hold(self, operation: Operation, reason: str) -> None:
        await self.operations.end(operation, OperationState.HELD)
        log.error("held_for_a_person", operation=operation.id, kind=operation.kind, reason=reason)

    def _pause(self, attempt: int) -> timedelta:
        """Exponential with full-range jitter, up to the ceiling."""
        longest = min(self.settings.retry_ceiling, self.settings.retry_first * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - no secret
