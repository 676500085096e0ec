"""The points part of ``check --writes``: credits that go in one by one, at once and again, and what they did.

It may not know how people are made.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from adapter.api.answers import points_text
from adapter.bootstrap import Service
from adapter.loyalty.model import OperationKind
from crm_backends.comparing import balance_to_compare
from crm_backends.model import Balance, Credit, FiscalReceipt, Holder
from crm_backends.ports import (
    Deadline,
    Outcome,
    Points,
    ReconcilesCredit,
    Reconciliation,
    Refusal,
    Written,
)

PATIENCE = 30.0
_SHOWS_AFTER = 20.0
"""Seconds in which a balance shows what was done."""
AT_ONCE = 4
_POINTS = Decimal(1)

MADE_THERE = "if people are made in the CRM alone, name one who has a card: check --writes --phone NUMBER"
LOOK = "the CRM's own log, and the page of the driver, say what it wants"


def _total_kopecks(service: Service) -> int:
    """Total of a made-up receipt; where the CRM computes the points, most rules give some for it."""
    return 100 if service.settings.receipts.points_by == "rule" else 100_000


def receipt_total(service: Service) -> str:
    """Total of a made-up receipt, for people."""
    return "1.00 rouble" if _total_kopecks(service) == 100 else f"{_total_kopecks(service) // 100}.00 roubles"


def told(what: str, written: Written) -> str:
    """How a write ended, after what was tried."""
    why = f" ({written.refusal})" if written.refusal is not None else ""
    reason = f": {written.reason}" if written.reason else ""
    return f"{what}: told as {written.outcome}{why}{reason}"


def remedy(service: Service, port: str, in_sql: str) -> str:
    """What to do about a wrong write of this port; ``in_sql``: in the SQL files of the PostgreSQL driver."""
    return in_sql if getattr(service.by_port[port], "name", "") == "postgres" else LOOK


class Tell(Protocol):
    """Takes one finding."""

    def __call__(
        self, what: str, detail: str, remedy: str = "", *, ok: bool = True, warning: bool = False
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Credits:
    """Credits of one person."""

    service: Service
    tell: Tell
    made_up: bool
    """Whether the person is one of ``check``'s own."""

    async def run(self, holder: Holder) -> None:
        """Credit this person, and tell what came of it."""
        programme = self.service.programme
        points = programme.points
        if points is None:
            return
        account: str | None = holder.users_reference
        if "points" not in programme.same_customer_id:
            account = await points.points_account(holder, deadline=Deadline.after(PATIENCE))
        if account is None:
            self.tell(
                "credit",
                "the points CRM knows no account of this person",
                MADE_THERE if self.made_up else "check --phone says more",
                ok=False,
            )
            return
        ledger = _Ledger(self.service, points, account)
        await ledger.open()
        credit, key = self._credit(), self.service.programme.new_key(OperationKind.RECEIPT)
        written = await ledger.credit(credit, key)
        if written.outcome is not Outcome.DONE:
            self.tell("credit", told("is not done", written), LOOK, ok=False)
            return
        if not await self._is_what_was_asked(ledger, credit, written):
            return  # whatever follows would only repeat it
        if programme.reconciliation[OperationKind.RECEIPT] is Reconciliation.KEY:
            if worth := credit.points or written.points:
                await self._one_effect(ledger, credit, key, worth)
        else:
            await self._looked_up(ledger, account, credit, key)

    async def _is_what_was_asked(self, ledger: _Ledger, credit: Credit, written: Written) -> bool:
        """Whether the CRM put on the account what it was asked for, or by its own rule, and says so."""
        expected = credit.points if credit.points is not None else written.points
        if expected is None:
            self.tell("credit", "done, but it is not said how many points it gave", LOOK, ok=False)
            return False
        rose = await ledger.rose(expected)
        if rose is None and not expected:
            self.tell(
                "credit",
                f"done; the CRM's rule gives no points for {receipt_total(self.service)}: none to count",
                "nothing, if that is the rule of your programme; else mend it in the CRM",
                warning=True,
            )
            return True
        said = written.points if credit.points is not None else None
        if rose is None and said in (None, credit.points):
            self.tell("credit", f"done, and seen in the balance after {ledger.seconds:.1f} s")
            return True
        says = (
            f"it says that it credited {points_text(said)} of {points_text(credit.points)} points asked for"
            if said is not None and credit.points is not None and said != credit.points
            else ""
        )
        self.tell(
            "credit",
            f"done, but {' and '.join(filter(None, (says, rose)))}",
            self._remedy(
                "points_credit: put just :points on the account, and return AS points what was put there"
            ),
            ok=False,
        )
        return False

    async def _one_effect(self, ledger: _Ledger, credit: Credit, key: str, worth: Decimal) -> None:
        """The promise of a CRM that honours our key: the adapter sends a doubtful credit again."""
        again = await ledger.credit(credit, key)
        await self._held(ledger, "the same again", again, Outcome.DONE)
        other = self.service.programme.new_key(OperationKind.RECEIPT)
        written = await asyncio.gather(*(ledger.credit(self._credit(), other) for _ in range(AT_ONCE)))
        done = sum(one.outcome is Outcome.DONE for one in written)
        rose = await ledger.rose(worth)
        self.tell(
            "credit",
            f"{AT_ONCE} at once under one key take effect once ({done} told as done)"
            if rose is None
            else f"{AT_ONCE} at once under one key: {rose}",
            self._remedy("points_credit: a unique index on :idempotency_key, with ON CONFLICT … DO UPDATE"),
            ok=rose is None,
        )
        if credit.points is not None:
            more = Credit(credit.points + 1, credit.description, credit.receipt)
            await self._held(
                ledger,
                "the same key with another amount",
                await ledger.credit(more, key),
                Outcome.REFUSED,
            )

    async def _held(self, ledger: _Ledger, what: str, written: Written, wanted: Outcome) -> None:
        """Whether it ended as it should, and took no effect."""
        rose = await ledger.rose(Decimal(0))
        good = written.outcome is wanted and rose is None
        if wanted is Outcome.REFUSED:
            good = good and written.refusal is Refusal.KEY_TAKEN
        ends = (
            "is told as done, with no second effect"
            if wanted is Outcome.DONE
            else "is a conflict, and changes nothing"
        )
        in_sql = (
            "points_credit: what is there under :idempotency_key comes back, unchanged"
            if wanted is Outcome.DONE
            else "points_credit: compare account and points of what is there; 'key_taken' AS outcome"
        )
        detail = f"{what} {ends}" if good else f"{told(what, written)}{f', and {rose}' if rose else ''}"
        self.tell("credit", detail, self._remedy(in_sql), ok=good)

    async def _looked_up(self, ledger: _Ledger, account: str, credit: Credit, key: str) -> None:
        """A CRM that is looked into after a doubt has to show what it was given."""
        points = self.service.programme.points
        if points is None or not isinstance(points, ReconcilesCredit):
            self.tell("credit", "this driver cannot look a credit up: a doubt is held for a person")
            return
        began, found = time.monotonic(), Written.unknown()
        while time.monotonic() - began < _SHOWS_AFTER:
            found = await points.reconcile_credit(
                account,
                credit,
                idempotency_key=key,
                since=ledger.since,
                before=ledger.before,
                deadline=Deadline.after(PATIENCE),
            )
            if found.outcome is Outcome.DONE:
                seconds = time.monotonic() - began
                self.tell("credit", f"is found again by its key after {seconds:.1f} s")
                return
            await asyncio.sleep(1)
        self.tell(
            "credit",
            told(f"is not found again within {_SHOWS_AFTER:.0f} s", found),
            "ask the vendor how soon the history shows a credit, and whether it keeps our key as it is",
            ok=False,
        )

    def _remedy(self, in_sql: str) -> str:
        return remedy(self.service, "points", in_sql)

    def _credit(self) -> Credit:
        now = self.service.programme.now()
        number = f"{secrets.randbelow(10**9):09d}"
        receipt = FiscalReceipt(
            fiscal_drive="9999" + secrets.token_hex(8).translate(str.maketrans("abcdef", "012345"))[:12],
            document=number.lstrip("0") or "1",
            sign=str(secrets.randbelow(10**9) + 1),
            total_kopecks=_total_kopecks(self.service),
            issued_at=now - timedelta(minutes=5),
            calculation_type=1,
        )
        by_rule = self.service.settings.receipts.points_by == "rule"
        return Credit(_POINTS if by_rule else None, "koshelek-adapter check", receipt)


