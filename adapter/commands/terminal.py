"""What all commands share: settings, the database, and errors as one sentence with exit status 1.

It may not know any command. What takes long to import is imported where it is used: help should come at once.
"""

from __future__ import annotations

import functools
import getpass
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from contracts.kit.terminal import fail

if TYPE_CHECKING:
    from adapter.bootstrap import Service
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
_NOTE = 500
MOST = 2**63 - 1
"""The largest number of an operation that the database can look for."""


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
    from adapter.process import logs
    from adapter.settings import read_settings, settings_path, with_overrides

    settings = with_overrides(read_settings(settings_path(config)), overrides or {})
    logs.configure(settings.log)
    return settings


def settings_of_database(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings in force, for a command that works on an existing database.

    Raises:
        CannotRun: nothing says where the database is. A new, empty one would give wrong answers.
    """
    settings = settings_for(config, {"database": {"data_dir": data_dir}})
    must_be_somewhere(config, settings)
    return settings


def must_be_somewhere(config: Path | None, settings: Settings) -> None:
    """Raise ``CannotRun`` where no settings, variable or folder with data say where the database is."""
    from adapter.process import embedded
    from adapter.settings import DEFAULT_FILE, CannotRun, names_database, settings_path

    folder = settings.database.data_dir
    if settings_path(config) is None and not names_database() and not embedded.is_there(folder):
        raise CannotRun(
            f"there is no settings file {DEFAULT_FILE.absolute()}, no KOSHELEK_DATABASE__URL, and no data in "
            f"{folder.absolute()}; name the file (--config FILE, or KOSHELEK_CONFIG), or the folder of the "
            "embedded database (--data-dir koshelek-demo for the demo's)"
        )


def decided_by(by: str | None) -> str:
    """Who decides: as given, else the name on this machine."""
    try:
        name = (getpass.getuser() if by is None else by).strip()
    except (OSError, KeyError):
        name = ""
    if not name or len(name) > 100 or not name.isprintable():
        fail("say with --by who decides (up to 100 characters)")
    return name


def noted(note: str) -> str:
    """A note in one line."""
    note = " ".join(note.split())
    if not note or len(note) > _NOTE or not note.isprintable():
        fail(f"say with --note why (up to {_NOTE} characters)")
    return note


def as_meant(text: str | None) -> str | None:
    """A card number or a name as it was meant, without characters that nobody sees.

    Raises:
        typer.BadParameter: it is no text.
    """
    from crm_backends import inputs

    if text is None:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8 text") from None
    return inputs.visible(text)


def given_password() -> str:
    """A password that is asked for twice, or read from a pipe; a BOM before it is passed over."""
    from adapter.settings.base import has_unseen

    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        try:
            password = sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            fail("the password that came by the pipe is not UTF-8 text; save it as UTF-8")
    if len(password.splitlines()) > 1:
        fail("the password is one line; more than one came by the pipe")
    if has_unseen(password):
        fail("the password has a character that nobody sees; write it without")
    return password


def with_database(settings: Settings, work: Callable[[Gateway], Awaitable[None]]) -> None:
    """Run ``work`` with the adapter's database as it is; joins a running embedded one."""
    from adapter.process.database import database
    from adapter.process.signals import run
    from adapter.store.pool import Gateway, open_pool

    async def main(url: str) -> None:
        pool = await open_pool(url, settings.database, size=2)
        try:
            await work(Gateway(pool, 10.0))
        finally:
            await pool.close()

    with database(settings, join=True, upgrade=False) as url:
        run(lambda: main(url))


def with_service(settings: Settings, work: Callable[[Service], Awaitable[None]]) -> None:
    """Run ``work`` with the whole adapter, its CRMs included, beside one that may be running."""
    from adapter.bootstrap import Service
    from adapter.process.database import database
    from adapter.process.signals import run

    async def main(url: str) -> None:
        service = Service(settings, url, upgrade=False)
        try:
            await service.open()
            await work(service)
        finally:
            await service.close()

    with database(settings, join=True, upgrade=False) as url:
        run(lambda: main(url))
