"""Stand-in for Perx: tokens of three kinds, customers, points by rules or directly, vouchers, rewards.

What it is believed to do and not to do is in ``contracts/crm/perx.yaml``. Above all it does not tell a second
transaction with the same ``transaction_reference`` from a first: it credits twice, and the history then
shows two rows. It may not know any client.

Effects: ``customer_created``, ``customer_updated``, ``points_credited``, ``points_burned``,
``points_reserved``, ``points_released``, ``voucher_issued``, ``voucher_reserved``, ``voucher_released``,
``voucher_redeemed``, ``trigger_fired``. The customer is the identifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.perx.loyalty import Loyalty
from contracts.sandbox.perx.purchases import Purchases
from contracts.sandbox.perx.records import (
    BIRTHDAY_TRIGGER,
    CLIENT_ID,
    CLIENT_SECRET,
    IDENTIFIERS,
    LOYALTY_PROGRAM_ID,
    MERCHANT_IDENTIFIER,
    WELCOME_TRIGGER,
    Account,
    Movement,
)
from contracts.sandbox.perx.rewards import COFFEE, DISCOUNT, GIFT, REWARDS, Reward
from contracts.sandbox.perx.start import Start
from contracts.sandbox.perx.switches import PerxSwitches
from contracts.sandbox.perx.tokens import Tokens
from contracts.sandbox.perx.users import Users
from contracts.sandbox.perx.vouchers import Vouchers
from contracts.sandbox.server import Handler

__all__ = [
    "BIRTHDAY_TRIGGER",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "COFFEE",
    "DISCOUNT",
    "GIFT",
    "IDENTIFIERS",
    "LOYALTY_PROGRAM_ID",
    "MERCHANT_IDENTIFIER",
    "REWARDS",
    "WELCOME_TRIGGER",
    "Account",
    "Movement",
    "Perx",
    "PerxSwitches",
    "Reward",
    "application",
]


class Perx(Tokens, Users, Loyalty, Purchases, Vouchers, Start):
    """The stand-in's data and operations."""

    name: ClassVar[str] = "perx"
    title: ClassVar[str] = "Perx (users, points, vouchers)"
    takes: ClassVar[type[PerxSwitches]] = PerxSwitches
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


application = Perx.application
