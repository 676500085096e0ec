"""Comparisons with a value that never changes say what the same comparisons of two values say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from crm_backends.connector.operators import COMPARISONS, comparison_with
from crm_backends.connector.values import Unfit

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    404,
    Decimal(1),
    Decimal("1.50"),
    "",
    "1",
    "one",
    [],
    [1, "1", True, None],
    {},
    {"1": 1},
    date(2026, 11, 26),
    datetime(2026, 11, 26, 10, 30, tzinfo=UTC),
]


def outcome(compare: Callable[..., Any], *values: Any) -> object:
    """What a comparison gives, or the kind of its error and what it tells."""
    try:
        return compare(*values)
    except (Unfit, TypeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", sorted(COMPARISONS))
def test_a_comparison_with_a_constant_is_the_same_comparison(name: str) -> None:
    for right in VALUES:
        with_right = comparison_with(name, right)
        for left in VALUES:
            found = outcome(with_right, left)
            assert found == outcome(COMPARISONS[name], left, right), (left, right)
            assert isinstance(found, bool | tuple), (left, right)
