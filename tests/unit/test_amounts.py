"""Amounts as CRMs tell them, and whether they are those that were asked for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from adapter.delivery.amounts import is_rounded
from crm_backends.inputs import amount_of


@pytest.mark.parametrize(
    ("told", "amount"),
    [
        (62, "62"), ("62.50", "62.50"), (Decimal("-3"), "-3"), (0.1, "0.1"), (" 7 ", "7"), ("1E+3", "1E+3"),
        ("20.3333333333333333", "20.3333333333333333"), ("1E-60", "1E-60"),
        (-1.7763568394002505e-15, "-1.7763568394002505E-15"),  # what binary fractions leave of nothing
        (f"0.{'1' * 60}", f"0.{'1' * 60}"), (Decimal("999999999999999"), "999999999999999"),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_stands(told: object, amount: str) -> None:
    assert amount_of(told) == Decimal(amount)


@pytest.mark.parametrize(
    "told",
    [
        None, True, "", "x", "NaN", "sNaN", "Infinity", "1E+999999", "-1E+20", "1E-30000", "1_000", [], {},
        "1E-61", f"0.{'1' * 61}", f"1.{'0' * 61}", f"0.{'0' * 61}", 10**15, Decimal("NaN"), float("inf"),
    ],
)  # fmt: skip
def test_what_no_account_can_hold_is_none(told: object) -> None:
    assert amount_of(told) is None


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("5", "5"), ("5", "5.00"), ("100", "1E+2"), ("5.125", "5.13"), ("5.125", "5.1"), ("5.5", "6"),
        ("5.5", "6.00"), ("5.5", "5"), ("0.5", "0"), ("0", "0"), (None, "0"), (None, "999"),
    ],
)  # fmt: skip
def test_an_amount_in_fewer_decimals_is_the_one_asked_for(asked: str | None, told: str) -> None:
    assert is_rounded(Decimal(told), None if asked is None else Decimal(asked))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("5", "999"), ("5", "0"), ("5", "-5"), ("5", "6"), ("5", "4.5"), ("5", "50"), ("5", "5.01"),
        ("5", "NaN"), ("0.5", "-0.5"), ("10", "20"), (None, "-1"), (None, "Infinity"),
    ],
)  # fmt: skip
def test_another_amount_is_not_the_one_asked_for(asked: str | None, told: str) -> None:
    assert not is_rounded(Decimal(told), None if asked is None else Decimal(asked))
