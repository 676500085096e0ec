"""Whether each CRM works: looked at when the adapter starts and from time to time, for health page and log.

It says once that something is wrong, with the remedy, and once that it is well again. It knows no CRM by
name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import structlog

from adapter import background
from crm_backends.ports import Backend, BackendError, Finding, NoticesAbsence, TellsLoad, TellsStanding

log = structlog.get_logger("crm")

_PATIENCE = 20.0  # seconds for one look at one CRM

State = Literal["ok", "wrong", "away", "not looked at yet", "none"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one CRM. Reason and remedy are for the operator and hold no personal data."""

    state: State
    driver: str = ""
    reason: str = ""
    remedy: str = ""
    since: datetime | None = None
    under_way: int | None = None
    """Calls the CRM has not answered yet, of this process; ``None``: its driver does not count them."""
    queued: int | None = None
    """Calls that wait for their turn."""

    def as_data(self) -> dict[str, str]:
        """What is told on the health page; what is empty is left out."""
        since = "" if self.since is None else self.since.isoformat(timespec="seconds")
        told = {"state": self.state, "driver": self.driver, "reason": self.reason, "remedy": self.remedy}
        return {name: value for name, value in (told | {"since": since}).items() if value}


class CrmWatch:
    """Looks at the CRMs, each once however many ports it serves."""

    def __init__(self, by_port: Mapping[str, Backend | None], every: float) -> None:
        self._by_port = by_port
        self._every = every
        self._known: dict[int, Standing] = {}

    def standings(self) -> dict[str, Standing]:
        """How the CRM of each port stands."""
        return {port: _loaded(self._standing(backend), backend) for port, backend in self._by_port.items()}

    def _standing(self, backend: Backend | None) -> Standing:
        if backend is None:
            return Standing("none")
        known = self._known.get(id(backend), Standing("not looked at yet", backend.name))
        if known.state == "ok" and isinstance(backend, NoticesAbsence) and backend.paused:
            return Standing("away", backend.name, "does not answer, and is not asked for some seconds")
        return known

    async def run(self) -> None:
        """Look at all CRMs, again and again, until cancelled."""
        backends = {id(backend): backend for backend in self._by_port.values() if backend is not None}
        while True:
            with background.survived("crm_watch"):
                await asyncio.gather(*(self._look(backend) for backend in backends.values()))
            await asyncio.sleep(self._every)

    async def _look(self, backend: Backend) -> None:
        wrong = await _first_wrong(backend)
        reason = "" if wrong is None else f"{wrong.subject}: {wrong.detail}"
        state: State = "ok" if wrong is None else "wrong"
        before = self._known.get(id(backend))
        if before is not None and (before.state, before.reason) == (state, reason):
            return
        remedy = "" if wrong is None else wrong.remedy
        self._known[id(backend)] = Standing(state, backend.name, reason, remedy, datetime.now(UTC))
        ports = [port for port, bound in self._by_port.items() if bound is backend]
        if wrong is not None:
            log.error("crm_wrong", crm=backend.name, ports=ports, reason=reason, remedy=remedy)
        else:
            log.info("crm_well", crm=backend.name, ports=ports)


def _loaded(standing: Standing, backend: object) -> Standing:
    if not isinstance(backend, TellsLoad):
        return standing
    return replace(standing, under_way=backend.under_way, queued=backend.waiting)


async def _first_wrong(backend: Backend) -> Finding | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            findings: Sequence[Finding]
            if isinstance(backend, TellsStanding):
                findings = await backend.standing()
            else:
                findings = await backend.check()
        return next((finding for finding in findings if not finding.ok), None)
    except TimeoutError:
        return Finding(
            backend.name, False, f"no answer within {_PATIENCE:.0f} seconds", "koshelek-adapter check"
        )
    except BackendError as error:
        reason, _, remedy = str(error).partition("; ")
        return Finding(backend.name, False, reason, remedy)
    except Exception as error:
        reason = type(error).__name__
        log.exception("crm_look_failed", crm=backend.name, reason=reason)
        return Finding(backend.name, False, f"looking at it failed: {reason}", "koshelek-adapter check")
