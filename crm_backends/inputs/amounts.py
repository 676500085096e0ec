"""Amounts as CRMs tell them: points, money. What no account can hold is none."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_MOST = Decimal(10) ** 15
_DECIMALS = 60
"""What a CRM adds up in binary fractions leaves some thirty: -1.7763568394002505e-15 for nothing."""


def amount_of(value: object) -> Decimal | None:
    """The amount, given as a number or as text; ``None``: there is none, or it is absurd (1E+999999, NaN)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    if isinstance(value, str) and "_" in value:  # Python's own way to group digits; no CRM's
        return None
    try:
        amount = Decimal(str(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not -_MOST < amount < _MOST or _has_more_decimals(amount):
        return None
    return amount


def _has_more_decimals(amount: Decimal) -> bool:
    """Whether a finite number has more decimals than are looked at."""
    written = str(amount)  # less than a fifth of the time of ``as_tuple``
    if len(written) <= _DECIMALS and "E" not in written:
        return False
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent < -_DECIMALS
