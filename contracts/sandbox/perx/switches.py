"""How the stand-in for Perx behaves where the CRM depends on its configuration, and what a test may add."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.sandbox.server import Switches


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
