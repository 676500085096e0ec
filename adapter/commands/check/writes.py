"""``check --writes`` on a test CRM: whether the CRM's side keeps the promise that a key counts once.

It registers made-up people, one after the other, at once, and with contents changed, and counts what took
effect; ``credits`` does the same with points. What is left behind is told beforehand.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from adapter.bootstrap import Service
from adapter.commands.check.credits import (
    AT_ONCE,
    LOOK,
    MADE_THERE,
    PATIENCE,
    Credits,
    receipt_total,
    remedy,
    told,
)
from adapter.loyalty.model import OperationKind
from crm_backends.inputs import read_phone
from crm_backends.model import Holder, Profile
from crm_backends.ports import BackendError, Deadline, Finding, NotSupported, Outcome

T = TypeVar("T")


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
        by_rule = service.settings.receipts.points_by == "rule"
        given = "up to four points" if by_rule else "the points of up to five purchases"
        lines.append(
            f"  gives {whom} {given} in {_name(points)}, for made-up receipts of {receipt_total(service)} "
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
            credits = Credits(self.service, self._tell, made_up=self.phone is None)
            await self._tried("credit", lambda: credits.run(people[0]))
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
                f"{MADE_THERE}; points are tried where the CRM tells a balance",
                warning=True,
            )
        except BackendError as error:
            reason, _, advice = str(error).partition("; ")
            self._tell(what, f"broken off: {reason}", advice or "see the lines about this CRM", ok=False)
        return None

    # -- people ----------------------------------------------------------------------------------------

    async def _people(self) -> list[Holder]:
        if self.phone is not None:
            return await self._existing(self.phone)
        users, deadline = self.service.programme.users, Deadline.after(PATIENCE)
        first, second, third = [await self._free_phone() for _ in range(3)]
        key = self._new_key(OperationKind.REGISTRATION)
        written = await users.register(Profile(phone=first), idempotency_key=key, deadline=deadline)
        if written.outcome is not Outcome.DONE or written.crm_reference is None:
            self._tell("registration", told("is not done", written), LOOK, ok=False)
            return []
        self._tell("registration", "a new customer is made")
        self._made.append(f"{first} ({written.crm_reference})")
        again = await users.register(
            Profile(phone=first), idempotency_key=key, deadline=Deadline.after(PATIENCE)
        )
        same = again.outcome is Outcome.DONE and again.crm_reference == written.crm_reference
        self._tell(
            "registration",
            "the same again gets the same customer" if same else told("the same again", again),
            self._remedy(
                "users_register: return the customer that is there under this :idempotency_key or phone"
            ),
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
                phone=phone, email=None, birth_date=None, deadline=Deadline.after(PATIENCE)
            )
        )
        if len(found) != 1:
            self._tell("person", f"{len(found)} customers have this phone", "name one person's", ok=False)
            return []
        return [Holder(found[0].card_number or "0", found[0].customer_id, found[0].profile)]

    async def _other_contents(self, key: str, phone: str, first: str) -> None:
        """Register another person under a key that the CRM knows, as may happen after a restored database."""
        written = await self.service.programme.users.register(
            Profile(phone=phone), idempotency_key=key, deadline=Deadline.after(PATIENCE)
        )
        if written.outcome is Outcome.DONE and written.crm_reference == first:
            self._tell(
                "registration",
                "a known key with another phone gets the FIRST person's customer: a stranger's data",
                self._remedy(
                    "users_register: compare the phone of who is under :idempotency_key, else 'key_taken'"
                ),
                ok=False,
            )
        elif written.outcome is Outcome.REFUSED:
            self._tell("registration", "a known key with another phone is refused")
        else:
            if written.crm_reference is not None:
                self._made.append(f"{phone} ({written.crm_reference})")
            self._tell(
                "registration",
                told("a known key with another phone", written),
                "better refused: then two databases that use one key are noticed",
                warning=True,
            )

    async def _at_once(self, phone: str) -> None:
        """Register one person by several calls at once, as the adapter may after a lost connection."""
        users = self.service.programme.users
        key = self._new_key(OperationKind.REGISTRATION)
        written = await asyncio.gather(
            *(
                users.register(Profile(phone=phone), idempotency_key=key, deadline=Deadline.after(PATIENCE))
                for _ in range(AT_ONCE)
            )
        )
        made = {one.crm_reference for one in written if one.outcome is Outcome.DONE}
        self._made.extend(f"{phone} ({customer})" for customer in sorted(filter(None, made)))
        found = await users.find(phone=phone, email=None, birth_date=None, deadline=Deadline.after(PATIENCE))
        good = len(made) == 1 and len(found) == 1
        self._tell(
            "registration",
            f"{AT_ONCE} at once make one customer"
            if good
            else f"{AT_ONCE} at once: {len(made)} customers were told, {len(found)} have the phone",
            self._remedy("a unique index on phone or key, with ON CONFLICT … DO UPDATE"),
            ok=good,
        )

    async def _free_phone(self) -> str:
        """A made-up phone that nobody has."""
        while True:
            phone = f"+7900000{secrets.randbelow(10_000):04d}"
            found = await self.service.programme.users.find(
                phone=phone, email=None, birth_date=None, deadline=Deadline.after(PATIENCE)
            )
            if not found:
                return phone

    def _remedy(self, in_sql: str) -> str:
        return remedy(self.service, "users", in_sql)

    def _new_key(self, kind: OperationKind) -> str:
        return self.service.programme.new_key(kind)

    def _tell(
        self, what: str, detail: str, remedy: str = "", *, ok: bool = True, warning: bool = False
    ) -> None:
        self.findings.append(Finding(what, ok, detail, remedy, warning=warning and ok))
