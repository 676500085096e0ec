"""Amounts as CRMs tell them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crm_backends.inputs import amount_of


@pytest.mark.parametrize(
    ("told", "amount"),
    [
        (62, "62"), ("62.50", "62.50"), (Decimal("-3"), "-3"), (0.1, "0.1"), (" 7 ", "7"), ("1E+3", "1E+3"),
        ("20.3333333333333333", "20.3333333333333333"),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_stands(told: object, amount: str) -> None:
    assert amount_of(told) == Decimal(amount)


@pytest.mark.parametrize(
    "told", [None, True, "", "x", "NaN", "sNaN", "Infinity", "1E+999999", "-1E+20", "1E-30000", [], {}]
)
def test_what_no_account_can_hold_is_none(told: object) -> None:
    assert amount_of(told) is None
