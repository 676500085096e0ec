"""Where an expression is read, and what reading it gives: names, functions, a place for errors.

It may not know how expressions are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_backends.connector.functions import Function
from crm_backends.connector.values import Unfit

Context = Mapping[str, Any]
Run = Callable[[Context], Any]
_FAILS = (Unfit, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)


class Wrong(Exception):
    """An expression cannot be used. ``fragment`` is the piece of it to point at."""

    def __init__(self, cause: str, remedy: str = "", fragment: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.fragment = fragment


class CannotTell(Exception):
    """An expression has no value here; the message says where it is written and why, and no value."""


Shape = Mapping[str, Any] | None
"""Members of a name: nothing where it may have any."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The names an expression may use, and the functions."""

    names: Mapping[str, Shape]
    functions: Mapping[str, Function]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Names that exist and may not be used here -> why."""

    def with_names(self, **names: Shape) -> Scope:
        return Scope({**self.names, **names}, self.functions, self.elsewhere)


@dataclass(slots=True)
class Expression:
    """An expression that was read."""

    run: Run
    where: str
    """Its place, for errors."""
    statuses: frozenset[int] = frozenset()
    """Numbers that it compares ``status`` with."""

    def value(self, context: Context) -> Any:
        """Raises ``CannotTell``."""
        try:
            return self.run(context)
        except _FAILS as error:
            cause = str(error) if isinstance(error, Unfit) else "the values do not fit together"
            raise CannotTell(f"{self.where}: {cause}") from None

    def holds(self, context: Context) -> bool:
        """Whether it is true, in the sense of Jinja. Raises ``CannotTell``."""
        return bool(self.value(context))
