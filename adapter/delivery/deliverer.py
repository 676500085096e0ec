"""One attempt to deliver one operation, and what its outcome leads to.

``sent`` is written before the call and no database connection is held during it. Only a write that certainly
did not reach the CRM is tried again; an unknown one is reconciled as the driver declares, and "not found" is
believed only of a CRM that has proved it (``proof``), for as long as it has answered, and as two clocks agree
(``clock``).
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal

import structlog
import tenacity

from adapter.delivery.absence import Absence
from adapter.delivery.answering import Answering
from adapter.delivery.clock import DatabaseClock
from adapter.delivery.crm_call import crm_account, perform, reconcile
from adapter.delivery.later import Later
from adapter.delivery.proof import TIMES_WORST, Proofs
from adapter.delivery.retry_pace import Pace
from adapter.errors import Refused
from adapter.loyalty.coupon_triggers import receipt_credited
from adapter.loyalty.model import (
    CERTAINLY_NOT_SENT,
    CONFLICT,
    DONE_TWICE,
    FINAL,
    FOR_A_PERSON,
    IN_DOUBT,
    IN_DOUBT_ONCE,
    NOT_FOUND_REFUTED,
    NOT_FOUND_UNPROVED,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.ports import Proof, StoreUnavailable, VisibilityBook
from adapter.loyalty.programme import Programme, kinds_looked_for
from adapter.loyalty.refusal_codes import refusal_code
from adapter.settings import Delivery
from adapter.store.operations import PostgresOperations
from crm_backends.inputs import one_line
from crm_backends.ports import BackendError, Deadline, Outcome, Reconciliation, Refusal, Written

log = structlog.get_logger("delivery")

_LOOKS = 3
"""Looks for a doubt, about, in the time for which its absence has to last."""
_LONGEST = 500  # characters of what a CRM calls something
_WAIT_FOR_ACCOUNT, _LOOK_AT_ACCOUNT = 1.0, 0.05  # seconds: at most, and between two looks
_MOST_WAITING_FOR_ACCOUNT = 8
"""Deliveries of a process that may wait for an account; they hold places that others could use."""
_QUEUE_LATE = 2.0
"""Seconds by which the queue may be late with what was put off: it looks for that once a second."""


@dataclass(frozen=True, slots=True)
class Deliverer:
    programme: Programme
    operations: PostgresOperations
    visibility: VisibilityBook
    settings: Delivery
    observe: Callable[[OperationKind, str, Outcome], None] = lambda *_: None
    """Is told the outcome of every write that was ``sent``, and of every doubt ``reconciled``."""
    explain: Callable[[OperationKind, str, str], None] = lambda *_: None
    """Is told whenever an operation is ``postponed``, ``refused`` or ``held``, with the reason's class."""
    clock: DatabaseClock = field(default_factory=DatabaseClock)
    pace: Mapping[OperationKind, Pace] = field(init=False)
    """Of everything but first attempts, per CRM."""
    waiting_for_account: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_MOST_WAITING_FOR_ACCOUNT)
    )
    answering: Mapping[OperationKind, Answering] = field(init=False)
    """Whether the CRM answers those who look for a doubt."""
    proofs: Proofs = field(init=False)
    absence: Absence = field(init=False)

    def __post_init__(self) -> None:
        backends = {
            OperationKind.REGISTRATION: self.programme.users,
            OperationKind.CARD: self.programme.users,
            OperationKind.RECEIPT: self.programme.points,
            OperationKind.PROMO_CODE: self.programme.coupons,
            OperationKind.COUPONS: self.programme.coupons,
        }
        paces = {id(backend): Pace(self.settings.retries_per_second) for backend in backends.values()}
        object.__setattr__(self, "pace", {kind: paces[id(backend)] for kind, backend in backends.items()})
        gap = self.settings.reconcile_after / _LOOKS + self.settings.call_timeout + _QUEUE_LATE
        answering = {id(backend): Answering(gap) for backend in backends.values()}
        object.__setattr__(
            self, "answering", {kind: answering[id(backend)] for kind, backend in backends.items()}
        )
        object.__setattr__(
            self, "proofs", Proofs(self.visibility, self.settings, self._look_up, self._see_whether_doubled)
        )

        object.__setattr__(
            self,
            "absence",
            Absence(self.operations, self.proofs, self.programme.reconciliation, self._look_up),
        )

    async def close(self) -> None:
        await self.proofs.close()

    async def deliver(self, operation_id: int, *, tries: int = 0) -> None:
        """Bring the operation one step on. ``tries``: how often it was looked at before.

        Raises:
            Later: it is not over; call again after the delay.
            StoreUnavailable: the adapter's database does not answer; nothing is known to have changed.
        """
        compares = Reconciliation.COMPARE in self.programme.reconciliation.values()
        known = await self._get(operation_id) if tries or compares else None
        if known is not None and known.state in FINAL | FOR_A_PERSON:
            return
        if known is not None and tries:
            self._wait_for_its_turn(known)
        by_key = [kind for kind, how in self.programme.reconciliation.items() if how is Reconciliation.KEY]
        # Counted from before it is marked as sent: a process that sleeps after that must not wake up and
        # send when others have long since looked what became of it.
        deadline = Deadline.after(self.settings.call_timeout)
        operation = None
        if known is None or not self._compares(known):
            before = time.monotonic()
            operation = await self.operations.begin(operation_id, resendable=by_key)
            if operation is not None:
                self.clock.observe(before, operation.read_at, time.monotonic())
        elif known.state is OperationState.RECORDED:
            operation = await self._begin_comparable(known, tries, deadline)
        if operation is None:
            await self._not_to_be_sent(operation_id, tries)
        else:
            written = await self._attempt(operation, deadline)
            if written.outcome is Outcome.REFUSED and operation.doubted:
                written = await self._was_done_before(operation, written)
            await self._conclude(operation, written, "sent")

    async def _get(self, operation_id: int) -> Operation | None:
        before = time.monotonic()
        operation = await self.operations.get(operation_id)
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

    # -- comparing -------------------------------------------------------------------------------------

    async def _begin_comparable(self, known: Operation, tries: int, deadline: Deadline) -> Operation | None:
        """Begin what is reconciled by comparing: with the account for itself, and its balance."""
        try:
            account = await crm_account(self.programme, known, deadline, surely=True)
            if account is None or self.programme.points is None:
                return await self.operations.begin(known.id)
            if not await self._lease(known, account, deadline):
                raise Later(timedelta(seconds=self.settings.retry_first))
            before = await self.programme.points.balance(account, deadline=deadline)
        except (BackendError, StoreUnavailable) as error:
            self._postponed(known, error)
            await self.operations.release(known)
            if self._is_late(known):
                await self._hold_unsent(known, str(error))
                return None
            await self.operations.explain(known, str(error))
            raise Later(self._pause(tries + 1)) from None
        return await self.operations.begin(known.id, before=before)

    async def _lease(self, operation: Operation, account: str, deadline: Deadline) -> bool:
        """Have the account for this operation alone.

        Another receipt of the same holder is mostly over within a moment, and the queue would come back to
        this one a second later at the soonest. So a few of those that find the account taken wait for it.
        """
        until = time.monotonic() + min(_WAIT_FOR_ACCOUNT, deadline.remaining() / 2)
        while not await self.operations.lease(
            operation, account, self._lease_seconds, self._longest_lease_seconds
        ):
            if self.waiting_for_account.locked() or time.monotonic() > until:
                return False
            async with self.waiting_for_account:
                await asyncio.sleep(_LOOK_AT_ACCOUNT)
        return True

    def _compares(self, operation: Operation) -> bool:
        return self.programme.reconciliation[operation.kind] is Reconciliation.COMPARE

    @property
    def _lease_seconds(self) -> float:
        """Long enough to send, to wait, and to compare; a lost holder must not block an account for ever."""
        return self.settings.reconcile_after * 3 + self.settings.call_timeout * 3

    @property
    def _longest_lease_seconds(self) -> float:
        """Nothing is kept for longer: an account that is looked at, or not lent out before it shows a
        credit."""
        return max(self._lease_seconds, self.settings.proof_patience * TIMES_WORST) + 60

    async def _release(self, operation: Operation, *, moved: bool = False) -> None:
        """Let others have the account.

        ``moved``: points were, or may have been, credited. Then not before the balance certainly shows them,
        or the next would take them for its own.
        """
        if not self._compares(operation):
            return
        keep = 0.0
        if moved:
            visibility = await self.proofs.of(operation.kind)
            proved = visibility.proof is Proof.PROVED
            keep = TIMES_WORST * visibility.worst_seconds if proved else self.settings.reconcile_after
        await self.operations.release(operation, keep)

    # -- doubts ----------------------------------------------------------------------------------------

    async def _not_to_be_sent(self, operation_id: int, tries: int) -> None:
        """Over already, or sent by somebody who is either still at it or gone, or in doubt."""
        operation = await self._get(operation_id)
        if operation is None:
            return
        if operation.state is OperationState.RECORDED:
            raise Later(timedelta(seconds=self.settings.retry_first))
        if operation.state is OperationState.SENT:
            if self._age(operation) < self.settings.call_timeout * 2:
                raise Later(timedelta(seconds=self.settings.call_timeout))
            await self._unknown(operation, abandoned=True)
        elif operation.state is OperationState.UNKNOWN:
            patience = await self.proofs.patience(operation.kind)
            age = self._age(operation)
            # Once it is looked for, it counts how long it has been missing.
            if age < patience and operation.answering_since is None:
                raise Later(timedelta(seconds=patience - age))
            await self._reconcile(operation, tries, patience)

    def _age(self, operation: Operation) -> float:
        """Seconds since it was last sent, as both clocks agree."""
        return self.clock.age(operation.sent_at or operation.recorded_at)

    async def _reconcile(self, operation: Operation, tries: int, patience: float) -> None:
        """Look an unknown outcome up; what cannot be told is held for a person."""
        try:
            written = await self._look_up(operation, Deadline.after(self.settings.call_timeout))
        except (BackendError, StoreUnavailable) as error:
            self._postponed(operation, error, "reconciliation_postponed")
            if self._is_late(operation):
                await self._hold(operation, IN_DOUBT, str(error))
                return
            # Nobody knows what the CRM did while it did not answer: the waiting begins anew.
            self.answering[operation.kind].failed()
            await self.operations.looked(operation, answered=False, unbroken=False, detail=str(error))
            raise Later(self._pause(tries + 1)) from None
        self.answering[operation.kind].answered()
        if written.outcome is Outcome.NOT_SENT and self._needs_proof(operation.kind):
            if not await self._is_absent(operation, patience):
                return
        elif written.outcome is Outcome.DONE and operation.answering_since is not None:
            await self.proofs.found_late(operation.kind, self._was_late(operation))
        await self._conclude(operation, written, "reconciled")

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
            await self._hold(operation, NOT_FOUND_REFUTED)
            return False
        between = patience / _LOOKS
        unbroken = False
        if operation.looked_at is not None:
            # In a crowd a doubt's turn comes seldom; then the looks for others vouch for the time between.
            vouched_for = max(
                between + self.settings.call_timeout + _QUEUE_LATE,
                self.answering[operation.kind].seconds(),
            )
            unbroken = self.clock.age(operation.looked_at) < vouched_for
        before = time.monotonic()
        seen = await self.operations.looked(operation, answered=True, unbroken=unbroken)
        if seen is not None:  # the database's clock may have jumped while the CRM was asked
            self.clock.observe(before, seen.read_at, time.monotonic())
        if seen is None or seen.answering_since is None:
            raise Later(timedelta(seconds=self.settings.retry_first))
        missing_for = self.clock.age(seen.answering_since)
        if missing_for < patience:
            raise Later(timedelta(seconds=min(between, patience - missing_for)))
        if visibility.proof is Proof.PROVED:
            await self.absence.confirm(operation, missing_for, patience)
            return True
        if self._is_late(operation):
            await self._hold(operation, NOT_FOUND_UNPROVED)
            return False
        raise Later(timedelta(seconds=patience))

    def _was_late(self, operation: Operation) -> float:
        """Seconds for which what is there now was certainly missing while the CRM answered.

        Up to the last look: what came after is our own pause, and would make the next one ever longer.
        """
        missing_for = self.clock.age(operation.answering_since or operation.recorded_at)
        answered_for = max(missing_for, self.answering[operation.kind].seconds())
        looked_ago = self.clock.age(operation.looked_at or operation.recorded_at)
        return max(0.0, min(self._age(operation), answered_for) - looked_ago)

    async def _look_up(self, operation: Operation, deadline: Deadline) -> Written:
        return await reconcile(self.programme, operation, deadline)

    # -- sending ---------------------------------------------------------------------------------------

    async def _attempt(self, operation: Operation, deadline: Deadline) -> Written:
        if not deadline.remaining():
            return Written.not_sent("no time was left to send it")
        try:
            if self._asks_first(operation):
                known = await self._look_up(operation, deadline)
                if known.outcome in (Outcome.DONE, Outcome.REFUSED):
                    log.warning("known_before_it_was_sent", operation=operation.id, kind=operation.kind)
                    return known
                if known.outcome is Outcome.UNKNOWN and await self._should_tell(operation):
                    return Written.not_sent(known.reason or "the CRM cannot tell whether it has it already")
                if not deadline.remaining():
                    return Written.not_sent("no time was left to send it")
            written = await perform(self.programme, operation, deadline)
            if written.outcome in (Outcome.DONE, Outcome.REFUSED):
                self.absence.wrote(operation.kind)
            return written
        except (BackendError, StoreUnavailable, Refused) as error:
            self._postponed(operation, error)
            return Written.not_sent(str(error))
        except Exception as error:
            # A defect on our side: whether the call went out cannot be told from here.
            log.exception("delivery_failed", operation=operation.id, reason=type(error).__name__)
            return Written.unknown("a defect of the adapter; see the log")

    async def _was_done_before(self, operation: Operation, refused: Written) -> Written:
        """What an attempt that was in doubt came to, late, where the next one is refused because of it."""
        if self.programme.reconciliation[operation.kind] is not Reconciliation.PROBE:
            return refused
        try:
            found = await self._look_up(operation, Deadline.after(self.settings.call_timeout))
        except (BackendError, StoreUnavailable) as error:
            return Written.unknown(str(error))
        return found if found.outcome is Outcome.DONE else refused

    async def _should_tell(self, operation: Operation) -> bool:
        """Whether this CRM has shown that it can tell what it has; of a sale left to its rules it need
        not."""
        proof = (await self.proofs.of(operation.kind)).proof
        return proof is Proof.PROVED and operation.request.get("points") is not None

    def _asks_first(self, operation: Operation) -> bool:
        """Whether the CRM is asked before it is sent: only a receipt's reference may be known there
        already."""
        return (
            self.settings.ask_before_sending
            and operation.kind is OperationKind.RECEIPT
            and self.programme.reconciliation[operation.kind] is Reconciliation.PROBE
        )

    def _postponed(self, operation: Operation, error: Exception, event: str = "delivery_postponed") -> None:
        """Say why; the sentence is ours or the driver's, and quotes nothing."""
        reason = type(error).__name__
        log.warning(event, operation=operation.id, kind=operation.kind, reason=reason, why=str(error))
        self.explain(operation.kind, "postponed", reason)

    # -- ending ----------------------------------------------------------------------------------------

    async def _conclude(
        self, operation: Operation, written: Written, step: Literal["sent", "reconciled"]
    ) -> None:
        try:
            if written.outcome is Outcome.NOT_SENT:
                await self._not_sent(operation, written)
            elif written.refusal is Refusal.KEY_TAKEN:
                await self._hold(operation, CONFLICT, written.reason)
            elif written.outcome is not Outcome.UNKNOWN:
                await self._end(operation, written, step)
            elif step == "sent":
                await self._unknown(operation, written.reason)
            else:
                await self._hold(operation, IN_DOUBT, written.reason)
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

    async def _end(self, operation: Operation, written: Written, step: Literal["sent", "reconciled"]) -> None:
        """Write down what the CRM said. While the database is away the answer is only known here."""
        done = written.outcome is Outcome.DONE
        done_at = time.monotonic()
        ended = None
        state = OperationState.DONE if done else OperationState.REFUSED
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            wait=tenacity.wait_random_exponential(0.05, max=1),
            stop=tenacity.stop_after_delay(self.settings.call_timeout),
            reraise=True,
        ):
            with attempt:
                if done and operation.kind is OperationKind.RECEIPT:
                    await receipt_credited(self.programme, operation)
                ended = await self.operations.end(
                    operation,
                    OperationState.DOUBLED if written.entries else state,
                    code=None if done else refusal_code(operation.kind, written.refusal),
                    points=_credible(operation, written),
                    crm_reference=_storable(", ".join(written.entries) or written.crm_reference),
                    message=_storable(written.message),
                    reason=DONE_TWICE if written.entries else None,
                    nobody=written.refusal is Refusal.NO_SUCH_CUSTOMER,
                    detail=written.reason,
                )
        if written.entries and ended is not None:
            self._say_doubled(operation, written)
        if done and step == "sent" and ended is not None and await self._looks_for_it(operation, done_at):
            return
        await self._release(operation, moved=done)

    async def _looks_for_it(self, operation: Operation, done_at: float) -> bool:
        """Have the operation that is done looked for, if it is one of those; it keeps its account
        meanwhile."""
        kind = operation.kind
        if kind not in kinds_looked_for(self.programme):
            return False
        # Sent again after a doubt: should the first have been done as well, late, then that is seen.
        again = operation.doubted and self._compares(operation)
        if operation.doubted and not again:
            self.proofs.watch(operation, await self.proofs.patience(kind))
        if not await self.proofs.is_due(kind) and not again:
            return False
        keep = functools.partial(self.operations.release, operation)
        self.proofs.look_for(
            operation,
            done_at,
            lambda: self._release(operation, moved=True),
            keep=keep if self._compares(operation) else None,
            not_before=await self.proofs.patience(kind) if again else 0.0,
        )
        return True

    async def _see_whether_doubled(self, operation: Operation, found: Written) -> None:
        """An operation that is done was looked for: is it there once?"""
        if found.entries and await self.operations.found_twice(operation, found.entries):
            self._say_doubled(operation, found)

    def _say_doubled(self, operation: Operation, written: Written) -> None:
        log.error(
            "done_twice_in_the_crm",
            operation=operation.id,
            kind=operation.kind,
            entries=len(written.entries),
        )

    async def _not_sent(self, operation: Operation, written: Written) -> None:
        if self._is_late(operation):
            await self._hold_unsent(operation, written.reason)
        elif await self.operations.again(operation, written.reason):
            await self._release(operation)
            raise Later(self._pause(operation.attempt))

    async def _unknown(
        self, operation: Operation, detail: str | None = None, *, abandoned: bool = False
    ) -> None:
        """In doubt from now on. ``abandoned``: by a process that is gone, so it was not our own last try."""
        await self.operations.end(operation, OperationState.UNKNOWN, detail=detail)
        how = self.programme.reconciliation[operation.kind]
        tried_for_long = self._is_late(operation) and not abandoned
        if how is Reconciliation.MANUAL or (how is Reconciliation.KEY and tried_for_long):
            await self._hold(operation, IN_DOUBT, detail)
        elif how is Reconciliation.KEY:
            raise Later(self._pause(operation.attempt))
        else:
            raise Later(timedelta(seconds=await self.proofs.patience(operation.kind)))

    def _is_late(self, operation: Operation) -> bool:
        return operation.age > timedelta(seconds=self.settings.give_up_after)

    async def _hold_unsent(self, operation: Operation, detail: str | None = None) -> None:
        await self._hold(operation, IN_DOUBT_ONCE if operation.doubted else CERTAINLY_NOT_SENT, detail)

    async def _hold(self, operation: Operation, reason: str, detail: str | None = None) -> None:
        held = await self.operations.end(operation, OperationState.HELD, reason=reason, detail=detail)
        await self._release(operation, moved=reason != CERTAINLY_NOT_SENT)
        if held is not None:
            self.explain(operation.kind, "held", reason)
            log.error(
                "held_for_a_person",
                operation=operation.id,
                kind=operation.kind,
                reason=reason,
                **({} if detail is None else {"why": detail}),
            )

    def _pause(self, attempt: int) -> timedelta:
        """Exponential with full-range jitter, up to the ceiling."""
        longest = min(self.settings.retry_ceiling, self.settings.retry_first * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - no secret


def _storable(text: str | None) -> str | None:
    """What a CRM has said, as a database and a wallet can hold it: no control characters, not too long."""
    return None if text is None else one_line(text.encode("utf-8", "replace").decode())[:_LONGEST]


def _credible(operation: Operation, written: Written) -> Decimal | None:
    """The points that the CRM says it credited; what cannot be, a negative number, is what was asked for."""
    points = written.points
    if points is None or points >= 0:
        return points
    log.warning("odd_points", operation=operation.id, kind=operation.kind)
    asked = operation.request.get("points")
    return None if asked is None else Decimal(asked)
