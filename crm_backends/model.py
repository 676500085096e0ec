"""What the adapter and a CRM talk about: people, points, purchases, receipts, coupons.

Plain frozen data. It may not know any CRM, any database and anything of the wire format.
Phones are E.164 with the plus sign, money is whole kopecks, points are ``Decimal``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from crm_backends.frozen import dataclass

Sex = Literal["m", "f"]
CrmCardState = Literal["active", "inactive", "blocked", "replaced"]
"""What a CRM says of a card. Inactive: it takes part in nothing. Blocked: its owner may not get another one.
Replaced: another number has taken its place."""
CRM_CARD_STATES: tuple[CrmCardState, ...] = ("active", "inactive", "blocked", "replaced")
Channel = Literal["sms", "email", "call", "push"]
CHANNELS: tuple[Channel, ...] = ("sms", "email", "call", "push")


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """Personal data of one person as given by the caller; ``None`` means "not given".

    ``repr`` is left to the default of ``object`` on purpose: no field may slip into a log.
    """

    phone: str | None = None
    """E.164 with the plus sign."""
    email: str | None = None
    first_name: str | None = None
    patronymic: str | None = None
    surname: str | None = None
    birth_date: date | None = None
    sex: Sex | None = None
    country_code: str | None = None
    locality: str | None = None

    def given(self) -> dict[str, object]:
        """Only the fields that carry a value."""
        return {
            f.name: value for f in dataclasses.fields(self) if (value := getattr(self, f.name)) is not None
        }

    def is_empty(self) -> bool:
        return not self.given()


@dataclass(frozen=True, slots=True, repr=False)
class Customer:
    """A person as the users CRM knows it."""

    customer_id: str
    """The CRM's own identifier, opaque to the adapter."""
    profile: Profile
    card_number: str | None = None
    """Number of the card the CRM itself keeps for this person, if it keeps any."""
    registered_at: datetime | None = None
    card_state: CrmCardState | None = None
    """State of that card; ``None``: not told here."""


@dataclass(frozen=True, slots=True, repr=False)
class CrmCard:
    """What the CRM knows of a card number."""

    number: str
    state: CrmCardState = "active"
    replaced_by: str | None = None
    """The number in its place, where the state is replaced and the CRM says by which."""
    customer: Customer | None = None
    """The owner, with at least the id; ``None``: plastic without an owner."""
    barcode: str | None = None
    """What is printed on the card, where that is not the number."""
    barcode_type: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Wanted:
    """Whom to find: a phone (E.164) or an e-mail; the birth date never identifies alone (KLO-1)."""

    phone: str | None
    email: str | None
    birth_date: date | None


@dataclass(frozen=True, slots=True, repr=False)
class Holder:
    """All that is known of a card's owner when a points or coupons CRM is asked who that is."""

    card_number: str
    users_reference: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class ListedPhone:
    """One row of the list of all users."""

    phone: str = field(repr=False)
    """E.164 with the plus sign."""
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Whatever else the partner selects, by name."""


@dataclass(frozen=True, slots=True)
class ChannelConsents:
    """Channels allowed and denied; a channel in neither set stays as it was (KLO-2)."""

    allow: frozenset[Channel]
    deny: frozenset[Channel]


@dataclass(frozen=True, slots=True)
class Balance:
    total: Decimal
    """Points on the account, spendable or not."""
    available: Decimal
    """Points that can be spent now."""


@dataclass(frozen=True, slots=True)
class PointsEntry:
    """One movement of points; negative when spent."""

    amount: Decimal
    description: str
    at: datetime
    valid_until: date | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """One line of a purchase."""

    at: datetime
    item: str
    amount_kopecks: int
    quantity: Decimal
    location: str
    bonuses: Decimal


@dataclass(frozen=True, slots=True, repr=False)
class FiscalReceipt:
    """A Russian cash receipt, read from its QR code.

    ``fiscal_drive`` (fn), ``document`` (i) and ``sign`` (fp) together are its identity. The first is
    a text of 16 characters in the fiscal data formats (tag 1041).
    """

    fiscal_drive: str
    document: str
    sign: str
    total_kopecks: int
    issued_at: datetime
    """Aware; the QR carries local time without a zone, the zone comes from the settings."""
    calculation_type: int
    """1 sale, 2 return of a sale, 3 expense, 4 return of an expense."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What is to be put on an account."""

    points: Decimal | None
    """Points to add; ``None`` leaves the amount to the rules of the CRM."""
    description: str
    receipt: FiscalReceipt | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer or coupon its holder could use."""

    offer_id: str
    title: str
    description: str = ""
    code: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    image_url: str | None = None
    url: str | None = None
