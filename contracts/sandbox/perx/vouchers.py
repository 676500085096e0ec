"""Calls of Perx about vouchers, rewards and triggers."""

from __future__ import annotations

from datetime import timedelta

from contracts.sandbox.perx.holdings import Holdings
from contracts.sandbox.perx.paging import page_meta, page_of
from contracts.sandbox.perx.records import BIRTHDAY_TRIGGER, WELCOME_POINTS, WELCOME_TRIGGER
from contracts.sandbox.perx.rewards import DISCOUNT, REWARDS
from contracts.sandbox.server import Call, Reply, now


class Vouchers(Holdings):
    """Listed, given, redeemed."""

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
        return Reply({"data": [voucher.as_json() for voucher in page_of(rows, page, size)], "meta": meta})

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
        data = [reward.as_json() for reward in page_of(list(REWARDS.values()), page, size)]
        return Reply({"data": data, "meta": page_meta(len(REWARDS), page, size)})

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
            account.points += WELCOME_POINTS
            self._move(account, WELCOME_POINTS, "Welcome", None)
            self._record_points(call, "points_credited", account, WELCOME_POINTS, trigger)
        else:
            self._record_voucher(call, "voucher_issued", account, self._give(account, REWARDS[DISCOUNT]))
        return Reply()
