"""Phones: E.164 inside, whatever people, programs and CRMs write.

What is written without a country code is a number of the programme's region, and has to be one that exists
there (``phonenumbers`` knows the numbering plans). Digits that begin with a country code are believed when
there are as many as that country uses, so that a range of numbers opened yesterday shuts nobody out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberType, ValidationResult

from crm_backends.inputs.text import LEFT_OUT, compatible, shape

# A number of Russia or Kazakhstan as the contract gives it, or in E.164, needs no further look.
_RUSSIAN = re.compile(r"7[3-9][0-9]{9}")
_RUSSIAN_E164 = re.compile(r"\+7[3-9][0-9]{9}")
_RUSSIAN_LINES = re.compile(r"(?:\+7[3-9][0-9]{9}\n)*+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# Between the digits: blanks, brackets, dots, and every dash there is.
_BETWEEN = re.compile(r"[\s().\-\u058a\u2010-\u2015\u2043\u2053\u207b\u208b\u2212\u2e3a\u2e3b\u30fb\u30fc]")
_DIGITS = re.compile(r"[0-9]{5,15}")
_A_FRACTION = re.compile(r"[0-9]\.[0-9]?$")
"""A phone that a spreadsheet has turned into a number (79161234567.0): the last digit is not the phone's."""
_NEVER_BEGINS = {1: re.compile("[01]"), 7: re.compile("[012]")}
"""Digits with which no number begins after country codes 1 and 7, each shared by several countries."""

_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


class UnreadablePhone(ValueError):
    """There is a value, and it is no phone; the message is its shape, never the value."""


def read_phone(text: str, region: str) -> str | None:
    """A phone that a caller or an operator gives: E.164 with the plus sign, or ``None`` when it is no phone.

    For the API, the console and the command line; what a CRM's row holds is read by ``read_crm_phone``.

    The wire form is digits with the country code and no plus (KLO-1); a plus, ``tel:``, punctuation and a
    national number of ``region`` are understood too (inferred). Ten bare digits are most likely one of those,
    unless they are a landline there and a mobile number with a country code. An extension is refused: nobody
    can be sent a code there.

    Args:
        text: as somebody wrote it.
        region: ISO 3166 country of numbers without a country code.
    """
    if _RUSSIAN.fullmatch(text):
        return f"+{text}"
    written = compatible(text)
    if written[:4].lower() == "tel:":
        written = written[4:].strip()
    digits = _BETWEEN.sub("", written)
    plus = digits.startswith("+")
    digits = digits.removeprefix("+")
    if not _DIGITS.fullmatch(digits) or _A_FRACTION.search(written):
        return None
    if plus:
        return _in_full(digits)
    at_home = _national(digits, region)
    if digits != written:  # written for people
        return at_home or _existing(digits)
    abroad = _existing(digits)
    if len(digits) == 10:
        return next(filter(_is_mobile, filter(None, (at_home, abroad))), at_home or abroad)
    return abroad or at_home or _in_full(digits, as_they_are=True)


def read_crm_phone(text: str | None, region: str) -> str | None:
    """The phone in a row or an answer of a CRM, in E.164; ``None`` where it keeps none.

    For drivers; what a caller gives is read by ``read_phone``. A CRM keeps phones as people typed them in its
    own country, so digits without a plus are a number of ``region`` first.

    Raises:
        UnreadablePhone: there is a value with digits, and it is no phone.
    """
    if text is None or _RUSSIAN_E164.fullmatch(text):
        return text
    phone = _kept(text, region)
    if phone is None and not _says_nothing(text):
        raise UnreadablePhone(shape(text))
    return phone


def are_e164(phones: Sequence[str]) -> bool:
    """Whether all of these are in E.164 already: one fast look at a list of millions."""
    return _RUSSIAN_LINES.fullmatch("\n".join([*phones, ""])) is not None


def _says_nothing(text: str) -> bool:
    return not any(character.isdigit() for character in text) or compatible(text).lower() in LEFT_OUT


@lru_cache(maxsize=4096)
def _kept(text: str, region: str) -> str | None:
    if _RUSSIAN.fullmatch(text):
        return f"+{text}"
    plain = compatible(text)
    if not _E164.fullmatch(plain):
        digits = _BETWEEN.sub("", plain)
        if _DIGITS.fullmatch(digits) and not _A_FRACTION.search(plain):
            return _national(digits, region) or _existing(digits)
    return read_phone(text, region)


def _in_full(digits: str, *, as_they_are: bool = False) -> str | None:
    """Digits that begin with a known country code and are as many as that country uses.

    ``as_they_are``: nothing of them may be a prefix that people dial at home, as in +44 (0)20.
    """
    number = _parsed(f"+{digits}", None)
    if number is None or phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    phone, national = _e164(number), phonenumbers.national_significant_number(number)
    never = _NEVER_BEGINS.get(number.country_code or 0)
    in_doubt = (never and never.match(national)) or len(set(national)) == 1 or phone != f"+{digits}"
    if in_doubt and (as_they_are or not phonenumbers.is_valid_number(number)):
        return None
    return phone


def _existing(digits: str) -> str | None:
    """Digits that begin with a country code, if there are such numbers, with nothing left out of them."""
    number = _parsed(f"+{digits}", None)
    if number is None or not phonenumbers.is_valid_number(number):
        return None
    phone = _e164(number)
    return phone if phone == f"+{digits}" else None


def _national(digits: str, region: str) -> str | None:
    """A number of the region with or without its own prefixes (8, 0), if it exists."""
    number = _parsed(digits, region)
    return _e164(number) if number is not None and phonenumbers.is_valid_number(number) else None


def _is_mobile(phone: str) -> bool:
    number = _parsed(phone, None)
    return number is not None and phonenumbers.number_type(number) in _MOBILE


def _parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_region(code: str) -> bool:
    """Whether phones of a country with this code of two letters are known; those of no other can be read."""
    return code in phonenumbers.SUPPORTED_REGIONS


def wire_phone(phone: str) -> str:
    """The wire form of an E.164 phone: digits without the plus (KLO-1)."""
    return phone.removeprefix("+")


def national_digits(phone: str) -> str:
    """The digits of an E.164 phone after the country code: 9161234567."""
    if phone.startswith("+7"):
        return phone[2:]
    number = _parsed(phone, None)
    return phonenumbers.national_significant_number(number) if number is not None else wire_phone(phone)
