"""What all commands share: settings, the database, and errors as one sentence with exit status 1.

It may not know any command. What takes long to import is imported where it is used: help should come at once.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

if TYPE_CHECKING:
    from adapter.settings import Settings
    from adapter.store.pool import Gateway

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file; default: $KOSHELEK_CONFIG, else ./koshelek-adapter.toml."
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the embedded database.")]
Arguments = ParamSpec("Arguments")


def fail(message: str) -> NoReturn:
    """Say why on standard error, a line each, and end with status 1."""
    for line in message.splitlines():
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(1)


def plainly(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Turn the errors a person can mend into one sentence and exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        from adapter.loyalty.ports import StoreUnavailable
        from adapter.settings import CannotRun

        try:
            command(*args, **kwargs)
        except CannotRun as error:
            fail(str(error))
        except StoreUnavailable as error:
            fail(f"the database does not answer: {error}; koshelek-adapter check says more")

    return wrapped


def settings_for(config: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """The settings in force, with what the command line overrides; logging follows them."""
    from adapter import logs
    from adapter.settings import read_settings, settings_path, with_overrides

    settings = with_overrides(read_settings(settings_path(config)), overrides or {})
    logs.configure(settings.log)
    return settings


def with_database(settings: Settings, work: Callable[[Gateway], Awaitable[None]]) -> None:
    """Run ``work`` with the adapter's database as it is; joins a running embedded one."""
    from adapter import serving
    from adapter.store.pool import Gateway, open_pool

    async def main(url: str) -> None:
        pool = await open_pool(url, settings.database, size=2)
        try:
            await work(Gateway(pool, 10.0))
        finally:
            await pool.close()

    with serving.database(settings, join=True, upgrade=False) as url:
        serving.run(lambda: main(url))
