"""What an expression may call, as ``f(x)`` or ``x | f``: plain values in, plain values out.

Nothing here opens a file, asks the network or the environment, or runs longer than its input is long.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac as hmac_module
import json as json_module
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

from crm_backends.connector.values import (
    Unfit,
    field_of,
    kind,
    number,
    rows_of,
    sendable,
    text_of,
    text_only,
)
from crm_backends.inputs import amount_of, national_digits, wire_phone

NAMESPACE = uuid.UUID("5ad81a34-3c1b-5a7f-9d0e-0a5a6a1f6e57")
"""Of the identifiers that ``uuid5`` makes of our keys. It may never change."""


# -- making values of one kind out of another ----------------------------------------------------------


def text(value: object) -> str | None:
    """Text of a number, a day or a moment; nothing stays nothing."""
    return None if value is None else text_of(value)


def int_(value: object) -> int | None:
    """A whole number of a number or its text; a fraction does not fit."""
    exact = decimal(value)
    if exact is None:
        return None
    if exact != exact.to_integral_value():
        raise Unfit("a whole number is wanted, this has a fraction")
    return int(exact)


def decimal(value: object) -> Decimal | None:
    """An exact number of a number or its text; nothing, false and empty text are nothing."""
    if value is None or value is False or value == "":
        return None
    amount = amount_of(value.strip() if isinstance(value, str) else value)
    if amount is None:
        what = "text that is no number" if isinstance(value, str) else kind(value)
        raise Unfit(f"a number or its text is wanted, this is {what}")
    return amount


def filled(value: object) -> Any:
    """The value, or nothing where it is false, empty text, an empty list or an empty mapping."""
    return None if value is False or value in ("", [], {}) else value


def default(value: object, otherwise: object) -> Any:
    """The value, or the other where it is nothing."""
    return otherwise if value is None else value


# -- text ----------------------------------------------------------------------------------------------


def lower(value: object) -> str | None:
    """In small letters."""
    return None if value is None else text_only(value).lower()


def upper(value: object) -> str | None:
    """In capitals."""
    return None if value is None else text_only(value).upper()


def trim(value: object) -> str | None:
    """Without blanks at both ends."""
    return None if value is None else text_only(value).strip()


def cut(value: object, length: object) -> str | None:
    """The first characters, as many as given."""
    return None if value is None else text_only(value)[: int(number(length))]


def replace(value: object, old: object, new: object) -> str | None:
    """With every occurrence of a piece of text replaced."""
    if value is None:
        return None
    if not old:
        raise Unfit("the text to be replaced may not be empty")
    return text_only(value).replace(text_only(old), text_only(new))


def split(value: object, separator: object = " ") -> list[Any]:
    """The pieces between the separators, without empty ones."""
    return [] if value is None else [piece for piece in text_only(value).split(text_only(separator)) if piece]


def join(value: object, separator: object = " ") -> str | None:
    """The texts of a list in one, without those that are nothing or empty; nothing where none is left."""
    pieces = [text_of(piece) for piece in rows_of(value) if piece not in (None, "")]
    return text_only(separator).join(pieces) if pieces else None


def starts_with(value: object, piece: object) -> bool:
    """Whether a text begins with another."""
    return value is not None and text_only(value).startswith(text_only(piece))


def digits(phone: object) -> str | None:
    """A phone (E.164) as digits without the plus: 79161234567."""
    return None if phone is None else wire_phone(text_only(phone))


def national(phone: object) -> str | None:
    """A phone (E.164) without plus and country code: 9161234567."""
    return None if phone is None else national_digits(text_only(phone))


# -- lists and mappings --------------------------------------------------------------------------------


def first(value: object) -> Any:
    """The first of a list; nothing where it is empty."""
    rows = rows_of(value)
    return rows[0] if rows else None


def last(value: object) -> Any:
    """The last of a list; nothing where it is empty."""
    rows = rows_of(value)
    return rows[-1] if rows else None


def length(value: object) -> int:
    """How many there are in a list or a mapping, or characters in a text; of nothing 0."""
    if value is None:
        return 0
    if not isinstance(value, list | dict | str):
        raise Unfit(f"a list, a mapping or text is wanted, this is {kind(value)}")
    return len(value)


def pick(value: object, name: object) -> list[Any]:
    """One member of each row, of rows that have it."""
    return [found for row in rows_of(value) if (found := field_of(row, name)) is not None]


def total(value: object) -> int | Decimal:
    """The sum of numbers, exactly."""
    return sum((number(one) for one in rows_of(value)), 0)


def least(value: object) -> Any:
    """The smallest number of a list; nothing where it is empty."""
    return min((number(one) for one in rows_of(value)), default=None)


def most(value: object) -> Any:
    """The greatest number of a list; nothing where it is empty."""
    return max((number(one) for one in rows_of(value)), default=None)


def sort(value: object, by: object, reverse: object = False) -> list[Any]:
    """Rows in the order of one member, those without it first."""
    rows = rows_of(value)
    keyed = [(field_of(row, by), position) for position, row in enumerate(rows)]
    try:
        keyed.sort(key=lambda one: (one[0] is not None, one[0], one[1]), reverse=reverse is True)
    except TypeError:
        raise Unfit("the values to sort by are not of one kind") from None
    return [rows[position] for _, position in keyed]


def unfold(value: object, name: object) -> list[Any]:
    """The rows within each row (items of orders) in one list; each has the outer row as ``outer``."""
    found: list[Any] = []
    for row in rows_of(value):
        found += [
            {**inner, "outer": row} for inner in rows_of(field_of(row, name)) if isinstance(inner, dict)
        ]
    return found


def concat(*values: object) -> list[Any]:
    """Several lists in one; nothing counts as an empty list."""
    return [row for value in values for row in rows_of(value)]


def unique(value: object, by: object = None) -> list[Any]:
    """Without repetitions, of whole rows or of one member."""
    kept: list[Any] = []
    seen: list[Any] = []
    for row in rows_of(value):
        mark = row if by is None else field_of(row, by)
        if mark not in seen:
            seen.append(mark)
            kept.append(row)
    return kept


def merge(*values: object) -> dict[str, Any]:
    """Several mappings in one, later ones over earlier ones; members that are nothing change nothing."""
    merged: dict[str, Any] = {}
    for value in values:
        if value is None:
            continue
        if not isinstance(value, dict):
            raise Unfit(f"a mapping is wanted, this is {kind(value)}")
        merged |= {key: member for key, member in value.items() if member is not None or key not in merged}
    return merged


def without(value: object, *names: object) -> dict[str, Any] | None:
    """A mapping without the members of these names."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unfit(f"a mapping is wanted, this is {kind(value)}")
    return {key: member for key, member in value.items() if key not in names}


