"""One call of an operation with what an example or ``connector try`` gives, and its result as plain JSON.

It may not know a connector's file, nor how anything is sent.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from crm_backends.connector.reading import Loaded
from crm_backends.connector.values import sendable
from crm_backends.connector.vocabulary import ACCOUNTS, RECEIPT, SHAPES
from crm_backends.model import ChannelConsents, Credit, FiscalReceipt, Holder, Profile
from crm_backends.ports import Deadline

ZONE = ZoneInfo("Europe/Moscow")
"""The zone in which examples are told."""
REGION = "RU"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
"""What examples have for ``since`` and ``now``."""


class UnfitInput(ValueError):
    """An operation cannot be asked like that; the message names the input, and no value."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation with what it is asked. Its members raise ``UnfitInput``."""

    asked: Mapping[str, Any]
    key: str
    deadline: Deadline
    since: datetime = SINCE
    """When the write was sent that is looked for."""

    def text(self, name: str) -> Any:
        return self.asked.get(name)

    @property
    def profile(self) -> Profile:
        given = {name: self.asked.get(name) for name in Profile.__dataclass_fields__}
        if given["birth_date"] is not None:
            given["birth_date"] = self.day("birth_date")
        return Profile(**given)

    @property
    def holder(self) -> Holder:
        return Holder(self.asked.get("card_number") or "", self.asked.get("customer") or "", self.profile)

    @property
    def credit(self) -> Credit:
        points = self.asked.get("points")
        receipt = self.asked.get("receipt")
        return Credit(
            points=None if points is None else _read("points", points, _amount),
            description=self.asked.get("description") or "Purchase",
            receipt=None if receipt is None else _receipt(receipt),
        )

    @property
    def consents(self) -> ChannelConsents:
        told = {
            name: _read(name, value, _yes_or_no)
            for name in ("sms", "email", "call", "push")
            if (value := self.asked.get(name)) is not None
        }
        allow = frozenset(name for name, value in told.items() if value)
        return ChannelConsents(allow, frozenset(told) - allow)  # type: ignore[arg-type]

    def day(self, name: str) -> date:
        return _read(name, self.asked.get(name), _day)

    @property
    def limit(self) -> int:
        return _read("limit", self.asked.get("limit") or 10, _whole)


def fit(operation: str, asked: Mapping[str, Any]) -> None:
    """See that an operation can be asked like that: the names are known, and those it needs are there.

    Raises ``UnfitInput``.
    """
    shape = SHAPES[operation]
    unknown = sorted(set(asked) - set(shape.asked))
    for name, inner in asked.items():
        if name in shape.members and isinstance(inner, Mapping):
            unknown += sorted(f"{name}.{one}" for one in set(inner) - set(shape.members[name]))
        elif name in shape.members:
            raise UnfitInput(f"input {name}: it has members: {', '.join(shape.members[name])}")
        elif isinstance(inner, Mapping) and name in shape.asked:
            unknown += sorted(f"{name}.{one}" for one in inner)
    if unknown:
        members = [f"{name}.{one}" for name, inner in shape.members.items() for one in inner]
        known = sorted([*(set(shape.asked) - set(shape.members)), *members])
        raise UnfitInput(
            f'{operation} is not asked by "{unknown[0]}", but by: {", ".join(known) or "nothing"}'
        )
    if operation == "users.find" and asked.get("phone") is None and asked.get("email") is None:
        raise UnfitInput("users.find needs the input phone or email")
    for name, text in shape.asked.items():
        if name in _NEEDED and operation not in ACCOUNTS and asked.get(name) is None:
            raise UnfitInput(f"{operation} needs the input {name}" + (f" ({text})" if text else ""))


def key_for(loaded: Loaded, given: str | None, otherwise: str) -> str:
    """The key of a write, as ``serve`` would make it: no longer than the CRM takes.

    Raises ``UnfitInput``: the given one is no such key.
    """
    most = loaded.model.key_length
    if given is not None and not re.fullmatch(f"[A-Z0-9]{{1,{most}}}", given):
        raise UnfitInput(f"a key of this connector has at most {most} capital letters and digits")
    return given or otherwise[:most]


_NEEDED = frozenset({"customer", "account", "number", "code", "occasion", "since", "until"})
"""Inputs without which no operation is asked, but that for an account."""
Read = TypeVar("Read")


def _read(name: str, value: Any, read: Callable[[str], Read]) -> Read:
    try:
        return read(str(value))
    except (ValueError, ArithmeticError, KeyError):
        raise UnfitInput(f"input {name}: {_WANTED[read]}") from None


