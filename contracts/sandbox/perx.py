"""Stand-in for Perx: tokens of three kinds, customers, points by rules or directly, vouchers, rewards.

What it is believed to do and not to do is in ``contracts/crm/perx.yaml``. Above all it does not tell a second
transaction with the same ``transaction_reference`` from a first: it credits twice, and the history then
shows two rows. It may not know any client.

Effects: ``customer_created``, ``customer_updated``, ``points_credited``, ``points_burned``,
``points_reserved``, ``points_released``, ``voucher_issued``, ``voucher_reserved``, ``voucher_released``,
``voucher_redeemed``, ``trigger_fired``. The customer is the identifier.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, ClassVar, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from contracts.crm import Operation
from contracts.sandbox.people import ANNA, BORIS, PEOPLE
from contracts.sandbox.server import (
    Call,
    Found,
    Handler,
    Refused,
    Reply,
    Server,
    StandIn,
    Switches,
    bearer,
    now,
    stamp,
)

CLIENT_ID = "perx-sandbox-client"
CLIENT_SECRET = "perx-sandbox-secret"  # noqa: S105 - made up, opens nothing but this server
MERCHANT_IDENTIFIER = "perx-sandbox-merchant"
TENANT = "sandbox"
LOYALTY_PROGRAM_ID = 1
COFFEE, DISCOUNT, GIFT = 101, 102, 103
"""Numbers of the rewards. A customer may have one GIFT at most, any number of the others."""
WELCOME_TRIGGER = "welcome"
"""Fired, it gives 50 points."""
BIRTHDAY_TRIGGER = "birthday"
"""Fired, it gives a voucher for DISCOUNT."""
IDENTIFIERS: Mapping[str, str] = {person.phone: f"perx-{n:04d}" for n, person in enumerate(PEOPLE, 1)}
"""Identifier of each of the people that are there at the start, by phone."""

_WELCOME_POINTS = Decimal(50)
_USER_SCOPE = re.compile(r"user_account\(identifier:(.+)\)")
_DAY = timedelta(days=1)


class PerxSwitches(Switches):
    """How this stand-in behaves where the CRM depends on its configuration, or is not known."""

    points_per_100: Decimal = Field(default=Decimal(1), ge=0)
    """The rule for purchases: points for every 100 currency units, rounded down."""
    token_seconds: int = Field(default=7200, ge=1)
    reference_case: Literal["as given", "upper", "lower"] = "as given"
    """Letters in which a transaction_reference is kept; the history's filter compares with just these."""
    key_length: int | None = Field(default=None, ge=1)
    """Characters of a transaction_reference that are kept; the rest is cut off."""
    history_seconds: float = Field(default=0, ge=0)
    """After which the history shows a movement that is done; the balance shows it at once."""
    history_gap: int = Field(default=0, ge=0)
    """One movement in so many is never shown by the history; 0: all are."""
    absent_status: Literal[200, 404] = 404
    """Status with which a search says that there is no such customer (code 1 or 40)."""
    search_seconds: float = Field(default=0, ge=0)
    """After which the two searches show a customer that was created; all else knows it at once."""
    reserved_state: Literal["reserved", "redemption_in_progress"] = "reserved"
    """State of a voucher after redeem with confirm=false."""
    released_state: Literal["issued", "released"] = "issued"
    """State of a voucher after a release; ``released`` cannot be redeemed any more."""
    reservation_seconds: int = Field(default=900, ge=1)
    """After which a voucher that was set aside is free again."""


@dataclass
class Account:
    """A customer and the points."""

    id: int
    identifier: str
    joined_at: datetime
    state: str = "active"
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    email: str | None = None
    personal_properties: dict[str, Any] = field(default_factory=dict)
    membership_state: str = "active"
    searched_from: datetime | None = None
    """When the searches begin to show it; ``None``: they do."""
    points: Decimal = Decimal(0)
    in_progress: Decimal = Decimal(0)
    aging: list[tuple[date, Decimal]] = field(default_factory=list)
    """Days on which some of the points expire, soonest first."""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "identifier": self.identifier,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "phone": self.phone,
            "email": self.email,
            "state": self.state,
            "joined_at": stamp(self.joined_at),
            "personal_properties": self.personal_properties,
        }

    def take(self, points: Decimal) -> list[tuple[date, Decimal]]:
        """Take points from the balance; those that expire soonest go first and are returned."""
        self.points -= points
        left, kept, taken = points, [], []
        for day, expiring in self.aging:
            gone = min(left, expiring)
            left -= gone
            if gone:
                taken.append((day, gone))
            if expiring > gone:
                kept.append((day, expiring - gone))
        self.aging = kept
        return taken

    def give_back(self, points: Decimal, aging: list[tuple[date, Decimal]]) -> None:
        """Undo ``take``."""
        self.points += points
        days: dict[date, Decimal] = {}
        for day, expiring in (*self.aging, *aging):
            days[day] = days.get(day, Decimal(0)) + expiring
        self.aging = sorted(days.items())


