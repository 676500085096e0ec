"""Requests as callers write them, read leniently: other spellings, other types, other places.

It may not know how an answer is formed.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar

import pydantic_core
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from adapter.errors import Code, Refused
from crm_backends import inputs
from crm_backends.model import CHANNELS, Channel, ChannelConsents, Profile, Sex

Model = TypeVar("Model", bound=BaseModel)


def _plain_text(value: Any) -> Any:
    """A number as its digits, a text without invisible characters; an empty text counts as absent."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    if "\x00" in value:
        raise ValueError("holds a NUL character")
    return inputs.one_line(value) or None


def _identifying(value: Any) -> Any:
    """The same for a phone, an e-mail or a card; a word such as ``null`` or ``нет`` also counts as absent."""
    text = _plain_text(value)
    return None if isinstance(text, str) and inputs.is_left_out(text) else text


def _address_of_a_query(value: Any) -> Any:
    """An e-mail has no blank in it: a blank in a query is a plus sign that was not encoded."""
    return value.strip().replace(" ", "+") if isinstance(value, str) and "@" in value else value


def _birth_date(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("not YYYY-MM-DD")
    return inputs.birth_date_of(value)


def _day(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("not YYYY-MM-DD")
    return None if inputs.is_left_out(value) else inputs.day_of(value)


def _sex(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("not one of m, f, м, ж, male, female")
    return inputs.sex_of(value)


OptionalText = Annotated[Annotated[str, Field(max_length=255)] | None, BeforeValidator(_plain_text)]
Identifying = Annotated[Annotated[str, Field(max_length=255)] | None, BeforeValidator(_identifying)]
BirthDate = Annotated[date | None, BeforeValidator(_birth_date)]
Day = Annotated[date | None, BeforeValidator(_day)]


class Lenient(BaseModel):
    """Base of request models: keys in any case, unknown keys ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


def _key(name: str, *more: str) -> Any:
    return AliasChoices(*(key.lower() for key in (name, *more)))


class ProfileBody(Lenient):
    """The profile object, body of issue and update."""

    phone: Identifying = Field(None, validation_alias=_key("phone", "msisdn"))
    email: Identifying = Field(None, validation_alias=_key("email"))
    first_name: OptionalText = Field(None, validation_alias=_key("firstname"))
    patronymic: OptionalText = Field(None, validation_alias=_key("patronymic"))
    surname: OptionalText = Field(None, validation_alias=_key("surname"))
    birth_date: BirthDate = Field(None, validation_alias=_key("birthDate"))
    sex: Annotated[Sex | None, BeforeValidator(_sex)] = Field(None, validation_alias=_key("sex"))
    country_code: OptionalText = Field(None, validation_alias=_key("countryCode"))
    locality: OptionalText = Field(None, validation_alias=_key("locality"))

    def profile(self, region: str) -> Profile:
        """The profile, with phone and e-mail normalised. Raises ``Refused(FIELD_INVALID)``."""
        return Profile(
            phone=phone_field("phone", self.phone, region),
            email=email_field("email", self.email),
            first_name=self.first_name,
            patronymic=self.patronymic,
            surname=self.surname,
            birth_date=self.birth_date,
            sex=self.sex,
            country_code=self.country_code,
            locality=self.locality,
        )


def _channels(value: Any) -> Any:
    """Known channels of a list; unknown values are ignored (official list; push: one partner)."""
    if value is None:
        return frozenset()
    if not isinstance(value, list):
        raise ValueError("not a list")
    known: set[Channel] = set()
    for item in value:
        if not isinstance(item, str):
            raise ValueError("not a list of strings")
        known.update(channel for channel in CHANNELS if channel == item.strip().lower())
    return frozenset(known)


class ConsentsBody(Lenient):
    """KLO-2."""

    allow: Annotated[frozenset[Channel], BeforeValidator(_channels)] = Field(
        frozenset(), validation_alias=_key("allow")
    )
    deny: Annotated[frozenset[Channel], BeforeValidator(_channels)] = Field(
        frozenset(), validation_alias=_key("deny")
    )

    def consents(self) -> ChannelConsents:
        """Raises ``Refused(FIELD_INVALID)`` for a channel that is allowed and denied at once."""
        if self.allow & self.deny:
            raise Refused(Code.FIELD_INVALID, "deny")
        return ChannelConsents(allow=self.allow, deny=self.deny)


class FindQuery(Lenient):
    """KLO-1; a parameter without a value counts as absent."""

    msisdn: Identifying = Field(None, validation_alias=_key("msisdn"))
    email: Annotated[Identifying, BeforeValidator(_address_of_a_query)] = Field(
        None, validation_alias=_key("email")
    )
    birth_date: BirthDate = Field(None, validation_alias=_key("birthDate"))


class PurchasesQuery(Lenient):
    """KLO-7; whole days."""

    start_date: Day = Field(None, validation_alias=_key("startDate"))
    end_date: Day = Field(None, validation_alias=_key("endDate"))


class HolderFields(Lenient):
    """Whose receipt or promo code it is (inferred): a card number, or the owner's phone."""

    card_number: Identifying = Field(None, validation_alias=_key("cardNumber", "card"))
    msisdn: Identifying = Field(None, validation_alias=_key("msisdn", "phone"))


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``; a BOM before it is passed over (RFC 8259).

    Raises ``Refused``: NOT_JSON, NOT_AN_OBJECT.
    """
    try:
        value = pydantic_core.from_json(body.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
    except ValueError:
        raise Refused(Code.NOT_JSON) from None
    if not isinstance(value, dict):
        raise Refused(Code.NOT_AN_OBJECT)
    return value


def by_lower_case(given: Mapping[str, Any], other_names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The fields by their names in lower case, those of the contract also from other names (settings)."""
    values = {key.lower(): item for key, item in given.items()}
    for name, others in other_names.items():
        if values.get(name.lower()) in (None, ""):
            found = (value_at(values, other) for other in others)
            values |= {name.lower(): value for value in found if value not in (None, "")}
    return values


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """What stands under a name in any case, or, with dots in it, within objects; ``None``: nothing does."""
    path = path.lower()
    if path in values or "." not in path:
        return values.get(path)
    name, _, rest = path.partition(".")
    inner = values.get(name)
    if not isinstance(inner, Mapping):
        return None
    return value_at({key.lower(): item for key, item in inner.items()}, rest)


def read(model: type[Model], values: Mapping[str, Any]) -> Model:
    """``values`` (keys in lower case) as ``model``. Raises ``Refused(FIELD_INVALID)`` with the field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        location = error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"]
        field = str(location[0]) if location else None
        raise Refused(Code.FIELD_INVALID, _wire_name(field)) from None


def _wire_name(name: str | None) -> str | None:
    """The contract's spelling of a key that was read in lower case."""
    return _SPELLING.get(name, name) if name else None


_SPELLING = {
    "birthdate": "birthDate",
    "countrycode": "countryCode",
    "startdate": "startDate",
    "enddate": "endDate",
    "cardnumber": "cardNumber",
}


def phone_field(name: str, text: str | None, region: str) -> str | None:
    """The phone in E.164. Raises ``Refused(FIELD_INVALID)`` naming the field."""
    if text is None:
        return None
    phone = inputs.read_phone(text, region)
    if phone is None:
        raise Refused(Code.FIELD_INVALID, name)
    return phone


def email_field(name: str, text: str | None) -> str | None:
    """The e-mail, normalised. Raises ``Refused(FIELD_INVALID)`` naming the field."""
    if text is None:
        return None
    email = inputs.read_email(text)
    if email is None:
        raise Refused(Code.FIELD_INVALID, name)
    return email


def receipt_field(values: Mapping[str, Any], name: str) -> str | None:
    """A value of a receipt that comes in a field of its own; a total may be a JSON number. Raises as
    ``text_field``."""
    value = values.get(name)
    return str(value) if isinstance(value, float) else text_field(values, [name])


def text_field(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of these fields (any case) that holds text, as it came.

    Raises ``Refused(FIELD_INVALID)``.
    """
    for name in names:
        value = value_at(values, name)
        try:
            text = _plain_text(value)
        except ValueError:
            raise Refused(Code.FIELD_INVALID, name) from None
        if text is None:
            continue
        if not isinstance(text, str):
            raise Refused(Code.FIELD_INVALID, name)
        return value if isinstance(value, str) else text
    return None