def _amount(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError
    return amount


def _whole(text: str) -> int:
    return int(text)


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _yes_or_no(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_WANTED: Mapping[Callable[[str], Any], str] = {
    _amount: "a number is wanted, such as 12.50",
    _whole: "a whole number is wanted",
    _day: "a day is wanted, such as 2026-01-31",
    _moment: "a moment is wanted, such as 2026-01-31T12:00:00+03:00",
    _yes_or_no: "true or false is wanted",
}


def _receipt(told: Mapping[str, Any]) -> FiscalReceipt:
    values = {**dict.fromkeys(RECEIPT), **told}
    issued = str(values["issued_at"] or "2026-01-01T12:00:00+03:00")
    return FiscalReceipt(
        fiscal_drive=str(values["fiscal_drive"] or "8710000101125654"),
        document=str(values["document"] or "1"),
        sign=str(values["sign"] or "1"),
        total_kopecks=_read("receipt.total_kopecks", values["total_kopecks"] or 0, _whole),
        issued_at=_read("receipt.issued_at", issued, _moment),
        calculation_type=_read("receipt.calculation_type", values["calculation_type"] or 1, _whole),
    )


Make = Callable[[Any, Call], Awaitable[Any]]


async def _listed(backend: Any) -> list[Any]:
    return [one async for batch in backend.list_users() for one in batch]


CALLS: Mapping[str, Make] = {
    "users.find": lambda b, c: b.find(
        phone=c.text("phone"), email=c.text("email"), birth_date=c.profile.birth_date, deadline=c.deadline
    ),
    "users.get": lambda b, c: b.get(c.text("customer"), deadline=c.deadline),
    "users.register": lambda b, c: b.register(c.profile, idempotency_key=c.key, deadline=c.deadline),
    "users.update": lambda b, c: b.update(c.text("customer"), c.profile, deadline=c.deadline),
    "users.set_consents": lambda b, c: b.set_consents(c.text("customer"), c.consents, deadline=c.deadline),
    "users.list_phones": lambda b, c: _listed(b),
    "users.find_by_card": lambda b, c: b.find_by_card(c.text("number"), deadline=c.deadline),
    "users.set_card": lambda b, c: b.set_card(
        c.text("customer"),
        c.text("number"),
        c.text("barcode") or c.text("number"),
        c.text("barcode_type") or "EAN_13",
        replaces=c.text("replaces"),
        idempotency_key=c.key,
        deadline=c.deadline,
    ),
    "points.account": lambda b, c: b.points_account(c.holder, deadline=c.deadline),
    "points.balance": lambda b, c: b.balance(c.text("account"), deadline=c.deadline),
    "points.entries": lambda b, c: b.entries(c.text("account"), limit=c.limit, deadline=c.deadline),
    "points.purchases": lambda b, c: b.purchases(
        c.text("account"), since=c.day("since"), until=c.day("until"), deadline=c.deadline
    ),
    "points.credit": lambda b, c: b.credit(
        c.text("account"), c.credit, idempotency_key=c.key, deadline=c.deadline
    ),
    "coupons.account": lambda b, c: b.coupons_account(c.holder, deadline=c.deadline),
    "coupons.offers": lambda b, c: b.offers(c.text("account"), deadline=c.deadline),
    "coupons.issue": lambda b, c: b.issue(
        c.text("account"), c.text("occasion"), idempotency_key=c.key, deadline=c.deadline
    ),
    "coupons.redeem": lambda b, c: b.redeem(
        c.text("account"), c.text("code"), idempotency_key=c.key, deadline=c.deadline
    ),
}
"""Operation -> a call of the driver, with what an example or ``try`` gives."""

RECONCILE: Mapping[str, Make] = {
    "users.register": lambda b, c: b.reconcile_register(
        c.profile, idempotency_key=c.key, deadline=c.deadline
    ),
    "points.credit": lambda b, c: b.reconcile_credit(
        c.text("account"), c.credit, idempotency_key=c.key, since=c.since, before=None, deadline=c.deadline
    ),
    "coupons.redeem": lambda b, c: b.reconcile_redeem(
        c.text("account"), c.text("code"), idempotency_key=c.key, since=c.since, deadline=c.deadline
    ),
}


def plain(value: Any) -> Any:
    """A result as JSON has it, without what is nothing, for examples and for ``try``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        members.pop("reason", None)
        return {
            name: shown
            for name, member in members.items()
            if (shown := plain(member)) not in (None, [], {}, "")
        }
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(ZONE).isoformat()
    return sendable(value)
