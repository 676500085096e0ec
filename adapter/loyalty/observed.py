"""What Koshelek sends that no setting names: how it is called, and which setting would take it in.

It may not know how a request is read, nor where this is kept.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from adapter.settings import Koshelek
from adapter.settings.sections import CONTRACT_NAMES

What = Literal["field", "parameter", "header", "verb", "path", "missing"]


@dataclass(frozen=True, slots=True)
class ObservedName:
    """Something that was sent, or was not; names alone."""

    call: str
    what: What
    name: str
    """A path with dots where it lies within something: ``receipt.qr``."""


@dataclass(frozen=True, slots=True)
class ReadNames:
    """What a call reads; names in lower case."""

    parameters: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """How often something was seen, and when."""

    seen: ObservedName
    times: int
    first_seen: datetime
    last_seen: datetime


_HOLDER = ("cardnumber", "card", "msisdn", "phone")
_PROFILE = (
    *("phone", "msisdn", "email", "firstname", "patronymic", "surname", "birthdate", "sex"),
    *("countrycode", "locality"),
)


_PERSON = (
    *("phone", "email", "firstName", "patronymic", "surname", "birthDate", "sex", "countryCode"),
    "locality",
)
_NAMED: Mapping[str, Sequence[str]] = {
    "find_card": ("msisdn", "email", "birthDate"),
    "purchases": ("startDate", "endDate"),
    "update_profile": _PERSON,
    "issue_card": _PERSON,
    "issue_reserved": _PERSON,
    "set_consents": ("allow", "deny"),
    "register_receipt": ("cardNumber", "msisdn"),
    "use_promo_code": ("cardNumber", "msisdn"),
}
"""Names of the contract that a call reads, as ``koshelek.other_names`` spells them."""
_SAME_THING: Mapping[str, Sequence[str]] = {
    "msisdn": ("phone", "phonenumber", "mobile", "mobilephone", "tel", "telephone"),
    "phone": ("phonenumber", "mobile", "mobilephone", "tel", "telephone"),
    "email": ("mail", "emailaddress"),
    "firstName": ("givenname", "forename"),
    "patronymic": ("middlename",),
    "surname": ("lastname", "familyname"),
    "birthDate": ("birthday", "dateofbirth", "dob", "born"),
    "sex": ("gender",),
    "countryCode": ("country",),
    "locality": ("city", "town"),
    "startDate": ("from", "datefrom", "since", "begin", "begindate"),
    "endDate": ("to", "dateto", "until", "till"),
    "cardNumber": ("cardno", "loyaltycard"),
    "allow": ("allowed", "enabled", "optin"),
    "deny": ("denied", "disabled", "optout"),
}
"""Other words for the same thing, without blanks and marks."""
_MAY_BE_OFFERS = re.compile(r"card/\{…\}/[A-Za-z][A-Za-z0-9_-]{2,39}")
"""A word after a card's number; anything deeper is somebody who guesses."""
_ALIKE = 0.85
"""How much alike two spellings of one word are; ``lastname`` and ``firstname`` are less."""


def places(koshelek: Koshelek, receipt_names: tuple[str, ...]) -> Mapping[str, ReadNames]:
    """What each call reads, with everything that the settings add."""
    profile = ReadNames(fields=_with_others(_PROFILE, koshelek))
    nothing = ReadNames()
    return {
        "find_card": ReadNames(parameters=_with_others(["msisdn", "email", "birthdate"], koshelek)),
        "card_info": nothing,
        "offers": nothing,
        "reserve_number": nothing,
        "all_users": nothing,
        "all_users_extended": nothing,
        "purchases": ReadNames(parameters=_with_others(["startdate", "enddate"], koshelek)),
        "update_profile": profile,
        "issue_card": profile,
        "issue_reserved": profile,
        "set_consents": ReadNames(fields=_with_others(["allow", "deny"], koshelek)),
        "register_receipt": ReadNames(
            fields=_with_others([*koshelek.qr_fields, *receipt_names, *_HOLDER], koshelek)
        ),
        "use_promo_code": ReadNames(fields=_with_others([*koshelek.promo_fields, *_HOLDER], koshelek)),
    }


