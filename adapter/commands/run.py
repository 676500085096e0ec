"""``koshelek-adapter serve | worker | demo``: what runs until it is stopped.

It may not know how anything is served. What takes long to import is imported where it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapter.commands.terminal import ConfigFile, plainly, settings_for


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
    management_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of health, metrics and console; overrides management.port."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the embedded database; overrides database.data_dir.")
    ] = None,
) -> None:
    """Serve the Loyalty Online API until stopped (SIGTERM or Ctrl-C; requests under way finish).

    SIGHUP reads the settings again: passwords and the certificate change without dropping a connection.
    """
    from adapter.api.auth import unusable
    from adapter.settings import SettingsError, settings_path

    overrides = {
        "server": {"host": host, "port": port, "workers": workers},
        "management": {"port": management_port},
        "database": {"data_dir": data_dir},
    }
    settings = settings_for(config, overrides)
    if (problem := unusable(settings.koshelek)) is not None:
        raise SettingsError([problem])
    from adapter.process import workers as processes
    from adapter.process.reloading import Source

    processes.serve(settings, source=Source(settings_path(config), overrides))


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
    from adapter.process.database import database
    from adapter.process.signals import run
    from adapter.settings import settings_path

    settings = settings_for(config)
    source = reloading.Source(settings_path(config))
    if management_port is not None:
        listening.must_be_free(settings.management.host, management_port, "--management-port")
    with reloading.held_back(), database(settings, join=True) as url:
        run(
            lambda: serving.deliver_until_stopped(
                settings, url, management_port=management_port, source=source
            )
        )


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
        str,
        typer.Option(
            help="The CRM: postgres, mixed, or one with a stand-in, perx say; a wrong name lists all."
        ),
    ] = "postgres",
) -> None:
    """Run a complete demo: embedded PostgreSQL, a demo programme, the API. Nothing else is needed."""
    from adapter.process import logs
    from adapter.settings import CannotRun

    try:
        from adapter.commands import demo as demo_programme
    except ModuleNotFoundError as error:
        raise CannotRun(
            f"the demo needs {error.name}, which is not installed; install it: "
            "pip install '.[embedded]' in the clone"
        ) from None

    settings = demo_programme.demo_settings(
        host=host,
        port=port,
        data_dir=data_dir or Path("koshelek-demo" if crm == "postgres" else f"koshelek-demo-{crm}"),
        management_port=management_port,
    )
    logs.configure(settings.log)
    demo_programme.run(settings, crm, typer.echo)
