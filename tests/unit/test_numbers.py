"""Card numbers and barcodes: check digits, ranges and what a barcode can hold."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapter.loyalty.numbers import (
    BadNumber,
    Shown,
    barcode_for,
    check_barcode,
    check_number,
    range_number,
    shown,
)
from adapter.settings import Cards, NumberRange


def luhn_is_right(number: str) -> bool:
    """ISO/IEC 7812-1, annex B, written down once more."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def ean_is_right(number: str) -> bool:
    """GS1 general specifications 7.9: weights 3 and 1 from the right."""
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(number))) % 10 == 0


@pytest.mark.parametrize(
    ("rule", "value", "number"),
    [
        ({"prefix": "400638133393", "length": 14, "check_digit": "none"}, 7, "40063813339307"),
        ({"prefix": "40063813339", "length": 13, "check_digit": "ean"}, 3, "4006381333931"),
        ({"prefix": "7992739", "length": 11, "check_digit": "luhn"}, 871, "79927398713"),
        ({"prefix": "", "length": 8, "check_digit": "ean"}, 9638507, "96385074"),
        ({"prefix": "29", "length": 13, "check_digit": "none"}, 0, "2900000000000"),
    ],
)
def test_published_examples_of_check_digits(rule: dict[str, Any], value: int, number: str) -> None:
    assert range_number(NumberRange(**rule), value) == number


_KINDS: list[Literal["none", "luhn", "ean"]] = ["none", "luhn", "ean"]


@given(
    prefix=st.from_regex(r"[0-9]{0,12}", fullmatch=True),
    room=st.integers(4, 6),
    kind=st.sampled_from(_KINDS),
    values=st.lists(st.integers(0, 9999), min_size=2, max_size=30, unique=True),
)
def test_numbers_of_a_range_are_unique_of_one_length_and_have_right_check_digits(
    prefix: str, room: int, kind: Literal["none", "luhn", "ean"], values: list[int]
) -> None:
    rule = NumberRange(prefix=prefix, length=len(prefix) + room + (kind != "none"), check_digit=kind)
    numbers = [range_number(rule, value) for value in values]
    assert len(set(numbers)) == len(values)
    for number in numbers:
        assert len(number) == rule.length
        assert number.startswith(prefix)
        assert number.isdigit()
        assert kind != "luhn" or luhn_is_right(number)
        assert kind != "ean" or ean_is_right(number)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": "12345678", "length": 8},
        {"prefix": "1234567", "length": 8, "check_digit": "ean"},
        {"prefix": "29", "length": 6, "check_digit": "none", "last": 10_000},
        {"first": 5, "last": 4},
        {"prefix": "29a"},
        {"prefix": "٢٩"},
        {"prefix": "2 9"},
        {"length": 3},
        {"length": 20},
        {"first": -1},
    ],
)
def test_a_range_that_cannot_be_counted_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NumberRange(**wrong)


def test_a_range_ends_where_its_digits_do() -> None:
    assert NumberRange(prefix="2900", length=13, check_digit="ean").end == 99_999_999
    assert NumberRange(prefix="2900", length=13, check_digit="ean", last=5).end == 5
    assert NumberRange(prefix="29", length=6, check_digit="none", last=9999).end == 9999


@pytest.mark.parametrize(
    ("barcode", "kind"),
    [
        ("96385074", "EAN_8"),
        ("4006381333931", "EAN_13"),
        ("036000291452", "UPC_A"),
        ("A-17/b c", "CODE_128"),
        ("https://example.com/card/17", "QR_CODE"),
    ],
)
def test_a_barcode_that_can_be_printed_is_accepted(barcode: str, kind: str) -> None:
    assert check_barcode(barcode, kind) == barcode


@pytest.mark.parametrize(
    ("barcode", "kind"),
    [
        ("96385075", "EAN_8"),
        ("4006381333932", "EAN_13"),
        ("036000291453", "UPC_A"),
        ("400638133393", "EAN_13"),
        ("400638133393X", "EAN_13"),
        ("٤006381333931", "EAN_13"),
        ("", "EAN_13"),
        ("карта", "CODE_128"),
        ("a\nb", "CODE_128"),
        ("a\x00", "QR_CODE"),
    ],
)
def test_a_barcode_that_cannot_be_printed_is_refused_without_being_repeated(barcode: str, kind: str) -> None:
    with pytest.raises(BadNumber) as caught:
        check_barcode(barcode, kind)
    assert kind in str(caught.value)
    assert not barcode or barcode not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "settings", "barcode"),
    [
        ("A17", {}, "A17"),
        ("4006381333931", {"barcode_type": "EAN_13"}, "4006381333931"),
        ("400638133393", {"barcode_type": "EAN_13", "barcode_rule": "check_digit"}, "4006381333931"),
        ("9638507", {"barcode_type": "EAN_8", "barcode_rule": "check_digit"}, "96385074"),
        ("03600029145", {"barcode_type": "UPC_A", "barcode_rule": "check_digit"}, "036000291452"),
    ],
)
def test_the_barcode_of_a_number_follows_the_rule(
    number: str, settings: dict[str, Any], barcode: str
) -> None:
    assert barcode_for(number, Cards(**settings)) == barcode


