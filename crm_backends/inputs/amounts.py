"""Amounts as CRMs tell them: points, money. What no account can hold is none."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_MOST = Decimal(10) ** 15
_DECIMALS = 30


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
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_DECIMALS or not -_MOST < amount < _MOST:
        return None
    return amount
