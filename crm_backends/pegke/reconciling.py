"""What became of a credit, told by the balance before and after and by the movements since.

Pegke takes no key of ours, so this is all there is to tell by. It may not make a call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from crm_backends.model import PointsEntry
from crm_backends.ports import Written


def compared(
    points: Decimal, rose: Decimal | None, moved: Sequence[PointsEntry] | None, since: datetime
) -> Written:
    """DONE, NOT_SENT, or UNKNOWN where the figures do not agree on one.

    Args:
        points: what was to be given.
        rose: by how much the balance has risen; ``None``: it was not read before.
        moved: movements since a little before ``since``, newest first; ``None``: they cannot be read.
        since: when the credit was sent, in whole seconds.

    Several movements that account for all that the balance rose by are DONE with each named: given twice.
    """
    alike = None if moved is None else [entry for entry in moved if entry.amount == points]
    after = [entry for entry in alike or () if entry.at >= since]
    done = Written.done(points=points)
    if len(after) > 1 and rose == len(after) * points:
        return dataclasses.replace(done, entries=tuple(_named(entry) for entry in reversed(after)))
    if rose == 0:
        # Given and spent again leaves the balance as it was; a movement like ours would show it.
        if not alike:
            return Written.not_sent()
        return Written.unknown("pegke: the balance is as before, but a movement like it is there")
    if alike is None and rose == points:
        return done
    if len(after) > 1 and rose == points:
        # Of those in the very second of sending some may be earlier credits.
        after = [entry for entry in after if entry.at >= since + timedelta(seconds=1)] or after[:1]
    moved_since = sum((entry.amount for entry in moved or () if entry.at >= since), Decimal(0))
    if len(after) == 1 and rose in (points, moved_since):
        return done
    # Where movements are read, one has to be there: a balance may show late what another credit did. And
    # the balance has to have risen as the movements say: one alone may be an earlier one, by their clock.
    return Written.unknown("pegke: the movements do not tell whether it was given")


def _named(entry: PointsEntry) -> str:
    """How a person finds a movement: Pegke has no number for it."""
    return f"{entry.amount:f} at {entry.at.isoformat()}"
