"""What the stand-in for Pegke offers, what it takes, and its switches."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.sandbox.server import Switches

CLIENT_ID = "pegke-sandbox-client"
CLIENT_SECRET = "pegke-sandbox-secret"  # noqa: S105 - made up, opens nothing but this server
CONSUMER_CODE = "SANDBOXCODE"
CONSUMER_SECRET = "SANDBOXSECRET"  # noqa: S105 - made up, opens nothing but this server
PAGE_SIZE = 10


class PegkeSwitches(Switches):
    """How this stand-in behaves where the CRM is not known."""

    token_seconds: int = Field(default=3600, ge=1)
    token_requests: int = Field(default=5, ge=1)
    """Requests for a token within ``token_window`` seconds; the next is answered 403 with code 99."""
    token_window: float = Field(default=60, gt=0)
    site_replies: Literal["plain", "documented"] = "documented"
    """What giving points answers: the balance, or what the draft prints, which is a token reply."""
    site_lookup: bool = True
    """Whether the inferred search and history of site_v1_1 exist."""
    balance_seconds: float = Field(default=0, ge=0)
    """After which balance and history show points that were given."""
    absent_status: Literal[200, 404] = 404
    """Status with which merchant_v1 says that there is no such customer."""


class NewCustomer(BaseModel):
    """What ``add_customer`` takes."""

    model_config = ConfigDict(extra="forbid")

    phone: str = Field(pattern=r"^[0-9]{10}$")
    cid: str | None = None
    name: str = "Somebody"
    email: str | None = None
    points: Decimal = Field(default=Decimal(0), ge=0)


@dataclass(frozen=True)
class Offer:
    """Something the merchant gives for points."""

    id: int
    title: str
    description: str
    points: int
    days: int
    """For how many days from now it is valid."""


OFFERS = (
    Offer(1, "Free dessert", "With any main course", 100, 60),
    Offer(2, "Two coffees for one", "Mondays to Thursdays", 150, 30),
    Offer(3, "500 off the bill", "From 3000", 500, 90),
)