def _with_others(names: Sequence[str], koshelek: Koshelek) -> frozenset[str]:
    own = {name.lower() for name in names}
    others = {
        other.lower()
        for name, spellings in koshelek.other_names.items()
        if name.lower() in own
        for other in spellings
    }
    return frozenset(own | others)


def advice(seen: ObservedName, koshelek: Koshelek, base_path: str) -> str:
    """Which setting would take it in, as one sentence."""
    name = seen.name
    match seen.what:
        case "header":
            return "nothing needs it; no setting reads a header"
        case "missing":
            return (
                f"the call needs {name}; if Koshelek sends it under another name, that name is here, too: "
                f"{_setting_of(seen.call, name, koshelek)}"
            )
        case "verb":
            return (
                "the path is served for other verbs; ask Koshelek which version of the contract it speaks "
                f"(koshelek.api_version is {koshelek.api_version})"
            )
        case "path":
            return _about_a_path(name, koshelek, base_path)
    likely = _meant(seen)
    if likely is None and name.lower() in (known.lower() for known in CONTRACT_NAMES):
        return "this call does not read it; it is passed over"
    if seen.call == "register_receipt":
        told = f'if it holds the text of the QR code, add "{name}" to koshelek.qr_fields'
    elif seen.call == "use_promo_code":
        told = f'if it holds the promo code, add "{name}" to koshelek.promo_fields'
    else:
        told = "it is passed over"
    if likely is None:
        return f"{told}; if it is a name of the contract under another one, see koshelek.other_names"
    return f'{told}; if it is {likely} under another name: koshelek.other_names = {{ {likely} = ["{name}"] }}'


def _meant(seen: ObservedName) -> str | None:
    """The name of the contract, among those that the call reads, for which this is plausibly another one.

    Only the same word in another spelling, or another word for the same thing: ``lastName`` is much like
    ``firstName``, and would put the one in the place of the other. What stands in a list cannot be named.
    """
    if "[]" in seen.name:
        return None
    leaf = "".join(filter(str.isalnum, seen.name.rpartition(".")[2].lower()))
    for meant in _NAMED.get(seen.call, ()):
        if leaf in _SAME_THING.get(meant, ()):
            return meant
    spelt = {name.lower(): name for name in _NAMED.get(seen.call, ())}
    near = difflib.get_close_matches(leaf, list(spelt), n=1, cutoff=_ALIKE)
    return spelt[near[0]] if near else None


def _setting_of(call: str, name: str, koshelek: Koshelek) -> str:
    if call == "register_receipt" and name == koshelek.qr_fields[0]:
        return "add it to koshelek.qr_fields"
    if call == "use_promo_code" and name == koshelek.promo_fields[0]:
        return "add it to koshelek.promo_fields"
    return f'koshelek.other_names = {{ {name} = ["…"] }}'


def _about_a_path(name: str, koshelek: Koshelek, base_path: str) -> str:
    path = name.partition(" ")[2]
    before, v1, rest = path.partition("/v1/")
    if v1 and before != base_path:
        return f'if that is our address, set server.base_path = "{before}" (it is {base_path or "empty"})'
    if rest.startswith("card/getAllUsers") and not koshelek.get_all_users:
        return "set koshelek.get_all_users = true to serve it"
    if rest.startswith(("promo/", "card/anonymous")):
        return f"it is a method of a newer version: raise koshelek.api_version (it is {koshelek.api_version})"
    if _MAY_BE_OFFERS.fullmatch(rest) and koshelek.offers_path is None:
        masked = path.removeprefix(base_path).replace("{…}", "{cardNumber}", 1)
        return f'if it asks for offers, set koshelek.offers_path = "{masked}"'
    return "no method of the contract has this path; ask Koshelek what it asks for"
