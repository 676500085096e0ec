"""How many seconds of a request each CRM took: drivers add them up, whoever began the request reads them.

It may not know what is asked of a CRM, nor who wants to know.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

_spent: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


class Counting:
    """``with Counting() as seconds``: name of a driver -> seconds of the calls to its CRM made within.

    Calls that were cut off count as well. A class, since a generator would cost each request three times as
    much.
    """

    __slots__ = ("_token",)

    def __enter__(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        self._token = _spent.set(seconds)
        return seconds

    def __exit__(self, *_: object) -> None:
        _spent.reset(self._token)


def charge(name: str, began: float) -> None:
    """A call to this driver's CRM has ended, or was cut off; it ``began`` at this ``time.monotonic()``."""
    seconds = _spent.get()
    if seconds is not None:
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began
