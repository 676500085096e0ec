"""Puts load on a service with wrk and reads what came of it. It may not know which service that is."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.services import common

SCRIPT = Path(__file__).with_name("load.lua")
AUTHORIZATION = "Basic " + base64.b64encode(f"{common.LOGIN}:{common.PASSWORD}".encode()).decode()

Kind = Literal["find", "info", "receipt"]
_PATHS: dict[Kind, str] = {"find": "/v1/card", "info": "/v1/card/", "receipt": "/v1/promo/qrCode"}
# A receipt's fiscal sign: no two runs may send the same receipts, nor may two benchmarks.
_runs = itertools.count(int(time.time()))


class WrkFailed(Exception):
    """wrk did not run; the message says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw."""

    answers: int
    seconds: float
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""
    bad: int
    """Answers with a status of 400 or above."""
    broken: int
    """Connections refused, broken or timed out."""
    cpu: float = 0.0
    """Processor seconds the service itself spent meanwhile, its database left out."""

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.answers - self.bad) / self.seconds

    @property
    def cost(self) -> float:
        """Processor milliseconds of the service per answer; what else runs here hardly touches it."""
        return 1000 * self.cpu / max(self.answers, 1)

    @property
    def problem(self) -> str | None:
        """What makes this run worthless, or ``None``."""
        if self.bad or self.broken:
            return f"{self.bad} answers were not 200 and {self.broken} connections broke, of {self.answers}"
        return None if self.answers else "not one answer came"


def wrk_version() -> str | None:
    """What ``wrk --version`` says; ``None`` when wrk is not installed."""
    if shutil.which("wrk") is None:
        return None
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).split("Copyright")[0].removeprefix("wrk").strip()


def put_load(port: int, kind: Kind, *, people: int, seconds: float, connections: int = 32) -> Load:
    """Ask for random people or cards, or send new receipts, for so many seconds. Raises ``WrkFailed``."""
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}{_PATHS[kind]}", "--"]
    command += [kind, str(people), str(next(_runs)), AUTHORIZATION]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=whole + 60, check=False)
    for line in ran.stdout.splitlines():
        if line.startswith("RESULT "):
            seen = json.loads(line.removeprefix("RESULT "))
            return Load(
                answers=seen["requests"],
                seconds=seen["microseconds"] / 1e6,
                p50=seen["p50"] / 1e3,
                p99=seen["p99"] / 1e3,
                bad=seen["bad_status"],
                broken=seen["broken"],
            )
    raise WrkFailed(f"wrk gave no result: {(ran.stderr or ran.stdout).strip()[-300:]}")
