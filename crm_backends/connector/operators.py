"""What stands between values in an expression: comparisons, arithmetic, and the tests after ``is``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from crm_backends.connector.values import Unfit, kind, same

_ORDERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}


def _order(compare: Callable[[Any, Any], Any]) -> Callable[[object, object], bool]:
    def compared(left: object, right: object) -> bool:
        if left is None or right is None or isinstance(left, bool) or isinstance(right, bool):
            raise Unfit(f"{kind(left)} and {kind(right)} have no order")
        return bool(compare(left, right))

    return compared


def _contains(left: object, right: object) -> bool:
    if right is None:
        return False
    if isinstance(right, str):
        if not isinstance(left, str):
            raise Unfit(f"text is looked for in text, this is {kind(left)}")
        return left in right
    if isinstance(right, dict):
        return isinstance(left, str | int) and left in right
    if not isinstance(right, list):
        raise Unfit(f"nothing is in {kind(right)}")
    return any(same(left, one) for one in right)


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": same,
    "ne": lambda left, right: not same(left, right),
    **{name: _order(order) for name, order in _ORDERS.items()},
    "in": _contains,
    "notin": lambda left, right: not _contains(left, right),
}


def comparison_with(name: str, right: Any) -> Callable[[Any], bool]:
    """The comparison of this name with a value that is always the same; nothing is looked at twice."""
    if isinstance(right, int | Decimal) and not isinstance(right, bool):
        if name == "eq":
            return lambda left: left == right and not isinstance(left, bool)
        if name in _ORDERS:
            order = _ORDERS[name]

            def compared(left: Any) -> bool:
                if left is None or isinstance(left, bool):
                    raise Unfit(f"{kind(left)} and {kind(right)} have no order")
                return bool(order(left, right))

            return compared
    if name == "eq" and isinstance(right, str):
        return lambda left: bool(left == right)
    how = COMPARISONS[name]
    return lambda left: how(left, right)


ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: Decimal(left) / Decimal(right),
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
}
TESTS: Mapping[str, Callable[[Any], bool]] = {
    "none": lambda value: value is None,
    "defined": lambda value: value is not None,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "mapping": lambda value: isinstance(value, dict),
    "empty": lambda value: value in (None, False, "", [], {}),
}
TOLD_TESTS: Mapping[str, str] = {
    "none": "there is nothing",
    "defined": "there is something",
    "true": "it is true, and nothing that only counts as true",
    "false": "it is false, and nothing that only counts as false",
    "text": "it is text",
    "number": "it is a number",
    "list": "it is a list",
    "mapping": "it is a mapping",
    "empty": "it is nothing, false, or has no characters, rows or members",
}
"""What may follow ``is`` or ``is not``, for the documentation."""
