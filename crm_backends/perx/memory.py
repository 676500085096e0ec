"""A few things one process remembers of its calls. It may not make a call.

All of it is lost at the end of the process, so nothing may rest on it alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """The values of the latest keys, up to ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def first(self, key: str, value: T) -> T:
        """The value that the key was first given: this one, unless there is one already."""
        kept = self._kept.setdefault(key, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return kept

    def get(self, key: str) -> T | None:
        return self._kept.get(key)

    def forget(self, key: str) -> None:
        self._kept.pop(key, None)
