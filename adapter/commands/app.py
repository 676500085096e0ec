"""The ``koshelek-adapter`` command: what commands there are. Each has a module of its own."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter.commands import (
    cards,
    config,
    connector,
    database,
    hurry,
    operations,
    people,
    person,
    requeue,
    run,
    settle,
)
from adapter.commands.check.command import check
from adapter.commands.handover import handover
from adapter.commands.healthcheck import healthcheck
from adapter.commands.observed import observed
from contracts.kit.terminal import fail, told_to_the_end

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
app.add_typer(person.app, name="person")
app.add_typer(people.app, name="people")
for command in (run.serve, run.worker, run.demo, check, healthcheck, handover, observed):
    app.command()(command)
for decision in (requeue.recheck, requeue.requeue, hurry.hurry, settle.settle, settle.proof):
    operations.app.command()(decision)


@app.command("version")
def print_version() -> None:
    """Print the version, and the commit where it is known."""
    from adapter import version

    typer.echo(f"koshelek-adapter {version.text()}")


def _driver_settings(driver: str, config: Path | None) -> tuple[Any, ZoneInfo]:
    """The settings of a driver, from whichever port it is bound to, and the zone; or the command ends."""
    from adapter.settings import SettingsError, read_settings, settings_path
    from crm_backends import registry

    try:
        settings = read_settings(settings_path(config))
    except SettingsError as error:
        fail(str(error))
    bindings = settings.crm.bindings()
    for binding in bindings.values():
        if binding is not None and binding.driver == driver:
            return binding.settings, settings.zone
    port = next(port for port in bindings if port in registry.load(driver).ports)
    fail(f'crm.{port}.driver: is not "{driver}"; this command works on its settings')


def _add_commands_of_drivers() -> None:
    """What the installed drivers bring; imported only when it is asked for.

    Their HTTP client takes longer to import than most commands take to run.
    """
    from crm_backends import registry

    for driver in registry.with_commands():
        commands = typer.Typer()
        if sys.argv[1:2] == [driver]:
            try:
                commands = registry.load_commands(driver)(partial(_driver_settings, driver))
            except registry.DriverNotUsable as error:
                fail(str(error))
        app.add_typer(
            commands, name=driver, help=commands.info.help or f"Commands of the CRM driver {driver}."
        )


def main() -> None:
    """Entry point of the command."""
    _add_commands_of_drivers()
    told_to_the_end(app)
