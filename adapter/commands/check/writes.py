"""``check --writes`` on a test CRM: whether the CRM's side keeps the promise that a key counts once.

It registers made-up people and gives them points, one after the other, at once, and with contents changed,
and counts what took effect. What it leaves behind is told beforehand.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

from adapter.api.answers import points_text
from adapter.bootstrap import Service
from adapter.loyalty.model import OperationKind
from crm_backends.comparing import balance_to_compare
from crm_backends.inputs import read_phone
from crm_backends.model import Balance, Credit, FiscalReceipt, Holder, Profile
from crm_backends.ports import (
    BackendError,
    Deadline,
    Finding,
    NotSupported,
    Outcome,
    Points,
    ReconcilesCredit,
    Reconciliation,
    Refusal,
    Written,
)

T = TypeVar("T")

_PATIENCE = 30.0
_SHOWS_AFTER = 20.0
"""Seconds in which a balance shows what was done."""
_AT_ONCE = 4
_POINTS = Decimal(1)


_MADE_THERE = "if people are made in the CRM alone, name one who has a card: check --writes --phone NUMBER"


def beforehand(service: Service, phone: str | None) -> list[str]:
    """What will be done and left behind, for a person to agree to."""
    users, points = service.by_port["users"], service.by_port["points"]
    lines = ["This writes into the CRM, and takes nothing back. Do it with a test CRM only. It"]
    if phone is None:
        lines.append(
            f"  registers up to three made-up people in {_name(users)} (phones +7 900 000-…, nothing else)"
        )
    if points is not None:
        whom = "them" if phone is None else "the person with this phone"
        lines.append(
            f"  gives {whom} up to four points in {_name(points)}, for made-up receipts of 1.00 rouble "
            "(fiscal drive 9999…)"
        )
    return lines


def _name(backend: object) -> str:
    return f"the CRM of the driver {getattr(backend, 'name', '?')}"


@dataclass(slots=True)
class Writes:
    """One run of ``check --writes``."""

    service: Service
    phone: str | None
    """Phone of an existing customer who gets the points; ``None``: people are made up."""
    findings: list[Finding] = field(default_factory=list)
    _made: list[str] = field(default_factory=list)
    """Made-up people who were registered: phone and how the CRM calls them."""

    async def run(self) -> list[Finding]:
        people = await self._tried("registration", self._people) or []
        if people and self.service.programme.points is not None:
            await self._tried("credit", lambda: self._credits(people))
        if self._made:
            self._tell("left behind", f"made-up people: {', '.join(self._made)}", "remove them in the CRM")
        return self.findings

    async def _tried(self, what: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """The result of one part; ``None``: an error ended it, and a finding says which."""
        try:
            return await work()
        except NotSupported as error:
            self._tell(
                what,
                f"not tried: this CRM does not do it ({error})",
                f"{_MADE_THERE}; points are tried where the CRM tells a balance",
                warning=True,
            )
        except BackendError as error:
            reason, _, remedy = str(error).partition("; ")
            self._tell(what, f"broken off: {reason}", remedy or "see the lines about this CRM", ok=False)
        return None

    # -- people ----------------------------------------------------------------------------------------

    async def _people(self) -> list[Holder]:
        if self.phone is not None:
            return await self._existing(self.phone)
        users, deadline = self.service.programme.users, Deadline.after(_PATIENCE)
        first, second, third = [await self._free_phone() for _ in range(3)]
        key = self._new_key(OperationKind.REGISTRATION)
        written = await users.register(Profile(phone=first), idempotency_key=key, deadline=deadline)
        if written.outcome is not Outcome.DONE or written.crm_reference is None:
            self._tell("registration", _told("is not done", written), _LOOK, ok=False)
            return []
        self._tell("registration", "a new customer is made")
        self._made.append(f"{first} ({written.crm_reference})")
        again = await users.register(
            Profile(phone=first), idempotency_key=key, deadline=Deadline.after(_PATIENCE)
        )
        same = again.outcome is Outcome.DONE and again.crm_reference == written.crm_reference
        self._tell(
            "registration",
            "the same again gets the same customer" if same else _told("the same again", again),
            "users_register: return the customer that is there under this :idempotency_key or phone",
            ok=same,
        )
        await self._other_contents(key, second, written.crm_reference)
        await self._at_once(third)
        return [Holder("0", written.crm_reference, Profile(phone=first))]

    async def _existing(self, text: str) -> list[Holder]:
        phone = read_phone(text, self.service.settings.koshelek.region)
        found = (
            ()
            if phone is None
            else await self.service.programme.users.find(
                phone=phone, email=None, birth_date=None, deadline=Deadline.after(_PATIENCE)
            )
        )
        if len(found) != 1:
            self._tell("person", f"{len(found)} customers have this phone", "name one person's", ok=False)
            return []
        return [Holder(found[0].card_number or "0", found[0].customer_id, found[0].profile)]

    async def _other_contents(self, key: str, phone: str, first: str) -> None:
        """Register another person under a key that the CRM knows, as may happen after a restored database."""
        written = await self.service.programme.users.register(
            Profile(phone=phone), idempotency_key=key, deadline=Deadline.after(_PATIENCE)
        )
        if written.outcome is Outcome.DONE and written.crm_reference == first:
            self._tell(
                "registration",
                "a known key with another phone gets the FIRST person's customer: a stranger's data",
                "users_register: compare the phone of what is there under :idempotency_key, else 'key_taken'",
                ok=False,
            )
        elif written.outcome is Outcome.REFUSED:
            self._tell("registration", "a known key with another phone is refused")
        else:
            if written.crm_reference is not None:
                self._made.append(f"{phone} ({written.crm_reference})")
            self._tell(
                "registration",
                _told("a known key with another phone", written),
                "better refused: then two databases that use one key are noticed",
                warning=True,
            )

    async def _at_once(self, phone: str) -> None:
        """Register one person by several calls at once, as the adapter may after a lost connection."""
        users = self.service.programme.users
        key = self._new_key(OperationKind.REGISTRATION)
        written = await asyncio.gather(
            *(
                users.register(Profile(phone=phone), idempotency_key=key, deadline=Deadline.after(_PATIENCE))
                for _ in range(_AT_ONCE)
            )
        )
        made = {one.crm_reference for one in written if one.outcome is Outcome.DONE}
        self._made.extend(f"{phone} ({customer})" for customer in sorted(filter(None, made)))
        found = await users.find(phone=phone, email=None, birth_date=None, deadline=Deadline.after(_PATIENCE))
        good = len(made) == 1 and len(found) == 1
        self._tell(
            "registration",
            f"{_AT_ONCE} at once make one customer"
            if good
            else f"{_AT_ONCE} at once: {len(made)} customers were told, {len(found)} have the phone",
            "a unique index on phone or key, with ON CONFLICT … DO UPDATE",
            ok=good,
        )

    async def _free_phone(self) -> str:
        """A made-up phone that nobody has."""
        while True:
            phone = f"+7900000{secrets.randbelow(10_000):04d}"
            found = await self.service.programme.users.find(
                phone=phone, email=None, birth_date=None, deadline=Deadline.after(_PATIENCE)
            )
            if not found:
                return phone

    # -- points ----------------------------------------------------------------------------------------

    async def _credits(self, people: Sequence[Holder]) -> None:
        programme = self.service.programme
        points = programme.points
        if points is None:
            return
        account: str | None = people[0].users_reference
        if "points" not in programme.same_customer_id:
            account = await points.points_account(people[0], deadline=Deadline.after(_PATIENCE))
        if account is None:
            self._tell(
                "credit",
                "the points CRM knows no account of this person",
                "check --phone says more" if self.phone is not None else _MADE_THERE,
                ok=False,
            )
            return
        ledger = _Ledger(self.service, points, account)
        await ledger.open()
        credit, key = self._credit(), self._new_key(OperationKind.RECEIPT)
        written = await ledger.credit(credit, key)
        if written.outcome is not Outcome.DONE:
            self._tell("credit", _told("is not done", written), _LOOK, ok=False)
            return
        if not await self._is_what_was_asked(ledger, credit, written):
            return  # whatever follows would only repeat it
        if programme.reconciliation[OperationKind.RECEIPT] is Reconciliation.KEY:
            await self._one_effect(ledger, credit, key)
        else:
            await self._looked_up(ledger, account, credit, key)

    async def _is_what_was_asked(self, ledger: _Ledger, credit: Credit, written: Written) -> bool:
        """Whether the CRM put on the account what it was asked for, and says so."""
        expected = credit.points or written.points or _POINTS
        rose = await ledger.rose(expected)
        said = written.points if credit.points is not None else None
        if rose is None and said in (None, credit.points):
            self._tell("credit", f"done, and seen in the balance after {ledger.seconds:.1f} s")
            return True
        says = (
            f"it says that it credited {points_text(said)} of {points_text(credit.points)} points asked for"
            if said is not None and credit.points is not None and said != credit.points
            else ""
        )
        self._tell(
            "credit",
            f"done, but {' and '.join(filter(None, (says, rose)))}",
            "points_credit: put just :points on the account, and return AS points what was put there",
            ok=False,
        )
        return False

    async def _one_effect(self, ledger: _Ledger, credit: Credit, key: str) -> None:
        """The promise of a CRM that honours our key: the adapter sends a doubtful credit again."""
        again = await ledger.credit(credit, key)
        await self._held(ledger, "the same again", again, Outcome.DONE)
        other = self._new_key(OperationKind.RECEIPT)
        written = await asyncio.gather(*(ledger.credit(self._credit(), other) for _ in range(_AT_ONCE)))
        done = sum(one.outcome is Outcome.DONE for one in written)
        rose = await ledger.rose(_POINTS)
        self._tell(
            "credit",
            f"{_AT_ONCE} at once under one key take effect once ({done} told as done)"
            if rose is None
            else f"{_AT_ONCE} at once under one key: {rose}",
            "points_credit: a unique index on the column for :idempotency_key, and ON CONFLICT … DO UPDATE",
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
        remedy = (
            "points_credit: what is there under :idempotency_key comes back, unchanged"
            if wanted is Outcome.DONE
            else "points_credit: compare account and points of what is there; 'key_taken' AS outcome"
        )
        detail = f"{what} {ends}" if good else f"{_told(what, written)}{f', and {rose}' if rose else ''}"
        self._tell("credit", detail, remedy, ok=good)

    async def _looked_up(self, ledger: _Ledger, account: str, credit: Credit, key: str) -> None:
        """A CRM that is looked into after a doubt has to show what it was given."""
        points = self.service.programme.points
        if points is None or not isinstance(points, ReconcilesCredit):
            self._tell("credit", "this driver cannot look a credit up: a doubt is held for a person")
            return
        began, found = time.monotonic(), Written.unknown()
        while time.monotonic() - began < _SHOWS_AFTER:
            found = await points.reconcile_credit(
                account,
                credit,
                idempotency_key=key,
                since=ledger.since,
                before=ledger.before,
                deadline=Deadline.after(_PATIENCE),
            )
            if found.outcome is Outcome.DONE:
                seconds = time.monotonic() - began
                self._tell("credit", f"is found again by its key after {seconds:.1f} s")
                return
            await asyncio.sleep(1)
        self._tell(
            "credit",
            _told(f"is not found again within {_SHOWS_AFTER:.0f} s", found),
            "ask the vendor how soon the history shows a credit, and whether it keeps our key as it is",
            ok=False,
        )

    def _credit(self) -> Credit:
        now = self.service.programme.now()
        number = f"{secrets.randbelow(10**9):09d}"
        receipt = FiscalReceipt(
            fiscal_drive="9999" + secrets.token_hex(8).translate(str.maketrans("abcdef", "012345"))[:12],
            document=number.lstrip("0") or "1",
            sign=str(secrets.randbelow(10**9) + 1),
            total_kopecks=100,
            issued_at=now - timedelta(minutes=5),
            calculation_type=1,
        )
        by_rule = self.service.settings.receipts.points_by == "rule"
        return Credit(_POINTS if by_rule else None, "koshelek-adapter check", receipt)

    def _new_key(self, kind: OperationKind) -> str:
        return self.service.programme.new_key(kind)

    def _tell(
        self, what: str, detail: str, remedy: str = "", *, ok: bool = True, warning: bool = False
    ) -> None:
        self.findings.append(Finding(what, ok, detail, remedy, warning=warning and ok))


_LOOK = "the CRM's own log, and the page of the driver, say what it wants"


def _told(what: str, written: Written) -> str:
    why = f" ({written.refusal})" if written.refusal is not None else ""
    reason = f": {written.reason}" if written.reason else ""
    return f"{what}: told as {written.outcome}{why}{reason}"


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
            self._account, credit, idempotency_key=idempotency_key, deadline=Deadline.after(_PATIENCE)
        )

    async def _balance(self) -> Balance:
        return await balance_to_compare(self._points, self._account, Deadline.after(_PATIENCE))

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
        return None if change == by else f"the balance changed by {points_text(change)} instead of {by}"
