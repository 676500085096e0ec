"""The contract with a partner's own SQL files: what each operation is given, and what it must return.

It may not know a file, nor a connection.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Kinds of result columns -> names of PostgreSQL types that fit.
_TEXTS = frozenset({"text", "varchar", "bpchar", "char", "name", "citext"})
_INTEGERS = frozenset({"int2", "int4", "int8"})
_NUMBERS = _INTEGERS | {"numeric", "float4", "float8"}
_MOMENTS = frozenset({"timestamptz", "timestamp", "date"})
KINDS: Mapping[str, frozenset[str] | None] = {
    "any": None,
    "text": _TEXTS,
    "number": _NUMBERS,
    "kopecks": _INTEGERS,
    "moment": _MOMENTS,
    "day": _MOMENTS,
}
WANTED = {
    "text": "text",
    "number": "numeric",
    "kopecks": "whole kopecks as bigint",
    "moment": "timestamptz",
    "day": "date",
}


@dataclass(frozen=True, slots=True)
class SqlOperation:
    """One operation: the parameters it supplies and the columns it reads, both by name."""

    parameters: Mapping[str, str]
    """Name -> PostgreSQL type."""
    required: Mapping[str, str]
    """Column that must be there -> kind."""
    optional: Mapping[str, str]
    """Column that is read when it is there -> kind."""


_PHONE = {"phone": "text", "phone_digits": "text", "phone_national": "text"}
"""E.164; its digits; those after the country code."""
_PERSON = {
    **_PHONE,
    "email": "text",
    "first_name": "text",
    "patronymic": "text",
    "surname": "text",
    "birth_date": "date",
    "sex": "text",
    "country_code": "text",
    "locality": "text",
}
_CUSTOMER_REQUIRED = {"reference": "any", "phone": "text"}
_CUSTOMER_OPTIONAL = {
    "email": "text",
    "first_name": "text",
    "patronymic": "text",
    "surname": "text",
    "birth_date": "day",
    "sex": "text",
    "country_code": "text",
    "locality": "text",
    "card_number": "text",
    "registered_at": "moment",
    "card_state": "text",
}
_HOLDER = {"card_number": "text", "users_reference": "text", **_PHONE, "email": "text"}
_OUTCOME = {"outcome": "text"}

SQL_OPERATIONS: Mapping[str, SqlOperation] = {
    "users_find": SqlOperation(
        {**_PHONE, "email": "text", "birth_date": "date"}, _CUSTOMER_REQUIRED, _CUSTOMER_OPTIONAL
    ),
    "users_get": SqlOperation({"customer": "text"}, _CUSTOMER_REQUIRED, _CUSTOMER_OPTIONAL),
    "users_register": SqlOperation({"idempotency_key": "text", **_PERSON}, {"reference": "any"}, _OUTCOME),
    "users_update": SqlOperation({"customer": "text", **_PERSON}, {"reference": "any"}, _OUTCOME),
    "users_set_consents": SqlOperation(
        {"customer": "text", "allow": "text[]", "deny": "text[]"}, {"reference": "any"}, _OUTCOME
    ),
    "users_list_phones": SqlOperation({}, {"phone": "text"}, {}),
    "users_find_by_card": SqlOperation(
        {"number": "text"},
        {"state": "text", **_CUSTOMER_REQUIRED},
        {"replaced_by": "text", "barcode": "text", "barcode_type": "text", **_CUSTOMER_OPTIONAL},
    ),
    "users_set_card": SqlOperation(
        {
            "customer": "text",
            "number": "text",
            "barcode": "text",
            "barcode_type": "text",
            "replaces": "text",
            "idempotency_key": "text",
        },
        {"reference": "any"},
        _OUTCOME,
    ),
    "points_account": SqlOperation(_HOLDER, {"account": "any"}, {}),
    "points_balance": SqlOperation(
        {"account": "text", "today": "date"}, {"total": "number", "available": "number"}, {}
    ),
    "points_entries": SqlOperation(
        {"account": "text", "limit": "bigint", "today": "date"},
        {"amount": "number", "description": "text", "at": "moment"},
        {"valid_until": "day"},
    ),
    "points_purchases": SqlOperation(
        {
            "account": "text",
            "since": "date",
            "until": "date",
            "since_at": "timestamptz",
            "until_at": "timestamptz",
        },
        {"at": "moment", "item": "text", "amount_kopecks": "kopecks"},
        {"quantity": "number", "location": "text", "bonuses": "number"},
    ),
    "points_credit": SqlOperation(
        {
            "account": "text",
            "idempotency_key": "text",
            "points": "numeric",
            "description": "text",
            "today": "date",
            "fiscal_drive": "text",
            "fiscal_document": "text",
            "fiscal_sign": "text",
            "total_kopecks": "bigint",
            "issued_at": "timestamptz",
            "calculation_type": "integer",
        },
        {"points": "number"},
        {"reference": "any", "message": "text", "outcome": "text"},
    ),
    "coupons_account": SqlOperation(_HOLDER, {"account": "any"}, {}),
    "coupons_offers": SqlOperation(
        {"account": "text", "today": "date"},
        {"reference": "any", "title": "text"},
        {
            "description": "text",
            "code": "text",
            "valid_from": "moment",
            "valid_until": "moment",
            "image_url": "text",
            "url": "text",
        },
    ),
    "coupons_issue": SqlOperation(
        {"account": "text", "occasion": "text", "idempotency_key": "text", "today": "date"},
        {"reference": "any"},
        {"message": "text", "outcome": "text"},
    ),
    "coupons_redeem": SqlOperation(
        {"account": "text", "code": "text", "idempotency_key": "text", "today": "date"},
        {"outcome": "text"},
        {"points": "number", "message": "text", "reference": "any"},
    ),
}
"""Every operation of the driver. The name is also the name of its file, without ``.sql``."""

ON_CARDS = ("users_find_by_card", "users_set_card")
"""Operations that a partner may leave out: our file counts only where people are found by our file, too."""


_PHONES = tuple(_PHONE)
_NAMES = tuple(_HOLDER)
INDISPENSABLE: Mapping[str, Sequence[tuple[tuple[str, ...], str]]] = {
    "users_find": [(_PHONES, "nobody is found by phone")],
    "users_get": [(("customer",), "everybody would be the same person")],
    "users_register": [(_PHONES, "everybody would be registered as the same person")],
    "users_update": [(("customer",), "everybody would be changed")],
    "users_set_consents": [
        (("customer",), "everybody's consents would be changed"),
        (("deny",), "who forbids a channel would not be heard"),
    ],
    "users_find_by_card": [(("number",), "every number would be the same card")],
    "users_set_card": [
        (("customer",), "every card would go to the same customer"),
        (("number",), "every customer would have the same card"),
    ],
    "points_account": [(_NAMES, "everybody's points would go to one account")],
    "points_balance": [(("account",), "everybody would have the same balance")],
    "points_entries": [(("account",), "everybody would see the same movements")],
    "points_purchases": [
        (("account",), "everybody would see the same purchases"),
        (("since", "since_at"), "all purchases would be read each time"),
    ],
    "points_credit": [
        (("account",), "the points would go nowhere, or to somebody else"),
        (("idempotency_key",), "a receipt sent again would be credited again"),
        (
            ("points", "total_kopecks", "fiscal_drive", "fiscal_document", "fiscal_sign"),
            "every receipt would be credited alike",
        ),
    ],
    "coupons_account": [(_NAMES, "everybody's coupons would go to one account")],
    "coupons_issue": [(("account",), "the coupons would go nowhere, or to somebody else")],
    "coupons_redeem": [
        (("account",), "nobody knows for whom the code is used"),
        (("code",), "any code would do"),
        (("idempotency_key",), "a code sent again would be used again, or refused as used"),
    ],
}
"""Groups of parameters. A statement that uses none of a group mixes up people or money; and how."""
USUAL: Mapping[str, tuple[str, str, str]] = {
    "users_register": (
        "idempotency_key",
        "unless the phone is unique there, a registration sent again makes a second customer",
        "keep it in a unique column",
    ),
    "coupons_issue": (
        "idempotency_key",
        "coupons that are asked for again would be given again",
        "keep it in a unique column",
    ),
    "coupons_offers": (
        "account",
        "everybody is shown the same offers",
        "right for offers that are everybody's; else select those of this account",
    ),
}
"""Parameters that few databases can do without: name, what happens without it, what to do."""


def what_lacks(name: str, used: Iterable[str]) -> tuple[str, str] | None:
    """Which indispensable parameters ``name`` does not use, and what to do; ``None``: it uses them."""
    there = set(used)
    lacking = [(names, then) for names, then in INDISPENSABLE.get(name, ()) if not there & set(names)]
    if not lacking:
        return None
    wanted = [" or ".join(f":{one}" for one in names) for names, _ in lacking]
    said = ", nor ".join(f"{one}: {then}" for one, (_, then) in zip(wanted, lacking, strict=True))
    return f"does not use {said}", f"use {' and '.join(wanted)} in it"


NEEDED = ("users_find", "users_get", "points_account", "coupons_account")
"""Operations that cannot be declined."""
RENAMED: Mapping[str, str] = {
    "reference": "idempotency_key",
    "settled_at": "issued_at",
    "settlement": "calculation_type",
}
"""Earlier name of a parameter -> today's name."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    near = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return near[0] if near else None
