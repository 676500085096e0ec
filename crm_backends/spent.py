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


def charge(name: str, began: float) -> None:
    """A call to this driver's CRM has ended, or was cut off; it ``began`` at this ``time.monotonic()``."""
    seconds = _spent.get()
    if seconds is not None:
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began
