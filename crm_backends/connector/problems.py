"""What is wrong with a connector's file, and where: file, line, column, cause, remedy.

It may not know what a connector is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""The keys and positions that lead from the top of a document to a value."""


@dataclass(frozen=True, slots=True, order=True)
class FilePlace:
    """Where something is written. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    place: FilePlace
    cause: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.cause}" + (f"; {self.remedy}" if self.remedy else "")


class ConnectorError(ValueError):
    """A connector's file cannot be used; the message has a line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for a wrong name: the nearest right one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known here: {', '.join(names)}" if names else "there are none here"
