"""What a command says on a terminal: visible text, and errors as sentences with an exit status.

It may not know any command.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import NoReturn

import typer


def told_to_the_end(app: Callable[[], None]) -> None:
    """Run the application; that its output takes nothing more, on a full disk say, is one sentence."""
    try:
        app()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        typer.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        raise SystemExit(1) from None


def visible(text: str) -> str:
    """The text without anything that a terminal would obey, or that hides or turns what stands there.

    What a stranger's server has said may hold control characters; each is shown as its number.
    """
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def say(text: str) -> None:
    """Print one line on standard output."""
    typer.echo(visible(text))


def say_json(value: object) -> None:
    """Print JSON in one line; what would not be visible is escaped, which means the same there."""
    say(json.dumps(value, ensure_ascii=False))


def fail(message: str, status: int = 1) -> NoReturn:
    """Say why on standard error, a line each, and end with ``status``."""
    for line in message.splitlines():
        typer.echo(f"error: {visible(line)}", err=True)
    raise typer.Exit(status)
