"""Phones and e-mails: one form inside, another on the wire. It may not know who they belong to."""

from __future__ import annotations

import re

import phonenumbers

# A Russian or Kazakh number in the form the contract gives needs no further look.
_RUSSIAN = re.compile(r"7[3-9][0-9]{9}")
_NOISE = re.compile(r"[\s().\-\u2010-\u2015\u00a0]")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f.]{2,63}")


def parse_phone(text: str, region: str) -> str | None:
    """E.164 with the plus sign, or ``None`` when ``text`` is no phone.

    The wire form is digits with the country code and no plus (KLO-1); a plus, punctuation and a
    national number of ``region`` are accepted too (inferred). Bare digits are read with a country code
    first, digits with punctuation as a national number first.
    """
    digits = _NOISE.sub("", text)
    if _RUSSIAN.fullmatch(digits):
        return f"+{digits}"
    bare = digits.removeprefix("+")
    if not (bare.isascii() and bare.isdigit() and 5 <= len(bare) <= 15):
        return None
    readings = [_read(f"+{bare}", None)]
    if not digits.startswith("+"):
        readings.append(_read(bare, region))
        if bare != text.strip():  # written for people, as at home
            readings.reverse()
    known = [number for number in readings if number is not None]
    for fits in (phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        for number in known:
            if fits(number):
                return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def _read(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def wire_phone(phone: str) -> str:
    """The wire form of an E.164 phone: digits without the plus (KLO-1)."""
    return phone.removeprefix("+")


def parse_email(text: str) -> str | None:
    """The e-mail trimmed and in lower case, or ``None`` when it is none."""
    email = text.strip().lower()
    return email if len(email) <= 254 and _EMAIL.fullmatch(email) else None