@pytest.mark.parametrize(
    ("number", "settings"),
    [
        ("2900000000019", {"number_check_digit": "ean"}),
        ("79927398710", {"number_check_digit": "luhn"}),
        ("A17", {"number_check_digit": "ean"}),
        ("1", {"number_check_digit": "luhn"}),
        ("29000", {"number_lengths": [4, 6]}),
        ("A-17", {"number_alphabet": "alphanumeric"}),
        ("A17", {"number_alphabet": "digits"}),
        ("2.977E+12", {}),
        ("no/path", {}),
        ("карта", {}),
        ("", {}),
    ],
)
def test_one_rule_for_card_numbers_is_that_of_barcodes_too(number: str, settings: dict[str, Any]) -> None:
    for check in (check_number, barcode_for):
        with pytest.raises(BadNumber) as caught:
            check(number, Cards(**settings))
        assert not number or number not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "settings"),
    [
        ("2900000000018", {"number_check_digit": "ean", "number_lengths": [13], "number_alphabet": "digits"}),
        ("79927398713", {"number_check_digit": "luhn"}),
        ("A17", {"number_lengths": [3, 13], "number_alphabet": "alphanumeric"}),
        ("A 17", {}),
    ],
)
def test_a_number_that_keeps_the_rule_is_taken_as_it_is(number: str, settings: dict[str, Any]) -> None:
    assert check_number(number, Cards(**settings)) == number


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"number_lengths": [12]}, "ranges.0.length"),
        ({"number_check_digit": "luhn"}, "ranges.0.check_digit"),
    ],
)
def test_a_range_that_breaks_the_rule_for_numbers_is_refused(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Cards(ranges=[NumberRange(prefix="2900")], **rule)
    assert Cards(ranges=[NumberRange(prefix="2900")], number_lengths=[13], number_check_digit="ean")


@pytest.mark.parametrize(
    ("number", "settings"),
    [
        ("A17", {"barcode_type": "EAN_13"}),
        ("A17", {"barcode_rule": "check_digit"}),
        ("4006381333931", {"barcode_type": "EAN_13", "barcode_rule": "check_digit"}),
        ("40063813339x", {"barcode_type": "EAN_13", "barcode_rule": "check_digit"}),
    ],
)
def test_a_number_the_rule_does_not_fit_is_refused(number: str, settings: dict[str, Any]) -> None:
    with pytest.raises(BadNumber):
        barcode_for(number, Cards(**settings))


EAN = Cards(barcode_type="EAN_13")


@pytest.mark.parametrize(
    ("number", "barcode", "kind", "cards", "expected"),
    [
        ("OLD-77", None, None, Cards(), Shown("OLD-77", "CODE_128", told=False, fits=True)),
        ("4006381333931", None, None, EAN, Shown("4006381333931", "EAN_13", told=False, fits=True)),
        # What is printed on the card goes before any rule, in the CRM's type or in that of the settings.
        ("P-1", "4006381333931", "EAN_13", Cards(), Shown("4006381333931", "EAN_13", told=True, fits=True)),
        ("P-1", "4006381333931", "PDF417", EAN, Shown("4006381333931", "EAN_13", told=True, fits=True)),
        # What its type cannot carry is shown with another one.
        ("12345678901", None, None, EAN, Shown("12345678901", "CODE_128", told=False, fits=False)),
        ("P-1", "P-1-A", None, EAN, Shown("P-1-A", "CODE_128", told=True, fits=False)),
    ],
)
def test_a_number_of_the_crm_is_shown_with_a_barcode_that_can_carry_it(
    number: str, barcode: str | None, kind: str | None, cards: Cards, expected: Shown
) -> None:
    assert shown(number, barcode, kind, cards) == expected


@pytest.mark.parametrize(
    ("number", "cards"),
    [
        ("12345678901", Cards(barcode_type="EAN_13", barcode_fallback="none")),
        ("a/b", Cards()),
        ("OLD-77", Cards(number_alphabet="digits")),
    ],
)
def test_a_number_of_the_crm_that_cannot_be_shown_is_said_to_be_so(number: str, cards: Cards) -> None:
    with pytest.raises(BadNumber):
        shown(number, None, None, cards)
