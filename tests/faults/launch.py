"""Starts adapters and workers as the command does, each with a plan of what shall go wrong in it.

``python -m tests.faults.launch serve|worker …`` takes the arguments of ``koshelek-adapter``; the plan is JSON
in the variable FAULTS. ``python -m tests.faults.launch nursery`` reads orders from standard input, one JSON
object a line, and forks a process for each: a start costs milliseconds then, so that hundreds may die.

The points exist here alone: the public methods of the real classes are wrapped. The adapter knows nothing of
it.
"""

from __future__ import annotations

import datetime as clocks
import functools
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from adapter import bootstrap
from adapter.commands import app as cli
from adapter.commands import demo
from adapter.delivery import housekeeping, worker
from adapter.process import workers
from adapter.store import cards
from adapter.store.operations import PostgresLedger
from crm_backends.http import wire
from crm_backends.pegke.driver import PegkeBackend
from crm_backends.perx.driver import PerxBackend
from crm_backends.postgres.driver import PostgresBackend
from crm_backends.xerts import driver as xerts

LOADED = (bootstrap, cli, demo, workers, cards, xerts)
"""Imported before anything is forked: what a child needs is there."""
VARIABLE = "FAULTS"
DRIVERS = (PostgresBackend, PerxBackend, PegkeBackend)


@dataclass(frozen=True)
class Plan:
    """What goes wrong in one process."""

    at: tuple[str, ...] = ()
    """Points: ``begin.after``, ``credit.before``, ``end.done.after`` …; ``*`` is every one.

    ``send`` is a request to a CRM over HTTP that has got its connection; ``credit.send``, one of a credit."""
    skip: int = 0
    """How many passes of these points go well first."""
    rate: float = 1.0
    """Chance of the fault at each further pass."""
    seed: int = 0
    how: Literal["kill", "stop"] = "kill"
    """SIGKILL, or SIGSTOP: frozen until somebody sends SIGCONT; only the first time."""
    clock: float = 0.0
    """Seconds the process's clock is ahead, once it gets SIGUSR1."""
    patience: float | None = None
    """Seconds after which another worker takes a dead one's jobs, and three times that until a lost job is
    put back; tests have less patience than the service."""

    def variable(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Plan:
        given = json.loads(text)
        return cls(**{**given, "at": tuple(given.get("at", ()))})


class Fate:
    """Decides at each point whether the process ends here."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._passed = 0
        self._random = random.Random(f"{plan.seed}:{os.getpid()}" if plan.rate < 1 else plan.seed)
        self._stopped = False

    def passing(self, *names: str) -> None:
        """One point is passed; it may have several names."""
        if not any(name in self._plan.at for name in (*names, "*")):
            return
        self._passed += 1
        if self._passed <= self._plan.skip or self._random.random() >= self._plan.rate:
            return
        if self._plan.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif not self._stopped:
            self._stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)


_within: ContextVar[str] = ContextVar("_within", default="")
"""The guarded method under way."""


def _no_detail(_given: Mapping[str, Any], _arguments: tuple[Any, ...]) -> str | None:
    return None


def _state(given: Mapping[str, Any], arguments: tuple[Any, ...]) -> str | None:
    """The state that is written: ``end.done`` is another point than ``end.unknown``."""
    return str(given["state"] if "state" in given else arguments[1])


def _guard(
    owner: type,
    method: str,
    fate: Fate,
    detail: Callable[[Mapping[str, Any], tuple[Any, ...]], str | None] = _no_detail,
) -> None:
    """Put a point before and one after a method; within another one's call they have its name too."""
    original = getattr(owner, method)

    @functools.wraps(original)
    async def guarded(self: Any, *arguments: Any, **given: Any) -> Any:
        more = detail(given, arguments)
        names = [method] if more is None else [method, f"{method}.{more}"]
        if caller := _within.get():
            names.append(f"{caller}.{method}")
        fate.passing(*(f"{name}.before" for name in names))
        mark = _within.set(method)
        try:
            result = await original(self, *arguments, **given)
        finally:
            _within.reset(mark)
        fate.passing(*(f"{name}.after" for name in names))
        return result

    setattr(owner, method, guarded)


def _shift_clock(seconds: float) -> None:
    """Let every module of the adapter and the drivers see another time, from SIGUSR1 on."""
    ahead = 0.0
    true_time = time.time

    class Shifted(clocks.datetime):
        @classmethod
        def now(cls, tz: clocks.tzinfo | None = None) -> Any:
            return clocks.datetime.fromtimestamp(true_time() + ahead, tz)

    def jump(*_: object) -> None:
        nonlocal ahead
        ahead = seconds

    signal.signal(signal.SIGUSR1, jump)
    time.time = lambda: true_time() + ahead
    for name, module in list(sys.modules.items()):
        if (
            name.startswith(("adapter.", "crm_backends."))
            and not name.startswith("adapter.commands.")  # their options are declared as datetime
            and getattr(module, "datetime", None) is clocks.datetime
        ):
            module.datetime = Shifted  # type: ignore[attr-defined]


def prepare(plan: Plan) -> None:
    """Wrap the real classes as the plan says."""
    fate = Fate(plan)
    for method in ("record", "begin", "again", "lease", "release"):
        _guard(PostgresLedger, method, fate)
    _guard(PostgresLedger, "end", fate, _state)
    _guard(wire._Request, "send", fate)
    for driver in DRIVERS:
        _guard(driver, "credit", fate)
        if hasattr(driver, "reconcile_credit"):
            _guard(driver, "reconcile_credit", fate)
    if plan.clock:
        _shift_clock(plan.clock)
    if plan.patience is not None:
        worker._HEARTBEAT = clocks.timedelta(seconds=plan.patience)
        housekeeping._LEAST_STALE = plan.patience * 3


def _run(arguments: list[str], plan: Plan) -> None:
    prepare(plan)
    sys.argv = ["koshelek-adapter", *arguments]
    cli.main()


def _child(order: Mapping[str, Any]) -> None:
    """Body of a forked process: the command, its output in a file."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with Path(order["out"]).open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(Path(order["out"]).parent)
    random.seed()
    status = 1
    try:
        _run(order["arguments"], Plan.read(order["plan"]))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _nursery() -> None:
    """Fork a process for every order; end all of them when nobody orders any more."""
    children: set[int] = set()
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.1)
        for child in list(children):
            try:
                ended, status = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                ended, status = child, 0
            if ended:
                children.discard(child)
                print(json.dumps({"ended": child, "status": os.waitstatus_to_exitcode(status)}), flush=True)
        if not readable:
            continue
        read = os.read(0, 65_536)
        if not read:
            break
        pending += read
        *lines, pending = pending.split(b"\n")
        for line in lines:
            child = os.fork()
            if child == 0:
                _child(json.loads(line))
            children.add(child)
            print(json.dumps({"started": child}), flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["nursery"]:
        print(json.dumps({"ready": True}), flush=True)
        _nursery()
    else:
        _run(sys.argv[1:], Plan.read(os.environ.get(VARIABLE, "{}")))
