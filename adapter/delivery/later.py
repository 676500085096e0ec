"""What a delivery raises that is not over."""

from __future__ import annotations

from datetime import timedelta


class Later(Exception):
    """The operation has to be looked at again after ``delay``."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__("later")
        self.delay = delay
