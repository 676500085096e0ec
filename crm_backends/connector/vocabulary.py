"""The operations a connector may describe: what each is asked, what it gives, and what its answers may mean.

Data only: the loader checks names against it, the engine fills and reads it, the documentation prints it. It
may not know how anything is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crm_backends.ports import OPERATIONS, Refusal

PROFILE: Mapping[str, str] = {
    "phone": "E.164 with the plus sign",
    "email": "in small letters",
    "first_name": "",
    "patronymic": "",
    "surname": "",
    "birth_date": "a day",
    "sex": "m or f",
    "country_code": "ISO 3166",
    "locality": "",
}
RECEIPT: Mapping[str, str] = {
    "fiscal_drive": "fn, text of digits, leading zeros count",
    "document": "i, text of digits",
    "sign": "fp, text of digits",
    "total_kopecks": "a whole number",
    "issued_at": "a moment",
    "calculation_type": "1 sale, 2 return, 3 expense, 4 return of an expense",
}
CUSTOMER: Mapping[str, str] = {
    "id": "the CRM's own identifier; needed",
    **PROFILE,
    "card_number": "of the card the CRM keeps for them",
    "card_state": "active, inactive, blocked or replaced",
    "registered_at": "a moment",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """One operation, in the words of a connector."""

    does: str
    asked: Mapping[str, str]
    """Members of ``input``."""
    gives: Mapping[str, str]
    """Members of ``result``."""
    needed: frozenset[str] = frozenset()
    """Those of ``gives`` that have to be there."""
    rows: bool = False
    """Whether it gives several."""
    writes: bool = False
    keyed: bool = False
    """Whether it has a key of ours."""
    optional: bool = False
    """A connector that says nothing of it has not got it."""
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Members of members of ``input``."""


_HOLDER = {
    "customer": "what the users CRM calls the holder",
    "card_number": "the holder's card",
    **PROFILE,
}
_WRITTEN = {"id": "what the CRM calls what was made", "message": "a text for the holder"}
_CREDITED = {**_WRITTEN, "points": "how many were put on the account; nothing: as many as were asked for"}

SHAPES: Mapping[str, Shape] = {
    "users.find": Shape(
        "customers with this phone or this e-mail; both may be asked for at once",
        {"phone": PROFILE["phone"], "email": PROFILE["email"], "birth_date": "a day; never alone"},
        CUSTOMER,
        frozenset({"id"}),
        rows=True,
    ),
    "users.get": Shape("one customer", {"customer": "its id"}, CUSTOMER, frozenset({"id"})),
    "users.register": Shape("make a customer", PROFILE, _WRITTEN, frozenset({"id"}), writes=True, keyed=True),
    "users.update": Shape(
        "set what is given of a customer, leave the rest",
        {"customer": "its id", **PROFILE},
        {},
        writes=True,
    ),
    "users.set_consents": Shape(
        "allow or deny channels; one that is nothing stays as it was",
        {"customer": "its id", **dict.fromkeys(("sms", "email", "call", "push"), "true, false or nothing")},
        {},
        writes=True,
    ),
    "users.list_phones": Shape(
        "all customers' phones",
        {},
        {"phone": "", "params": "a mapping of texts"},
        frozenset({"phone"}),
        rows=True,
    ),
    "users.find_by_card": Shape(
        "the card of this number, and whose it is",
        {"number": "of the card"},
        {
            "number": "needed",
            "state": "active, inactive, blocked or replaced; nothing: active",
            "replaced_by": "",
            "customer": "the owner's id; nothing: nobody's",
            "barcode": "",
            "barcode_type": "",
        },
        frozenset({"number"}),
        optional=True,
    ),
    "users.set_card": Shape(
        "note the number of a customer's card, so that a till finds them",
        {
            "customer": "its id",
            "number": "",
            "barcode": "",
            "barcode_type": "",
            "replaces": "the number it takes the place of",
        },
        {},
        writes=True,
        keyed=True,
        optional=True,
    ),
    "points.account": Shape(
        "under what this CRM keeps the holder's points; nothing where it knows nobody", _HOLDER, {"id": ""}
    ),
    "points.balance": Shape(
        "the points of an account",
        {"account": "its id"},
        {"total": "a number", "available": "a number; nothing: all of them"},
        frozenset({"total"}),
    ),
    "points.entries": Shape(
        "movements, newest first",
        {"account": "its id", "limit": "how many are wanted"},
        {
            "amount": "a number, below zero when spent",
            "description": "",
            "at": "a moment",
            "valid_until": "a day",
        },
        frozenset({"amount", "at"}),
        rows=True,
    ),
    "points.purchases": Shape(
        "lines of purchases of whole days, newest first",
        {
            "account": "its id",
            "since": "a day",
            "until": "a day",
            "from": "the moment the first day begins",
            "to": "the moment after the last day",
        },
        {
            "at": "a moment",
            "item": "",
            "amount_kopecks": "a whole number",
            "quantity": "a number; nothing: 1",
            "location": "",
            "bonuses": "a number; nothing: 0",
        },
        frozenset({"at", "amount_kopecks"}),
        rows=True,
    ),
    "points.credit": Shape(
        "put points on an account",
        {
            "account": "its id",
            "points": "a number; nothing: the CRM's rules decide",
            "description": "",
            "receipt": "nothing, or with members of its own",
        },
        _CREDITED,
        writes=True,
        keyed=True,
        members={"receipt": RECEIPT},
    ),
    "coupons.account": Shape(
        "under what this CRM keeps the holder's coupons; nothing where it knows nobody", _HOLDER, {"id": ""}
    ),
    "coupons.offers": Shape(
        "what the holder could use",
        {"account": "its id"},
        {
            "id": "needed",
            "title": "needed",
            "description": "",
            "code": "",
            "valid_from": "a moment",
            "valid_until": "a moment",
            "image_url": "",
            "url": "",
        },
        frozenset({"id", "title"}),
        rows=True,
    ),
    "coupons.issue": Shape(
        "give the coupons of an occasion",
        {"account": "its id", "occasion": "its name in the settings"},
        _WRITTEN,
        writes=True,
        keyed=True,
    ),
    "coupons.redeem": Shape(
        "use a promo code", {"account": "its id", "code": ""}, _CREDITED, writes=True, keyed=True
    ),
}

