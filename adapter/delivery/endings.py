"""What an attempt came to: written down, told to whoever counts, and what follows from it.

Done and refused are the end; what certainly was not sent comes again; what nobody can tell is a doubt, or
waits for a person. It may not know how the CRM was asked.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

import structlog
import tenacity

from adapter.delivery.accounts import Accounts
from adapter.delivery.later import Later
from adapter.delivery.ports import DeliveryLedger
from adapter.delivery.proof import Proofs
from adapter.loyalty.coupon_triggers import receipt_credited
from adapter.loyalty.idempotency_keys import receipt_key
from adapter.loyalty.model import (
    CERTAINLY_NOT_SENT,
    CONFLICT,
    DONE_TWICE,
    IN_DOUBT,
    IN_DOUBT_ONCE,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.payloads import ReceiptPayload
from adapter.loyalty.ports import StoreUnavailable
from adapter.loyalty.programme import Programme, kinds_looked_for
from adapter.loyalty.refusal_codes import refusal_code
from adapter.settings import Delivery
from crm_backends.inputs import one_line
from crm_backends.ports import Outcome, Reconciliation, Refusal, Written

log = structlog.get_logger("delivery")

_OVERDUE = 2
"""After so many times ``give_up_after`` a doubt waits for a person, whatever it was waiting for."""
_LONGEST = 500  # characters of what a CRM calls something

Step: TypeAlias = Literal["sent", "reconciled"]
Observe: TypeAlias = Callable[[OperationKind, str, Outcome], None]
"""Is told the outcome of every write that was ``sent``, and of every doubt ``reconciled``."""
Explain: TypeAlias = Callable[[OperationKind, str, str], None]
"""Is told whenever an operation is ``postponed``, ``refused`` or ``held``, with the reason's class."""


