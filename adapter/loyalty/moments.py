"""How a moment is written. One rule: people read the programme's zone, and its offset beside it; programs
read UTC.

People: lists and sentences of commands. The console says the zone once, at the foot of each page.
Programs: ``--json``, the log.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def for_people(moment: datetime, zone: tzinfo) -> str:
    """``2026-11-26 13:05:07+03:00``, in the programme's zone (``koshelek.timezone``)."""
    return moment.astimezone(zone).isoformat(" ", "seconds")


def for_programs(moment: datetime) -> str:
    """``2026-11-26T10:05:07Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
