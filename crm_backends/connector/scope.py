"""Where an expression is read, and what reading it gives: names, functions, a place for errors.

It may not know how expressions are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crm_backends.connector.functions import Function
from crm_backends.connector.values import LACKING, Missing, Unfit

Context = Mapping[str, Any]
Run = Callable[[Context], Any]
FAILS = (Unfit, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)
"""What working out a value may raise."""


class Wrong(Exception):
    """An expression cannot be used. ``fragment`` is the piece of it to point at."""

    def __init__(self, cause: str, remedy: str = "", fragment: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.fragment = fragment


class CannotTell(Exception):
    """An expression has no value here; the message says where it is written and why, and no value."""


class Lacks(CannotTell):
    """The answer does not have what is read of it: it shows neither something nor that there is nothing."""


Shape = Mapping[str, Any] | None
"""Members of a name: nothing where it may have any."""


ROW = "row"
"""What expressions call one of several rows."""
Members = tuple[str, ...]
"""The way from a row to a member of it; it begins with ``ROW`` where it is written so."""
Watch = Callable[[Sequence[Members], Sequence[Any]], None]
"""Is shown the members that a filter reads, and the rows that it is given."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The names an expression may use, and the functions."""

    names: Mapping[str, Shape]
    functions: Mapping[str, Function]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Names that exist and may not be used here -> why."""
    reads: bool = False
    """Whether it reads what was asked for: then what the answer does not have is told from a ``null``."""

    filters: bool = False
    """Whether it is a condition about one row of several."""
    watch: Watch | None = None
    """Is shown what filters do; nobody looks but ``connector check``."""

    def with_names(self, **names: Shape) -> Scope:
        return replace(self, names={**self.names, **names})

    def reading(self) -> Scope:
        """The same for what is read of an answer, not for conditions about it."""
        return replace(self, reads=True)


@dataclass(slots=True)
class Expression:
    """An expression that was read."""

    run: Run
    where: str
    """Its place, for errors."""
    statuses: frozenset[int] = frozenset()
    """Numbers that it compares ``status`` with."""
    text: str = ""
    """As it is written."""
    gives: Sequence[Any] = ()
    """Values that it may give as they are written in it."""
    looks_at: Sequence[Run] = ()
    """What it reads of an answer, each ``LACKING`` where that does not have it."""

    def read(self, context: Context) -> Any:
        """Its value, or ``LACKING``. Raises ``CannotTell``."""
        try:
            return self.run(context)
        except FAILS as error:
            raise self._untold(error) from None

    # The next three do what ``read`` does themselves: they are most of what a connector does.

    def value(self, context: Context) -> Any:
        """Its value; nothing for what the answer does not have. Raises ``CannotTell``."""
        try:
            found = self.run(context)
        except FAILS as error:
            raise self._untold(error) from None
        return None if found is LACKING else found

    def there(self, context: Context) -> Any:
        """Its value, which may be nothing. Raises ``CannotTell``; ``Lacks`` where the answer has it not."""
        try:
            found = self.run(context)
        except FAILS as error:
            raise self._untold(error) from None
        if found is LACKING:
            raise self._lacks()
        return found

    def holds(self, context: Context) -> bool:
        """Whether it is true, in the sense of Jinja. Raises ``CannotTell``."""
        try:
            found = self.run(context)
        except FAILS as error:
            raise self._untold(error) from None
        return bool(found)

    def is_there(self, context: Context) -> bool:
        """Whether it is something, if only zero or an empty list, and not false. Raises ``CannotTell``."""
        found = self.read(context)
        return not (found is None or found is LACKING or found is False)

    def shown(self, context: Context) -> None:
        """See that it was told by something: of all that it reads the answer has anything.

        Raises:
            Lacks: the answer has nothing of it, so it says nothing.
        """
        if self.looks_at and all(read(context) is LACKING for read in self.looks_at):
            raise self._lacks()

    def _untold(self, error: Exception) -> CannotTell:
        """What is told of a value that cannot be worked out: the reason, and no value."""
        if isinstance(error, Missing):
            return self._lacks()
        cause = str(error) if isinstance(error, Unfit) else "the values do not fit together"
        return CannotTell(f"{self.where}: {cause}")

    def _lacks(self) -> Lacks:
        what = self.text if 0 < len(self.text) <= _SHORT else "what is read of it here"
        return Lacks(f"{self.where}: the answer lacks {what}")


_SHORT = 60
"""Characters of an expression that an error repeats."""
