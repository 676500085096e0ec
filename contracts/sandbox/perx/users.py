"""Calls of Perx about customers."""

from __future__ import annotations

from datetime import timedelta

from contracts.sandbox.perx.keeping import Keeping
from contracts.sandbox.perx.records import Account
from contracts.sandbox.server import Call, Reply, now


class Users(Keeping):
    """Made, found, changed."""

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
