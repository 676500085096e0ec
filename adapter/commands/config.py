"""``koshelek-adapter config``: settings written, shown and explained.

It may not know any setting by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter.commands.terminal import ConfigFile, given_password, plainly, settings_for
from contracts.kit.terminal import fail

app = typer.Typer(help="Write, show and explain settings.", no_args_is_help=True)


@app.command("new")
@plainly
def write_new(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("koshelek-adapter.toml"),
) -> None:
    """Write a commented settings file with a generated password; never overwrites one."""
    from adapter.settings import text as settings_text

    try:
        with path.open("x", encoding="utf-8") as file:
            path.chmod(0o600)
            file.write(settings_text.sample())
    except FileExistsError:
        fail(f"{path} exists; name another file")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    typer.echo(f"Wrote {path}. The password in it is new: give it to Koshelek with the login.")


@app.command("show")
@plainly
def show(config: ConfigFile = None) -> None:
    """Print the effective settings (file and environment), secrets masked."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.in_force(settings_for(config)), nl=False)


@app.command("hash")
@plainly
def print_hash() -> None:
    """Read a password and print its hash for koshelek.password."""
    from adapter.api.auth import hash_password

    password = given_password()
    if not password:
        fail("the password is empty")
    typer.echo(hash_password(password))


@app.command("reference")
@plainly
def print_reference() -> None:
    """Print every setting, those of the drivers too, as Markdown tables."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.table(), nl=False)


@app.command("capabilities")
@plainly
def print_capabilities() -> None:
    """Print what each installed CRM driver can do as a Markdown table."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.capabilities(), nl=False)


@app.command("codes")
@plainly
def print_codes() -> None:
    """Print every error code with cause and remedy as a Markdown table."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.codes(), nl=False)
