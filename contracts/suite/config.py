"""Options of a run: a YAML file, ``KLO_*`` variables over it, the command line over both.

A key nobody knows is an error that names the nearest one. Identities of people to test with come from here
too. It may not know what is checked.
"""

from __future__ import annotations

import json
import os
import re
import typing
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from contracts.kit.settings import nearest, read_secret
from contracts.suite import option_file

PREFIX = "KLO_"
CONFIG_VARIABLE = "KLO_CONFIG"
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
ApiVersion = Literal["1.0.0", "1.1.0", "1.2.0", "1.3.0"]


OF_A_RUN = (
    "urls", "targets", "api_version", "profile", "strict", "only", "without", "require", "max_skips",
    "baseline", "report_dir", "resume", "show_values", "language",
)  # fmt: skip
"""Options that are the same for all services of a run."""


class ConfigError(Exception):
    """The options cannot be used; one line per problem, none with a value in it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _digits(value: Any) -> Any:
    """A variable that is JSON may have a number; a phone or a card number is text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_PUNCTUATION = str.maketrans("", "", " ()-\u00a0")
"""What people put between the digits of a phone."""


class Identity(_Section):
    """A person or card of the programme that may be used in tests."""

    phone: str | None = Field(None, description="Digits with the country code, no plus.")
    email: str | None = Field(None, description="E-mail.")
    birth_date: date | None = Field(None, description="YYYY-MM-DD.")
    card_number: str | None = Field(None, description="Card number; unset: method 1 tells it.")

    _text = field_validator("phone", "card_number", mode="before")(_digits)

    @field_validator("phone")
    @classmethod
    def _bare_digits(cls, value: str | None) -> str | None:
        digits = None if value is None else value.strip().lstrip("+").translate(_PUNCTUATION)
        if digits is not None and not (digits.isascii() and digits.isdigit() and 5 <= len(digits) <= 15):
            raise ValueError("expected 5 to 15 digits with the country code")
        return digits


