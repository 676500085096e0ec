"""What the stand-in for Pegke keeps, who may call it, and how a customer is told and given points."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.crm import Operation
from contracts.sandbox.fields import Row
from contracts.sandbox.pegke.records import (
    CONSUMER_CODE,
    CONSUMER_SECRET,
    PAGE_SIZE,
    NewCustomer,
    PegkeSwitches,
)
from contracts.sandbox.server import Call, Refused, Reply, StandIn, bearer, local_time
from contracts.sandbox.shop import Member, Shop


class Keeping(StandIn):
    """Base of the stand-in: its data, and what both dialects have."""

    switches: PegkeSwitches
    shop: Shop
    customers: dict[str, Member]
    """By their phones, ten digits."""

    def populate(self) -> None:
        self._asked: list[datetime] = []
        self._outstanding: str | None = None
        self.shop, self.customers = Shop(), {}
        for member in self.shop.members.values():
            self._number(member)

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer with the fields of ``NewCustomer``."""
        wanted = NewCustomer.model_validate(values)
        if wanted.phone in self.customers:
            raise ValueError(f"phone: {wanted.phone} is taken")
        member = self.shop.add(phone=f"+7{wanted.phone}", first_name=wanted.name, email=wanted.email)
        self._number(member, wanted.cid)
        if wanted.points:
            self.shop.give(member, wanted.points, "opening balance")
        return self.user(member)

    def _number(self, member: Member, cid: str | None = None) -> None:
        self.customers[member.digits[-10:]] = member
        member.more["cid"] = cid or f"C{len(self.customers):05d}"

    # Credentials

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if not operation.security:
            return
        text = bearer(headers)
        (wanted,) = operation.security[0]
        if wanted == "merchantKey":
            if text != f"{CONSUMER_CODE}.{CONSUMER_SECRET}":
                invalid = "no Authorization: Bearer header" if text is None else None
                raise Refused(self.merchant_error(401, "Unauthorized"), invalid=invalid)
            return
        if text is None:
            raise Refused(self.unauthorized(), invalid="no Authorization: Bearer header")
        if self.tokens.find(text) is None:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self._either_error(401, 89, "Invalid or expired token")

    def failure(self, status: int, reason: str) -> Reply:
        return self._either_error(status, status, reason)

    @staticmethod
    def _either_error(status: int, code: int, message: str) -> Reply:
        """For what happens before it is known which dialect is spoken: both shapes in one."""
        both = {"errors": [{"code": code, "message": message}], "status": "error", "message": message}
        return Reply(both, status)

    @staticmethod
    def site_error(status: int, code: int, message: str) -> Reply:
        """An error in the one dialect."""
        return Reply({"errors": [{"code": code, "message": message}]}, status)

    @staticmethod
    def merchant_error(status: int, message: str) -> Reply:
        """An error in the other."""
        return Reply({"status": "error", "message": message}, status)

    # Points

    def give(self, call: Call, member: Member, points: Decimal) -> None:
        """Give points, which the balance shows when it is time."""
        late = timedelta(seconds=self.switches.balance_seconds)
        self.shop.give(member, points, "given by the merchant", shown_after=late)
        self.record(call, "points_credited", customer=member.digits[-10:], amount=points)

    @staticmethod
    def points(member: Member) -> Decimal:
        """The balance that is shown."""
        return sum((move.points for move in member.shown), Decimal(0))

    def user(self, member: Member) -> Row:
        """A customer in the one dialect."""
        return {
            "cid": member.more["cid"],
            "name": member.full_name("first_name", "last_name"),
            "mob": int(member.digits[-10:]),
            "email": member.email,
            "points": self.points(member),
        }

    @staticmethod
    def history(member: Member, page: int) -> Row:
        """A page of what has moved points, newest first."""
        newest = member.shown[::-1]
        return {
            "history": [
                {"date": local_time(move.at), "points": move.points, "note": move.text}
                for move in newest[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
            ],
            "page": page,
            "pages": max(1, -(-len(newest) // PAGE_SIZE)),
        }
