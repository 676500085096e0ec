"""What delivery asks of the adapter's own database. ``adapter.store`` implements it.

Every method raises ``StoreUnavailable`` when the database does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from adapter.errors import Code
from adapter.loyalty.model import Operation, OperationKind, OperationState
from adapter.loyalty.review import Settled
from crm_backends.model import Balance


class DeliveryLedger(Protocol):
    """The recorded operations, as whoever brings them to the CRM moves them on.

    Whatever moves an operation does so for one attempt of it: a later attempt that has taken over is left
    alone, and ``None`` or ``False`` tells it.
    """

    async def get(self, operation_id: int) -> Operation | None: ...

    async def begin(
        self,
        operation_id: int,
        *,
        resendable: Sequence[OperationKind] = (),
        before: Balance | None = None,
    ) -> Operation | None:
        """Mark an operation as sent, before the call. ``None``: it is not to be sent.

        ``resendable``: kinds whose CRM honours our key, so that an unknown outcome is reconciled by sending
        the same write again. ``before``: the balance, kept for a reconciliation by comparing.
        """

    async def end(
        self,
        operation: Operation,
        state: OperationState,
        *,
        code: Code | None = None,
        points: Decimal | None = None,
        crm_reference: str | None = None,
        message: str | None = None,
        reason: str | None = None,
        nobody: bool = False,
        known_by_key: bool = False,
        detail: str | None = None,
    ) -> Operation | None:
        """Write how this attempt ended; ``None`` when a later attempt has taken over.

        ``reason``: why it waits for a person, one of a few. ``detail``: what the driver said; both in words
        of ours that quote nothing. ``nobody``: it is refused because the CRM knows no such customer.
        ``known_by_key``: should it come again, and have been done, the CRM would know it by its key.
        """

    async def again(self, operation: Operation, detail: str | None = None) -> bool:
        """Put an operation that certainly was not done back to recorded.

        ``detail``: why it was not, in words of ours that quote nothing.
        """

    async def explain(self, operation: Operation, detail: str) -> None:
        """Note why an operation is not sent yet, in words of ours that quote nothing."""

    async def looked(
        self, operation: Operation, *, answered: bool, unbroken: bool, detail: str | None = None
    ) -> Operation | None:
        """Note that a doubt was looked for; ``None``: it is none any more, or a later attempt's.

        ``answered``: the CRM did, and it was not there. ``unbroken``: the CRM has answered ever since it was
        looked for before.
        """

    async def found_twice(self, operation: Operation, entries: Sequence[str]) -> bool:
        """An operation that is done was found in the CRM more than once: it waits for a person now."""

    async def control_operation(self, kind: OperationKind, older: float) -> Operation | None:
        """One of the last operations of this kind that the CRM confirmed, at least ``older`` seconds ago: it
        must be found there, so a look-up that misses it proves nothing."""

    async def written_since(self, operation: Operation) -> bool:
        """Whether the CRM has answered a write of this kind that was sent after this operation was."""

    async def lease(
        self, operation: Operation, account: str, seconds: float, longest: float = float("inf")
    ) -> bool:
        """Take the account for this operation alone; ``False``: another one has it.

        ``longest``: seconds for which any is ever kept; one that lasts longer was taken before the database's
        clock was put back.

        The lease ends with ``release``, or after ``seconds`` should its holder be gone; but never while the
        operation may have been done, for nothing else may touch the balance before that is reconciled.
        """

    async def release(self, operation: Operation, keep: float = 0.0) -> bool:
        """Give up the lease the operation may have, unless another attempt of it is under way.

        ``keep``: seconds for which nobody else may have the account yet. Returns whether it had the lease:
        nobody else has had the account since.
        """


class PickedJobs(Protocol):
    """Jobs of the queue that were written down as picked, by the process that delivers their operations."""

    async def finish(self, job_ids: Sequence[int]) -> None:
        """Remove jobs whose operations are over, or wait for a person."""

    async def keep(self, job_ids: Sequence[int]) -> None:
        """Their process is at them still; without this others take them over."""

    async def put_off(self, job_id: int, delay: timedelta) -> None:
        """Have the operation looked at again after ``delay``, by whichever process."""


class RestoredJobs(Protocol):
    """Operations that had lost their job and got a new one."""

    @property
    def jobs(self) -> int: ...

    @property
    def doubts(self) -> int:
        """How many of them had been sent."""


class PurgedPortion(Protocol):
    @property
    def purged(self) -> int:
        """Operations whose details were removed."""


class Upkeep(Protocol):
    """What crashes leave behind and time makes needless, put right in small portions.

    Every step may be repeated, broken off, or run by two at once without harm.
    """

    def turn(self, interval: timedelta) -> AbstractAsyncContextManager[bool]:
        """Whether it is ours to make a pass now: nobody else is at it, or was within ``interval``."""

    async def restore_jobs(self, older: timedelta) -> RestoredJobs:
        """Give a job to operations that have none and have not moved for ``older``; one portion."""

    async def free_reservations(self, kept: timedelta) -> int:
        """Put card numbers back whose reservation ran out more than ``kept`` ago."""

    async def drop_leases(self) -> int:
        """Remove leases of accounts that nobody came back for."""

    def purge(self, older: timedelta) -> AsyncIterator[PurgedPortion]:
        """Remove the details of operations that ended before ``older``, portion by portion."""

    async def trim_queue_history(self, older: timedelta) -> int:
        """Remove what the job queue wrote down about jobs before ``older``; one portion of each table."""

    async def bring_back_in_time(self, longest: timedelta) -> int:
        """Bring jobs forward that are put off by more than ``longest``: the clock was put back."""


class Review(Protocol):
    """What a person decides about operations that wait for one; see ``adapter.loyalty.review``."""

    async def requeue(
        self, operation_ids: Sequence[int], *, by: str, note: str, as_doubts: bool = False
    ) -> dict[int, str]:
        """Send held operations again, all or none of them.

        ``as_doubts``: each is looked for in the CRM first, and sent only if it is not there. Returns the ids
        that were left alone, each with the reason as one sentence.
        """

    async def settle(
        self,
        operation_id: int,
        state: OperationState,
        *,
        by: str,
        note: str,
        points: Decimal | None = None,
        customer: str | None = None,
        occasion: str | None = None,
        correct: bool = False,
    ) -> Settled:
        """End an operation as a person found out that it ended in the CRM. Raises ``CannotDecide``."""

    async def doubled(self, operation_id: int, entries: Sequence[str], *, by: str, note: str) -> bool:
        """A held operation was found in the CRM more than once; tells whether it still was held."""
