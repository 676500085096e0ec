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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from crm_backends import registry

COMMANDS = {"koshelek-adapter": "adapter.commands.app", "koshelek-contract": "contracts.cli"}
PACKAGES = ("adapter", "contracts", "crm_backends")
_PARAMETERS = "get_params_from_function"
"""Where Typer reads a command's parameters off its signature."""
_ORDER = 200_000
"""Bytes an order may have."""
_WORD = 100
"""Bytes of what is told about a process: its id when it starts, its status and seconds when it has ended."""
_starting = threading.Lock()


spent = 0.0
"""Processor seconds of the commands that have ended, so far as somebody has asked how they ended."""


class Forked:
    """A command that was started; used as ``subprocess.Popen`` is."""

    def __init__(self, words: Sequence[str], told: socket.socket) -> None:
        self.args = words
        self._told = told
        self.pid = int(told.recv(_WORD))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The status it ended with; ``None`` while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The status, once it has ended. Raises ``subprocess.TimeoutExpired``."""
        global spent
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                status, seconds = self._told.recv(_WORD).split()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._told.close()
            self.returncode = int(status)
            spent += float(seconds)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    command: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
    session: bool = False,
) -> Forked:
    """Start one of the commands.

    ``stdin``, ``stdout``, ``stderr``: numbers of open files. ``session``: it gets a session of its own.
    """
    words = [command, *arguments]
    order = json.dumps({"words": words, "cwd": str(cwd), "env": dict(env), "session": session}).encode()
    assert len(order) < _ORDER
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, _starting:
        socket.send_fds(_orders(), [order], [stdin, stdout, stderr, theirs.fileno()])
    return Forked(words, ours)


def run(
    command: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    given: bytes = b"",
    timeout: float,
) -> subprocess.CompletedProcess[bytes]:
    """Run one of the commands to its end, as ``subprocess.run`` would."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given)
        stdin.seek(0)
        process = start(
            command,
            *arguments,
            cwd=cwd,
            env=env,
            stdin=stdin.fileno(),
            stdout=out.fileno(),
            stderr=err.fileno(),
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(process.args, status, out.read(), err.read())


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
    _find_out_what_never_changes()
    gc.collect()
    gc.freeze()


def _find_out_what_never_changes() -> None:
    """What every command would find out by itself: the installed drivers, and the parameters of all commands.

    It is the better part of what a short command takes.
    """
    registry.names()
    registry.with_commands()
    setattr(typer.main, _PARAMETERS, cache(getattr(typer.main, _PARAMETERS)))
    for module in COMMANDS.values():
        typer.main.get_command(import_module(module).app)


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
                found, status, used = os.wait4(pid, os.WNOHANG)
                if found:
                    seconds = used.ru_utime + used.ru_stime
                    _tell(asking.pop(pid), f"{os.waitstatus_to_exitcode(status)} {seconds}")
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


def _become(order: dict[str, Any], files: list[int]) -> Callable[[], None]:
    """Take over arguments, folder, environment and streams; returns the command."""
    if order["session"]:
        os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files[:3]:
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    if os.environ.get("PYTHONUNBUFFERED"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = order["words"]
    sys.modules["__main__"] = ModuleType("__main__")  # as in the script of an installed command
    main: Callable[[], None] = import_module(COMMANDS[sys.argv[0]]).main
    _tell(socket.socket(fileno=files[3]), str(os.getpid()))
    return main


def _tell(asking: socket.socket, word: str) -> None:
    with asking, suppress(OSError):  # it may not ask any more
        asking.send(word.encode())


if __name__ == "__main__":
    _import_all()
    if (command := _serve()) is not None:
        command()
