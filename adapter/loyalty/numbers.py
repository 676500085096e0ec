"""Card numbers and barcodes: check digits and formats. It may not know which numbers are in use.

``check_number`` is the rule for all card numbers: imported, made from a range, or kept by a CRM.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stdnum import ean, luhn

from adapter.settings import BARCODE_DIGITS, Cards, NumberRange
from crm_backends.inputs import is_left_out

BARCODE_TYPES = ("EAN_8", "EAN_13", "CODE_128", "UPC_A", "QR_CODE")
"""The types the contract knows (KLO card object, official)."""


class BadNumber(ValueError):
    """A card number or barcode does not fit its rule; the message says why, without the number."""


_ROUNDED = re.compile(r"[+-]?\d+(?:[.,]\d+[eE][+-]?\d+|[eE][+-]\d+)")
_FRACTION = re.compile(r"\d+[.,]0+")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?")
_GROUPED_OTHERWISE = re.compile(r"\d{1,3}(?:([. \u00a0\u202f])\d{3})(?:\1\d{3})+(?:[.,]\d+)?")
_ERROR_VALUE = re.compile(r"#+|#[^\W\d]+(?:/(?:[^\W\d]+|0))?[!?]?|Err:\d{3}")
_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(
    r"(?:0?[1-9]|[12]\d|3[01])[./-](?:0?[1-9]|1[0-2])[./-](?:19|20)\d\d"
    r"|(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[ T]\d\d:\d\d(?::\d\d)?)?"
    rf"|\d{{1,2}}-(?:{_MONTH})(?:-\d{{2,4}})?|(?:{_MONTH})-\d{{2,4}}",
    re.IGNORECASE,
)
_AS_TEXT = "make the column text before the numbers are put into it, and export it again"


def damage(cell: str, *, exported: bool = False) -> str | None:
    """What a spreadsheet has made of a number, and what to do; ``None``: nothing that can be seen.

    ``exported``: the number stands in a file; dots or blanks between each three digits are then a
    spreadsheet's. A CRM may write its own numbers so.
    """
    if _ROUNDED.fullmatch(cell):
        return f"was rounded by a spreadsheet (1.23E+12), its digits are lost; {_AS_TEXT}"
    grouped = _GROUPED.fullmatch(cell) or (exported and _GROUPED_OTHERWISE.fullmatch(cell))
    if grouped or _FRACTION.fullmatch(cell):
        return f"was formatted as an amount (1,234.0) by a spreadsheet; {_AS_TEXT}"
    if _ERROR_VALUE.fullmatch(cell):
        return "is an error of a spreadsheet's formula (#REF!); correct the formula and export again"
    if cell.startswith("=") or any(quote in cell for quote in "\"'`"):
        return "is a formula or has quotes; export the plain values"
    if _DATE.fullmatch(cell):
        return f"was made a date by a spreadsheet; {_AS_TEXT}"
    if is_left_out(cell) or cell.upper() in ("TRUE", "FALSE"):
        return "is a word and not a number; leave such lines out"
    return None


_ALPHABETS = {"alphanumeric": re.compile("[0-9A-Za-z]+"), "digits": re.compile("[0-9]+")}


def check_number(number: str, cards: Cards) -> str:
    """The card number, if it keeps the rule of the settings. Raises ``BadNumber`` with reason and remedy."""
    if number and (reason := damage(number)) is not None:
        raise BadNumber(f"the number {reason}")
    if not number or len(number) > 64 or not number.isascii() or not number.isprintable() or "/" in number:
        raise BadNumber(
            "the number is empty, longer than 64, or has characters a path cannot hold; correct the line"
        )
    if cards.number_lengths and len(number) not in cards.number_lengths:
        lengths = ", ".join(map(str, sorted(cards.number_lengths)))
        raise BadNumber(
            f"the number has {len(number)} characters, cards.number_lengths has {lengths}; correct either"
        )
    alphabet = _ALPHABETS.get(cards.number_alphabet)
    if alphabet is not None and not alphabet.fullmatch(number):
        raise BadNumber(
            f"the number has other characters than cards.number_alphabet allows ({cards.number_alphabet}); "
            "correct either"
        )
    kind = cards.number_check_digit
    if kind != "none" and not (
        number.isdigit() and len(number) > 1 and _check_digit(number[:-1], kind) == number[-1]
    ):
        raise BadNumber(
            f"the last digit of the number is wrong, cards.number_check_digit is {kind}; correct either"
        )
    return number


def _check_digit(body: str, kind: str) -> str:
    return str(luhn.calc_check_digit(body) if kind == "luhn" else ean.calc_check_digit(body))


def range_number(rule: NumberRange, value: int) -> str:
    """The card number for the counter ``value`` of a range."""
    body = f"{rule.prefix}{value:0{rule.digits}d}"
    return body if rule.check_digit == "none" else body + _check_digit(body, rule.check_digit)


def check_barcode(barcode: str, kind: str) -> str:
    """The barcode, if it can be printed as ``kind`` (KLO card object). Raises ``BadNumber``."""
    digits = BARCODE_DIGITS.get(kind)
    if digits is None:
        if not barcode.isprintable() or not barcode.isascii():
            raise BadNumber(f"a {kind} barcode holds printable ASCII characters")
    elif len(barcode) != digits or not (barcode.isascii() and barcode.isdigit()):
        raise BadNumber(f"a {kind} barcode has {digits} digits")
    elif str(ean.calc_check_digit(barcode[:-1])) != barcode[-1]:
        raise BadNumber(f"the check digit of the {kind} barcode is wrong")
    return barcode


def barcode_for(number: str, cards: Cards) -> str:
    """The barcode of a card number by the rules of the settings. Raises ``BadNumber``."""
    check_number(number, cards)
    if cards.barcode_rule == "number":
        return check_barcode(number, cards.barcode_type)
    digits = BARCODE_DIGITS.get(cards.barcode_type)
    if digits is None:
        raise BadNumber(f"{cards.barcode_type} has no check digit; set cards.barcode_rule to number")
    if len(number) != digits - 1 or not (number.isascii() and number.isdigit()):
        raise BadNumber(f"{cards.barcode_type} needs a card number of {digits - 1} digits")
    return number + str(ean.calc_check_digit(number))


@dataclass(frozen=True, slots=True)
class Shown:
    """How a card number that the CRM keeps is shown."""

    barcode: str
    barcode_type: str
    told: bool
    """True: the CRM tells the barcode. False: the barcode is made from the number by a rule."""
    fits: bool
    """False: only ``cards.barcode_fallback`` can carry the barcode."""


def shown(number: str, barcode: str | None, barcode_type: str | None, cards: Cards) -> Shown:
    """Barcode and type of a number that the CRM keeps: the CRM's own, else by the rule of the settings.

    A number that neither can carry gets the type ``cards.barcode_fallback``. Raises ``BadNumber`` if that
    cannot carry it either.
    """
    check_number(number, cards)
    try:
        if barcode is None:
            return Shown(barcode_for(number, cards), cards.barcode_type, told=False, fits=True)
        kind = barcode_type if barcode_type in BARCODE_TYPES else cards.barcode_type
        return Shown(check_barcode(barcode, kind), kind, told=True, fits=True)
    except BadNumber:
        if cards.barcode_fallback == "none":
            raise
    text = check_barcode(barcode or number, cards.barcode_fallback)
    return Shown(text, cards.barcode_fallback, told=barcode is not None, fits=False)