class _Ledger:
    """The balance of one account, as the CRM tells it."""

    def __init__(self, service: Service, points: Points, account: str) -> None:
        self._points = points
        self._account = account
        self.since = service.programme.now()
        self.before: Balance | None = None
        self.seconds = 0.0
        self._total = Decimal(0)

    async def open(self) -> None:
        self.before = await self._balance()
        self._total = self.before.total

    async def credit(self, credit: Credit, idempotency_key: str) -> Written:
        return await self._points.credit(
            self._account, credit, idempotency_key=idempotency_key, deadline=Deadline.after(PATIENCE)
        )

    async def _balance(self) -> Balance:
        return await balance_to_compare(self._points, self._account, Deadline.after(PATIENCE))

    async def rose(self, by: Decimal) -> str | None:
        """``None``: the balance rose by just that since the last look; else what it did."""
        began = time.monotonic()
        patience = _SHOWS_AFTER if by else 1.0
        while True:
            total = (await self._balance()).total
            change = total - self._total
            self.seconds = time.monotonic() - began
            if (by and change == by) or self.seconds > patience or change > by:
                break
            await asyncio.sleep(0.25)
        self._total = total
        return (
            None
            if change == by
            else f"the balance changed by {points_text(change)} instead of {points_text(by)}"
        )
