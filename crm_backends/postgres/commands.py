"""The command for whoever writes the SQL files: one of them as psql takes it.

It may not know the adapter: whoever mounts it brings the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from crm_backends.postgres import statements
from crm_backends.postgres.settings import PostgresSettings

LoadSettings = Callable[[Path | None], tuple[PostgresSettings, ZoneInfo]]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file of the adapter.")]


def make_app(load_settings: LoadSettings) -> typer.Typer:
    """The commands.

    Args:
        load_settings: gives the driver's settings and the programme's zone, for the file named by
            ``--config`` (``None``: not named), or ends the command.
    """
    app = typer.Typer(
        help="Commands for a CRM in PostgreSQL.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

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
            _fail(f"there is no operation {operation}; there are: {', '.join(known)}")
        elif found.unsupported:
            _fail(f"{found.file}: declines the operation: {found.unsupported}")
        elif problem is not None:
            _fail(f"{problem.file}: {problem.problem}; {problem.remedy}")
        else:
            typer.echo(found.for_psql(), nl=False)

    return app


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)
