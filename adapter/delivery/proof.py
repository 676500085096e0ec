"""Looks up what the CRM has confirmed: "not found" counts only after it has found writes that are there.

A write that is not found may be sent again only if this CRM has shown that it finds our writes, and how soon.
So some of what it has confirmed is looked for as if it were in doubt: the first ones, then one in a hundred,
and at least one an hour while there is traffic. What is learnt is kept in the store, for all processes. It
may not know any driver, nor what is done with a doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog
import tenacity

from adapter import background
from adapter.loyalty.model import Operation, OperationKind
from adapter.loyalty.ports import Proof, StoreUnavailable, Visibility, VisibilityBook
from adapter.settings import Delivery
from crm_backends.ports import BackendError, Deadline, Outcome, Written

log = structlog.get_logger("delivery")

TIMES_WORST = 3
"""A doubt waits for so many times the longest time it ever took the CRM to show something."""
_FIRST = 10
"""So many of the first are looked for, each of them."""
_ONE_IN = 100
_AT_LEAST_EVERY = 3600.0  # seconds, while there is traffic
_AT_ONCE = 4
"""Looked for at the same time, per process."""
_MOST_WATCHED = 200
"""Operations that were sent again and may turn out to be doubled, per process."""
_FRESH = 2.0  # seconds for which what the store says is believed
_WATCHING = "watch_for_doubles"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds between two looks for the same

Ask = Callable[[Operation, Deadline], Awaitable[Written]]
"""Look for an operation in the CRM. Raises ``BackendError`` or ``StoreUnavailable``."""
Found = Callable[[Operation, Written], Awaitable[None]]
"""Is told what was found of an operation that is done."""


@dataclass(slots=True, repr=False)
class Proofs:
    """What the CRMs have shown, and the looking for more."""

    book: VisibilityBook
    settings: Delivery
    ask: Ask
    found: Found
    _known: Mapping[OperationKind, Visibility] = field(default_factory=dict)
    _known_at: float = float("-inf")
    _confirmed: Counter[OperationKind] = field(default_factory=Counter)
    """Operations confirmed since one was looked for."""
    _confirmations_until_next_look: dict[OperationKind, int] = field(default_factory=dict)
    """So many have to be confirmed until the next is looked for: a hundred for each look that the last one
    took."""
    _looked_at: dict[OperationKind, float] = field(default_factory=dict)
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _watched: set[asyncio.Task[None]] = field(default_factory=set)
    _missing: dict[int, tuple[OperationKind, float]] = field(default_factory=dict)
    """Operations that were looked for and not found yet, and since when they are done."""

    async def of(self, kind: OperationKind) -> Visibility:
        """What the CRM of this kind has shown. Raises ``StoreUnavailable``."""
        if time.monotonic() - self._known_at > _FRESH:
            await self._read()
        return self._known.get(kind, Visibility())

    async def _read(self) -> None:
        asked = time.monotonic()
        known = await self.book.known()
        for kind, visibility in known.items():
            self._say_what_changed(kind, self._known.get(kind, Visibility()), visibility)
        self._known, self._known_at = known, asked

    def _say_what_changed(self, kind: OperationKind, before: Visibility, now: Visibility) -> None:
        if self._known_at == float("-inf") or before.proof is now.proof:
            return
        say = log.error if now.proof is Proof.REFUTED else log.info
        say(
            "crm_visibility_changed",
            kind=kind,
            before=before.proof,
            now=now.proof,
            worst_seconds=round(now.worst_seconds, 3),
        )

    async def patience(self, kind: OperationKind) -> float:
        """Seconds that a doubt of this kind waits before it is looked for; not found, it must stay missing
        for as long again while the CRM answers."""
        worst = (await self.of(kind)).worst_seconds
        now = time.monotonic()
        missing = (now - since for its_kind, since in self._missing.values() if its_kind is kind)
        return max(self.settings.reconcile_after, TIMES_WORST * max(worst, *missing, 0.0))

    async def is_due(self, kind: OperationKind) -> bool:
        """Whether the operation that was just confirmed is one to be looked for."""
        self._confirmed[kind] += 1
        visibility = await self.of(kind)
        if len(self._running) >= _AT_ONCE or visibility.proof is Proof.REFUTED:
            return False
        if visibility.found < _FIRST:
            return True
        now = time.monotonic()
        if kind not in self._looked_at:
            self._looked_at[kind] = now  # another process may have looked for one just now
        waited = now - self._looked_at[kind]
        if (
            self._confirmed[kind] < self._confirmations_until_next_look.get(kind, _ONE_IN)
            and waited < _AT_LEAST_EVERY
        ):
            return False
        self._confirmed[kind], self._looked_at[kind] = 0, now
        return True

    def look_for(
        self,
        operation: Operation,
        since: float,
        afterwards: Callable[[], Awaitable[None]] | None = None,
        *,
        keep: Callable[[float], Awaitable[bool]] | None = None,
        not_before: float = 0.0,
    ) -> None:
        """Look, in the background, for an operation that the CRM confirmed at ``since`` (monotonic seconds).

        ``afterwards`` is done in any case. ``keep`` is told again and again for how many seconds more the
        balance may not show it; should this process be gone, those pass. It tells whether the account was
        the operation's alone until now. ``not_before``: seconds to wait before the first look.
        """

        async def looking() -> None:
            try:
                await self._look_for(operation, since, keep, not_before)
            except StoreUnavailable:
                pass  # what was learnt is lost; there will be others
            except Exception as error:
                log.exception("looking_failed", operation=operation.id, reason=type(error).__name__)
            finally:
                self._missing.pop(operation.id, None)
                if afterwards is not None:
                    with contextlib.suppress(StoreUnavailable):
                        await afterwards()

        task = background.start(looking(), "proof")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def watch(self, operation: Operation, pause: float) -> None:
        """See whether an operation that was sent again after a doubt is there twice after all.

        Looked for after ``pause`` seconds and ever more rarely: the first call may be finished at any time.
        """
        if len(self._watched) >= _MOST_WATCHED:
            return

        async def watching() -> None:
            wait, until = pause, time.monotonic() + self.settings.proof_patience
            while time.monotonic() < until:
                await asyncio.sleep(wait)
                wait *= TIMES_WORST
                with background.survived(_WATCHING), contextlib.suppress(BackendError, StoreUnavailable):
                    found = await self.ask(operation, Deadline.after(self.settings.call_timeout))
                    await self.found(operation, found)
                    if found.entries:
                        return

        task = background.start(watching(), _WATCHING)
        self._watched.add(task)
        task.add_done_callback(self._watched.discard)

    async def _look_for(
        self,
        operation: Operation,
        since: float,
        keep: Callable[[float], Awaitable[bool]] | None,
        not_before: float,
    ) -> None:
        kind = operation.kind
        expected = (await self.of(kind)).worst_seconds
        pause = max(expected, not_before)
        looks, seconds = 0, 0.0
        while True:
            if not await self._keep(keep, kind, pause):
                break
            # This process may be stopped for hours, or wait for its own database; that is not how late the
            # CRM is.
            at_most = seconds + pause + self.settings.call_timeout
            await asyncio.sleep(pause)
            try:
                written = await self.ask(operation, Deadline.after(self.settings.call_timeout))
            except BackendError:
                # That it does not answer says nothing of how soon it shows what it has done.
                since, pause, seconds = time.monotonic(), _LONGEST_PAUSE / 10, 0.0
                continue
            if not await self._keep(keep, kind, pause):
                break  # others may have had the account meanwhile, and what was seen may be theirs
            looks += 1
            seconds = min(time.monotonic() - since, at_most)
            if written.outcome is Outcome.DONE:
                # Found at the first look, which is made when it is expected: it was not late.
                took = expected if looks == 1 else seconds
                await self._learn(await self.book.found(kind, took), kind)
                await self.found(operation, written)
                break
            if written.outcome is Outcome.REFUSED:
                break
            if written.outcome is Outcome.UNKNOWN:
                # It is not missing, but what is there does not tell whose it is. Nothing is sent again for
                # such an answer, so nobody has to wait longer because of it.
                self._missing.pop(operation.id, None)
                if seconds > await self._longest_wait_to_be_told(kind):
                    break
            elif seconds > self.settings.proof_patience:
                await self._learn(await self.book.not_found(kind), kind)
                break
            else:
                self._missing[operation.id] = kind, since
                # Others may have doubts as well, and must not take for absent what is only late.
                await self._learn(await self.book.missing(kind, seconds), kind)
            pause = min(max(_FIRST_PAUSE, seconds / 2), _LONGEST_PAUSE)
        self._confirmations_until_next_look[kind] = _ONE_IN * max(1, looks)

    async def _longest_wait_to_be_told(self, kind: OperationKind) -> float:
        """Seconds for which an operation is looked for that the CRM neither shows nor misses; meanwhile it
        may keep its account from others."""
        proved = (await self.of(kind)).proof is Proof.PROVED
        return await self.patience(kind) if proved else self.settings.proof_patience

    async def _keep(
        self, keep: Callable[[float], Awaitable[bool]] | None, kind: OperationKind, pause: float
    ) -> bool:
        """Keep the account while it is looked at; whether it was the operation's alone until now.

        Raises ``StoreUnavailable``.
        """
        if keep is None:
            return True
        seconds = max(pause + 2 * self.settings.call_timeout, await self.patience(kind))
        patiently = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            wait=tenacity.wait_fixed(_FIRST_PAUSE),
            stop=tenacity.stop_after_delay(self.settings.proof_patience),
            reraise=True,
        )
        return await patiently(keep, seconds)

    async def _learn(self, now: Visibility, kind: OperationKind) -> None:
        self._say_what_changed(kind, self._known.get(kind, Visibility()), now)
        self._known = {**self._known, kind: now}

    async def found_late(self, kind: OperationKind, seconds: float) -> None:
        """A doubt that was not found at first is there now: the CRM was late by ``seconds``.

        0: it was missing at a single look, and nothing tells for how long; then it is found, and not late.
        """
        await self._learn(await self.book.found(kind, seconds), kind)
        if late := round(seconds, 1):
            log.warning("crm_was_late", kind=kind, seconds=late)

    async def close(self) -> None:
        """Stop looking; what is not known by now others will find out."""
        tasks = self._running | self._watched
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
