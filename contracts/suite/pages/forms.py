"""The form of the first page: which options it asks for, and options made of what was typed.

Options that name files of this machine are not asked for: whoever reaches the pages may be somebody else. It
may not know how the form looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from contracts.suite.config import Options, problems_of
from contracts.suite.reference import EXAMPLES, choices

LONGEST = 2000
"""Characters of a field."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form."""

    name: str
    """Key of an option; ``existing.phone`` for one of an identity."""
    label: str
    kind: str = "text"
    """``text``, ``password``, ``choice`` or ``yes``."""

    @property
    def choices(self) -> tuple[str, ...]:
        return choices(Options.model_fields[self.name])

    @property
    def default(self) -> str:
        """What a choice shows at first."""
        return str(Options.model_fields[self.name].default) if self.kind == "choice" else ""

    @property
    def hint(self) -> str:
        key, _, part = self.name.partition(".")
        if part:
            return ""
        return str(Options.model_fields[key].description)

    @property
    def example(self) -> str:
        key, _, part = self.name.partition(".")
        if part:
            return {"phone": "79001234567", "email": "anna@example.org", "birth_date": "1990-01-31"}.get(
                part, ""
            )
        return "" if key not in EXAMPLES else EXAMPLES[key].strip("[]")


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together."""

    title: str
    text: str
    fields: tuple[Field, ...]
    key: str = ""
    """What messages call the person whom the fields are about."""

    def stands_open(self, values: Mapping[str, str], problems: Mapping[str, str]) -> bool:
        """Whether something of it was typed, or has to be corrected."""
        return any(
            field.name in problems or values.get(field.name, "") not in ("", field.default)
            for field in self.fields
        )


def _person(key: str, *parts: str) -> tuple[Field, ...]:
    return tuple(Field(f"{key}.{part}", _PARTS[part]) for part in parts)


_PARTS = {"phone": "Phone", "email": "E-mail", "birth_date": "Birth date", "card_number": "Card number"}
SERVICE = Group(
    "Service",
    "",
    (
        Field("urls", "Address"),
        Field("login", "Login"),
        Field("password", "Password", "password"),
        Field("api_version", "Version of the contract", "choice"),
    ),
)
HOW = Group("How it is tested", "", (Field("profile", "Profile", "choice"), Field("strict", "Strict", "yes")))
PEOPLE = (
    Group(
        "Somebody with an active card",
        str(Options.model_fields["existing"].description),
        _person("existing", "phone", "email", "birth_date", "card_number"),
        "existing",
    ),
    Group(
        "The owner of a blocked card",
        str(Options.model_fields["blocked"].description),
        _person("blocked", "phone", "email"),
        "blocked",
    ),
    Group(
        "Two people in one look-up",
        str(Options.model_fields["ambiguous"].description),
        _person("ambiguous", "phone", "email", "birth_date"),
        "ambiguous",
    ),
    Group(
        "Nobody",
        str(Options.model_fields["unknown"].description),
        _person("unknown", "phone", "email"),
        "unknown",
    ),
    Group(
        "Cards and phones to be used up",
        "",
        (Field("plastic", "Plastic card"), Field("test_range", "Phones")),
    ),
)
POINTS = Group(
    "Receipts and promo codes",
    "",
    (
        Field("receipt", "Receipt"),
        Field("receipt_holder", "Receipts are sent by", "choice"),
        Field("receipt_total", "Total of a receipt"),
        Field("receipt_points", "Points of a receipt"),
        Field("receipt_wait", "Points show within"),
        Field("promo_code", "Promo code"),
        Field("promo_holder", "Promo codes are used by", "choice"),
        Field("promo_points", "Points of a promo code"),
        Field("refused_promo_code", "Refused promo code"),
    ),
)
MORE = Group(
    "Everything else",
    "",
    (
        Field("base_path", "Base path"),
        Field("only", "Only"),
        Field("without", "Without"),
        Field("rate", "Requests a second"),
        Field("parallel", "Checks at once"),
        Field("timeout", "Seconds for an answer"),
        Field("qr_field", "Field of the QR text"),
        Field("promo_field", "Field of the promo code"),
        Field("holder_by", "The holder is named by", "choice"),
        Field("offers_path", "Path of the offers"),
    ),
)
GROUPS = (SERVICE, HOW, *PEOPLE, POINTS, MORE)
FIELDS = {field.name: field for group in GROUPS for field in group.fields}


class BadForm(Exception):
    """What was typed cannot be used."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        """``problems``: by the name of the field."""
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)


def typed(posted: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a posted form without outer blanks; the password is left out."""
    values = {}
    for name, field in FIELDS.items():
        if field.kind != "password":
            values[name] = str(posted.get(name, ""))[:LONGEST].strip()
    return values


def shown(options: Options) -> dict[str, str]:
    """What the form shows for these options; what is a default by itself is left empty, but for choices."""
    values = {}
    for name, field in FIELDS.items():
        key, _, part = name.partition(".")
        value = getattr(options, key)
        if isinstance(value, BaseModel):
            value = getattr(value, part)
        if field.kind == "password" or value is None or (part and isinstance(value, str) and not value):
            values[name] = ""
        elif field.kind == "yes":
            values[name] = "yes" if value else ""
        elif field.kind != "choice" and value == Options.model_fields[key].default:
            values[name] = ""
        else:
            values[name] = ", ".join(value) if isinstance(value, list) else str(value)
    return values


def options_of(defaults: Options, values: Mapping[str, str], password: str) -> Options:
    """Options of what was typed; for what the form does not ask for, ``defaults``. Raises ``BadForm``."""
    asked = {name.partition(".")[0] for name in FIELDS} | {"password_file", "targets"}
    given = defaults.model_dump(exclude=asked, exclude_unset=True)
    given |= dict(_given(values)) | {"password": SecretStr(password)}
    try:
        options = Options(**given)
    except ValidationError as error:
        raise BadForm({_field_of(key): reason for key, reason in problems_of(error)}) from None
    if not options.urls:
        raise BadForm({"urls": "the address of the service is missing"})
    return options


def _given(values: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    people: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        key, _, part = name.partition(".")
        if not value or name not in FIELDS:
            continue
        if part:
            people.setdefault(key, {})[part] = value
        else:
            yield key, (value == "yes" if FIELDS[name].kind == "yes" else value)
    yield from people.items()


def _field_of(key: str) -> str:
    """The field beside which a problem is shown; for a problem of a person, the person's first field."""
    if key in FIELDS:
        return key
    head = key.partition(".")[0]
    return next((name for name in FIELDS if name.partition(".")[0] == head), head)
