"""The ``koshelek-adapter`` command."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adapter.commands import cards, connector, operations
from adapter.commands import decisions as decisions  # its commands belong to those on receipts
from adapter.commands.check.command import check
from adapter.commands.terminal import ConfigFile, fail, plainly, settings_for

if TYPE_CHECKING:
    import urllib.error
    from zoneinfo import ZoneInfo

app = typer.Typer(
    help="The Koshelek Loyalty Online API in front of the CRM you already have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Write, show and explain settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(cards.app, name="cards")
app.add_typer(operations.app, name="receipts")
app.add_typer(connector.app, name="connector")
app.command()(check)


@app.command()
@plainly
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; overrides server.host.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; overrides server.port.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that share the port; overrides server.workers."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the embedded database; overrides database.data_dir.")
    ] = None,
) -> None:
    """Serve the Loyalty Online API until stopped (SIGTERM or Ctrl-C; requests under way finish).

    SIGHUP reads the settings again: passwords and the certificate change without dropping a connection.
    """
    from adapter.settings import SHORTEST_PASSWORD, SettingsError, settings_path

    overrides = {
        "server": {"host": host, "port": port, "workers": workers},
        "database": {"data_dir": data_dir},
    }
    settings = settings_for(config, overrides)
    password = settings.koshelek.password
    if password is None or len(password.get_secret_value()) < SHORTEST_PASSWORD:
        what = "not set" if password is None else f"shorter than {SHORTEST_PASSWORD} characters"
        raise SettingsError(
            [f"koshelek.password: {what}; `koshelek-adapter config new` writes a file with a generated one"]
        )
    from adapter.process import serving
    from adapter.process.reloading import Source

    serving.serve(settings, source=Source(settings_path(config), overrides))


@app.command()
@plainly
def worker(
    config: ConfigFile = None,
    management_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of its health and metrics, on management.host."),
    ] = None,
) -> None:
    """Deliver recorded operations to the CRM until stopped; any number of workers may run.

    For when delivery.in_process is off, or more hands are needed. Joins the embedded database of a
    running `serve`. Several on one host need a management port each.
    """
    from adapter.process import listening, reloading, serving
    from adapter.settings import settings_path

    settings = settings_for(config)
    source = reloading.Source(settings_path(config))
    if management_port is not None:
        listening.must_be_free(settings.management.host, management_port, "--management-port")
    with reloading.held_back(), serving.database(settings, join=True) as url:
        serving.run(
            lambda: serving.deliver_until_stopped(
                settings, url, management_port=management_port, source=source
            )
        )


@app.command()
@plainly
def demo(
    host: Annotated[
        str, typer.Option(envvar="KOSHELEK_SERVER__HOST", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="KOSHELEK_SERVER__PORT", min=0, max=65535, help="Port to listen on.")
    ] = 8080,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder that keeps the demo's data; default: ./koshelek-demo.")
    ] = None,
    management_port: Annotated[
        int,
        typer.Option(envvar="KOSHELEK_MANAGEMENT__PORT", min=0, max=65535, help="Port of the health page."),
    ] = 8081,
    crm: Annotated[
        Literal["postgres", "perx", "pegke", "xerts", "mixed"],
        typer.Option(help="The CRM: in PostgreSQL, or stand-ins for vendors' servers, one or all mixed."),
    ] = "postgres",
) -> None:
    """Run a complete demo: embedded PostgreSQL, a demo programme, the API. Nothing else is needed."""
    from adapter.commands import demo as demo_programme
    from adapter.process import logs

    settings = demo_programme.demo_settings(
        host=host,
        port=port,
        data_dir=data_dir or Path("koshelek-demo" if crm == "postgres" else f"koshelek-demo-{crm}"),
        management_port=management_port,
    )
    logs.configure(settings.log)
    demo_programme.run(settings, crm, typer.echo)


@app.command()
@plainly
def healthcheck(
    config: ConfigFile = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Management port; overrides management.port.")
    ] = None,
) -> None:
    """Ask a running adapter on this machine whether it is ready; exit status 0 or 1 (for containers)."""
    import http.client
    import json
    import urllib.error
    import urllib.request

    management = settings_for(config, {"management": {"port": port}}).management
    host = management.host if management.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    url = f"http://{host}:{management.port}/health/ready"
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with directly.open(url, timeout=3) as answer:
            status = json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        fail(f"{url}: {_reason(error) or f'answers {error.code}'}")
    except (OSError, http.client.HTTPException) as error:
        fail(f"{url} does not answer: {getattr(error, 'reason', None) or type(error).__name__}")
    except (ValueError, KeyError, TypeError):
        fail(f"{url}: something else answers there")
    typer.echo(status)


def _reason(answer: urllib.error.HTTPError) -> str | None:
    """Why an adapter is not ready, in its own words; ``None`` when something else answers."""
    import http.client
    import json

    try:
        return str(json.load(answer)["reason"])
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None


@app.command("version")
def print_version() -> None:
    """Print the version, and the commit where it is known."""
    from adapter import version

    typer.echo(f"koshelek-adapter {version.text()}")


@config_app.command("new")
@plainly
def config_new(
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


@config_app.command("show")
@plainly
def config_show(config: ConfigFile = None) -> None:
    """Print the effective settings (file and environment), secrets masked."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.in_force(settings_for(config)), nl=False)


@config_app.command("hash")
@plainly
def config_hash() -> None:
    """Read a password and print its hash for koshelek.password."""
    from adapter.api.auth import hash_password

    password = (
        typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        if sys.stdin.isatty()
        else sys.stdin.read().rstrip("\r\n")
    )
    if not password:
        fail("the password is empty")
    typer.echo(hash_password(password))


@config_app.command("reference")
@plainly
def config_reference() -> None:
    """Print every setting as Markdown, as it stands in the README."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.table(), nl=False)


@config_app.command("capabilities")
@plainly
def config_capabilities() -> None:
    """Print what each installed CRM driver can do as Markdown, as it stands in the README."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.capabilities(), nl=False)


@config_app.command("codes")
@plainly
def config_codes() -> None:
    """Print every error code with cause and remedy as Markdown, as it stands in the README."""
    from adapter.settings import text as settings_text

    typer.echo(settings_text.codes(), nl=False)


def _driver_settings(driver: str, port: str, config: Path | None) -> tuple[Any, ZoneInfo]:
    """The settings of a driver, from whichever port it is bound to, and the zone; or the command ends."""
    from adapter.settings import SettingsError, read_settings, settings_path

    try:
        settings = read_settings(settings_path(config))
    except SettingsError as error:
        fail(str(error))
    for binding in settings.crm.bindings().values():
        if binding is not None and binding.driver == driver:
            return binding.settings, settings.zone
    fail(f'crm.{port}.driver: is not "{driver}"; this command works on its settings')


_OF_DRIVERS = {
    "pegke": ("points", "Commands for Pegke."),
    "postgres": ("users", "Commands for a CRM in PostgreSQL."),
    "xerts": ("coupons", "Set up a programme on Xerts, and read its reports."),
}
"""Drivers that bring commands of their own: the port they serve, and what the commands are for."""


def main() -> None:
    """Entry point of the command."""
    for driver, (port, about) in _OF_DRIVERS.items():
        commands = typer.Typer()
        if sys.argv[1:2] == [driver]:
            # Its HTTP client takes longer to import than most commands take to run.
            module = import_module(f"crm_backends.{driver}.commands")
            commands = module.make_app(partial(_driver_settings, driver, port))
        app.add_typer(commands, name=driver, help=about)
    app()
