"""The findings of ``check`` and of the console, in the order in which things depend on each other.

It may not know how they are shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from adapter.api import tls
from adapter.api.auth import is_cut_short
from adapter.checking.database import database_findings
from adapter.checking.proof import proof_findings
from adapter.crms import refused_receipts, unasked_points
from adapter.loyalty.model import OperationKind
from adapter.loyalty.ports import StoreUnavailable
from adapter.settings import SHORTEST_PASSWORD, CannotRun, Receipts, Settings
from crm_backends.ports import Backend, BackendError, Finding

if TYPE_CHECKING:
    from adapter.bootstrap import Service

_ROUNDED = {"down": "rounded down", "half_up": "rounded half up", "up": "rounded up"}
_PATIENCE = 20.0  # seconds for one CRM
_RENEW = timedelta(days=14)
"""A certificate that ends sooner is warned of."""


def of_settings(settings: Settings) -> Iterator[Finding]:
    """The password and the certificate of the public port."""
    yield _password(settings)
    yield from _certificate(settings)


async def of_service(service: Service) -> AsyncIterator[Finding]:
    """The adapter's database, every CRM, and what the CRMs have proved. Raises ``StoreUnavailable``."""
    async for finding in database_findings(service):
        yield finding
    for backend in service.backends:
        serves = ", ".join(service.crms.ports_of(backend))
        for finding in await _looked_at(backend):
            detail = f"{finding.subject}: {finding.detail} ({serves})"
            yield replace(finding, subject=f"crm {backend.name}", detail=detail)
    for finding in proof_findings(await service.shown(), service.settings.zone):
        yield finding
    programme = service.programme
    if programme.points is not None and OperationKind.RECEIPT not in programme.cannot:
        yield Finding("points", True, _earning(service.settings.receipts))
    for finding in unasked_points(service.by_port["points"], service.settings.receipts):
        yield replace(finding, subject="crm points", detail=f"{finding.subject}: {finding.detail}")
    for finding in refused_receipts(
        service.by_port["points"], service.settings.receipts, datetime.now(service.settings.zone)
    ):
        yield replace(finding, subject="crm points", detail=f"{finding.subject}: {finding.detail}")
    unbound = [port for port, backend in service.by_port.items() if backend is None]
    if unbound:
        yield Finding("crm", True, f"no CRM for {', '.join(unbound)}")


async def _looked_at(backend: Backend) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await backend.check()
    except (TimeoutError, BackendError) as error:
        reason, _, remedy = (str(error) or "it did not answer in time").partition("; ")
        return [Finding("call", False, reason, remedy)]


async def of_running(service: Service) -> list[Finding]:
    """Everything that can be seen from within a service that runs."""
    found = [*of_settings(service.settings)]
    problem = await service.problem()
    found.append(Finding("database", problem is None, problem or "reached", "koshelek-adapter check"))
    try:
        found += [finding async for finding in of_service(service)]
    except StoreUnavailable as error:
        found.append(Finding("database", False, f"does not answer: {error}", "koshelek-adapter check"))
    return found


def _earning(rule: Receipts) -> str:
    """Who computes the points of a receipt, and by which rule."""
    if rule.points_by == "crm":
        return 'the points of a receipt are computed by the CRM (receipts.points_by = "crm")'
    most = "" if rule.maximum_points is None else f", at most {rule.maximum_points:f} a receipt"
    return (
        f"{rule.rate:f} for each rouble of a receipt, in steps of {rule.step:f}, "
        f"{_ROUNDED[rule.rounding]}{most}: computed here by the rule of receipts "
        "(receipts.points_by, receipts.rate)"
    )


def _password(settings: Settings) -> Finding:
    password = settings.koshelek.password
    if password is None:
        return Finding("password", False, "koshelek.password is not set", "koshelek-adapter config new")
    text = password.get_secret_value()
    if len(text) < SHORTEST_PASSWORD:
        return Finding(
            "password",
            False,
            f"koshelek.password is shorter than {SHORTEST_PASSWORD} characters",
            "take a generated one: koshelek-adapter config new writes it",
        )
    if not text.startswith("$argon2"):
        return Finding("password", True, "plain, long enough")
    if is_cut_short(text):
        return Finding(
            "password", False, "the hash in koshelek.password is cut short", "koshelek-adapter config hash"
        )
    return Finding("password", True, "hashed")


def _certificate(settings: Settings) -> Iterator[Finding]:
    try:
        found = tls.tried(settings.server)
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        yield Finding("certificate", False, reason, remedy)
        return
    if found is None:
        return
    soon = found.until - datetime.now(UTC) < _RENEW
    names = ", ".join(found.names) or "no name in it"
    yield Finding(
        "certificate",
        True,
        f"{names}, until {found.until:%Y-%m-%d}",
        "renew it, then send serve a SIGHUP" if soon else "",
        warning=soon,
    )
