"""What the stand-in for Perx has at the start, how a thing is found or refused, how points move."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.sandbox.people import ANNA, BORIS, PEOPLE
from contracts.sandbox.perx.records import (
    COFFEE,
    DAY,
    DISCOUNT,
    IDENTIFIERS,
    LOYALTY_PROGRAM_ID,
    REWARDS,
    Account,
    Movement,
    NewCustomer,
    PerxSwitches,
    Reservation,
    Reward,
    Voucher,
)
from contracts.sandbox.server import (
    Call,
    Found,
    Refused,
    Reply,
    StandIn,
    bearer,
    now,
)


class Keeping(StandIn):
    """Base of the stand-in: its data, without a call."""

    switches: PerxSwitches

    def populate(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.movements: list[Movement] = []
        self.vouchers: dict[int, Voucher] = {}
        self.reservations: dict[int, Reservation] = {}
        self._numbers = itertools.count(1001)
        for person in PEOPLE:
            account = self._add_account(
                identifier=IDENTIFIERS[person.phone],
                phone=person.phone,
                email=person.email,
                first_name=person.first_name,
                last_name=person.last_name,
                personal_properties={"birthday": person.birth_date.isoformat()},
            )
            account.points = person.points
        anna, boris, _vera = self.accounts.values()
        anna.aging = [(now().date() + 30 * DAY, Decimal(250)), (now().date() + 90 * DAY, Decimal(400))]
        purchase = {"type": "Transaction", "data": {"transaction_type": "purchase", "currency": "RUB"}}
        self._move(
            anna, ANNA.points, "Purchase", "seed-1", ago=20 * DAY, money=Decimal(125000), details=purchase
        )
        self._move(
            boris, BORIS.points, "Purchase", "seed-2", ago=10 * DAY, money=Decimal(8000), details=purchase
        )
        self._move(
            boris,
            Decimal(-500),
            "Points redemption",
            "seed-3",
            ago=5 * DAY,
            properties={"error_message": "Insufficient points", "requested_by": "till 4"},
        )
        self._give(anna, REWARDS[COFFEE])
        self._give(anna, REWARDS[DISCOUNT])
        self._give(boris, REWARDS[COFFEE]).code = None

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer with the fields of ``NewCustomer``."""
        wanted = NewCustomer.model_validate(values)
        if self._by_identifier(wanted.identifier) is not None:
            raise ValueError(f"identifier: {wanted.identifier} is taken")
        unknown = [number for number in wanted.rewards if number not in REWARDS]
        if unknown:
            raise ValueError(f"rewards: no reward {unknown[0]}; there are: {', '.join(map(str, REWARDS))}")
        account = self._add_account(**wanted.model_dump(exclude={"points", "rewards"}))
        if wanted.points:
            account.points = wanted.points
            self._move(account, wanted.points, "Opening balance", None)
        for number in wanted.rewards:
            self._give(account, REWARDS[number])
        return account.as_json()

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

    def _own_voucher(self, call: Call) -> Voucher:
        return self._voucher_of(self._holder(call), call.path["voucherId"])

    def _voucher_of(self, account: Account, number: int) -> Voucher:
        voucher = self.vouchers.get(number)
        found = self._there(voucher if voucher and voucher.account == account.id else None, "Voucher")
        self._settle_time(found)
        return found

    def _reward(self, call: Call) -> Reward:
        return self._there(REWARDS.get(call.path["rewardId"]), "Reward")

    def _there(self, found: Found | None, what: str) -> Found:
        if found is None:
            raise self._error(404, 1, f"{what} not found")
        return found

    @staticmethod
    def _settle_time(voucher: Voucher) -> None:
        """What time has done to a voucher since anybody looked."""
        if voucher.reserved_until is not None and voucher.reserved_until <= now():
            voucher.state, voucher.reserved_until = "issued", None
        if voucher.state == "issued" and voucher.valid_to <= now():
            voucher.state = "expired"

    # Changing things

    def _redeem(self, call: Call, account: Account, voucher: Voucher) -> None:
        voucher.state, voucher.redeemed_at, voucher.reserved_until = "redeemed", now(), None
        self._record_voucher(call, "voucher_redeemed", account, voucher)

    def _record_voucher(self, call: Call, kind: str, account: Account, voucher: Voucher) -> None:
        self.record(call, kind, customer=account.identifier, reference=str(voucher.id))

    def _must_be(self, voucher: Voucher, *states: str) -> None:
        if voucher.state not in states:
            raise self._error(400, 42, f"Voucher cannot be used: it is {voucher.state}")

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
