"""Accounts of CRMs whose doubts are reconciled by comparing balances: one operation at a time on each.

While an operation has an account for itself, whatever moves the balance is its own doing. It may not know how
a balance is read, nor what is concluded from it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from adapter.delivery.ports import DeliveryLedger
from adapter.delivery.proof import TIMES_WORST, Proofs
from adapter.loyalty.model import Operation, OperationKind
from adapter.loyalty.ports import Proof
from adapter.loyalty.programme import Programme
from adapter.settings import Delivery
from crm_backends.ports import Deadline, Reconciliation

_WAIT_FOR_ACCOUNT, _LOOK_AT_ACCOUNT = 1.0, 0.05  # seconds: at most, and between two looks
_MOST_WAITING = 8
"""Deliveries of a process that may wait for an account; they hold places that others could use."""


@dataclass(frozen=True, slots=True, repr=False)
class Accounts:
    programme: Programme
    ledger: DeliveryLedger
    settings: Delivery
    proofs: Proofs
    _waiting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_WAITING))

    def are_compared(self, kind: OperationKind) -> bool:
        """Whether operations of this kind need their account for themselves."""
        return self.programme.reconciliation[kind] is Reconciliation.COMPARE

    async def lease(self, operation: Operation, account: str, deadline: Deadline) -> bool:
        """Have the account for this operation alone; ``False``: it is not to be had soon.

        Another receipt of the same holder is mostly over within a moment, and the queue would come back to
        this one a second later at the soonest. So a few of those that find the account taken wait for it.
        """
        until = time.monotonic() + min(_WAIT_FOR_ACCOUNT, deadline.remaining() / 2)
        while not await self.ledger.lease(operation, account, self._seconds, self._longest_seconds):
            if self._waiting.locked() or time.monotonic() > until:
                return False
            async with self._waiting:
                await asyncio.sleep(_LOOK_AT_ACCOUNT)
        return True

    async def release(self, operation: Operation, *, moved: bool = False) -> None:
        """Let others have the account.

        ``moved``: points were, or may have been, credited. Then not before the balance certainly shows them,
        or the next would take them for its own.
        """
        if not self.are_compared(operation.kind):
            return
        keep = 0.0
        if moved:
            visibility = await self.proofs.of(operation.kind)
            proved = visibility.proof is Proof.PROVED
            keep = TIMES_WORST * visibility.worst_seconds if proved else self.settings.reconcile_after
        await self.ledger.release(operation, keep)

    @property
    def _seconds(self) -> float:
        """Long enough to send, to wait, and to compare; a lost holder must not block an account for ever."""
        return self.settings.reconcile_after * 3 + self.settings.call_timeout * 3

    @property
    def _longest_seconds(self) -> float:
        """Nothing is kept for longer: an account that is looked at, or not lent out before it shows a
        credit."""
        return max(self._seconds, self.settings.proof_patience * TIMES_WORST) + 60
