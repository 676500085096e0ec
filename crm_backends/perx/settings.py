"""Settings of the Perx driver. It may not open anything: the driver does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from crm_backends.http import HttpSettings

ProfileField = Literal[
    "phone",
    "email",
    "first_name",
    "patronymic",
    "surname",
    "birth_date",
    "sex",
    "country_code",
    "locality",
]


class PromoTarget(BaseModel, extra="forbid"):
    """What a promo code does: exactly one of the two."""

    reward: int | None = Field(default=None, ge=1, description="Number of the reward that is issued.")
    trigger: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{1,255}$", description="Id of the app trigger that is fired."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.reward is None) == (self.trigger is None):
            raise ValueError("needs either reward or trigger")
        return self


class PerxSettings(HttpSettings):
    """Credentials, what Perx is told about people, and what its rewards and triggers are used for."""

    base_url: str = Field(
        default="https://api.perxtech.io",
        description="Base URL of the tenant's API, without /v4. Staging and production have their own.",
    )
    client_id: str = Field(min_length=1, description="Client id of the application.")
    client_secret: SecretStr = Field(min_length=1, description="Client secret of the application.")
    merchant_identifier: str | None = Field(
        default=None,
        min_length=1,
        description="Identifier of the merchant user whose token searches by phone. Needed for that only.",
    )
    loyalty_program_id: int = Field(ge=1, description="Number of the loyalty programme.")

    identifier: Literal["hmac_phone", "token", "membership"] = Field(
        default="hmac_phone",
        description="What a customer's identifier in Perx is: HMAC of the phone, a token of ours, or the "
        "card number that somebody else registers.",
    )
    identifier_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        json_schema_extra={"any_text": True},
        description="Key of the HMAC for hmac_phone and token. Changed, it makes every customer a stranger.",
    )
    find_by: Literal["identifier", "merchant_search"] | None = Field(
        default=None,
        description="How a phone is looked up. Unset: identifier with hmac_phone, else merchant_search.",
    )
    account_by: Literal["users_reference", "phone", "card_number"] | None = Field(
        default=None,
        description="What names the account of a card's owner. Unset: phone with hmac_phone, users_reference "
        "with token (users must be this Perx too), card_number with membership.",
    )
    phone_plus: bool = Field(
        default=True, description="Phones are sent with the leading plus; false: digits alone."
    )

    properties: dict[ProfileField, str] = Field(
        default_factory=dict,
        description="Profile field -> name in personal_properties. A field that is not here is not sent.",
    )
    send_names: bool = Field(default=False, description="Send first name and surname as the account's own.")
    send_phone: bool = Field(default=False, description="Send the phone as the account's own.")
    consent_prefix: str | None = Field(
        default=None,
        description="Consents are kept in personal_properties under this prefix and sms, email, call, push. "
        "Unset: Perx is told nothing of them.",
    )

    card_property: str | None = Field(
        default=None,
        min_length=1,
        description="Name in personal_properties for the number of a customer's card, so that a till finds "
        "them by it. Unset: Perx is not told of cards.",
    )
    barcode_property: str | None = Field(
        default=None, min_length=1, description="The same for the barcode; needs `card_property`."
    )

    credit_by: Literal["transaction", "points"] = Field(
        default="transaction",
        description="A receipt without a number of points: report the purchase and let Perx's rules award; "
        "or points: refuse it. A given number of points is always put on directly.",
    )
    currency: str = Field(default="RUB", pattern=r"^[A-Z]{3}$", description="Currency of purchases.")
    transaction_type: str = Field(
        default="purchase", min_length=1, description="transaction_type of purchases, as the rules expect."
    )
    expiring_as_entries: bool = Field(
        default=True, description="Show points that will expire as entries with the day they expire on."
    )
    expiring_description: str = Field(
        default="Баллы сгорают", min_length=1, description="Text of those entries."
    )

    occasions: dict[str, int] = Field(
        default_factory=dict, description="Occasion -> number of the reward that is issued on it."
    )
    promo_codes: dict[str, PromoTarget] = Field(
        default_factory=dict,
        description="Promo code, in any case -> { reward = number } or { trigger = id }.",
    )
    clock_tolerance: float = Field(
        default=5.0, ge=0, le=300, description="Seconds Perx's clock may be behind ours when reconciling."
    )

    search_lag: float = Field(
        default=5.0,
        ge=0,
        le=300,
        description="Seconds Perx's searches may be behind its writes: a registration that is refused while "
        "they show nobody is in doubt until it is refused again after them.",
    )

    page_size: int = Field(default=100, ge=1, le=500, description="Rows asked for at once in a list.")
    most_pages: int = Field(
        default=50, ge=1, le=10_000, description="Pages read at most for one list; older rows are left out."
    )
    tokens_kept: int = Field(
        default=10_000, ge=10, le=1_000_000, description="Customers' tokens kept in memory."
    )
    check_customer: str | None = Field(
        default=None,
        min_length=1,
        description="Identifier of a test customer. With it, check also proves programme and rewards.",
    )

    @field_validator("promo_codes")
    @classmethod
    def _folded(cls, codes: Mapping[str, PromoTarget]) -> dict[str, PromoTarget]:
        folded = {fold(code): target for code, target in codes.items()}
        if len(folded) < len(codes):
            raise ValueError("two codes differ in case or blanks only")
        if "" in folded:
            raise ValueError("a code is empty")
        return folded

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.identifier != "membership" and self.identifier_secret is None:
            raise ValueError(f"identifier_secret is needed with identifier = {self.identifier}")
        if self.identifier != "hmac_phone" and self.find_by == "identifier":
            raise ValueError(f"with identifier = {self.identifier} a phone is found by merchant_search alone")
        if self.searches_by_phone and self.merchant_identifier is None:
            raise ValueError("merchant_identifier is needed to find by merchant_search")
        if self.identifier == "token" and not self.phone_told:
            raise ValueError("with identifier = token nobody is found again unless the phone is sent")
        if self.barcode_property is not None and self.card_property is None:
            raise ValueError("barcode_property needs card_property")
        taken = [*self.properties.values(), self.card_property, self.barcode_property]
        names = [name for name in taken if name is not None]
        if len(set(names)) < len(names):
            raise ValueError("two of properties, card_property and barcode_property have one name")
        return self

    @property
    def searches_by_phone(self) -> bool:
        """Whether a phone is looked up by the merchant search, and not by the derived identifier."""
        if self.find_by is not None:
            return self.find_by == "merchant_search"
        return self.identifier != "hmac_phone"

    @property
    def phone_told(self) -> bool:
        """Whether Perx is told phones, and so tells them back."""
        return self.send_phone or "phone" in self.properties

    def is_shared(self, reward: int) -> bool:
        """Whether more than one promo code or occasion gives this reward."""
        given = [*self.occasions.values(), *(target.reward for target in self.promo_codes.values())]
        return given.count(reward) > 1

    @property
    def names_account_by(self) -> Literal["users_reference", "phone", "card_number"]:
        """``account_by``, or what goes with the identifiers."""
        if self.account_by is not None:
            return self.account_by
        if self.identifier == "token":
            return "users_reference"
        return "card_number" if self.identifier == "membership" else "phone"


def fold(code: str) -> str:
    """A promo code without outer blanks and capitals, which make no other code."""
    return code.strip().casefold()
