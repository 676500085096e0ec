"""How much of the time of what is under way each CRM took: added up by the drivers, read by whoever asked.

It may not know what is asked of a CRM, nor who wants to know.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

_spent: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


@contextlib.contextmanager
def counting() -> Iterator[dict[str, float]]:
    """Name of a driver -> seconds spent on calls to its CRM, of what happens within; also of a call cut
    off."""
    seconds: dict[str, float] = {}
    token = _spent.set(seconds)
    try:
        yield seconds
    finally:
        _spent.reset(token)


class spending:  # noqa: N801 - used as a statement; a class costs a third of a generator, and it is hot
    """Within it a call to the CRM of this driver is under way; for ``with``."""

    __slots__ = ("_began", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        seconds = _spent.get()
        if seconds is not None:
            seconds[self._name] = seconds.get(self._name, 0.0) + time.monotonic() - self._began
