"""Driver name -> driver, imported only when it is asked for.

Drivers are entry points of the group ``koshelek_adapter.crm``; ours are declared in ``pyproject.toml``
and a third party adds its own in the same way. Besides there are the connectors: those that come with this
package by their folder, any other by its file. What drivers bring for the command line are entry points, too,
of the group ``koshelek_adapter.commands``. This module may not import a driver by itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from zoneinfo import ZoneInfo

from crm_backends.ports import Backend, Capability, Reconciliation

if TYPE_CHECKING:
    import asyncpg
    import typer
    from pydantic import BaseModel

S = TypeVar("S", bound="BaseModel")

GROUP = "koshelek_adapter.crm"
COMMANDS = "koshelek_adapter.commands"


class UnknownDriver(LookupError):
    """No driver of that name is installed; the message says which are."""


class DriverNotUsable(RuntimeError):
    """The driver is installed but cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What the adapter offers to a driver at construction."""

    database_url: str
    """URL of the adapter's own PostgreSQL."""
    database_pool: asyncpg.Pool[asyncpg.Record] | None
    """Its connection pool, already open; ``None``: the driver is used without an adapter around it."""
    timezone: ZoneInfo
    """Zone in which the programme counts days."""
    region: str
    """ISO 3166 country of phones written without a country code."""
    pooler: bool = False
    """Whether a pooler in transaction mode stands before the adapter's database."""
    ports: frozenset[str] = frozenset({"users", "points", "coupons"})
    """The ports that the driver serves here; what the others need is not looked at."""
    upgrade: bool = True
    """Whether what the driver keeps in a database may be brought from an older version to this one."""


@dataclass(frozen=True, slots=True)
class BackendSpec(Generic[S]):
    """One driver: its name, its settings model, and how it is built."""

    name: str
    summary: str
    settings: type[S]
    build: Callable[[S, BackendContext], Backend]
    ports: frozenset[str]
    """Which of ``users``, ``points``, ``coupons`` it implements."""
    capabilities: Mapping[str, Capability]
    reconciliation: Reconciliation
    verified_by: str
    """Who has seen it work: ``real server``, ``sandbox`` or ``none``."""


@cache
def _entry_points(group: str) -> EntryPoints:
    """Those that are installed: to look for them reads a file of every package there is."""
    return entry_points(group=group)


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in _entry_points(GROUP)}


LoadSettings = Callable[[Path | None], tuple[Any, ZoneInfo]]
"""The driver's settings and the programme's zone, for the file named by ``--config`` (``None``: not named);
or it ends the command."""
MakeApp = Callable[[LoadSettings], "typer.Typer"]
"""Makes a driver's commands."""


def with_commands() -> list[str]:
    """Names of the drivers that bring commands, sorted; nothing is imported, so that help comes at once."""
    return sorted(point.name for point in _entry_points(COMMANDS))


def load_commands(name: str) -> MakeApp:
    """Import what makes a driver's commands.

    Raises:
        UnknownDriver: no driver of that name brings any.
        DriverNotUsable: something they need is not installed.
    """
    for point in _entry_points(COMMANDS).select(name=name):
        try:
            return cast(MakeApp, point.load())
        except ImportError as error:
            raise DriverNotUsable(
                f'the commands of the CRM driver "{name}" cannot be imported: {error}'
            ) from error
    raise UnknownDriver(
        f'the CRM driver "{name}" brings no commands (those that do: {", ".join(with_commands())})'
    )


def names() -> list[str]:
    """Names of all installed drivers and shipped connectors, sorted."""
    return sorted({*_installed(), *_connectors()})


def _connectors() -> dict[str, Path]:
    """Name -> file of the connectors that come with this package."""
    from crm_backends.connector import shipped

    return shipped()


def load(name: str) -> BackendSpec[Any]:
    """Import a driver, or read a connector.

    Args:
        name: of a driver or of a shipped connector, or the file of a connector (``.yaml``).

    Raises:
        UnknownDriver: no such driver is installed.
        DriverNotUsable: something the driver needs is not installed, or a connector's file cannot be used.
    """
    if name.endswith((".yaml", ".yml")):
        return _read(Path(name))
    installed = _installed()
    if name not in installed:
        connectors = _connectors()
        if name in connectors:
            return _read(connectors[name])
        known = sorted({*installed, *connectors})
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise UnknownDriver(
            f'there is no CRM driver "{name}" (installed: {", ".join(known)}){hint}; '
            "a connector of your own is named by its file, which ends in .yaml"
        )
    try:
        spec = installed[name].load()
    except ImportError as error:
        raise DriverNotUsable(f'the CRM driver "{name}" cannot be imported: {error}') from error
    if not isinstance(spec, BackendSpec):
        raise DriverNotUsable(f'the entry point "{name}" of {GROUP} is not a BackendSpec')
    return spec


def _read(file: Path) -> BackendSpec[Any]:
    from crm_backends.connector import ConnectorError, spec_of
    from crm_backends.paths import cannot_read

    if (problem := cannot_read(file)) is not None:
        raise DriverNotUsable(problem)
    try:
        return spec_of(file.resolve())
    except ConnectorError as error:
        raise DriverNotUsable(f"the connector cannot be used:\n{error}") from None