@dataclass(frozen=True)
class Movement:
    """A row of the history."""

    id: int
    account: int
    amount: Decimal
    name: str
    at: datetime
    reference: str | None
    money: Decimal | None = None
    """Currency units of the purchase."""
    details: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    shown_at: datetime | None = None
    """When the history begins to show it; ``None``: it does."""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "amount": self.amount,
            "name": self.name,
            "transacted_at": stamp(self.at),
            "transacted_amount": None if self.money is None else str(float(self.money)),
            "transacted_cents": None if self.money is None else int(self.money * 100),
            "transaction_details": self.details,
            "properties": self.properties,
        }


@dataclass(frozen=True)
class Reward:
    """Something a customer may be given."""

    id: int
    name: str
    description: str
    per_customer: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "valid_from": None,
            "valid_to": None,
        }


@dataclass
class Voucher:
    """A reward that was given."""

    id: int
    account: int
    reward: Reward
    code: str | None
    valid_from: datetime
    valid_to: datetime
    state: str = "issued"
    redeemed_at: datetime | None = None
    reserved_until: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.reward.name,
            "state": self.state,
            "voucher_code": self.code,
            "voucher_type": "code",
            "valid_from": stamp(self.valid_from),
            "valid_to": stamp(self.valid_to),
            "issued_date": stamp(self.valid_from),
            "redemption_date": None if self.redeemed_at is None else stamp(self.redeemed_at),
            "reservation_expires_at": None if self.reserved_until is None else stamp(self.reserved_until),
            "reward": self.reward.as_json(),
        }


@dataclass
class Reservation:
    """Points that are set aside."""

    id: int
    account: int
    points: Decimal
    aging: list[tuple[date, Decimal]]
    """When they would have expired."""


REWARDS: Mapping[int, Reward] = {
    reward.id: reward
    for reward in (
        Reward(COFFEE, "A cup of coffee", "Any size, at any till"),
        Reward(DISCOUNT, "Ten per cent off", "One receipt of up to 5000 roubles"),
        Reward(GIFT, "A gift for joining", "Once for each customer", per_customer=1),
    )
}


class NewCustomer(BaseModel):
    """What ``add_customer`` takes."""

    model_config = ConfigDict(extra="forbid")

    identifier: str = Field(min_length=1)
    phone: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    personal_properties: dict[str, Any] = Field(default_factory=dict)
    membership_state: Literal["active", "pending", "inactive", "expire"] = "active"
    points: Decimal = Decimal(0)
    rewards: list[int] = Field(default_factory=list)
    """Rewards to hold a voucher of, by number."""


