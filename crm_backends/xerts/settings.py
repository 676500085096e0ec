"""Settings of the Xerts driver.

Where the documentation contradicts itself, a setting chooses. It may not open anything: the driver does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from crm_backends.http import Auth, Both, HeaderKey, HttpSettings, SessionLogin

ID = r"^[A-Za-z0-9_-]+$"
LOGIN_PATH = "api/members/login"
Id = Annotated[str, StringConstraints(pattern=ID)]
Area = Literal["members", "vendors", "sites", "site_admin", "offers", "offer_sites", "coupons", "reports"]


class XertsSettings(HttpSettings):
    """Where Xerts is, who we are there, which sites are ours, and how this server reads the documentation."""

    base_url: str = Field(
        default="https://api.xerts.io",
        description="Base URL, without /api. https:// unless the host is this machine; the certificate is "
        "always verified.",
    )
    api_key: SecretStr = Field(description="Key of the app provider; goes with every request.")
    email: str | None = Field(
        default=None, description="Login of a member; only the management commands need it."
    )
    password: SecretStr | None = Field(default=None, description="That member's password.")
    member: Id | None = Field(
        default=None, description="That member's id. Unset: the one that the login tells."
    )

    site: Id = Field(
        description="Site whose offers are issued, and where a code is redeemed, unless others are named."
    )
    occasions: Mapping[str, Id] = Field(
        default_factory=dict, description="Occasion -> site whose offers it issues."
    )
    any_occasion: bool = Field(
        default=True,
        description="An occasion that `occasions` does not name issues the offers of `site`; false: nothing.",
    )
    promo: Literal["redeem", "activate"] = Field(
        default="redeem",
        description="What the use of a code is: redeem the coupon, or show it to the site's staff, who "
        "redeem it. An activation leaves no trace, so a doubt about it is never reconciled.",
    )
    redeem_site: Literal["coupon", "default"] = Field(
        default="coupon",
        description="Where a code is redeemed: at the site its coupon names (the coupons are listed first), "
        "or always at `site`.",
    )
    uppercase_codes: bool = Field(default=True, description="Codes are sent in capitals, however typed.")
    code_pattern: str = Field(
        default="[A-Za-z0-9]{5}",
        description="What a code looks like (regular expression); another is refused without asking.",
    )
    clock_tolerance: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Seconds by which the clock of Xerts may be behind ours when a doubt is reconciled.",
    )

    device_namespace: UUID = Field(
        default=UUID("5b0f2a52-6d0c-4f0e-9a35-9be4c4f1d7aa"),
        description="Namespace (UUID) in which a device id is made of a card number. Choose your own, keep "
        "it secret, never change it: with another one every holder is a new device.",
    )
    create_devices: Literal["ahead", "by_issue"] = Field(
        default="ahead",
        description="A new device is created before its first coupons, or left to the call that issues them.",
    )
    device_model: str = Field(default="Koshelek", max_length=100, description="Model of the devices created.")
    device_os: str = Field(default="wallet", max_length=100, description="System of the devices created.")

    token_header: Literal["Authorization", "Authentication"] = Field(
        default="Authorization", description="Header for the token of a login; the documentation has both."
    )
    login_for: frozenset[Area] = Field(
        default=frozenset({"vendors", "site_admin", "offers", "offer_sites", "reports"}),
        description="Management calls that go with a login; by default those that are documented so.",
    )
    coupon_paths: Literal["sites", "site", "site_devices"] = Field(
        default="sites",
        description="Where a device's coupons are listed: /coupons/sites/…/devices/…, "
        "/coupons/site/…/device/…, or /coupons/site/…/devices/…",
    )
    no_coupons: Literal["empty", "404"] = Field(
        default="empty",
        description="How the list of a device without coupons is answered: empty, or by 404. With 404 a "
        "wrong site is not noticed.",
    )
    device_paths: Literal["devices", "device"] = Field(
        default="devices", description="Devices are under /api/devices, or under /api/device/."
    )
    device_check: Literal["find", "exists", "GET", "POST"] = Field(
        default="find",
        description="How the server is asked whether a device exists: GET …/ID/exists as a LoopBack has it, "
        "GET …/ID, or POST …/ID as documented. `find` tries them in this order until one tells.",
    )
    site_admin_method: Literal["PUT", "POST"] = Field(
        default="PUT", description="Method that makes a member a site's administrator."
    )
    site_coupons_method: Literal["GET", "POST"] = Field(
        default="GET", description="Method that lists the coupons of a site."
    )
    vendor_offers_path: Literal["vendors", "vendor"] = Field(
        default="vendors", description="Offers are created under /api/vendors/… or /api/vendor/…"
    )
    gps: Literal["number", "string"] = Field(
        default="number", description="How coordinates are sent; they are read either way."
    )
    gps_longitude: Literal["lng", "long"] = Field(
        default="lng", description="Name of the longitude that is sent; it is read either way."
    )
    trigger_radius: Literal["triggerLocationRadius", "triggerRadius"] = Field(
        default="triggerLocationRadius",
        description="Name of a trigger's radius that is sent; it is read either way.",
    )
    report_date: str = Field(
        default="%d-%m-%Y", min_length=2, description="How the days of a report are written (strftime)."
    )

    @field_validator("code_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error:
            raise ValueError("is not a regular expression") from None
        return pattern

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.email is None) != (self.password is None):
            raise ValueError("email and password go together")
        return self

    def site_for(self, occasion: str) -> str | None:
        """The site whose offers an occasion issues; ``None``: it issues nothing."""
        return self.occasions.get(occasion, self.site if self.any_occasion else None)

    def site_setting(self, occasion: str) -> str:
        """The setting that names the site of an occasion."""
        return f"occasions.{occasion}" if occasion in self.occasions else "site"

    def sites(self) -> Mapping[str, str]:
        """All sites that are named, each once, with the setting that names it."""
        named = {self.site: "site"}
        for occasion, site in self.occasions.items():
            named.setdefault(site, f"occasions.{occasion}")
        return named

    def key(self) -> Auth:
        """The proof that goes with every request."""
        return HeaderKey("API-Key", self.api_key.get_secret_value())

    def session(self) -> Auth | None:
        """The same with a login, whose token goes into its header as it is; ``None`` without a login."""
        if self.email is None or self.password is None:
            return None
        credentials = {"email": self.email, "password": self.password.get_secret_value()}
        return Both(self.key(), SessionLogin(LOGIN_PATH, credentials, header=self.token_header))