class Options(BaseSettings):
    """Everything that can be said about a run."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    urls: Annotated[list[str], NoDecode] = Field(
        [], description="Base URLs of the services to test; `NAME=URL` names one. They share one login."
    )
    login: str = Field("", description="User name of the service.")
    password: SecretStr | None = Field(None, description="Its password; better `password_file`.")
    password_file: Path | None = Field(None, description="File that holds the password.")
    api_version: ApiVersion = Field("1.3.0", description="Version of the contract to hold the service to.")
    profile: Literal["read", "full"] = Field(
        "read",
        description="read changes nothing, but tries wrong passwords and hostile texts, and reads the lists "
        "of all users; full issues cards and sends receipts too.",
    )
    strict: bool = Field(False, description="Breaches of clauses that are not official are failures too.")
    only: Annotated[list[str], NoDecode] = Field(
        [], description="KLO-3, KLO-3-02, or the beginning of a check's name."
    )
    without: Annotated[list[str], NoDecode] = Field([], description="What is left out, named as in `only`.")
    require: Annotated[list[str], NoDecode] = Field(
        [], description="Clauses that have to be judged: KLO-10, KLO-3-02, official, money or identity."
    )
    max_skips: int | None = Field(None, ge=0, description="Checks that may be skipped; more are a failure.")
    targets: dict[str, dict[str, Any]] = Field(
        {}, description="Services with a login or people of their own: a name, and its options, with `url`."
    )
    baseline: Path | None = Field(
        None, description="YAML file of breaches that are accepted: check or clause, and the reason."
    )
    base_path: str = Field("", description="Path between the host and /v1.")
    ca_file: Path | None = Field(None, description="PEM file of the authority that signed the certificate.")
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds to wait for one answer.")
    list_timeout: float = Field(
        120.0, gt=0, le=3600, description="Seconds to wait for a list of all users (method 9)."
    )
    rate: float | None = Field(None, gt=0, le=1000, description="Requests a second at most; unset: no limit.")
    parallel: int = Field(4, ge=1, le=64, description="Checks under way at once.")
    report_dir: Path | None = Field(None, description="Folder for report.html, junit.xml and the others.")

    resume: Path | None = Field(
        None, description="Report folder of a run that ended early: what it judged is taken from there."
    )
    show_values: bool = Field(
        False, description="Write values.txt beside the reports: failed exchanges with everybody's values."
    )
    language: Literal["en", "ru"] | None = Field(
        None, description="Language of terminal and report.html; unset: Russian where the locale is."
    )

    existing: Identity | None = Field(
        None, description="A person with an active card; in the full profile receipts go to it."
    )
    blocked: Identity | None = Field(None, description="The owner of a blocked card.")
    ambiguous: Identity | None = Field(
        None, description="Phone of one person and e-mail of another; both have cards."
    )
    unknown: Identity | None = Field(None, description="Phone or e-mail of nobody.")
    plastic: str | None = Field(None, description="Number of a plastic card without an owner; used up.")
    test_range: str = Field(
        "7900000",
        description="First digits of phones that may be given to made-up people; the rest is random.",
    )
    promo_code: str | None = Field(
        None,
        description="A promo code that is accepted. Used about fifteen times, by as many made-up people.",
    )
    promo_holder: Literal["new", "existing"] = Field(
        "new",
        description="Who may use it: somebody made up, or `existing`, who uses it once in a run; where it is "
        "good for one time alone, each run needs a new code.",
    )
    refused_promo_code: str = Field("NO-SUCH-CODE-404", description="A promo code that is refused.")
    receipt: str | None = Field(
        None,
        description="QR text of a receipt that is accepted; {t} {s} {fn} {i} {fp} stand for made-up values. "
        "Unset: a made-up sale.",
    )
    receipt_holder: Literal["new", "existing"] = Field(
        "new", description="Whether a receipt of somebody made up is accepted, or of `existing` alone."
    )
    receipt_total: str = Field("1000.00", description="Total of a made-up receipt, roubles.")
    receipt_points: Decimal | None = Field(
        None, ge=0, description="Points that such a receipt gives; 0: none. Unset: not known."
    )
    promo_points: Decimal | None = Field(
        None, ge=0, description="Points that the promo code gives; 0: none. Unset: not known."
    )
    receipt_wait: float = Field(
        10.0, ge=0, le=300, description="Seconds in which the points of a receipt show in the balance."
    )
    qr_field: str = Field(
        "qrCode", min_length=1, description="Name of the field with the QR text (inferred)."
    )
    promo_field: str = Field(
        "code", min_length=1, description="Name of the field with the promo code (inferred)."
    )
    holder_by: Literal["cardNumber", "msisdn"] = Field(
        "cardNumber", description="How a receipt or promo code names its card holder (inferred)."
    )
    offers_path: str = Field(
        "/v1/card/{cardNumber}/offers", description="Path of the offers method (inferred)."
    )

    _text = field_validator("plastic", "test_range", "promo_code", "refused_promo_code", mode="before")(
        _digits
    )

    @field_validator("urls", "only", "without", "require", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not value.startswith("["):
            return [one.strip() for one in value.split(",")]
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("expected texts with commas between them, or a JSON array") from None

    @field_validator("existing", "blocked", "ambiguous", "unknown")
    @classmethod
    def _can_be_looked_up(cls, value: Identity | None, field: ValidationInfo) -> Identity | None:
        if value is None:
            return value
        if field.field_name == "ambiguous" and not (value.phone and value.email):
            raise ValueError("needs phone and email")
        if not (value.phone or value.email or (field.field_name == "existing" and value.card_number)):
            raise ValueError("needs phone or email: it is looked up by them")
        return value

    @field_validator("test_range")
    @classmethod
    def _begins_a_phone(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,13}", value):
            raise ValueError("expected 1 to 13 digits, the country code first")
        return value

    @field_validator("receipt_total")
    @classmethod
    def _roubles(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,7}\.[0-9]{2}", value):
            raise ValueError("expected roubles and two digits of kopecks: 1000.00")
        return value

    @field_validator("base_path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s?#]*", value):
            raise ValueError("expected a path like /loyalty, without ? and #")
        return value

    @field_validator("offers_path")
    @classmethod
    def _names_the_card(cls, value: str) -> str:
        if value.count("{cardNumber}") != 1 or not value.startswith("/"):
            raise ValueError("the path begins with / and holds {cardNumber} once")
        return value

    @field_validator("targets")
    @classmethod
    def _of_one_service(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        known = [name for name in cls.model_fields if name not in OF_A_RUN]
        for name, more in value.items():
            for key in more.keys() - {"url", *known}:
                raise ValueError(f"{name}.{key} is no option of one service{_nearest(key, ['url', *known])}")
            if not more.get("url"):
                raise ValueError(f"{name} needs url")
        return value

    def for_target(self, more: Mapping[str, Any]) -> Options:
        """The same with the options of one service over them. Raises ``ConfigError``."""
        given = self.model_dump(exclude={"targets", "urls"}, exclude_unset=True)
        own = {key: value for key, value in more.items() if key != "url"}
        if {"password", "password_file"} & own.keys():
            given = {key: value for key, value in given.items() if key not in ("password", "password_file")}
        try:
            return Options(**(given | own | {"urls": [more["url"]]}))
        except ValidationError as error:
            raise ConfigError([f"targets: {key}: {reason}" for key, reason in problems_of(error)]) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # file and environment have a say in read_options alone

    @property
    def secret(self) -> str:
        """The password. Raises ``ConfigError`` when its file cannot be read."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return ""
        try:
            return read_secret(self.password_file).removeprefix("\ufeff")
        except ValueError as reason:
            raise ConfigError([f"password_file: cannot read {self.password_file}: {reason}"]) from None


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    near = nearest(key, known)
    return f"; did you mean {near}?" if near else ""


