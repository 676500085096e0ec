"""What became of a credit, told by the balance before and after and by the movements since.

For CRMs that keep nothing of ours beside a credit. It may not know any CRM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from crm_backends.model import Balance, PointsEntry
from crm_backends.outcomes import Written
from crm_backends.ports import AccountUnknown, Deadline, Points

SEARCHED = 50
"""Movements looked through: all that can have happened since."""


async def balance_to_compare(points: Points, account: str, deadline: Deadline) -> Balance:
    """The balance that another is compared with: of an account that the CRM does not know it is nothing.

    What is compared are two answers of one CRM, and an account that is opened in between had nothing before.
    Raises ``BackendError``.
    """
    try:
        return await points.balance(account, deadline=deadline)
    except AccountUnknown:
        return Balance(total=Decimal(0), available=Decimal(0))


def compared(
    name: str,
    points: Decimal,
    since: datetime,
    before: Balance | None,
    now: Balance,
    moved: Sequence[PointsEntry] | None,
) -> Written:
    """DONE, NOT_SENT, or UNKNOWN where the figures do not agree on one.

    Several movements that account for all that the balance rose by are DONE with each named: given twice.

    Args:
        name: what the reasons call the CRM.
        points: how many were to be given.
        since: when the credit was sent (aware).
        before: the balance just before; ``None``: it was not read.
        now: the balance that is told now.
        moved: movements since a little before ``since``, newest first; ``None``: they cannot be read.
    """
    since = since.replace(microsecond=0)  # the movements' times may be whole seconds
    done = Written.done(points=points)
    rose = None if before is None else now.total - before.total
    if moved is None:
        if rose == points:
            return done
        return Written.not_sent() if rose == 0 else Written.unknown(f"{name}: the balance does not tell")
    alike = [entry for entry in moved if entry.amount == points]
    after = [entry for entry in alike if entry.at >= since]
    if len(after) > 1 and rose == len(after) * points:
        return dataclasses.replace(done, entries=tuple(_named(entry) for entry in reversed(after)))
    if rose == 0:
        # The same balance may also mean given and spent since; then a movement like ours is in the list.
        if not alike:
            return Written.not_sent()
        return Written.unknown(f"{name}: the balance is as before, but a movement like it is there")
    if len(after) > 1 and rose == points:
        # Movements in the very second of sending may be earlier credits, so later ones count first.
        after = [entry for entry in after if entry.at >= since + timedelta(seconds=1)] or after[:1]
    moved_since = sum((entry.amount for entry in moved if entry.at >= since), Decimal(0))
    if len(after) == 1 and rose in (points, moved_since):
        return done
    # Neither sign is enough alone. A risen balance may be another credit's, shown late; a movement may be an
    # earlier credit's, if the CRM's clock is fast.
    return Written.unknown(f"{name}: the movements do not tell whether it was given")


def _named(entry: PointsEntry) -> str:
    """How a person finds a movement that has no number."""
    return f"{entry.amount:f} at {entry.at.isoformat()}"