class Perx(StandIn):
    """The stand-in's data and operations."""

    name: ClassVar[str] = "perx"
    title: ClassVar[str] = "Perx (users, points, vouchers)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "merchant identifier": MERCHANT_IDENTIFIER,
        "loyalty programme": str(LOYALTY_PROGRAM_ID),
        "customers": ", ".join(IDENTIFIERS.values()),
        "rewards": ", ".join(str(number) for number in REWARDS),
        "triggers": f"{WELCOME_TRIGGER}, {BIRTHDAY_TRIGGER}",
    }
    switches: PerxSwitches

    def operations(self) -> Mapping[str, Handler]:
        return {
            "issueToken": self.issue_token,
            "createUserAccount": self.create_user_account,
            "searchUserAccount": self.search_user_account,
            "updateUserAccount": self.update_user_account,
            "getUserAccount": self.get_user_account,
            "searchUserAccountByPhone": self.search_user_account_by_phone,
            "getCustomer": self.get_customer,
            "updateCustomer": self.update_customer,
            "listLoyaltyPrograms": self.list_loyalty_programs,
            "getLoyaltyProgram": self.get_loyalty_program,
            "listTransactionsHistory": self.list_transactions_history,
            "submitTransaction": self.submit_transaction,
            "submitLoyaltyTransaction": self.submit_loyalty_transaction,
            "reservePoints": self.reserve_points,
            "revertPoints": self.revert_points,
            "createInvoice": self.create_invoice,
            "listVouchers": self.list_vouchers,
            "getVoucher": self.get_voucher,
            "redeemVoucher": self.redeem_voucher,
            "releaseVoucher": self.release_voucher,
            "confirmVoucher": self.confirm_voucher,
            "listRewards": self.list_rewards,
            "getReward": self.get_reward,
            "issueReward": self.issue_reward,
            "fireTrigger": self.fire_trigger,
        }

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
        anna.aging = [(now().date() + 30 * _DAY, Decimal(250)), (now().date() + 90 * _DAY, Decimal(400))]
        purchase = {"type": "Transaction", "data": {"transaction_type": "purchase", "currency": "RUB"}}
        self._move(
            anna, ANNA.points, "Purchase", "seed-1", ago=20 * _DAY, money=Decimal(125000), details=purchase
        )
        self._move(
            boris, BORIS.points, "Purchase", "seed-2", ago=10 * _DAY, money=Decimal(8000), details=purchase
        )
        self._move(
            boris,
            Decimal(-500),
            "Points redemption",
            "seed-3",
            ago=5 * _DAY,
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

    # Tokens

    def issue_token(self, call: Call) -> Reply:
        body = call.body
        if (body["client_id"], body["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            self._no_token()
        scope = body.get("scope")
        if scope == "merchant_user_account":
            if body["identifier"] != MERCHANT_IDENTIFIER:
                self._no_token()
            token = self._issue("merchant", body["identifier"], body)
            return Reply({"bearer_token": token, "tenant": TENANT})
        kind, subject = "application", ""
        if scope is not None:
            kind, subject = "user", _USER_SCOPE.sub(r"\1", scope)
            if self._by_identifier(subject) is None:
                self._no_token()
        reply = {
            "access_token": self._issue(kind, subject, body),
            "token_type": "Bearer",
            "expires_in": self._seconds(body),
            "created_at": int(now().timestamp()),
        }
        return Reply(reply if scope is None else {**reply, "scope": scope})

    def _issue(self, kind: str, subject: str, body: Mapping[str, Any]) -> str:
        self.ledger.tokens_issued[kind] += 1
        return self.tokens.issue(kind, subject, self._seconds(body))

    def _seconds(self, body: Mapping[str, Any]) -> int:
        return int(body.get("expires_in", self.switches.token_seconds))

    def _no_token(self) -> None:
        description = "Client authentication failed or the resource owner is unknown"
        raise Refused(Reply({"error": "invalid_client", "error_description": description}, 401))

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if not operation.security:
            return
        (wanted,) = operation.security[0]
        text = bearer(headers)
        if text is None:
            raise Refused(self.unauthorized(), invalid="no Authorization: Bearer header")
        token = self.tokens.find(text)
        if token is None:
            raise Refused(self.unauthorized())
        if token.kind != wanted:
            raise Refused(self.unauthorized(), invalid=f"a token of kind {token.kind}, {wanted} is needed")

    def unauthorized(self) -> Reply:
        return Reply({"error": "invalid_token", "error_description": "The access token is not valid"}, 401)

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "message": reason}, status)

    def _error(self, status: int, code: int, message: str) -> Refused:
        return Refused(Reply({"code": code, "message": message}, status))

    # Users

    def create_user_account(self, call: Call) -> Reply:
        if self._by_identifier(call.body["identifier"]) is not None:
            raise self._error(400, 4, "Identifier has already been taken")
        shown_at = now() + timedelta(seconds=self.switches.search_seconds)
        account = self._add_account(identifier=call.body["identifier"], searched_from=shown_at)
        self._write(account, call.body)
        self.record(call, "customer_created", customer=account.identifier)
        return Reply({"data": account.as_json()})

    def search_user_account(self, call: Call) -> Reply:
        account = self._by_identifier(call.query["identifier"])
        if account is None or not self._is_searched(account):
            raise self._error(self.switches.absent_status, 1, "User account not found")
        return Reply({"data": account.as_json()})

    def update_user_account(self, call: Call) -> Reply:
        account = self._by_identifier(call.body["identifier"])
        if account is None:
            raise self._error(404, 44, "User account cannot be updated")
        self._write(account, call.body)
        self.record(call, "customer_updated", customer=account.identifier)
        return Reply({"data": account.as_json()})

    def get_user_account(self, call: Call) -> Reply:
        return Reply({"data": self._account(call.path["userAccountId"]).as_json()})

    def search_user_account_by_phone(self, call: Call) -> Reply:
        digits = call.query["phone"].lstrip("+")
        for account in self.accounts.values():
            phone = account.phone or account.personal_properties.get("phone")
            if isinstance(phone, str) and phone.lstrip("+") == digits and self._is_searched(account):
                return Reply({"data": account.as_json()})
        raise self._error(self.switches.absent_status, 40, "User account not found")

    @staticmethod
    def _is_searched(account: Account) -> bool:
        return account.searched_from is None or account.searched_from <= now()

    def get_customer(self, call: Call) -> Reply:
        return Reply({"data": self._own_customer(call).as_json()})

    def update_customer(self, call: Call) -> Reply:
        account = self._own_customer(call)
        account.personal_properties = dict(call.body["personal_properties"])
        self.record(call, "customer_updated", customer=account.identifier)
        return Reply({"data": account.as_json()})

    def _own_customer(self, call: Call) -> Account:
        account = self._holder(call)
        if call.path["customerId"] not in ("me", str(account.id)):
            raise self._error(404, 1, "Customer not found")
        return account

    # Points

    def list_loyalty_programs(self, call: Call) -> Reply:
        return Reply({"data": [self._loyalty(self._holder(call))], "meta": _page_meta(1, 1, 24)})

    def get_loyalty_program(self, call: Call) -> Reply:
        self._programme(call.path["programId"])
        return Reply({"data": self._loyalty(self._holder(call))})

    def list_transactions_history(self, call: Call) -> Reply:
        account, wanted = self._holder(call), call.query["transaction_reference"]
        rows = [
            row
            for row in self.movements
            if row.account == account.id
            and wanted in (None, row.reference)
            and (row.shown_at is None or row.shown_at <= now())
        ]
        key = {"id": lambda row: row.id, "transacted_at": lambda row: (row.at, row.id)}[call.query["sort_by"]]
        rows.sort(key=key, reverse=call.query["order_by"] == "desc")
        page, size = call.query["page"], call.query["size"]
        data = [row.as_json() for row in _page(rows, page, size)]
        return Reply({"data": data, "meta": _page_meta(len(rows), page, size)})

    def submit_transaction(self, call: Call) -> Reply:
        account = self._account(int(call.body["user_account_id"]))
        data = call.body["transaction_data"]
        reference = data.get("transaction_reference")
        points = self._rule(data["amount"])
        row = self._purchase(account, data, Decimal(data["amount"]), points)
        account.points += points
        self.record(call, "points_credited", customer=account.identifier, amount=points, reference=reference)
        return Reply(
            {
                "data": {
                    "id": row.id,
                    "user_account_id": account.id,
                    "transaction_type": data["transaction_type"],
                    "transaction_reference": reference,
                    "amount": data["amount"],
                    "currency": data["currency"],
                    "transaction_date": data.get("transaction_date", stamp(row.at)),
                    "points_earned": points,
                    "properties": data.get("properties", {}),
                }
            }
        )

    def submit_loyalty_transaction(self, call: Call) -> Reply:
        account = self._named(call)
        points, reference = Decimal(call.body["points"]), call.body.get("transaction_reference")
        properties = dict(call.body.get("properties", {}))
        if account.points + points < 0:
            failed = {**properties, "error_message": "Insufficient points"}
            self._move(account, points, "Points redemption", reference, properties=failed)
            raise self._error(400, 41, "Insufficient points")
        if points > 0:
            account.points += points
            row = self._move(account, points, "Points earned", reference, properties=properties)
            kind = "points_credited"
        else:
            account.take(-points)
            row = self._move(account, points, "Points redemption", reference, properties=properties)
            kind = "points_burned"
        self.record(call, kind, customer=account.identifier, amount=abs(points), reference=reference)
        return Reply({"data": self._loyalty_transaction(row, points, reference, properties)}, 201)

    def reserve_points(self, call: Call) -> Reply:
        account, points = self._named(call), Decimal(call.body["amount_to_deduct"])
        if account.points < points:
            raise self._error(400, 41, "Insufficient points")
        taken = account.take(points)
        account.in_progress += points
        row = self._move(account, -points, "Points reserved", None)
        self.reservations[row.id] = Reservation(row.id, account.id, points, taken)
        self.record(
            call, "points_reserved", customer=account.identifier, amount=points, reference=str(row.id)
        )
        return Reply({"data": self._loyalty_transaction(row, -points, None, {})}, 201)

    def revert_points(self, call: Call) -> Reply:
        account = self._reference(call.body["user_account"])
        held = self._reservation(account, call.path["transactionId"])
        del self.reservations[held.id]
        account.in_progress -= held.points
        account.give_back(held.points, held.aging)
        self._move(account, held.points, "Points reservation reverted", None)
        self.record(
            call, "points_released", customer=account.identifier, amount=held.points, reference=str(held.id)
        )
        return Reply({"data": {"id": held.id}})

    def create_invoice(self, call: Call) -> Reply:
        account = self._reference(call.body["user_account"])
        used = call.body.get("used_items", [])
        held = [
            self._reservation(account, item["item_id"])
            for item in used
            if item["item_type"].startswith("Stored")
        ]
        vouchers = [
            self._voucher_of(account, item["item_id"]) for item in used if item["item_type"].startswith("Rew")
        ]
        for voucher in vouchers:
            self._must_be(voucher, "issued", self.switches.reserved_state)
        for reservation in held:
            del self.reservations[reservation.id]
            account.in_progress -= reservation.points
            self.record(
                call,
                "points_burned",
                customer=account.identifier,
                amount=reservation.points,
                reference=str(reservation.id),
            )
        for voucher in vouchers:
            self._redeem(call, account, voucher)
        earned = Decimal(0)
        for data in call.body["transaction_data"]:
            points = self._rule(data["collected_amount"])
            self._purchase(account, data, Decimal(data["collected_amount"]), points)
            account.points += points
            earned += points
            reference = data.get("transaction_reference")
            self.record(
                call, "points_credited", customer=account.identifier, amount=points, reference=reference
            )
        return Reply({"data": {"id": next(self._numbers), "points_earned": earned}}, 201)

    def _rule(self, money: Any) -> Decimal:
        exact = Decimal(money) * self.switches.points_per_100 / 100
        return exact.to_integral_value(ROUND_FLOOR)

    def _purchase(
        self, account: Account, data: Mapping[str, Any], money: Decimal, points: Decimal
    ) -> Movement:
        reference = self._kept(data.get("transaction_reference"))
        details = {
            "type": "Transaction",
            "data": {
                "transaction_type": data["transaction_type"],
                "transaction_reference": reference,
                "currency": data.get("currency"),
            },
        }
        return self._move(
            account,
            points,
            "Purchase",
            reference,
            money=money,
            details=details,
            properties=data.get("properties", {}),
        )

    def _loyalty(self, account: Account) -> dict[str, Any]:
        return {
            "id": LOYALTY_PROGRAM_ID,
            "name": "Sandbox Club",
            "membership_number": f"M{account.id:08d}",
            "membership_state": account.membership_state,
            "membership_expiry": None,
            "points_balance": account.points,
            "redemption_in_progress_points": account.in_progress,
            "tier_points": account.points,
            "current_membership_tier_name": "Basic",
            "tiers": [],
            "points_balances": [],
            "aging_points": [
                {"expiring_on_date": day.isoformat(), "points_expiring": points}
                for day, points in account.aging
            ],
        }

    @staticmethod
    def _loyalty_transaction(
        row: Movement, points: Decimal, reference: str | None, properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": row.id,
            "loyalty_program_id": LOYALTY_PROGRAM_ID,
            "points": points,
            "transaction_reference": reference,
            "transacted_at": stamp(row.at),
            "properties": properties,
        }

    # Vouchers, rewards, triggers

    def list_vouchers(self, call: Call) -> Reply:
        account, kind = self._holder(call), call.query["type"]
        states = {
            "active": ("issued", "reserved", "redemption_in_progress"),
            "expired": ("expired",),
            "gifted": (),
            "redeemed": ("redeemed",),
            "redemption_in_progress": ("reserved", "redemption_in_progress"),
        }
        rows = []
        for voucher in self.vouchers.values():
            self._settle_time(voucher)
            if voucher.account == account.id and (kind == "all" or voucher.state in states[kind]):
                rows.append(voucher)
        page, size = call.query["page"], call.query["size"]
        meta = {
            "count": len(rows),
            "size": size,
            "page": page,
            "total_pages": -(-len(rows) // size),
            "order": None,
            "type": kind,
        }
        return Reply({"data": [voucher.as_json() for voucher in _page(rows, page, size)], "meta": meta})

    def get_voucher(self, call: Call) -> Reply:
        return Reply({"data": self._own_voucher(call).as_json()})

    def redeem_voucher(self, call: Call) -> Reply:
        voucher, account = self._own_voucher(call), self._holder(call)
        if call.query["confirm"]:
            self._must_be(voucher, "issued", self.switches.reserved_state)
            self._redeem(call, account, voucher)
        else:
            self._must_be(voucher, "issued")
            voucher.state = self.switches.reserved_state
            voucher.reserved_until = now() + timedelta(seconds=self.switches.reservation_seconds)
            self._record_voucher(call, "voucher_reserved", account, voucher)
        return Reply({"data": voucher.as_json()})

    def release_voucher(self, call: Call) -> Reply:
        voucher = self._own_voucher(call)
        self._must_be(voucher, self.switches.reserved_state)
        voucher.state, voucher.reserved_until = self.switches.released_state, None
        self._record_voucher(call, "voucher_released", self._holder(call), voucher)
        return Reply({"data": voucher.as_json()})

    def confirm_voucher(self, call: Call) -> Reply:
        voucher = self._own_voucher(call)
        self._must_be(voucher, self.switches.reserved_state)
        self._redeem(call, self._holder(call), voucher)
        return Reply({"data": voucher.as_json()})

    def list_rewards(self, call: Call) -> Reply:
        page, size = call.query["page"], call.query["size"]
        data = [reward.as_json() for reward in _page(list(REWARDS.values()), page, size)]
        return Reply({"data": data, "meta": _page_meta(len(REWARDS), page, size)})

    def get_reward(self, call: Call) -> Reply:
        return Reply({"data": self._reward(call).as_json()})

    def issue_reward(self, call: Call) -> Reply:
        reward, account = self._reward(call), self._holder(call)
        held = sum(
            voucher.account == account.id and voucher.reward.id == reward.id
            for voucher in self.vouchers.values()
        )
        if reward.per_customer is not None and held >= reward.per_customer:
            raise self._error(400, 4103, "Reward limit exceeded for this user")
        voucher = self._give(account, reward)
        self._record_voucher(call, "voucher_issued", account, voucher)
        return Reply({"data": voucher.as_json()})

    def fire_trigger(self, call: Call) -> Reply:
        account, trigger = self._holder(call), call.path["triggerId"]
        if trigger not in (WELCOME_TRIGGER, BIRTHDAY_TRIGGER):
            raise self._error(404, 1, "Trigger not found")
        self.record(call, "trigger_fired", customer=account.identifier, reference=trigger)
        if trigger == WELCOME_TRIGGER:
            account.points += _WELCOME_POINTS
            self._move(account, _WELCOME_POINTS, "Welcome", None)
            self.record(
                call,
                "points_credited",
                customer=account.identifier,
                amount=_WELCOME_POINTS,
                reference=trigger,
            )
        else:
            self._record_voucher(call, "voucher_issued", account, self._give(account, REWARDS[DISCOUNT]))
        return Reply()

    def _redeem(self, call: Call, account: Account, voucher: Voucher) -> None:
        voucher.state, voucher.redeemed_at, voucher.reserved_until = "redeemed", now(), None
        self._record_voucher(call, "voucher_redeemed", account, voucher)

    def _record_voucher(self, call: Call, kind: str, account: Account, voucher: Voucher) -> None:
        self.record(call, kind, customer=account.identifier, reference=str(voucher.id))

    def _must_be(self, voucher: Voucher, *states: str) -> None:
        if voucher.state not in states:
            raise self._error(400, 42, f"Voucher cannot be used: it is {voucher.state}")

    @staticmethod
    def _settle_time(voucher: Voucher) -> None:
        """What time has done to a voucher since anybody looked."""
        if voucher.reserved_until is not None and voucher.reserved_until <= now():
            voucher.state, voucher.reserved_until = "issued", None
        if voucher.state == "issued" and voucher.valid_to <= now():
            voucher.state = "expired"

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
        voucher = Voucher(number, account.id, reward, f"PX{number:06d}", now(), now() + 60 * _DAY)
        self.vouchers[number] = voucher
        return voucher


def _page(rows: Sequence[Found], page: int, size: int) -> Sequence[Found]:
    return rows[(page - 1) * size : page * size]


def _page_meta(count: int, page: int, size: int) -> dict[str, Any]:
    """The kind of page description that names the next page rather than the number of pages."""
    return {
        "count": count,
        "size": size,
        "page": page,
        "current_page": page,
        "per_page": size,
        "total_count": count,
        "prev_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page * size < count else None,
    }


def application(**switches: Any) -> web.Application:
    """The server; ``switches`` are those of ``PerxSwitches``, a wrong one raises ``ValueError``."""
    return Server(Perx(PerxSwitches(**switches))).application()
