"""Card numbers and barcodes: check digits and formats. It may not know which numbers are in use."""

from __future__ import annotations

from stdnum import ean, luhn

from adapter.settings import Cards, NumberRange

BARCODE_TYPES = ("EAN_8", "EAN_13", "CODE_128", "UPC_A", "QR_CODE")
"""The types the contract knows (KLO card object, official)."""
BARCODE_DIGITS = {"EAN_8": 8, "EAN_13": 13, "UPC_A": 12}
"""Digits of the barcode types that have a fixed number of them, check digit included."""


class BadNumber(ValueError):
    """A card number or barcode does not fit its rule; the message says why, without the number."""


def range_number(rule: NumberRange, value: int) -> str:
    """The card number for the counter ``value`` of a range."""
    body = f"{rule.prefix}{value:0{rule.digits}d}"
    if rule.check_digit == "luhn":
        return body + luhn.calc_check_digit(body)
    if rule.check_digit == "ean":
        return body + str(ean.calc_check_digit(body))
    return body


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
    """The barcode of a card number by the rule of the settings. Raises ``BadNumber``."""
    if cards.barcode_rule == "number":
        return check_barcode(number, cards.barcode_type)
    digits = BARCODE_DIGITS.get(cards.barcode_type)
    if digits is None:
        raise BadNumber(f"{cards.barcode_type} has no check digit; set cards.barcode_rule to number")
    if len(number) != digits - 1 or not (number.isascii() and number.isdigit()):
        raise BadNumber(f"{cards.barcode_type} needs a card number of {digits - 1} digits")
    return number + str(ean.calc_check_digit(number))
