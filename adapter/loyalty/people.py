"""Phones and e-mails: one form inside, another on the wire. It may not know who they belong to."""

from __future__ import annotations

import re

import phonenumbers

# A Russian or Kazakh number in the form the contract gives needs no further look.
_RUSSIAN = re.compile(r"7[3-9]\d{9}")
_NOISE = re.compile(r"[\s().\-\u2010-\u2015\u00a0]")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f.]{2,63}")


def parse_phone(text: str, region: str) -> str | None:
    """E.164 with the plus sign, or ``None`` when ``text`` is no phone.

    The wire form is digits with the country code and no plus (KLO-1); a plus, punctuation and a
    national number of ``region`` are accepted too (inferred).
    """
    digits = _NOISE.sub("", text)
    if _RUSSIAN.fullmatch(digits):
        return f"+{digits}"
    bare = digits.removeprefix("+")
    if not (bare.isascii() and bare.isdigit() and 5 <= len(bare) <= 15):
        return None
    for candidate, country in ((f"+{bare}", None), (bare, region)):
        if country is not None and digits.startswith("+"):
            return None
        try:
            number = phonenumbers.parse(candidate, country)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def wire_phone(phone: str) -> str:
    """The wire form of an E.164 phone: digits without the plus (KLO-1)."""
    return phone.removeprefix("+")


def parse_email(text: str) -> str | None:
    """The e-mail trimmed and in lower case, or ``None`` when it is none."""
    email = text.strip().lower()
    return email if len(email) <= 254 and _EMAIL.fullmatch(email) else None
