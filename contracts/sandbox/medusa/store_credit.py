"""Store-credit accounts of Medusa's loyalty plugin: one is opened when somebody asks for it."""

from __future__ import annotations

from decimal import Decimal

from contracts.sandbox.fields import Row
from contracts.sandbox.medusa.customers import Customers
from contracts.sandbox.medusa.replies import only, page
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member, Move

CURRENCY = "rub"

_SUMS = ("balance", "debits", "credits")
"""A list of accounts tells them whatever fields it is asked for."""


class StoreCredit(Customers):
    """Opened, credited, listed."""

    def accounts(self, call: Call) -> Reply:
        rows = [self._account(one) for one in self.shop.find(_has_account)]
        keys = ("customer_id", "currency_code", "id")
        return page(call, "store_credit_accounts", rows, keys, limit=15, always=_SUMS)

    def account_open(self, call: Call) -> Reply:
        customer, currency = call.body.get("customer_id"), call.body["currency_code"]
        member = self.shop.first(lambda one: self.customer_id(one) == customer)
        if currency != CURRENCY or member is None:
            # Medusa opens it all the same; nobody here would find it again.
            account = {"id": "sc_acc_other", "currency_code": currency, "customer_id": customer}
            self.record(call, "account")
            return only(call, "store_credit_account", {**account, **dict.fromkeys(_SUMS, 0)})
        if _has_account(member):
            message = f"customer_id: {customer}, currency_code: {currency}, already exists."
            self.refuse(400, f"Store credit account with {message}")
        member.more["account"] = True
        self.changed(call, "account", member)
        return only(call, "store_credit_account", self._account(member))

    def credit(self, call: Call) -> Reply:
        amount, note = call.body["amount"], call.body.get("note", "")
        if not isinstance(amount, int | Decimal):
            told = f"Expected type: 'number' for field 'amount', got: '{amount}'"
            self.refuse(400, f"Invalid request: {told}")
        if amount <= 0:
            self.refuse(400, "Amount must be greater than 0")
        text = call.path["id"]
        reason = f"StoreCreditAccount id not found: {text}"
        member = self.only(lambda one: _account_id(one) == text and _has_account(one), 404, reason)
        self.give_points(call, member, Decimal(amount), note, note)
        return only(call, "store_credit_account", self._account(member))

    def transactions(self, call: Call) -> Reply:
        account = call.path["id"]
        rows = [_transaction(move) for member, move in self.shop.moves() if _account_id(member) == account]
        return page(call, "transactions", rows, limit=15)

    def _account(self, member: Member) -> Row:
        moves = [move.points for move in member.moves]
        return {
            "id": _account_id(member),
            "currency_code": CURRENCY,
            "customer_id": self.customer_id(member),
            "code": f"SC-{member.id}",
            "credits": sum(points for points in moves if points > 0),
            "debits": -sum(points for points in moves if points < 0),
            "balance": member.points,
            "updated_at": member.since,
            "created_at": member.since,
            "metadata": None,
            "customer": self.customer_row(member),
        }


def _account_id(member: Member) -> str:
    return f"sc_acc_{member.id:026d}"


def _has_account(member: Member) -> bool:
    return bool(member.moves or member.more["account"])


def _transaction(move: Move) -> Row:
    return {
        "id": f"sc_trx_{move.id:026d}",
        "amount": abs(move.points),
        "type": "credit" if move.points > 0 else "debit",
        "reference": "api-key",
        "reference_id": "apk_1",
        "note": move.text,
        "updated_at": move.at,
        "created_at": move.at,
        "metadata": None,
    }
