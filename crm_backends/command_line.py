"""What the commands of drivers share: the option for the settings, plain help, one sentence on failure.

It may not know any driver, nor the adapter, which mounts the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file of the adapter.")]


def group(help_text: str) -> typer.Typer:
    """An empty group of commands; called without a command it prints its help."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def fail(message: str) -> NoReturn:
    """Print the sentence on standard error, and end with exit status 1."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)