# -- numbers -------------------------------------------------------------------------------------------


def abs_(value: object) -> Any:
    """Without its sign."""
    return None if value is None else abs(number(value))


def round_(value: object, places: object = 0, way: object = "half_up") -> Decimal | None:
    """Rounded to so many decimal places, ``half_up`` or ``half_even``."""
    if value is None:
        return None
    rules = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN}
    if way not in rules:
        raise Unfit("the way of rounding is half_up or half_even")
    rounded = Decimal(number(value)).quantize(Decimal(1).scaleb(-int(number(places))), rules[str(way)])
    return rounded + 0  # what is rounded to -0.00 is nothing


def kopecks(roubles_: object) -> int | None:
    """Whole kopecks of roubles; what is finer does not fit."""
    exact = decimal(roubles_)
    return None if exact is None else int_(exact * 100)


def roubles(kopecks_: object) -> Decimal | None:
    """Roubles of kopecks."""
    exact = decimal(kopecks_)
    return None if exact is None else exact / 100


# -- identifiers and texts for machines ----------------------------------------------------------------


def new_id() -> str:
    """A fresh random identifier (UUID 4)."""
    return str(uuid.uuid4())


def uuid5(value: object) -> str:
    """An identifier (UUID 5) that is always the same for the same text: our key for CRMs that want one."""
    return str(uuid.uuid5(NAMESPACE, text_only(value)))


def json(value: object) -> str:
    """JSON text of a value."""
    return json_module.dumps(sendable(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parse_json(value: object) -> Any:
    """The value of JSON text; nothing of nothing and of empty text."""
    if value is None or value == "":
        return None
    try:
        return json_module.loads(text_only(value), parse_float=Decimal)
    except (ValueError, RecursionError):
        raise Unfit("the text is not JSON") from None


def sha256(value: object) -> str:
    """SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text_only(value).encode()).hexdigest()


def hmac(value: object, key: object) -> str:
    """HMAC-SHA-256 of a text, in hexadecimal digits."""
    return hmac_module.new(text_only(key).encode(), text_only(value).encode(), "sha256").hexdigest()


def jwt_expiry(token: object) -> datetime | None:
    """When a JWT ends (its claim ``exp``; RFC 7519, 4.1.4); nothing where it does not say."""
    try:
        claims = text_only(token).split(".")[1]
        said = json_module.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return datetime.fromtimestamp(int(said["exp"]), UTC)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, OSError, binascii.Error):
        return None


Function = Callable[..., Any]

PLAIN: Mapping[str, Function] = {
    "text": text,
    "int": int_,
    "decimal": decimal,
    "filled": filled,
    "default": default,
    "lower": lower,
    "upper": upper,
    "trim": trim,
    "cut": cut,
    "replace": replace,
    "split": split,
    "join": join,
    "starts_with": starts_with,
    "digits": digits,
    "national": national,
    "first": first,
    "last": last,
    "length": length,
    "pick": pick,
    "sum": total,
    "min": least,
    "max": most,
    "sort": sort,
    "unfold": unfold,
    "concat": concat,
    "unique": unique,
    "merge": merge,
    "without": without,
    "abs": abs_,
    "round": round_,
    "kopecks": kopecks,
    "roubles": roubles,
    "new_id": new_id,
    "uuid5": uuid5,
    "json": json,
    "parse_json": parse_json,
    "sha256": sha256,
    "hmac": hmac,
    "jwt_expiry": jwt_expiry,
}
