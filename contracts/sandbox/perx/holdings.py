"""Which vouchers a customer of Perx has, and what time and calls do to them."""

from __future__ import annotations

from contracts.sandbox.perx.keeping import Keeping
from contracts.sandbox.perx.records import Account
from contracts.sandbox.perx.rewards import REWARDS, Reward, Voucher
from contracts.sandbox.server import Call, now


class Holdings(Keeping):
    """Base of the calls that use vouchers."""

    def _own_voucher(self, call: Call) -> Voucher:
        return self._voucher_of(self._holder(call), call.path["voucherId"])

    def _voucher_of(self, account: Account, number: int) -> Voucher:
        voucher = self.vouchers.get(number)
        found = self._there(voucher if voucher and voucher.account == account.id else None, "Voucher")
        self._settle_time(found)
        return found

    def _reward(self, call: Call) -> Reward:
        return self._there(REWARDS.get(call.path["rewardId"]), "Reward")

    @staticmethod
    def _settle_time(voucher: Voucher) -> None:
        """What time has done to a voucher since anybody looked."""
        if voucher.reserved_until is not None and voucher.reserved_until <= now():
            voucher.state, voucher.reserved_until = "issued", None
        if voucher.state == "issued" and voucher.valid_to <= now():
            voucher.state = "expired"

    def _redeem(self, call: Call, account: Account, voucher: Voucher) -> None:
        voucher.state, voucher.redeemed_at, voucher.reserved_until = "redeemed", now(), None
        self._record_voucher(call, "voucher_redeemed", account, voucher)

    def _record_voucher(self, call: Call, kind: str, account: Account, voucher: Voucher) -> None:
        self.record(call, kind, customer=account.identifier, reference=str(voucher.id))

    def _must_be(self, voucher: Voucher, *states: str) -> None:
        if voucher.state not in states:
            raise self._error(400, 42, f"Voucher cannot be used: it is {voucher.state}")