@dataclass(frozen=True, slots=True, repr=False)
class Endings:
    programme: Programme
    ledger: DeliveryLedger
    settings: Delivery
    proofs: Proofs
    accounts: Accounts
    observe: Observe
    explain: Explain

    async def conclude(self, operation: Operation, written: Written, step: Step) -> None:
        """Write down what came of an attempt, or of looking for a doubt.

        Raises:
            Later: it is not over.
            StoreUnavailable: it could not be written down.
        """
        try:
            if written.outcome is Outcome.NOT_SENT:
                await self._put_back(operation, written)
            elif written.refusal is Refusal.KEY_TAKEN:
                await self.hold(operation, CONFLICT, written.reason)
            elif written.outcome is not Outcome.UNKNOWN:
                await self._write_down(operation, written, step)
            elif step == "sent":
                await self.fall_into_doubt(operation, written.reason)
            else:
                await self.hold(operation, IN_DOUBT, written.reason)
        finally:  # counting and logging may fail; what the CRM has said is written down before
            self.observe(operation.kind, step, written.outcome)
            if written.refusal is not None:
                self.explain(operation.kind, "refused", written.refusal)
            log.info(
                "delivered" if step == "sent" else "reconciled",
                operation=operation.id,
                kind=operation.kind,
                attempt=operation.attempt,
                outcome=written.outcome,
                **({} if written.reason is None else {"why": written.reason}),
            )

    async def _write_down(self, operation: Operation, written: Written, step: Step) -> None:
        """Write down what the CRM said. While the database is away the answer is only known here."""
        done = written.outcome is Outcome.DONE
        done_at = time.monotonic()
        try:
            ended = await self._write_once(operation, written)
        except StoreUnavailable:
            # Made for this case alone: what tenacity does before the first try costs more than the try.
            ended = await tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(StoreUnavailable),
                wait=tenacity.wait_random_exponential(0.05, max=1),
                stop=tenacity.stop_after_delay(self.settings.call_timeout),
                reraise=True,
            )(self._write_once, operation, written)
        if written.entries and ended is not None:
            _say_doubled(operation, written)
        if (
            done
            and step == "sent"
            and ended is not None
            and await self._start_control_lookup(operation, done_at)
        ):
            return
        await self.accounts.release(operation, moved=done)
        if ended is None:
            self._leave_to_others()

    async def _write_once(self, operation: Operation, written: Written) -> Operation | None:
        done, nobody = written.outcome is Outcome.DONE, written.refusal is Refusal.NO_SUCH_CUSTOMER
        state = OperationState.DONE if done else OperationState.REFUSED
        if done and operation.kind is OperationKind.RECEIPT:
            await receipt_credited(self.programme, operation)
        return await self.ledger.end(
            operation,
            OperationState.DOUBLED if written.entries else state,
            code=None if done else refusal_code(operation.kind, written.refusal),
            points=_credible(operation, written),
            crm_reference=_storable(", ".join(written.entries) or written.crm_reference),
            message=_storable(written.message),
            reason=DONE_TWICE if written.entries else None,
            nobody=nobody,
            known_by_key=nobody and self._is_known_by_key(operation),
            detail=written.reason,
        )

    def _is_known_by_key(self, operation: Operation) -> bool:
        """Whether the CRM honours our key, and the same receipt has this one when it comes again: operations
        that were recorded by programs of long ago, or with keys of another length, have others."""
        payload = operation.payload
        if not isinstance(payload, ReceiptPayload):
            return False
        receipt, length = payload.receipt, self.programme.key_lengths[operation.kind]
        return (
            self.programme.reconciliation[operation.kind] is Reconciliation.KEY
            and receipt_key(receipt.fiscal_drive, receipt.document, receipt.sign, length)
            == operation.idempotency_key
        )

    async def _start_control_lookup(self, operation: Operation, done_at: float) -> bool:
        """Look the operation, which is done, up in the background if it is its turn; whether it is. It keeps
        its account meanwhile."""
        kind = operation.kind
        if kind not in kinds_looked_for(self.programme):
            return False
        # Sent again after a doubt: should the first have been done as well, late, then that is seen.
        compares = self.accounts.are_compared(kind)
        check_for_double = operation.doubted and compares
        if operation.doubted and not compares:
            self.proofs.watch(operation, await self.proofs.patience(kind))
        if not await self.proofs.is_due(kind) and not check_for_double:
            return False
        keep = functools.partial(self.ledger.release, operation)
        self.proofs.look_for(
            operation,
            done_at,
            lambda: self.accounts.release(operation, moved=True),
            keep=keep if compares else None,
            not_before=await self.proofs.patience(kind) if check_for_double else 0.0,
        )
        return True

    async def _put_back(self, operation: Operation, written: Written) -> None:
        """It certainly was not done: it comes again, unless that has gone on for too long."""
        if self.is_late(operation):
            await self.hold_unsent(operation, written.reason)
        elif await self.ledger.again(operation, written.reason):
            await self.accounts.release(operation)
            raise Later(self.pause(operation.attempt))
        else:
            self._leave_to_others()

    def _leave_to_others(self) -> None:
        """Raise ``Later``: this attempt counts no more, and a later one has taken over, under the same job,
        which must not be removed."""
        raise Later(timedelta(seconds=self.settings.call_timeout))

    async def fall_into_doubt(
        self, operation: Operation, detail: str | None = None, *, abandoned: bool = False
    ) -> None:
        """In doubt from now on. ``abandoned``: by a process that is gone, so it was not our own last try.

        Raises ``Later`` unless a person is needed.
        """
        await self.ledger.end(operation, OperationState.UNKNOWN, detail=detail)
        how = self.programme.reconciliation[operation.kind]
        tried_for_long = self.is_late(operation) and not abandoned
        if how is Reconciliation.MANUAL or (how is Reconciliation.KEY and tried_for_long):
            await self.hold(operation, IN_DOUBT, detail)
        elif how is Reconciliation.KEY:
            raise Later(self.pause(operation.attempt))
        else:
            raise Later(timedelta(seconds=await self.proofs.patience(operation.kind)))

    def is_late(self, operation: Operation) -> bool:
        """Whether it has been under way for as long as anything is tried."""
        return operation.age > timedelta(seconds=self.settings.give_up_after)

    def is_overdue(self, operation: Operation) -> bool:
        """Whether it has been under way for so long that nothing is waited for any more."""
        return operation.age > timedelta(seconds=_OVERDUE * self.settings.give_up_after)

    async def hold_unsent(self, operation: Operation, detail: str | None = None) -> None:
        """Have a person look at what this attempt did not bring to the CRM."""
        await self.hold(operation, IN_DOUBT_ONCE if operation.doubted else CERTAINLY_NOT_SENT, detail)

    async def hold(self, operation: Operation, reason: str, detail: str | None = None) -> None:
        """Have a person look at it. ``reason``: one of a few of ours; ``detail``: the driver's words.

        Raises ``Later`` where this attempt counts no more.
        """
        held = await self.ledger.end(operation, OperationState.HELD, reason=reason, detail=detail)
        await self.accounts.release(operation, moved=reason != CERTAINLY_NOT_SENT)
        if held is None:
            self._leave_to_others()
        self.explain(operation.kind, "held", reason)
        log.error(
            "held_for_a_person",
            operation=operation.id,
            kind=operation.kind,
            reason=reason,
            **({} if detail is None else {"why": detail}),
        )

    def note_postponed(
        self, operation: Operation, error: Exception, event: str = "delivery_postponed"
    ) -> None:
        """Say why; the sentence is ours or the driver's, and quotes nothing."""
        reason = type(error).__name__
        log.warning(event, operation=operation.id, kind=operation.kind, reason=reason, why=str(error))
        self.explain(operation.kind, "postponed", reason)

    def pause(self, attempt: int) -> timedelta:
        """Exponential with full-range jitter, up to the ceiling."""
        longest = min(self.settings.retry_ceiling, self.settings.retry_first * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - no secret


async def see_whether_doubled(ledger: DeliveryLedger, operation: Operation, found: Written) -> None:
    """An operation that is done was looked for: is it there once?"""
    if found.entries and await ledger.found_twice(operation, found.entries):
        _say_doubled(operation, found)


def _say_doubled(operation: Operation, written: Written) -> None:
    log.error(
        "done_twice_in_the_crm", operation=operation.id, kind=operation.kind, entries=len(written.entries)
    )


def _storable(text: str | None) -> str | None:
    """What a CRM has said, as a database and a wallet can hold it: no control characters, not too long."""
    return None if text is None else one_line(text.encode("utf-8", "replace").decode())[:_LONGEST]


def _credible(operation: Operation, written: Written) -> Decimal | None:
    """The points that the CRM says it gave; what cannot be, a negative number, is none."""
    points = written.points
    if points is None or points >= 0:
        return points
    log.warning("odd_points", operation=operation.id, kind=operation.kind, points=f"{points:f}")
    return None
