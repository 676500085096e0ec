"""The adapter's database, reached and migrated, or an embedded one started and stopped.

It may not know what is kept there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from adapter.process import embedded
from adapter.process.postgresql_programs import EmbeddedError
from adapter.process.signals import end_by_sigterm, run, signals_deferred
from adapter.settings import CannotRun, Settings
from adapter.store.migrate import SchemaUnfit, migrate
from crm_backends.database import OWN_KEY, cause_of, place_of
from crm_backends.pooler import loses_statements


@contextmanager
def database(
    settings: Settings,
    *,
    join: bool = False,
    upgrade: bool = True,
    created: Callable[[str], object] = lambda url: None,
) -> Iterator[str]:
    """The URL of the adapter's database, migrated; an embedded server runs as long as the context.

    ``join``: an embedded server that another process of ours runs in the data folder will do. ``upgrade``:
    the schema of an older version may be brought up to date; a database without any gets one anyhow, and
    ``created`` is told its URL.

    Raises:
        CannotRun: the database cannot be reached, started or migrated, or would have to be upgraded.
    """
    server = None
    end_by_sigterm()
    try:
        if settings.database.url is not None:
            url = settings.database.url.get_secret_value()
        elif join and (shared := embedded.running(settings.database.data_dir)) is not None:
            url = shared
        else:
            try:
                with signals_deferred():
                    server = embedded.start(settings.database.data_dir)
            except EmbeddedError as error:
                raise CannotRun(str(error)) from None
            url = server.url
        try:
            named = settings.database.url is None or settings.database.pooler
            if not named and run(lambda: loses_statements(url)):
                raise CannotRun(
                    f"a pooler in transaction mode stands before {place_of(url)}, and prepared statements "
                    "get lost in it; set database.pooler = true"
                )
            before, _ = run(lambda: migrate(url, upgrade=upgrade))
            if not before:
                created(url)
        except SchemaUnfit as error:
            raise CannotRun(str(error)) from None
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CannotRun(str(cause_of(error, url, OWN_KEY))) from None
        yield url
    finally:
        if server is not None:
            with signals_deferred():
                server.stop()
