"""How many card numbers are left, and numbers from a file while the service goes on.

The lines of a file are read in a thread, a portion at a time, since calls are answered meanwhile.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TextIO

from adapter.loyalty.ports import StoreUnavailable
from adapter.loyalty.stock import Brought, RangeLeft, Stock
from adapter.settings import Cards
from adapter.store.importing import BadFile, ImportReport, import_rows, read_rows
from adapter.store.inspection import range_use
from adapter.store.pool import Gateway

COUNTED = 100_000
_PATIENCE = 60.0  # seconds; a person waits longer than a caller
_PORTION = 2_000
_FREE = "SELECT count(*) FROM (SELECT FROM koshelek.cards WHERE state = 'free' LIMIT $1) AS free"
_GIVEN = "SELECT count(*) FROM koshelek.cards WHERE issued_at > now() - interval '1 day'"


class PostgresStock:
    """Raises ``StoreUnavailable``."""

    def __init__(self, gateway: Gateway, settings: Cards) -> None:
        self._gateway = gateway
        self._settings = settings

    async def stock(self) -> Stock:
        """What is left now. It takes a second or so where there are millions of cards."""
        async with self._gateway.connection() as connection:
            free = await connection.fetchval(_FREE, COUNTED, timeout=_PATIENCE)
            given = await connection.fetchval(_GIVEN, timeout=_PATIENCE)
            ranges = [
                RangeLeft(rule, (await range_use(connection, rule)).left) for rule in self._settings.ranges
            ]
        return Stock(int(free), COUNTED, ranges, int(given))

    async def bring(self, file: TextIO, brought: Brought) -> None:
        """Import the lines of a file; ``brought`` tells how far it is, and at last what came of it."""
        report = ImportReport(rejected=brought.rejected)
        try:
            rows = await asyncio.to_thread(read_rows, file, self._settings, report)
            while portion := await asyncio.to_thread(lambda: list(islice(rows, _PORTION))):
                await import_rows(self._gateway, portion, report, lambda done: None)
                brought.imported, brought.known = report.imported, report.known
                brought.rejected_count = report.rejected_count
                brought.lines = report.imported + report.known + report.rejected_count
        except BadFile as error:
            brought.problem = str(error)
        except UnicodeDecodeError:
            brought.problem = "the file is not UTF-8 text"
        except StoreUnavailable:
            brought.problem = "the database did not answer; what was imported stays, import the file again"
        finally:
            brought.rejected_count = report.rejected_count
            brought.lines = report.imported + report.known + report.rejected_count
            brought.over = True
