"""What becomes of an operation that may have reached the CRM: it is looked for, and believed to be missing
only of a CRM that has proved that it finds what it was given, for as long as it has answered, and as two
clocks agree. It may not know how anything is sent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from adapter.delivery.absence import Absence
from adapter.delivery.answering import Answering
from adapter.delivery.clock import DatabaseClock
from adapter.delivery.endings import Endings
from adapter.delivery.later import Later
from adapter.delivery.ports import DeliveryLedger
from adapter.delivery.proof import Proofs
from adapter.loyalty.model import (
    ABANDONED,
    IN_DOUBT,
    NOT_FOUND_REFUTED,
    NOT_FOUND_UNPROVED,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.ports import Proof, StoreUnavailable
from adapter.loyalty.programme import Programme
from adapter.settings import Delivery
from crm_backends.ports import BackendError, Deadline, Outcome, Reconciliation, Written

_LOOKS = 3
"""Looks for a doubt, about, in the time for which its absence has to last."""
_QUEUE_LATE = 2.0
"""Seconds by which the queue may be late with what was put off: it looks for that once a second."""


def longest_gap(settings: Delivery) -> float:
    """Seconds between two looks for a doubt, at most, by which a CRM counts as answering without a break."""
    return settings.reconcile_after / _LOOKS + settings.call_timeout + _QUEUE_LATE


@dataclass(frozen=True, slots=True, repr=False)
class Doubts:
    programme: Programme
    ledger: DeliveryLedger
    settings: Delivery
    clock: DatabaseClock
    proofs: Proofs
    absence: Absence
    endings: Endings
    answering: Mapping[OperationKind, Answering]
    """Whether the CRM answers those who look for a doubt."""
    look_up: Callable[[Operation, Deadline], Awaitable[Written]]

    async def advance_without_sending(self, operation: Operation, tries: int) -> None:
        """Bring an operation on that is not to be sent now: one that another process has marked as sent, and
        is at it still or gone; one in doubt; one that is over already.

        Raises:
            Later: it is not over.
            StoreUnavailable: the database does not answer.
        """
        if operation.state is OperationState.RECORDED:
            raise Later(timedelta(seconds=self.settings.retry_first))
        if operation.state is OperationState.SENT:
            if self._age(operation) < self.settings.call_timeout * 2:
                raise Later(timedelta(seconds=self.settings.call_timeout))
            await self.endings.fall_into_doubt(operation, ABANDONED, abandoned=True)
        elif operation.state is OperationState.UNKNOWN:
            age = self._age(operation)
            # What is found needs no proof, so nobody waits for it because the CRM is late with others.
            if age < self.settings.reconcile_after and operation.answering_since is None:
                raise Later(timedelta(seconds=self.settings.reconcile_after - age))
            await self._reconcile(operation, tries, await self.proofs.patience(operation.kind))

    def _age(self, operation: Operation) -> float:
        """Seconds since it was last sent, as both clocks agree."""
        return self.clock.age(operation.sent_at or operation.recorded_at)

    async def _reconcile(self, operation: Operation, tries: int, patience: float) -> None:
        """Look an unknown outcome up; what cannot be told is held for a person."""
        try:
            written = await self.look_up(operation, Deadline.after(self.settings.call_timeout))
        except (BackendError, StoreUnavailable) as error:
            self.endings.note_postponed(operation, error, "reconciliation_postponed")
            if self.endings.is_late(operation):
                await self.endings.hold(operation, IN_DOUBT, str(error))
                return
            # Nobody knows what the CRM did while it did not answer: the waiting begins anew.
            self.answering[operation.kind].failed()
            await self.ledger.looked(operation, answered=False, unbroken=False, detail=str(error))
            raise Later(self.endings.pause(tries + 1)) from None
        self.answering[operation.kind].answered()
        if written.outcome is Outcome.NOT_SENT and self._needs_proof(operation.kind):
            try:
                if not await self._is_absent(operation, patience):
                    return
            except Later:
                # We look too seldom to know that it answers, or it never finds a control operation.
                if not self.endings.is_overdue(operation):
                    raise
                await self.endings.hold(operation, NOT_FOUND_UNPROVED)
                return
        elif written.outcome is Outcome.DONE:
            if operation.answering_since is not None:
                await self.proofs.found_late(operation.kind, self._was_late(operation))
        elif written.outcome is not Outcome.NOT_SENT:
            # What is there may not be complete, and not tell yet that it is ours.
            self._wait_for_what_is_late(operation, patience)
        await self.endings.conclude(operation, written, "reconciled")

    def _wait_for_what_is_late(self, operation: Operation, patience: float) -> None:
        """Raise ``Later`` while the CRM may be late with it: nothing is held before."""
        still = patience - self._age(operation)
        if still > 0:
            raise Later(timedelta(seconds=min(patience / _LOOKS, still)))

    def _needs_proof(self, kind: OperationKind) -> bool:
        """Whether "not found" proves nothing by itself; not where sending again has no second effect
        anyway."""
        return kind not in self.programme.harmless_again

    async def _is_absent(self, operation: Operation, patience: float) -> bool:
        """Whether what was not found may be sent again; if not, it is held.

        Raises:
            Later: it has not been missing for long enough, or the CRM has proved nothing yet.
        """
        visibility = await self.proofs.of(operation.kind)
        if visibility.proof is Proof.REFUTED:
            self._wait_for_what_is_late(operation, patience)
            await self.endings.hold(operation, NOT_FOUND_REFUTED)
            return False
        between = patience / _LOOKS
        unbroken = self._answered_since_the_last_look(operation, between)
        before = time.monotonic()
        seen = await self.ledger.looked(operation, answered=True, unbroken=unbroken)
        if seen is not None:  # the database's clock may have jumped while the CRM was asked
            self.clock.observe(before, seen.read_at, time.monotonic())
        if seen is None or seen.answering_since is None:
            raise Later(timedelta(seconds=self.settings.retry_first))
        missing_for = self.clock.age(seen.answering_since)
        # Missing for as long, but not from the start on: what is late is missing then as well.
        still = max(patience - missing_for, 2 * patience - self._age(operation))
        if still > 0:
            raise Later(timedelta(seconds=min(between, still)))
        if visibility.proof is Proof.PROVED:
            await self.absence.confirm(operation, missing_for, patience)
            return True
        if self.endings.is_late(operation):
            await self.endings.hold(operation, NOT_FOUND_UNPROVED)
            return False
        raise Later(timedelta(seconds=patience))

    def _answered_since_the_last_look(self, operation: Operation, between: float) -> bool:
        """Whether the CRM has answered without a break since this operation was looked for before."""
        if operation.looked_at is None:
            return False
        # In a crowd a doubt's turn comes seldom; then the looks for others vouch for the time between.
        vouched_for = max(
            between + self.settings.call_timeout + _QUEUE_LATE, self.answering[operation.kind].seconds()
        )
        return self.clock.age(operation.looked_at) < vouched_for

    def _was_late(self, operation: Operation) -> float:
        """Seconds for which what is there now was certainly missing while the CRM answered.

        Measured to the last look-up: our own waiting since then must not count as the CRM's delay.
        """
        missing_for = self.clock.age(operation.answering_since or operation.recorded_at)
        answered_for = max(missing_for, self.answering[operation.kind].seconds())
        looked_ago = self.clock.age(operation.looked_at or operation.recorded_at)
        return max(0.0, min(self._age(operation), answered_for) - looked_ago)

    async def outcome_of_earlier_attempt(self, operation: Operation, refused: Written) -> Written:
        """DONE where an earlier attempt, which was in doubt, was done after all: the CRM refused this one
        only because of that. UNKNOWN where the CRM cannot be asked, else ``refused``."""
        if self.programme.reconciliation[operation.kind] is not Reconciliation.PROBE:
            return refused
        try:
            found = await self.look_up(operation, Deadline.after(self.settings.call_timeout))
        except (BackendError, StoreUnavailable) as error:
            return Written.unknown(str(error))
        return found if found.outcome is Outcome.DONE else refused