def _known_at(path: tuple[int | str, ...]) -> list[str]:
    """Keys that are valid beside the last part of ``path``."""
    return list(Identity.model_fields if len(path) > 1 else Options.model_fields)


def problems_of(error: ValidationError) -> list[tuple[str, str]]:
    """Each key with a problem, and the problem; no value is told."""
    told = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        location = problem["loc"]
        if problem["type"] == "extra_forbidden":
            reason = f"unknown key{_nearest(str(location[-1]), _known_at(location))}"
        else:
            reason = problem["msg"].removeprefix("Value error, ")
        told.append((".".join(map(str, location)) or "options", reason))
    return told


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables with our prefix that are no option: pydantic would pass over them."""
    problems = []
    known = [f"{PREFIX}{name.upper()}" for name in Options.model_fields]
    for name in environment:
        upper = name.upper()
        if upper.startswith(PREFIX) and upper != CONFIG_VARIABLE and upper.partition("__")[0] not in known:
            problems.append(f"{name}: unknown variable{_nearest(upper, known)}")
    return problems


def _sourced(file: dict[str, Any]) -> type[Options]:
    """Options that look into the environment, and into what the file says."""

    class Sourced(Options):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, file))

    return Sourced


def _settle_password(chosen: dict[str, Any], file: dict[str, Any], file_name: str) -> list[str]:
    """Of password and password file, keep what the strongest source gives, and drop what weaker ones give."""
    names = {"password", "password_file"}
    environment = {
        name.upper().removeprefix(PREFIX).lower() for name in os.environ if name.upper().startswith(PREFIX)
    }
    for source, keys in (("command line", chosen), ("environment", environment), (file_name, file)):
        if said := names.intersection(keys):
            chosen.update(dict.fromkeys(names - said))
            return (
                [f"{source}: password and password_file are both set; one is enough"] if said == names else []
            )
    return []


def read_options(given: Mapping[str, Any], file: Path | None = None) -> Options:
    """Options from ``file`` (else ``$KLO_CONFIG``), the environment over it, ``given`` over both.

    What is ``None`` in ``given`` was not given. Raises ``ConfigError`` with all problems at once.
    """
    problems = _unknown_variables(os.environ)
    path = file or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = option_file.read(path)
        except option_file.Unreadable as reason:
            raise ConfigError([f"{path}: {reason}"]) from None
    chosen = {key: value for key, value in given.items() if value is not None}
    problems += _settle_password(chosen, values, str(path))
    try:
        options = _sourced(values)(**chosen)
    except ValidationError as error:
        problems += [f"{key}: {reason}" for key, reason in problems_of(error)]
        raise ConfigError(problems) from None
    except ValueError as error:  # a value in the environment that is no JSON where it has to be
        raise ConfigError([*problems, f"environment: {error}"]) from None
    if problems:
        raise ConfigError(problems)
    return options
