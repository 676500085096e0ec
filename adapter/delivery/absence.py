"""The last questions before a doubt that is missing is sent again.

It has been missing for long enough, in a CRM that earlier found our writes. That may be otherwise by now, and
a CRM that answers questions may still have its writes queued up. So a control operation, one that this CRM
confirmed lately, is looked up at this very moment. And unless the CRM has answered a write since, only one
doubt is sent again, after three times the wait; the others wait for what becomes of that one. It may not know
any driver.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from adapter.delivery.later import Later
from adapter.delivery.ports import DeliveryLedger
from adapter.delivery.proof import TIMES_WORST, Proofs
from adapter.loyalty.model import Operation, OperationKind
from crm_backends.ports import BackendError, Deadline, Outcome, Reconciliation, Refusal, Written

log = structlog.get_logger("delivery")

_CONTROL_HOLDS = 5.0
"""Seconds for which a control operation that was found is reused for other doubts."""


@dataclass(slots=True, repr=False)
class Absence:
    """Asks those questions, for all CRMs of this process."""

    ledger: DeliveryLedger
    proofs: Proofs
    reconciliation: Mapping[OperationKind, Reconciliation]
    ask: Callable[[Operation, Deadline], Awaitable[Written]]
    _wrote: dict[OperationKind, float] = field(default_factory=dict)
    """When the CRM last answered a write of ours."""
    _tried: dict[OperationKind, float] = field(default_factory=dict)
    """When a doubt was last sent again without knowing that the CRM answers writes."""
    _confirmed: dict[OperationKind, float] = field(default_factory=dict)
    """When a control operation was last found in the CRM."""

    def wrote(self, kind: OperationKind) -> None:
        """The CRM has just answered a write."""
        self._wrote[kind] = time.monotonic()

    async def confirm(self, operation: Operation, missing_for: float, patience: float) -> None:
        """Return if the operation may be sent again.

        Raises:
            Later: not now.
            StoreUnavailable: the database cannot be asked.
        """
        kind = operation.kind
        is_looked_up = self.reconciliation[kind] is Reconciliation.PROBE
        if is_looked_up and not await self._finds_control(kind, patience):
            raise Later(timedelta(seconds=patience))
        now = time.monotonic()
        answered = now - self._wrote.get(kind, float("-inf")) < missing_for
        if answered or await self.ledger.written_since(operation):
            return
        if missing_for < TIMES_WORST * patience:
            raise Later(timedelta(seconds=patience))
        if now - self._tried.get(kind, float("-inf")) < TIMES_WORST * patience:
            raise Later(timedelta(seconds=patience))
        self._tried[kind] = now

    async def _finds_control(self, kind: OperationKind, patience: float) -> bool:
        """Whether the CRM finds a control operation at this moment; true where there is none to look up."""
        now = time.monotonic()
        if now - self._confirmed.get(kind, float("-inf")) < _CONTROL_HOLDS:
            return True
        control = await self.ledger.control_operation(kind, patience)
        if control is None:
            return True
        try:
            written = await self.ask(control, Deadline.after(self.proofs.settings.call_timeout))
        except BackendError:
            return False
        if written.outcome is Outcome.NOT_SENT:
            log.error("crm_misses_what_it_confirmed", operation=control.id, kind=kind)
            self.proofs.look_for(control, time.monotonic())
            return False
        if written.outcome is not Outcome.DONE and written.refusal is not Refusal.KEY_TAKEN:
            return False  # that it cannot tell shows nothing; with other contents it is there all the same
        self._confirmed[kind] = now
        return True
