"""The adapter as a process of its own: start it, talk to it, signal it, and read everything it wrote.

It knows the command line and the wire, nothing of what is inside.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from tests.integration import forks

LOGIN, PASSWORD = "koshelek", "planted-Passw0rd-of-a-test"
START_LIMIT = 20.0
"""Seconds a start may take on a machine that is busy with other things."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of ours, and ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("KOSHELEK_")}
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        kept.pop(name, None)
    return kept | dict(extra or {})


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "adapter", *arguments]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


def run(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    given: str | bytes = "",
    timeout: float = 100,
    anew: bool = False,
) -> Ended:
    """Run a command to its end. Whatever happens, it shows no traceback.

    ``anew``: in a new interpreter, which imports what it needs as on a person's machine.
    """
    sent = given.encode() if isinstance(given, str) else given
    if anew:
        ended = subprocess.run(
            command(*arguments),
            cwd=cwd,
            env=environment(env),
            input=sent,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    else:
        ended = forks.run(
            "koshelek-adapter", *arguments, cwd=cwd, env=environment(env), given=sent, timeout=timeout
        )
    done = Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
    assert "Traceback" not in done.text, done.text
    return done


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass(frozen=True)
class Answer:
    """One answer of the public port."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw) if self.raw else None


def basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def call(
    port: int,
    verb: str,
    path: str,
    body: Any = None,
    *,
    password: str = PASSWORD,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 15,
) -> Answer:
    """One request on a connection of its own."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=tls)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    )
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False).encode()
    try:
        given = {"Authorization": basic(LOGIN, password), **(headers or {})}
        connection.request(verb, path, body, given)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Running:
    """A started process in a session of its own, so that a signal to its group is Ctrl-C."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        name: str = "adapter",
        anew: bool = False,
    ) -> None:
        """``anew``: in a new interpreter, which imports what it needs as on a person's machine."""
        self._out, self._err = (cwd / f"{name}-{time.monotonic_ns()}.{end}" for end in ("out", "err"))
        self.started = time.monotonic()
        variables = environment({"PYTHONUNBUFFERED": "1"} | dict(env or {}))
        with open(os.devnull, "rb") as nothing, self._out.open("wb") as out, self._err.open("wb") as err:
            self.process: subprocess.Popen[bytes] | forks.Forked
            if anew:
                self.process = subprocess.Popen(
                    command(*arguments),
                    cwd=cwd,
                    env=variables,
                    stdin=nothing,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            else:
                self.process = forks.start(
                    "koshelek-adapter",
                    *arguments,
                    cwd=cwd,
                    env=variables,
                    stdin=nothing.fileno(),
                    stdout=out.fileno(),
                    stderr=err.fileno(),
                    session=True,
                )

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def wait_for(self, pattern: str, limit: float = START_LIMIT) -> re.Match[str]:
        """Wait until standard output holds the pattern."""
        until = time.monotonic() + limit
        while (found := re.search(pattern, self.out)) is None:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.out}{self.err}"
            assert time.monotonic() < until, f"no {pattern!r} within {limit} s: {self.out}{self.err}"
            time.sleep(0.02)
        return found

    def lines(self) -> list[dict[str, Any]]:
        """The log lines written so far."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The one log line of a request."""
        self.wait_for(f'"{re.escape(request_id)}"', limit=5)
        (line,) = [line for line in self.lines() if line.get("request_id") == request_id]
        return line

    def workers(self) -> list[int]:
        """Ids of the worker processes, oldest first."""
        children = psutil.Process(self.process.pid).children()
        spawned = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return [child.pid for child in sorted(spawned, key=lambda child: child.create_time())]

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, limit: float = 20) -> Ended:
        """Wait for the end; it never comes with a traceback."""
        status = self.process.wait(limit)
        assert "Traceback" not in self.out + self.err, self.out + self.err
        return Ended(status, self.out, self.err)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)


def databases_in(data_dir: Path) -> list[Any]:
    """PostgreSQL processes whose data is in this folder."""
    folder = str((data_dir / "postgresql").resolve())
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "postgres" in process.name() and folder in (process.cwd(), *process.cmdline()):
                found.append(process)
    return found


def process(pid: int) -> Any:
    """A handle (``psutil.Process``) on a process by its id."""
    return psutil.Process(pid)


def connections_of(pid: int, port: int) -> int:
    """How many callers of a port this process is connected with."""
    found = psutil.Process(pid).net_connections(kind="tcp")
    return sum(one.status == "ESTABLISHED" and one.laddr.port == port for one in found)


def alive(pid: int) -> bool:
    return bool(psutil.pid_exists(pid))


def nobody_listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
