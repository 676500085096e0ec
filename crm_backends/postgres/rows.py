"""From a row of the database to the driver's model, by column name, and from the model to parameters.

Types were checked when the statement was first prepared; here values are brought into form, phones and
e-mails by ``crm_backends.inputs``. This module may not know any connection, and puts no value into an error.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo

import asyncpg

from crm_backends import inputs
from crm_backends.model import (
    CRM_CARD_STATES,
    Balance,
    Credit,
    CrmCard,
    CrmCardState,
    Customer,
    Holder,
    ListedPhone,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
    Sex,
)
from crm_backends.ports import Refusal, Written

OUTCOMES = ("done", *(str(refusal) for refusal in Refusal))
"""What the column ``outcome`` of a write may say."""
_WORD = re.compile(r"[A-Za-z_]{1,30}")
"""A wrong ``outcome`` that may be quoted: one word, so that no sentence and no number of a person is."""


class RowError(ValueError):
    """A required column is null or cannot be read; the message names the column only."""


class ValueRefused(ValueError):
    """A column has a value other than those it may have; the message names the column only."""


@dataclass(slots=True)
class LeftOut:
    """Rows that a list leaves out because their phone is unreadable."""

    rows: int = 0
    shape: str = ""
    """What the first of their values looks like."""

    def add(self, error: inputs.UnreadablePhone) -> None:
        self.rows += 1
        self.shape = self.shape or str(error)


def _needed(row: asyncpg.Record, column: str) -> object:
    value = row[column]
    if value is None:
        raise RowError(column)
    return value


def _text(row: asyncpg.Record, column: str) -> str | None:
    value = row.get(column)
    return None if value is None else str(value)


def _points(row: asyncpg.Record, column: str) -> Decimal | None:
    """An amount; ``None``: null, or no finite number."""
    return inputs.amount_of(row.get(column))


def _moment(row: asyncpg.Record, column: str, zone: ZoneInfo) -> datetime | None:
    """An aware moment; without a zone it is local time of the programme. ``None``: null, or infinite."""
    value = row.get(column)
    if value is None or not 1 < value.year < 9999:
        return None
    if not isinstance(value, datetime):
        return datetime.combine(value, time.min, zone)
    return value if value.tzinfo else value.replace(tzinfo=zone)


def _day(row: asyncpg.Record, column: str, zone: ZoneInfo) -> date | None:
    value = row.get(column)
    if value is None or not 1 < value.year < 9999:
        return None
    if not isinstance(value, datetime):
        return cast(date, value)
    return (value.astimezone(zone) if value.tzinfo else value).date()


def _at(row: asyncpg.Record, zone: ZoneInfo) -> datetime:
    moment = _moment(row, "at", zone)
    if moment is None:
        raise RowError("at")
    return moment


def _amount(row: asyncpg.Record, column: str) -> Decimal:
    points = _points(row, column)
    if points is None:
        raise RowError(column)
    return points


def customer(row: asyncpg.Record, zone: ZoneInfo, phone: str | None) -> Customer:
    """The customer of a row; ``phone`` is that of the row in E.164."""
    get = row.get
    state = get("card_state")
    return Customer(
        customer_id=str(_needed(row, "reference")),
        profile=Profile(
            phone=phone,
            email=get("email"),
            first_name=get("first_name"),
            patronymic=get("patronymic"),
            surname=get("surname"),
            birth_date=_day(row, "birth_date", zone),
            sex=_sex(get("sex")),
            country_code=get("country_code"),
            locality=get("locality"),
        ),
        card_number=_number(get("card_number")),
        registered_at=_moment(row, "registered_at", zone),
        card_state=None if state is None else _card_state(state, "card_state"),
    )


def _number(value: str | None) -> str | None:
    """A card number without the blanks of a column of fixed width; ``None``: it is empty."""
    return inputs.one_line(value or "") or None


def _card_state(value: str, column: str) -> CrmCardState:
    state = value.strip().lower()
    if state not in CRM_CARD_STATES:
        raise ValueRefused(column)
    return state


def crm_card(row: asyncpg.Record, number: str, owner: Customer | None) -> CrmCard:
    return CrmCard(
        number=number,
        state=_card_state(str(_needed(row, "state")), "state"),
        replaced_by=_number(row.get("replaced_by")),
        customer=owner,
        barcode=_number(row.get("barcode")),
        barcode_type=_number(row.get("barcode_type")),
    )


def _sex(text: str | None) -> Sex | None:
    if text is None or text in ("m", "f"):
        return cast("Sex | None", text)
    with contextlib.suppress(ValueError):
        return inputs.sex_of(text)
    return None


def account(row: asyncpg.Record) -> str:
    return str(_needed(row, "account"))


def balance(row: asyncpg.Record) -> Balance:
    return Balance(total=_amount(row, "total"), available=_amount(row, "available"))


def entry(row: asyncpg.Record, zone: ZoneInfo) -> PointsEntry:
    return PointsEntry(
        amount=_amount(row, "amount"),
        description=_text(row, "description") or "",
        at=_at(row, zone),
        valid_until=_day(row, "valid_until", zone),
    )


def purchase(row: asyncpg.Record, zone: ZoneInfo) -> Purchase:
    quantity, bonuses = _points(row, "quantity"), _points(row, "bonuses")
    return Purchase(
        at=_at(row, zone),
        item=_text(row, "item") or "",
        amount_kopecks=cast(int, _needed(row, "amount_kopecks")),
        quantity=Decimal(1) if quantity is None else quantity,
        location=_text(row, "location") or "",
        bonuses=Decimal(0) if bonuses is None else bonuses,
    )


def offer(row: asyncpg.Record, zone: ZoneInfo) -> Offer:
    return Offer(
        offer_id=str(_needed(row, "reference")),
        title=str(_needed(row, "title")),
        description=_text(row, "description") or "",
        code=_text(row, "code"),
        valid_from=_moment(row, "valid_from", zone),
        valid_until=_moment(row, "valid_until", zone),
        image_url=_text(row, "image_url"),
        url=_text(row, "url"),
    )


def phones(batch: Sequence[asyncpg.Record], region: str, left_out: LeftOut) -> list[str]:
    """The phones of a batch of ``users_list_phones`` in E.164; rows without one are left out."""
    kept = [phone for row in batch if (phone := row["phone"])]
    if inputs.are_e164(kept):
        return kept
    found = []
    for value in kept:
        try:
            phone = inputs.read_crm_phone(value, region)
        except inputs.UnreadablePhone as error:
            left_out.add(error)
            continue
        if phone is not None:
            found.append(phone)
    return found


def users(batch: Sequence[asyncpg.Record], region: str, left_out: LeftOut) -> list[ListedPhone]:
    """A batch of ``users_list_phones`` with its further columns as named values."""
    found = []
    for row in batch:
        for phone in phones([row], region, left_out):
            params = {name: _as_text(value) for name, value in row.items() if value is not None}
            del params["phone"]
            found.append(ListedPhone(phone, params))
    return found


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def written(found: Sequence[asyncpg.Record], file: str, *, missing: Refusal, tells_points: bool) -> Written:
    """The outcome a write's row tells; ``missing`` is what no row means.

    UNKNOWN for what cannot be read, since the statement has been executed: more than one row, a word that is
    no outcome, and, if it ``tells_points``, points that are no amount.
    """
    if not found:
        return Written.refused(missing, f"{file}: returned no row, which means {missing}")
    if len(found) > 1:
        return Written.unknown(f"{file}: returned {len(found)} rows, and one is read: see what it changed")
    row = found[0]
    outcome = row.get("outcome", "done")
    if outcome != "done":
        if outcome not in OUTCOMES:
            word = (
                f"{outcome!r}" if _WORD.fullmatch(outcome or "") else f"of the shape {inputs.shape(outcome)}"
            )
            said = "null" if outcome is None else word
            return Written.unknown(f"{file}: its outcome is {said}; the words are {', '.join(OUTCOMES)}")
        return Written.refused(Refusal(outcome), f"{file}: its outcome is {outcome}")
    points = _points(row, "points")
    if tells_points and (points is None or points < 0):
        said = "null" if row["points"] is None else "no number" if points is None else "negative"
        return Written.unknown(f"{file}: its column points is {said}; return what was put on the account")
    return Written.done(crm_reference=_text(row, "reference"), points=points, message=_text(row, "message"))


def find_values(phone: str | None, email: str | None, birth_date: date | None) -> dict[str, object]:
    """The parameters of ``users_find``."""
    return {**_phone_values(phone), "email": email, "birth_date": birth_date}


def _phone_values(phone: str | None) -> dict[str, object]:
    """A phone in E.164 and in the forms that a foreign table may keep."""
    if phone is None:
        return {"phone": None, "phone_digits": None, "phone_national": None}
    return {
        "phone": phone,
        "phone_digits": inputs.wire_phone(phone),
        "phone_national": inputs.national_digits(phone),
    }


def profile_values(profile: Profile) -> dict[str, object]:
    """The parameters of a person, null where nothing is given."""
    return {
        **_phone_values(profile.phone),
        "email": profile.email,
        "first_name": profile.first_name,
        "patronymic": profile.patronymic,
        "surname": profile.surname,
        "birth_date": profile.birth_date,
        "sex": profile.sex,
        "country_code": profile.country_code,
        "locality": profile.locality,
    }


def holder_values(holder: Holder) -> dict[str, object]:
    return {
        "card_number": holder.card_number,
        "users_reference": holder.users_reference,
        **_phone_values(holder.profile.phone),
        "email": holder.profile.email,
    }


def credit_values(credit: Credit) -> dict[str, object]:
    receipt = credit.receipt
    return {
        "points": credit.points,
        "description": credit.description,
        "fiscal_drive": receipt.fiscal_drive if receipt else None,
        "fiscal_document": receipt.document if receipt else None,
        "fiscal_sign": receipt.sign if receipt else None,
        "total_kopecks": receipt.total_kopecks if receipt else None,
        "issued_at": receipt.issued_at if receipt else None,
        "calculation_type": receipt.calculation_type if receipt else None,
    }
