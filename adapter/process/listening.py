"""The ports: whether they can be listened on, and listening; what is in the way is one sentence."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from adapter.settings import CannotRun, Settings

if TYPE_CHECKING:
    from aiohttp import web


_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - read, not listened on
_Address = tuple[socket.AddressFamily, str]


def check_addresses(settings: Settings) -> None:
    """Raise ``CannotRun`` when nobody could listen so, whatever runs now: no address of this machine, or one
    port for both."""
    server, management = settings.server, settings.management
    first = _addresses(server.host, server.port, "server.host, or --host")
    if not management.enabled:
        return
    second = _addresses(management.host, management.port, "management.host")
    if server.port == management.port != 0 and any(
        family == other and (address == another or {address, another}.intersection(_EVERYWHERE))
        for family, address in first
        for other, another in second
    ):
        raise CannotRun(
            f"server.port and management.port are both {server.port}; choose another for one of them"
        )


def _addresses(host: str, port: int, setting: str) -> set[_Address]:
    """What a host stands for; ``CannotRun`` where the first of it is no address of this machine."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        _bind(host, port)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise _cannot_listen(host, port, error, f" ({setting})") from None
    return {(family, str(address[0])) for family, _, _, _, address in found}


def _bind(host: str, port: int) -> None:
    """Take an address for a moment, without listening. Raises ``OSError``."""
    info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(info[0], info[1]) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(info[4])


def check_ports(settings: Settings) -> None:
    """Raise ``CannotRun`` when one of the ports cannot be listened on; before anything is started."""
    check_addresses(settings)
    must_be_free(settings.server.host, settings.server.port, "server.port, or --port")
    if settings.management.enabled:
        must_be_free(settings.management.host, settings.management.port, "management.port")


def must_be_free(host: str, port: int, setting: str) -> None:
    """Raise ``CannotRun`` when nobody could listen there; ``setting``: where another port is chosen."""
    if port == 0:
        return
    try:
        _bind(host, port)
    except OSError as error:
        raise _cannot_listen(host, port, error, f" ({setting})") from None


def _cannot_listen(host: str, port: int, error: OSError, setting: str = "") -> CannotRun:
    if error.errno == errno.EADDRINUSE:
        return CannotRun(f"port {port} on {host} is in use; stop what uses it or choose another{setting}")
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no such address"
    return CannotRun(f"cannot listen on {host}:{port}: {reason}; choose another address or port{setting}")


async def listen(runner: web.AppRunner, host: str, port: int, **options: Any) -> int:
    """Start listening; returns the port. Raises ``CannotRun``."""
    from aiohttp import web

    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, **options).start()
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    return int(runner.addresses[0][1])
