"""Being a server for a while: until when, and why a port cannot be listened on.

It may not know what is served.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket


def stopped() -> asyncio.Event:
    """Is set when the process is asked to end."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, event.set)
        except NotImplementedError:  # on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(event.set))
    return event


def listen_error(error: OSError, host: str, port: int) -> str:
    """Why ``port`` of ``host`` cannot be listened on, and what to do, as one sentence.

    An output that takes nothing more, a closed pipe say, is not about the port: that error is raised again.
    """
    if error.errno in (errno.EPIPE, errno.ENOSPC):
        raise error
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port, 0 takes a free one"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} may not be opened by this user; choose one above 1023 with --port"
    # Without a number: asyncio of Python 3.13 passes over addresses that are not ours, until none is left.
    if error.errno in (None, errno.EADDRNOTAVAIL) or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine; choose another with --host"
    return f"cannot listen on port {port} of {host}: {error}"


def base_url(host: str, port: int) -> str:
    """``http://127.0.0.1:8080``, as it can be opened on this machine; an IPv6 address stands in brackets."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - all addresses are no address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
