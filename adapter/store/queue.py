"""The job queue (PgQueuer) in the adapter's schema: which jobs there are and how they are enqueued.

A job carries nothing but the id of an operation; what is to be done stands in the operations table,
which is the truth. The queue's history tables are therefore unlogged.
"""

from __future__ import annotations

import functools

from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.ports.driver import Driver

DELIVER = "deliver"
"""Entry point of the jobs that carry an operation to the CRM."""


@functools.cache
def _builders() -> tuple[qb.QueryBuilderEnvironment, qb.QueryQueueBuilder, qb.QuerySchedulerBuilder]:
    settings = DBSettings(db_schema="koshelek", channel="koshelek_queue", durability=Durability.balanced)
    return (
        qb.QueryBuilderEnvironment(settings),
        qb.QueryQueueBuilder(settings),
        qb.QuerySchedulerBuilder(settings),
    )


def queries(driver: Driver) -> Queries:
    """The queue's operations over one connection or pool."""
    environment, queue, scheduler = _builders()
    return Queries(driver, qbe=environment, qbq=queue, qbs=scheduler)
