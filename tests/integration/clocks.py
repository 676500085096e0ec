"""A clock for tests that let time pass by what is written in the database."""

from __future__ import annotations

from datetime import datetime

from adapter.delivery.clock import DatabaseClock


class FollowsTheDatabase(DatabaseClock):
    """Believes the database's clock alone."""

    _told: datetime | None = None

    def observe(self, before: float, told: datetime | None, after: float) -> None:
        self._told = told or self._told

    def age(self, moment: datetime) -> float:
        return 0.0 if self._told is None else (self._told - moment).total_seconds()
