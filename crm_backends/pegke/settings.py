"""Settings of the Pegke driver: what the vendor has to tell, with what is believed as the default.

Nothing but the request that gives points is documented, so where values are in a reply is a setting too.
It may not open anything: the driver does.
"""

from __future__ import annotations

import re
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from crm_backends.http import HttpSettings
from crm_backends.http.settings import checked_url

Dialect = Literal["site_v1_1", "merchant_v1"]

_BASE: dict[Dialect, str] = {
    "site_v1_1": "https://dashboard.pegke.com/v1",
    "merchant_v1": "https://dashboard.pegke.com/apiv1",
}
_BALANCE: dict[Dialect, str] = {"site_v1_1": "points", "merchant_v1": "data.points"}
_HISTORY: dict[Dialect, str] = {"site_v1_1": "history", "merchant_v1": "data.history"}
_PAGES: dict[Dialect, str] = {"site_v1_1": "pages", "merchant_v1": "data.pages"}
_SUCCESS: dict[Dialect, str] = {"site_v1_1": "", "merchant_v1": "status"}


class PegkeSettings(HttpSettings):
    """Where Pegke is, who we are there, how a customer is named, and how its replies are read."""

    dialect: Dialect = Field(
        default="site_v1_1",
        description="`site_v1_1`: Web API v1.1 with OAuth 2. `merchant_v1`: the merchant API of 2016.",
    )
    base_url: str = Field(
        default="",
        description="Base URL of the API. Unset: the vendor's own for the dialect. https:// unless the host "
        "is this machine; the certificate is always verified.",
    )

    # site_v1_1: credentials
    client_id: str | None = Field(default=None, description="site_v1_1: client id of the merchant account.")
    client_secret: SecretStr | None = Field(default=None, description="site_v1_1: client secret.")
    token_path: str = Field(
        default="oauth2/token",
        min_length=1,
        description="site_v1_1: token endpoint below `base_url`, or a whole URL.",
    )
    invalidate_path: str = Field(
        default="oauth2/invalidate_token",
        min_length=1,
        description="site_v1_1: where a token is given up, below `base_url`, or a whole URL.",
    )
    token_body: Literal["form", "json"] = Field(
        default="form", description="site_v1_1: how the fields of a token request are sent."
    )
    token_credentials: Literal["basic", "body"] = Field(
        default="basic",
        description="site_v1_1: client id and secret in the Authorization header or among the fields.",
    )
    too_often_code: int = Field(
        default=99, description="site_v1_1: code that makes a 403 mean `asked too often`."
    )
    back_off: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="site_v1_1: seconds without another token request after such a 403.",
    )

    # merchant_v1: credentials
    consumer_code: str | None = Field(default=None, description="merchant_v1: first half of the bearer key.")
    consumer_secret: SecretStr | None = Field(
        default=None, description="merchant_v1: second half of the bearer key, after the dot."
    )

    # How a customer is named
    id_type: Literal["mob", "cid", "email"] = Field(
        default="mob",
        description="By what Pegke is told who a customer is: phone, Pegke's customer id (taken from the "
        "users CRM's id of the customer), or e-mail. merchant_v1 knows phones alone.",
    )
    country_prefix: str | None = Field(
        default=None,
        pattern=r"^\+?[0-9]{0,4}$",
        description="Country code to take off a phone, `+91` for India; empty: take none off. Unset: that of "
        "the programme's region. Phones of other countries have no account.",
    )
    mob_as: Literal["number", "text"] = Field(
        default="number",
        description="site_v1_1: send a phone as a JSON number, as the vendor's sample does, or as text. "
        "One with a leading zero always goes as text.",
    )
    whole_points: bool = Field(
        default=True, description="Pegke takes whole points only; a credit with a fraction is refused."
    )

    # Paths
    give_path: str = Field(
        default="entity/user", min_length=1, description="site_v1_1: path of the request that gives points."
    )
    balance_path: str | None = Field(
        default=None,
        min_length=1,
        description="site_v1_1: path of a GET that tells a customer's balance, as the vendor names it to "
        "you. Unset: balances are not available, and a doubtful credit is held for a person.",
    )
    history_path: str | None = Field(
        default=None,
        min_length=1,
        description="site_v1_1: path of a GET that tells a customer's movements. Unset: not available.",
    )
    page_parameter: str = Field(
        default="page", min_length=1, description="site_v1_1: query parameter for the page of the movements."
    )
    history: bool = Field(
        default=True, description="Read movements, where there is a way to; off if they cannot be understood."
    )
    history_pages: int = Field(
        default=5, ge=1, le=100, description="Most pages of movements read for one answer."
    )

    # How replies are read
    balance_field: str | None = Field(
        default=None,
        description="Where the balance is in its reply, steps joined by dots. Unset: `points` in site_v1_1, "
        "`data.points` in merchant_v1.",
    )
    history_field: str | None = Field(
        default=None,
        description="Where the list of movements is. Unset: `history` in site_v1_1, `data.history` in "
        "merchant_v1. The newest must come first.",
    )
    history_pages_field: str | None = Field(
        default=None,
        description="Where the number of pages is. Unset: `pages` in site_v1_1, `data.pages` in merchant_v1. "
        "Without a number there, pages are read until one is empty.",
    )
    entry_points_field: str = Field(default="points", description="In a movement: its points.")
    entry_date_field: str = Field(default="date", description="In a movement: when it was.")
    entry_note_field: str = Field(default="note", description="In a movement: its text.")
    entry_kind_field: str | None = Field(
        default=None, description="In a movement: what it was, where spent points have no minus of their own."
    )
    entry_spent_kinds: list[str] = Field(
        default=[], description="Values of `entry_kind_field` that mean that points were spent."
    )
    date_format: str | None = Field(
        default=None,
        description="Format of times (strptime). Unset: ISO 8601, or seconds since 1970 where it is a "
        "number.",
    )
    history_timezone: str | None = Field(
        default=None, description="Zone of times that name none. Unset: the programme's."
    )
    clock_slack: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="Seconds Pegke's clock may be behind ours. A movement like a doubtful credit that is not "
        "older than this before it keeps the credit from being sent again.",
    )
    success_field: str | None = Field(
        default=None,
        description="Where a reply says whether it went well; empty: the HTTP status says all. Unset: empty "
        "in site_v1_1, `status` in merchant_v1.",
    )
    success_values: list[str] = Field(
        default=["success", "ok", "true", "1"],
        description="What `success_field` says when it went well, in lower case.",
    )
    failure_values: list[str] = Field(
        default=["error", "fail", "failed", "failure", "false", "0"],
        description="What it says when it did not. Anything else leaves a credit in doubt.",
    )
    absent_statuses: list[int] = Field(
        default=[404], description="HTTP statuses that mean that there is no such customer."
    )
    absent_pattern: str = Field(
        default=r"(customer|user|member|phone|mobile|email).{0,40}(not (exist|found|registered)|unknown)"
        r"|no such (customer|user|member)",
        description="Regular expression; a refusal with a text it is found in, in any case, means the same.",
    )
    check_account: str | None = Field(
        default=None,
        min_length=1,
        description="A customer of your own for `check` to read the balance of, in Pegke's form (a local "
        "phone): proves that the replies are understood.",
    )

    @field_validator("absent_pattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error:
            raise ValueError("is not a regular expression") from None
        return pattern

    @field_validator("history_timezone")
    @classmethod
    def _zone(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (LookupError, ValueError, OSError):
                raise ValueError("is not a time zone such as Asia/Kolkata") from None
        return zone

    @field_validator("token_path", "invalidate_path")
    @classmethod
    def _endpoint(cls, path: str) -> str:
        return checked_url(path) if "://" in path else path

    @model_validator(mode="after")
    def _of_the_dialect(self) -> Self:
        if self.dialect == "site_v1_1":
            if not self.client_id or not _given(self.client_secret):
                raise ValueError("dialect site_v1_1 needs client_id and client_secret")
        else:
            if not self.consumer_code or not _given(self.consumer_secret):
                raise ValueError("dialect merchant_v1 needs consumer_code and consumer_secret")
            if self.id_type != "mob":
                raise ValueError('dialect merchant_v1 needs id_type = "mob"')
        self.base_url = self.base_url or _BASE[self.dialect]
        self.balance_field = _unless_set(self.balance_field, _BALANCE[self.dialect])
        self.history_field = _unless_set(self.history_field, _HISTORY[self.dialect])
        self.history_pages_field = _unless_set(self.history_pages_field, _PAGES[self.dialect])
        self.success_field = _unless_set(self.success_field, _SUCCESS[self.dialect])
        return self


def _given(secret: SecretStr | None) -> bool:
    return secret is not None and bool(secret.get_secret_value())


def _unless_set(value: str | None, default: str) -> str:
    return default if value is None else value
