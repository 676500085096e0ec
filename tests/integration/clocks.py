"""A clock for tests that let time pass by what is written in the database."""

from __future__ import annotations

from datetime import datetime

from adapter.delivery.clock import DatabaseClock

DATABASE_CLOCK = """
    CREATE SCHEMA another;
    CREATE TABLE another.clock (ahead interval NOT NULL);
    INSERT INTO another.clock VALUES ('0');
    CREATE FUNCTION another.now() RETURNS timestamptz STABLE LANGUAGE sql
        AS 'SELECT pg_catalog.now() + ahead FROM another.clock';
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = another, pg_catalog, public', current_database());
    END $$;
"""
"""``now()`` of everybody who connects from then on, and of the columns' defaults, is the test's to move."""
MOVE_DATABASE_CLOCK = "UPDATE another.clock SET ahead = make_interval(secs => $1)"
"""So many seconds ahead."""


class FollowsTheDatabase(DatabaseClock):
    """Believes the database's clock alone."""

    _told: datetime | None = None

    def observe(self, before: float, told: datetime | None, after: float) -> None:
        self._told = told or self._told

    def age(self, moment: datetime) -> float:
        return 0.0 if self._told is None else (self._told - moment).total_seconds()
