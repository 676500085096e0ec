"""Stand-in CRM servers with a ledger and fault switches, made from ``contracts/crm``.

They are no CRMs: they do what the documentation says and what is believed beyond it. ``running`` serves one
inside a test over a real socket; ``koshelek-contract sandbox`` serves one by itself. It may not know the
adapter and its drivers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from aiohttp import web

from contracts.kit.listening import base_url
from contracts.sandbox import (
    iiko,
    kolibri,
    loya,
    medusa,
    mindbox,
    moysklad,
    odoo,
    odoo18,
    pegke,
    perx,
    premiumbonus,
    retailcrm,
    square,
    talonone,
    uds,
    voucherify,
    xerts,
)
from contracts.sandbox.faults import Fault, FaultKind
from contracts.sandbox.ledger import Ledger
from contracts.sandbox.server import SERVER, Server, StandIn

_OF_CONNECTORS: Sequence[ModuleType] = (
    retailcrm,
    uds,
    moysklad,
    odoo18,
    odoo,
    loya,
    medusa,
    square,
    iiko,
    premiumbonus,
    voucherify,
    mindbox,
    talonone,
)
CONNECTORS: Mapping[str, Mapping[str, object]] = {
    name: settings for module in _OF_CONNECTORS for name, settings in module.SETTINGS.items()
}
"""Connector -> the settings with which it finds its stand-in; ``path``: of the API below the address."""
MODULES: Mapping[str, ModuleType] = {
    "perx": perx,
    "pegke": pegke,
    "xerts": xerts,
    **{name: module for module in _OF_CONNECTORS for name in module.SETTINGS},
    "kolibri": kolibri,
}


@dataclass(frozen=True)
class Sandbox:
    """A stand-in server that runs in this process."""

    base_url: str
    """``http://host:port``, without a slash at the end; the CRM's own path follows."""
    server: Server

    @property
    def stand_in(self) -> StandIn:
        """The stand-in itself, with its data."""
        return self.server.stand_in

    @property
    def credentials(self) -> Mapping[str, str]:
        """What the server accepts."""
        return self.stand_in.credentials

    def ledger(self) -> Ledger:
        """The ledger itself, not a copy: it goes on growing."""
        return self.stand_in.ledger

    def fault(
        self,
        fault: FaultKind,
        operation: str = "*",
        *,
        times: int | None = 1,
        seconds: float = 0,
        status: int = 500,
    ) -> None:
        """Have a fault; ``times=None`` until ``clear_faults``. ``ValueError`` if it makes no sense."""
        wanted = Fault(operation=operation, fault=fault, times=times, seconds=seconds, status=status)
        self.server.add_fault(wanted)

    def clear_faults(self) -> None:
        """Have no more faults."""
        self.stand_in.faults.clear()

    def reset(self) -> None:
        """As at the start: data, ledger, faults; tokens issued before are not valid any more."""
        self.stand_in.reset()

    def add_customer(self, **values: Any) -> dict[str, Any]:
        """Add a customer; what may be given is in the CRM's module."""
        return self.stand_in.add_customer(values)


@asynccontextmanager
async def running(
    name: str, port: int = 0, host: str = "127.0.0.1", *, access_log: bool = False, **switches: Any
) -> AsyncIterator[Sandbox]:
    """Serve a stand-in while the context lasts; port 0 takes a free one.

    Raises ``KeyError`` for an unknown name, ``ValueError`` for an unknown or wrong switch, ``OSError`` if the
    address cannot be had.
    """
    application: web.Application = MODULES[name].application(**switches)
    async with serving(application, port, host, access_log=access_log) as sandbox:
        yield sandbox


@asynccontextmanager
async def serving(
    application: web.Application, port: int = 0, host: str = "127.0.0.1", *, access_log: bool = False
) -> AsyncIterator[Sandbox]:
    """Serve a stand-in's application; see ``running``."""
    options: dict[str, Any] = {"access_log_format": '"%r" %s %Tf s'} if access_log else {"access_log": None}
    runner = web.AppRunner(application, shutdown_timeout=0.1, **options)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_host, bound_port = runner.addresses[0][:2]
        yield Sandbox(base_url(bound_host, bound_port), application[SERVER])
    finally:
        await runner.cleanup()
