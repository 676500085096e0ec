"""The ``koshelek-adapter`` command: what commands there are. Each has a module of its own."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter.commands import cards, config, connector, database, decisions, hurry, operations, requeue, run
from adapter.commands.check.command import check
from adapter.commands.handover import handover
from adapter.commands.healthcheck import healthcheck
from contracts.kit.terminal import fail

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

app = typer.Typer(
    help="The Koshelek Loyalty Online API in front of the CRM you already have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(config.app, name="config")
app.add_typer(cards.app, name="cards")
app.add_typer(operations.app, name="receipts")
app.add_typer(database.app, name="database")
app.add_typer(connector.app, name="connector")
for command in (run.serve, run.worker, run.demo, check, healthcheck, handover):
    app.command()(command)
for decision in (requeue.recheck, requeue.requeue, hurry.hurry, decisions.settle, decisions.proof):
    operations.app.command()(decision)


@app.command("version")
def print_version() -> None:
    """Print the version, and the commit where it is known."""
    from adapter import version

    typer.echo(f"koshelek-adapter {version.text()}")


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
