"""Numbers for new cards: how many are left and for how long, and what became of a file that brought some.

It may not know where they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapter.settings import NumberRange


@dataclass(frozen=True, slots=True)
class RangeLeft:
    """How many numbers of a range are left."""

    rule: NumberRange
    left: int


@dataclass(frozen=True, slots=True)
class Stock:
    """Numbers that can be given to somebody."""

    free: int
    """In the pool; counted up to ``counted``."""
    counted: int
    ranges: Sequence[RangeLeft]
    given: int
    """Cards issued in the last day."""

    @property
    def left(self) -> int:
        return self.free + sum(one.left for one in self.ranges)

    @property
    def days(self) -> float | None:
        """How long they last if as many are given as in the last day; ``None``: none was given."""
        return self.left / self.given if self.given else None


@dataclass(slots=True)
class Brought:
    """What became of the lines of a file so far."""

    lines: int = 0
    """That were dealt with."""
    imported: int = 0
    known: int = 0
    """Numbers, or customers, that had a card before; left as they were."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """Line number in the file and reason; the first thousand."""
    rejected_count: int = 0
    problem: str | None = None
    """Why the file as a whole, or its rest, could not be imported."""
    over: bool = False
