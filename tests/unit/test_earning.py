"""Points for a receipt by the rule of the settings, exact to the last digit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import Code, Refused
from adapter.loyalty.earning import admit, points_for
from adapter.settings import Receipts
from crm_backends.model import FiscalReceipt

NOW = datetime(2026, 5, 19, 12, 0, tzinfo=UTC)


def receipt(kopecks: int, **changed: Any) -> FiscalReceipt:
    bought = FiscalReceipt(
        fiscal_drive="8710000101125654",
        document="99456",
        sign="1250448795",
        total_kopecks=kopecks,
        issued_at=NOW - timedelta(hours=1),
        calculation_type=1,
    )
    return replace(bought, **changed)


def earned(kopecks: int, **rule: Any) -> Decimal:
    points = points_for(receipt(kopecks), Receipts(**rule))
    assert points is not None
    return points


@pytest.mark.parametrize(
    ("kopecks", "rule", "points"),
    [
        (125_000, {}, "62"),
        (1999, {}, "0"),
        (2000, {}, "1"),
        (125_000, {"rounding": "down"}, "62"),
        (125_000, {"rounding": "half_up"}, "63"),
        (124_999, {"rounding": "half_up"}, "62"),
        (125_000, {"rounding": "up"}, "63"),
        (1, {"rounding": "up"}, "1"),
        (124_000, {"rounding": "up"}, "62"),
        (125_000, {"step": "0.01"}, "62.50"),
        (333, {"step": "0.01", "rounding": "down"}, "0.16"),
        (333, {"step": "0.01", "rounding": "half_up"}, "0.17"),
        (125_000, {"step": "10"}, "60"),
        (125_000, {"step": "10", "rounding": "half_up"}, "60"),
        (130_000, {"step": "10", "rounding": "half_up"}, "70"),
        (125_000, {"step": "2.5"}, "62.5"),
        (125_000, {"rate": "1"}, "1250"),
        (125_000, {"rate": "0"}, "0"),
        (99_999_999_999_999, {"rate": "0.1", "step": "0.001"}, "99999999999.999"),
        (125_000, {"maximum_points": "50"}, "50"),
        (125_000, {"maximum_points": "62"}, "62"),
        (125_000, {"maximum_points": "0"}, "0"),
        (125_000, {"maximum_points": "62.4", "rounding": "up"}, "62.4"),
    ],
)
def test_points_by_rate_step_rounding_and_maximum(kopecks: int, rule: dict[str, Any], points: str) -> None:
    assert earned(kopecks, **rule) == Decimal(points)


def test_a_rate_that_has_no_exact_binary_form_is_taken_as_written() -> None:
    assert earned(100, rate=0.29, step="0.01") == Decimal("0.29")
    assert earned(57_00, rate=0.01, step="0.01") == Decimal("0.57")


def test_the_crm_computes_where_the_settings_say_so() -> None:
    assert points_for(receipt(125_000), Receipts(points_by="crm")) is None


@pytest.mark.parametrize("calculation_type", [2, 3, 4])
def test_what_is_no_sale_earns_nothing_by_the_rule(calculation_type: int) -> None:
    """Else a purchase that is brought back would earn twice."""
    assert (
        points_for(
            receipt(125_000, calculation_type=calculation_type), Receipts(calculation_types=[1, 2, 3, 4])
        )
        == 0
    )


@pytest.mark.parametrize(
    ("changed", "rule", "code"),
    [
        ({"calculation_type": 2}, {}, Code.RECEIPT_KIND),
        ({"calculation_type": 3}, {"calculation_types": [1, 2]}, Code.RECEIPT_KIND),
        ({"calculation_type": 1}, {"calculation_types": [2, 3, 4]}, Code.RECEIPT_KIND),
        ({"issued_at": NOW - timedelta(days=30, seconds=1)}, {}, Code.RECEIPT_TOO_OLD),
        ({"issued_at": NOW - timedelta(days=2)}, {"max_age_days": 1}, Code.RECEIPT_TOO_OLD),
        ({"total_kopecks": 49_999}, {"minimum_total": "500"}, Code.RECEIPT_TOO_SMALL),
    ],
)
def test_a_receipt_that_takes_no_part_is_refused(
    changed: dict[str, Any], rule: dict[str, Any], code: Code
) -> None:
    with pytest.raises(Refused) as caught:
        admit(receipt(100_000, **changed), Receipts(**rule), NOW)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({}, {}),
        ({"calculation_type": 2}, {"calculation_types": [1, 2]}),
        ({"issued_at": NOW - timedelta(days=30)}, {}),
        ({"issued_at": NOW + timedelta(hours=11)}, {}),
        ({"total_kopecks": 50_000}, {"minimum_total": "500"}),
        ({"total_kopecks": 50_050}, {"minimum_total": "500.50"}),
    ],
)
def test_a_receipt_at_the_edge_of_the_rule_takes_part(changed: dict[str, Any], rule: dict[str, Any]) -> None:
    admit(receipt(100_000, **changed), Receipts(**rule), NOW)


_KOPECKS = st.integers(1, 10**14 - 1)
_RULES = st.builds(
    Receipts,
    rate=st.decimals(0, 1000, places=4),
    step=st.sampled_from([Decimal(text) for text in ("0.01", "0.1", "0.5", "1", "3", "7", "10", "0.07")]),
    rounding=st.sampled_from(["down", "half_up", "up"]),
    maximum_points=st.one_of(st.none(), st.decimals(0, 100_000, places=2)),
)


def _exactly(kopecks: int, rule: Receipts) -> Fraction:
    """The rule once more, in whole fractions."""
    steps = Fraction(kopecks, 100) * Fraction(rule.rate) / Fraction(rule.step)
    whole = {
        "down": steps.__floor__(),
        "up": steps.__ceil__(),
        "half_up": (steps + Fraction(1, 2)).__floor__(),
    }[rule.rounding]
    points = whole * Fraction(rule.step)
    return points if rule.maximum_points is None else min(points, Fraction(rule.maximum_points))


@given(kopecks=_KOPECKS, rule=_RULES)
def test_points_are_exactly_those_of_fraction_arithmetic(kopecks: int, rule: Receipts) -> None:
    points = points_for(receipt(kopecks), rule)
    assert points is not None
    assert Fraction(points) == _exactly(kopecks, rule)


@given(smaller=_KOPECKS, larger=_KOPECKS, rule=_RULES)
def test_a_larger_total_never_earns_less(smaller: int, larger: int, rule: Receipts) -> None:
    smaller, larger = sorted((smaller, larger))
    less, more = points_for(receipt(smaller), rule), points_for(receipt(larger), rule)
    assert less is not None
    assert more is not None
    assert 0 <= less <= more
