"""A points CRM at the port: its answers are written beforehand, and it knows what it has done.

For tests of what the adapter makes of each answer. It may not know the adapter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from crm_backends.model import Balance, Credit, Holder, PointsEntry
from crm_backends.ports import BackendError, BackendUnavailable, Deadline, Outcome, Reconciliation, Written


@dataclass(frozen=True, slots=True)
class Reply:
    """What becomes of one credit: whether the CRM does it, and what the adapter gets to hear."""

    does: bool
    says: Written | BaseException | None = None
    """An exception is raised; ``None``: done, with the points that were asked for."""

    @property
    def leaves_doubt(self) -> bool:
        """Whether who hears it does not know whether the credit was done."""
        if isinstance(self.says, Written):
            return self.says.outcome is Outcome.UNKNOWN
        return self.says is not None and not isinstance(self.says, BackendError)


DONE = Reply(True)
LOST_BEFORE = Reply(False, Written.unknown())
"""The request is lost: nothing is done, and nobody is told."""
LOST_AFTER = Reply(True, Written.unknown())
"""The CRM does the work, and its answer is lost."""
NOT_SENT = Reply(False, Written.not_sent())
AWAY = Reply(False, BackendUnavailable("away"))


class Effect(NamedTuple):
    """A credit that was done."""

    account: str
    key: str
    points: Decimal


class ScriptedCrm:
    """Replies come one after another from ``script``, then always ``usual``.

    A look-up tells what was done, by the key or, where a balance is given, by what the account has grown
    by; where the credit is in doubt, the answers in ``look_ups`` come first. Rated KEY it does nothing twice
    under a key, and what it has done it does not refuse. Keys that came beyond the script are ``unforeseen``.
    """

    def __init__(
        self,
        script: Iterable[Reply] = (),
        *,
        usual: Reply | None = None,
        look_ups: Iterable[Written | Exception] = (),
        rated: Reconciliation = Reconciliation.PROBE,
    ) -> None:
        self.script = deque(script)
        self.usual = usual
        self.look_ups = deque(look_ups)
        self.reconciliation = rated
        self.pause = 0.0
        """Seconds before and after a credit is done."""
        self.effects: list[Effect] = []
        self.sent: list[str] = []
        """Keys, each time that one came."""
        self.looked = 0
        """How often it was asked what became of a credit."""
        self.befores: list[Balance | None] = []
        """Balances that came with the first look-up of each doubt that was answered."""
        self.at_once = self.most_at_once = 0
        self.unforeseen: list[str] = []
        self.tells_balance = self.answers_look_ups = True
        """Otherwise it does not answer such questions."""
        self.shows = True
        """Whether balances and look-ups show what is done."""
        self.while_looked: Callable[[], Awaitable[object]] | None = None
        """Happens during every look-up."""
        self._in_doubt: set[str] = set()

    def times(self, key: str) -> int:
        """How often the credit with this key was done."""
        return self.credited.count(key)

    @property
    def credited(self) -> list[str]:
        """Keys of what was done, in its order."""
        return [effect.key for effect in self.effects]

    def _total(self, account: str) -> Decimal:
        own = (effect.points for effect in self.effects if effect.account == account)
        return sum(own, Decimal(0)) if self.shows else Decimal(0)

    def _next(self, key: str) -> Reply:
        reply = self.script.popleft() if self.script else self.usual
        if reply is None:
            self.unforeseen.append(key)
            raise AssertionError("a credit that is not in the script")
        is_refusal = isinstance(reply.says, Written) and reply.says.outcome is Outcome.REFUSED
        knows = self.reconciliation is Reconciliation.KEY and key in self.credited
        return DONE if is_refusal and knows else reply

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        return f"account of {holder.card_number}"

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        await asyncio.sleep(0)
        if not self.tells_balance:
            raise BackendUnavailable("away")
        return Balance(self._total(account), self._total(account))

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        return ()

    async def purchases(self, account: str, **_: Any) -> Sequence[Any]:
        return ()

    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        assert credit.points is not None
        self.sent.append(idempotency_key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            reply = self._next(idempotency_key)
            await asyncio.sleep(self.pause)
            twice = self.reconciliation is Reconciliation.KEY and idempotency_key in self.credited
            if reply.does and not twice:
                self.effects.append(Effect(account, idempotency_key, credit.points))
            await asyncio.sleep(self.pause)
        finally:
            self.at_once -= 1
        (self._in_doubt.add if reply.leaves_doubt else self._in_doubt.discard)(idempotency_key)
        if isinstance(reply.says, BaseException):
            raise reply.says.with_traceback(None)
        return reply.says or Written.done(points=credit.points)

    async def reconcile_credit(
        self,
        account: str,
        credit: Credit,
        *,
        idempotency_key: str,
        since: datetime,
        before: Balance | None,
        deadline: Deadline,
    ) -> Written:
        assert credit.points is not None
        self.looked += 1
        if self.while_looked is not None:
            await self.while_looked()
        await asyncio.sleep(0)
        if not self.answers_look_ups:
            raise BackendUnavailable("away")
        if idempotency_key in self._in_doubt:
            answer = self.look_ups.popleft() if self.look_ups else None
            if isinstance(answer, Exception):
                raise answer
            self._in_doubt.remove(idempotency_key)
            self.befores.append(before)
            if answer is not None:
                return answer
        done, missing = Written.done(points=credit.points), Written.not_sent()
        if before is not None:
            grown = self._total(account) - before.total
            return done if grown == credit.points else missing if not grown else Written.unknown()
        if self.reconciliation is not Reconciliation.PROBE:
            return Written.unknown()
        return done if self.shows and idempotency_key in self.credited else missing
