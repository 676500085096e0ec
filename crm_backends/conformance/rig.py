"""What a driver's test brings: the driver, and a CRM that can be filled, watched and broken.

The rig is the CRM's side of the table. It fills and reads the CRM by the CRM's own means (SQL, the ledger
of a sandbox), never through the driver. It may not know any scenario.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from crm_backends.model import Channel, CrmCardState, Holder, Profile
from crm_backends.ports import Backend, Refusal
from crm_backends.registry import BackendContext, BackendSpec

ZONE = ZoneInfo("Europe/Moscow")
"""The zone in which the kit's programme counts days."""


def context() -> BackendContext:
    """What the adapter would offer to the driver, without a database of its own."""
    return BackendContext(database_url="", database_pool=None, timezone=ZONE, region="RU")


class NotProvided(NotImplementedError):
    """A scenario needs a piece of the rig that the driver's test does not bring."""

    def __init__(self, piece: str, operation: str) -> None:
        super().__init__(f"this scenario needs Rig.{piece}: provide it, or state what {operation} cannot do")


class NoSuchState(Exception):
    """This CRM's cards are never in that state."""


class Rig(abc.ABC):
    """One CRM for one test. What is abstract every driver needs, the rest goes with its operations."""

    spec: BackendSpec[Any]
    secrets: Sequence[str]
    """Texts of the credentials that ``build`` puts into the settings, the refused ones included."""
    nobody: str
    """An id in this CRM's form that no customer has."""
    takes_points: bool = True
    """Whether a credit may say how many points. If not, the CRM's rules give five for 1250 roubles."""

    @abc.abstractmethod
    def build(self, *, credentials: bool = True) -> Backend:
        """A new driver, not open, for this CRM; ``False``: with credentials the CRM refuses."""

    @abc.abstractmethod
    async def new_customer(self, profile: Profile) -> Holder:
        """A person in the CRM. Where it keeps no people: a holder it could keep something for."""

    @abc.abstractmethod
    async def ledger(self) -> Counter[str]:
        """The judge: how often each operation (``points.credit``) has taken effect in the CRM so far.

        A write that changes anything counts, whoever sent it; a write that was refused does not.
        """

    @abc.abstractmethod
    async def away(self) -> None:
        """The CRM cannot be connected to, and open connections are gone, until ``back``."""

    @abc.abstractmethod
    async def silent(self) -> None:
        """The CRM takes connections and requests and does not answer, until ``back``."""

    @abc.abstractmethod
    async def back(self) -> None:
        """The CRM is well again."""

    @abc.abstractmethod
    async def lose_request(self, operation: str) -> None:
        """The next request of this operation is taken and lost: no effect, no answer."""

    @abc.abstractmethod
    async def lose_reply(self, operation: str) -> None:
        """The next request of this operation takes effect, and its answer is lost."""

    # -- users -----------------------------------------------------------------------------------------

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        """The channels the CRM has an answer for, allowed or denied."""
        raise NotProvided("consents", "users.set_consents")

    async def give_card(self, holder: Holder) -> str:
        """Make the CRM know a card of this customer, by its own means; its number."""
        raise NotProvided("give_card", "users.find_by_card")

    async def plastic(self) -> str | None:
        """A new card that the CRM knows and nobody has; ``None`` where it keeps no such cards."""
        raise NotProvided("plastic", "users.find_by_card")

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        """Give a customer's card another state in the CRM; of a replaced one the number in its place.

        Raises:
            NoSuchState: the CRM does not have that state.
        """
        raise NotProvided("change_card", "users.find_by_card")

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        """Number and barcode that the CRM keeps for a customer."""
        raise NotProvided("card_of", "users.set_card")

    # -- points ----------------------------------------------------------------------------------------

    async def move(self, account: str, points: Decimal) -> None:
        """Points that the CRM itself moves, as a till would: earned, or spent when negative."""
        raise NotProvided("move", "points.balance and points.entries")

    async def double(self, account: str, key: str) -> None:
        """The credit of five points that the CRM keeps under this key is there a second time.

        As if it had been sent twice. Where the CRM keeps no keys: another credit just like it.
        """
        raise NotProvided("double", "points.credit")

    async def purchase(self, account: str, at: datetime, amount_kopecks: int) -> None:
        """A purchase of one line, written by the till."""
        raise NotProvided("purchase", "points.purchases")

    # -- coupons ---------------------------------------------------------------------------------------

    async def offer(self, account: str) -> str:
        """A new offer this holder is to see; its title, which no other has."""
        raise NotProvided("offer", "coupons.offers")

    async def occasion(self) -> str:
        """An occasion on which a holder gets exactly one coupon."""
        raise NotProvided("occasion", "coupons.issue")

    async def code(self, account: str) -> str:
        """A new code this holder can use, once; asked again it is another."""
        raise NotProvided("code", "coupons.redeem")

    async def refused_codes(self, account: str) -> Mapping[str, Refusal]:
        """Codes that exist and that this holder cannot use, with the reason to be told."""
        raise NotProvided("refused_codes", "coupons.redeem")
