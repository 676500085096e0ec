"""The commands without the wait for their imports: each is forked from a process that has done them.

It is a process of its own all the same: arguments, folder, environment, streams, exit status and tracebacks
are its own. ``python -m tests.integration.forks`` is the process that forks; it takes orders on the socket
that is its standard input.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

COMMANDS = {"koshelek-adapter": "adapter.commands.app", "koshelek-contract": "contracts.cli"}
PACKAGES = ("adapter", "contracts", "crm_backends")
_ORDER = 200_000
"""Bytes an order may have."""
_starting = threading.Lock()


def run(
    command: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    given: bytes = b"",
    timeout: float,
) -> subprocess.CompletedProcess[bytes]:
    """Run one of the commands to its end, as ``subprocess.run`` would."""
    words = [command, *arguments]
    order = json.dumps({"words": words, "cwd": str(cwd), "env": dict(env)}).encode()
    assert len(order) < _ORDER
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given)
        stdin.seek(0)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, _starting:
                files = [stdin.fileno(), out.fileno(), err.fileno(), theirs.fileno()]
                socket.send_fds(_orders(), [order], files)
            status = _status(ours, words, timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, status, out.read(), err.read())


def _status(process: socket.socket, words: list[str], timeout: float) -> int:
    """What the forked process ends with; it is killed when it takes too long."""
    with process.makefile() as told:
        pid = int(told.readline())
        process.settimeout(timeout)
        try:
            return int(told.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(words, timeout) from None


@cache
def _orders() -> socket.socket:
    """Where the process that forks takes its orders; it ends when this is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.forks"],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # Ctrl-C is for the tests
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _import_all() -> None:
    for package in PACKAGES:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    gc.collect()
    gc.freeze()


def _serve() -> Callable[[], None] | None:
    """Fork for each order; in the child, return what was ordered. ``None`` when nobody orders any more."""
    orders = socket.socket(fileno=os.dup(0))
    ended, wake = socket.socketpair()
    for one in (ended, wake):
        one.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asking: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([orders, ended], [], [])
        if ended in readable:
            ended.recv(_ORDER)
            for pid in list(asking):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    _tell(asking.pop(pid), os.waitstatus_to_exitcode(status), last=True)
        if orders in readable:
            order, files, _, _ = socket.recv_fds(orders, _ORDER, 4)
            if not order:
                return None
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for one in (orders, ended, wake, *asking.values()):
                    one.close()
                return _become(json.loads(order), files)
            asking[pid] = socket.socket(fileno=files.pop())
            for file in files:
                os.close(file)
            _tell(asking[pid], pid)


def _become(order: dict[str, Any], files: list[int]) -> Callable[[], None]:
    """Take over arguments, folder, environment and streams; returns the command."""
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    sys.argv = order["words"]
    sys.modules["__main__"] = ModuleType("__main__")  # as in the script of an installed command
    main: Callable[[], None] = import_module(COMMANDS[sys.argv[0]]).main
    return main


def _tell(asking: socket.socket, number: int, *, last: bool = False) -> None:
    with suppress(OSError):  # it may not ask any more
        asking.sendall(b"%d\n" % number)
    if last:
        asking.close()


if __name__ == "__main__":
    _import_all()
    if (command := _serve()) is not None:
        command()
