"""The command for whoever writes SQL files: prints one of them in the form that psql takes.

It may not know the adapter: whoever mounts it brings the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from crm_backends.command_line import ConfigFile, fail, group
from crm_backends.postgres import statements
from crm_backends.postgres.settings import PostgresSettings

LoadSettings = Callable[[Path | None], tuple[PostgresSettings, ZoneInfo]]


def make_app(load_settings: LoadSettings) -> typer.Typer:
    """The commands.

    Args:
        load_settings: gives the driver's settings and the programme's zone, for the file named by
            ``--config`` (``None``: not named), or ends the command.
    """
    app = group("Commands for a CRM in PostgreSQL.")

    @app.command("statement")
    def statement(
        operation: Annotated[str, typer.Argument(help="Operation, as users_find.")], config: ConfigFile = None
    ) -> None:
        """Print the SQL of an operation for psql, where :names mean something else.

        As in: koshelek-adapter postgres statement users_find | psql URL. Nothing is executed by it; the
        server tells what it has against the statement, else how it would execute it.
        """
        settings, _ = load_settings(config)
        known, misfits = statements.load(settings.sql_dir)
        found = known.get(operation)
        problem = misfits[0] if misfits else found.misfit if found is not None else None
        if found is None:
            fail(f"there is no operation {operation}; there are: {', '.join(known)}")
        elif found.unsupported:
            fail(f"{found.file}: declines the operation: {found.unsupported}")
        elif problem is not None:
            fail(f"{problem.file}: {problem.problem}; {problem.remedy}")
        else:
            typer.echo(found.for_psql(), nl=False)

    return app
