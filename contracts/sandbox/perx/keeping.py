"""What the stand-in for Perx keeps, how a thing is found or refused, how points move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.sandbox.perx.records import (
    DAY,
    LOYALTY_PROGRAM_ID,
    Account,
    Movement,
    Reservation,
)
from contracts.sandbox.perx.rewards import Reward, Voucher
from contracts.sandbox.perx.switches import PerxSwitches
from contracts.sandbox.server import Call, Found, Refused, Reply, StandIn, bearer, now


class Keeping(StandIn):
    """Base of the stand-in: its data, without a call."""

    switches: PerxSwitches
    accounts: dict[int, Account]
    movements: list[Movement]
    vouchers: dict[int, Voucher]
    reservations: dict[int, Reservation]
    _numbers: Iterator[int]
    """For whatever is made."""

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "message": reason}, status)

    def _error(self, status: int, code: int, message: str) -> Refused:
        return Refused(Reply({"code": code, "message": message}, status))

    # Looking things up

    def _holder(self, call: Call) -> Account:
        """The customer that the token was issued for."""
        token = self.tokens.find(bearer(call.headers) or "")
        account = None if token is None else self._by_identifier(token.subject)
        if account is None:
            raise Refused(self.unauthorized())
        return account

    def _account(self, number: int) -> Account:
        return self._there(self.accounts.get(number), "User account")

    def _named(self, call: Call) -> Account:
        """The customer that the body names, who must be a member of the programme it names."""
        self._programme(call.body["loyalty_program_id"])
        return self._reference(call.body["user_account"])

    def _reference(self, reference: Mapping[str, Any]) -> Account:
        if "identifier" in reference:
            return self._there(self._by_identifier(reference["identifier"]), "User account")
        return self._account(reference["id"])

    def _by_identifier(self, identifier: str) -> Account | None:
        return next((each for each in self.accounts.values() if each.identifier == identifier), None)

    def _programme(self, number: int) -> None:
        self._there(number if number == LOYALTY_PROGRAM_ID else None, "Loyalty program")

    def _reservation(self, account: Account, number: int) -> Reservation:
        held = self.reservations.get(number)
        return self._there(held if held and held.account == account.id else None, "Transaction")

    def _there(self, found: Found | None, what: str) -> Found:
        if found is None:
            raise self._error(404, 1, f"{what} not found")
        return found

    # Changing things

    def _add_account(self, *, identifier: str, **fields: Any) -> Account:
        account = Account(next(self._numbers), identifier, now(), **fields)
        self.accounts[account.id] = account
        return account

    @staticmethod
    def _write(account: Account, body: Mapping[str, Any]) -> None:
        for key in ("state", "first_name", "last_name", "phone", "email"):
            if key in body:
                setattr(account, key, body[key])
        if "personal_properties" in body:
            account.personal_properties = dict(body["personal_properties"])

    def _move(
        self,
        account: Account,
        amount: Decimal,
        name: str,
        reference: str | None,
        *,
        ago: timedelta = timedelta(0),
        money: Decimal | None = None,
        details: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> Movement:
        row = Movement(
            next(self._numbers),
            account.id,
            amount,
            name,
            now() - ago,
            self._kept(reference),
            money,
            details,
            dict(properties or {}),
            self._shown_at(),
        )
        self.movements.append(row)
        return row

    def _record_points(
        self, call: Call, kind: str, account: Account, points: Decimal, reference: str | None
    ) -> None:
        self.record(call, kind, customer=account.identifier, amount=points, reference=reference)

    def _kept(self, reference: str | None) -> str | None:
        """A caller's reference as it is kept."""
        if reference is None:
            return None
        changed = {"upper": reference.upper(), "lower": reference.lower()}
        return changed.get(self.switches.reference_case, reference)[: self.switches.key_length]

    def _shown_at(self) -> datetime | None:
        gap, late = self.switches.history_gap, self.switches.history_seconds
        if gap and not (len(self.movements) + 1) % gap:
            return datetime.max.replace(tzinfo=UTC)
        return now() + timedelta(seconds=late) if late else None

    def _give(self, account: Account, reward: Reward) -> Voucher:
        number = next(self._numbers)
        voucher = Voucher(number, account.id, reward, f"PX{number:06d}", now(), now() + 60 * DAY)
        self.vouchers[number] = voucher
        return voucher
