"""One attempt to deliver one operation, and what its outcome leads to.

``sent`` is written before the call and no database connection is held during it. Only a write that certainly
was not done is tried again. What came of it is written by ``endings``; an unknown
outcome is reconciled by ``doubts``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from adapter.delivery.absence import Absence
from adapter.delivery.accounts import Accounts
from adapter.delivery.answering import Answering
from adapter.delivery.clock import DatabaseClock
from adapter.delivery.crm_call import crm_account, perform, reconcile
from adapter.delivery.doubts import Doubts, longest_gap
from adapter.delivery.endings import Endings, Explain, Observe, see_whether_doubled
from adapter.delivery.later import Later
from adapter.delivery.ports import DeliveryLedger
from adapter.delivery.proof import Proofs
from adapter.delivery.retry_pace import Pace
from adapter.errors import Refused
from adapter.loyalty.model import FINAL, FOR_A_PERSON, Operation, OperationKind, OperationState
from adapter.loyalty.payloads import ReceiptPayload
from adapter.loyalty.ports import Proof, StoreUnavailable, VisibilityBook
from adapter.loyalty.programme import Programme
from adapter.settings import Delivery
from crm_backends.comparing import balance_to_compare
from crm_backends.ports import BackendError, Deadline, Outcome, Reconciliation, Written

log = structlog.get_logger("delivery")


@dataclass(frozen=True, slots=True, repr=False)
class Deliverer:
    programme: Programme
    ledger: DeliveryLedger
    visibility: VisibilityBook
    settings: Delivery
    observe: Observe = lambda *_: None
    explain: Explain = lambda *_: None
    clock: DatabaseClock = field(default_factory=DatabaseClock)
    proofs: Proofs = field(init=False)
    accounts: Accounts = field(init=False)
    endings: Endings = field(init=False)
    doubts: Doubts = field(init=False)
    pace: Mapping[OperationKind, Pace] = field(init=False)
    """How fast each CRM is asked again; first attempts do not count."""
    resendable: tuple[OperationKind, ...] = field(init=False)
    """Kinds whose CRM honours our key."""
    some_are_compared: bool = field(init=False)

    def __post_init__(self) -> None:
        programme, ledger, settings = self.programme, self.ledger, self.settings
        look_up = functools.partial(reconcile, programme)
        proofs = Proofs(self.visibility, settings, look_up, functools.partial(see_whether_doubled, ledger))
        accounts = Accounts(programme, ledger, settings, proofs)
        endings = Endings(programme, ledger, settings, proofs, accounts, self.observe, self.explain)
        absence = Absence(ledger, proofs, programme.reconciliation, look_up)
        crms = _crms(programme)
        answering = {id(crm): Answering(longest_gap(settings)) for crm in crms.values()}
        of_kind = {kind: answering[id(crm)] for kind, crm in crms.items()}
        doubts = Doubts(programme, ledger, settings, self.clock, proofs, absence, endings, of_kind, look_up)
        paces = {id(crm): Pace(settings.retries_per_second) for crm in crms.values()}
        how = programme.reconciliation
        for name, value in {
            "proofs": proofs,
            "accounts": accounts,
            "endings": endings,
            "doubts": doubts,
            "pace": {kind: paces[id(crm)] for kind, crm in crms.items()},
            "resendable": tuple(kind for kind in how if how[kind] is Reconciliation.KEY),
            "some_are_compared": Reconciliation.COMPARE in how.values(),
        }.items():
            object.__setattr__(self, name, value)

    async def close(self) -> None:
        await self.proofs.close()

    async def deliver(self, operation_id: int, *, tries: int = 0) -> None:
        """Bring the operation one step on. ``tries``: how often it was looked at before.

        Raises:
            Later: it is not over; call again after the delay.
            StoreUnavailable: the adapter's database does not answer; nothing is known to have changed.
        """
        known = await self._get(operation_id) if tries or self.some_are_compared else None
        if known is not None and known.state in FINAL | FOR_A_PERSON:
            return
        if known is not None and tries:
            self._wait_for_its_turn(known)
        # Counted from before it is marked as sent: a process that sleeps after that must not wake up and
        # send when others have long since looked what became of it.
        deadline = Deadline.after(self.settings.call_timeout)
        operation = None
        if known is None or not self.accounts.are_compared(known.kind):
            before = time.monotonic()
            operation = await self.ledger.begin(operation_id, resendable=self.resendable)
            if operation is not None:
                self.clock.observe(before, operation.read_at, time.monotonic())
        elif known.state is OperationState.RECORDED:
            operation = await self._begin_comparable(known, tries, deadline)
        if operation is not None:
            await self.carry(operation, deadline)
        elif (now := await self._get(operation_id)) is not None:
            await self.doubts.advance_without_sending(now, tries)

    async def carry(self, operation: Operation, deadline: Deadline) -> None:
        """Send an operation that is marked as sent, and conclude what came of it; raises as ``deliver``."""
        written = await self._send(operation, deadline)
        if written.outcome is Outcome.REFUSED and operation.doubted:
            written = await self.doubts.outcome_of_earlier_attempt(operation, written)
        await self.endings.conclude(operation, written, "sent")

    async def _get(self, operation_id: int) -> Operation | None:
        before = time.monotonic()
        operation = await self.ledger.get(operation_id)
        if operation is not None:
            self.clock.observe(before, operation.read_at, time.monotonic())
        return operation

    def _wait_for_its_turn(self, operation: Operation) -> None:
        """Raise ``Later`` in a crowd.

        When a CRM comes back, what waited for it comes in single file, next to what is new.
        """
        delay = self.pace[operation.kind].admit()
        if delay:
            raise Later(timedelta(seconds=delay))

    async def _begin_comparable(self, known: Operation, tries: int, deadline: Deadline) -> Operation | None:
        """Begin what is reconciled by comparing: with the account for itself, and its balance."""
        try:
            account = await crm_account(self.programme, known, deadline, surely=True)
            if account is None or self.programme.points is None:
                return await self.ledger.begin(known.id)
            if not await self.accounts.lease(known, account, deadline):
                raise Later(timedelta(seconds=self.settings.retry_first))
            before = await balance_to_compare(self.programme.points, account, deadline)
        except (BackendError, StoreUnavailable) as error:
            self.endings.note_postponed(known, error)
            await self.ledger.release(known)
            if self.endings.is_late(known):
                await self.endings.hold_unsent(known, str(error))
                return None
            await self.ledger.explain(known, str(error))
            raise Later(self.endings.pause(tries + 1)) from None
        return await self.ledger.begin(known.id, before=before)

    async def _send(self, operation: Operation, deadline: Deadline) -> Written:
        """Make the call, unless the CRM is seen to have it already, or no time is left for it."""
        if not deadline.remaining():
            return Written.not_sent("no time was left to send it")
        try:
            if self._asks_first(operation):
                known = await self.doubts.look_up(operation, deadline)
                if known.outcome in (Outcome.DONE, Outcome.REFUSED):
                    log.warning("known_before_it_was_sent", operation=operation.id, kind=operation.kind)
                    return known
                if known.outcome is Outcome.UNKNOWN and await self._lookup_is_reliable(operation):
                    return Written.not_sent(known.reason or "the CRM cannot tell whether it has it already")
                if not deadline.remaining():
                    return Written.not_sent("no time was left to send it")
            written = await perform(self.programme, operation, deadline)
            if written.outcome in (Outcome.DONE, Outcome.REFUSED):
                self.doubts.absence.wrote(operation.kind)
            return written
        except (BackendError, StoreUnavailable, Refused) as error:
            self.endings.note_postponed(operation, error)
            return Written.not_sent(str(error))
        except Exception as error:
            # A defect on our side: whether the call went out cannot be told from here.
            log.exception("delivery_failed", operation=operation.id, reason=type(error).__name__)
            return Written.unknown("a defect of the adapter; see the log")

    async def _lookup_is_reliable(self, operation: Operation) -> bool:
        """Whether this CRM has shown that it finds what it has; of a sale whose points it computes itself it
        need not."""
        payload = operation.payload
        by_rules = not isinstance(payload, ReceiptPayload) or payload.points is None
        return not by_rules and (await self.proofs.of(operation.kind)).proof is Proof.PROVED

    def _asks_first(self, operation: Operation) -> bool:
        """Whether the CRM is asked before it is sent: only a receipt's key may be known there already."""
        return (
            self.settings.ask_before_sending
            and operation.kind is OperationKind.RECEIPT
            and self.programme.reconciliation[operation.kind] is Reconciliation.PROBE
        )


def _crms(programme: Programme) -> dict[OperationKind, object]:
    """The CRM that performs the operations of each kind."""
    return {
        OperationKind.REGISTRATION: programme.users,
        OperationKind.CARD: programme.users,
        OperationKind.RECEIPT: programme.points,
        OperationKind.PROMO_CODE: programme.coupons,
        OperationKind.COUPONS: programme.coupons,
    }