PORTS = ("users", "points", "coupons")
ACCOUNTS = ("points.account", "coupons.account")
RECONCILED = ("users.register", "points.credit", "coupons.redeem")
"""Writes whose doubts are reconciled by looking, where the CRM does not honour our key."""
RECONCILING: Mapping[str, Mapping[str, str]] = {
    "users.register": {
        "id": "the customer; needed",
        "phone": "to be compared with the one that was sent",
    },
    "points.credit": {
        "id": "what the CRM calls the entry",
        "points": "a number, to be compared; needed",
        "account": "to be compared, where the CRM tells it",
        "total_kopecks": "of the receipt, to be compared where the CRM tells it",
    },
    "coupons.redeem": {
        "id": "what the CRM calls the entry",
        "points": "a number",
        "account": "to be compared, where the CRM tells it",
        "code": "to be compared, where the CRM tells it",
        "message": "a text for the holder",
    },
}

DECIDES: Mapping[str, str] = {
    "ok": "it went well; the next step follows",
    "done": "the whole operation has been done; no further step",
    "nothing": "there is nobody and nothing like that (a read); of a balance: whoever has no account has "
    "nothing",
    "holder_unnamed": "the holder's profile lacks what accounts are found by (an account, at_once)",
    "credentials": "the CRM refuses our credentials",
    "try_later": "the CRM cannot be asked now; nothing was done",
    "misconfigured": "the settings do not fit this CRM; nothing was done",
    "unknown": "nobody can tell whether it was done (a write, or reconcile)",
    "refused": "the CRM says no, for a reason of its own (a write)",
    "no_such_customer": "there is no such customer: a read gives nothing, a write is refused; of a balance: "
    "the account is lost, and the last balance known is shown; while a doubt is looked for it tells nothing, "
    "as the customer was just written to: say `nothing` of an unknown key",
    Refusal.CONFLICT.value: "refused (a write): the phone or e-mail is another customer's, or the card "
    "number is, or the customer has another card",
    Refusal.KEY_TAKEN.value: "refused (a write): our key is known with another person, account or amount; "
    "a person has to look",
    Refusal.CODE_UNKNOWN.value: "refused (a promo code): there is no such code",
    Refusal.CODE_NOT_YET_VALID.value: "refused (a promo code): it is not valid yet",
    Refusal.CODE_EXPIRED.value: "refused (a promo code): it is not valid any more",
    Refusal.CODE_USED.value: "refused (a promo code): this holder has used it",
    Refusal.CODE_EXHAUSTED.value: "refused (a promo code): it has been used as often as it may be",
}
"""What an outcome may say."""
UNDECIDED = frozenset({"ok", "unknown", "credentials", "try_later", "misconfigured"})
"""What decides nothing about people and points; all else has to be shown by something in the answer."""
OF_READS = frozenset({"ok", "nothing", "credentials", "try_later", "misconfigured", "no_such_customer"})
OF_RECONCILE = OF_READS | {"unknown"}
OF_ACCOUNTS = frozenset({"nothing", "holder_unnamed"})
"""What is decided of an account without asking."""
OF_WRITES = frozenset(DECIDES) - {"nothing", "holder_unnamed"}

assert set(SHAPES) - set(ACCOUNTS) == set(OPERATIONS)  # noqa: S101 - a new operation has to be described
assert {one.value for one in Refusal} - {"other"} < set(DECIDES)  # noqa: S101 - and so has a new refusal
