"""What ``check`` looks at: database, schema, clock, card numbers, and every CRM. It changes nothing there."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import argon2

from adapter.bootstrap import Service, ports_of
from adapter.serving import database
from adapter.settings import CannotRun, Settings
from adapter.store.migrate import latest_version
from crm_backends.ports import Finding

_SHORT = 16
_CLOCK_TOLERANCE = 5.0


def findings(settings: Settings) -> Iterator[Finding]:
    """One finding a line, in the order in which things depend on each other."""
    yield _password(settings)
    try:
        with database(settings, join=True) as url:
            yield Finding("database", True, "reached")
            yield Finding("schema", True, f"version {latest_version()}")
            yield from asyncio.run(_with_service(settings, url))
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        yield Finding("database", False, reason, remedy)


def _password(settings: Settings) -> Finding:
    password = settings.koshelek.password
    if password is None:
        return Finding("password", False, "koshelek.password is not set", "koshelek-adapter config new")
    text = password.get_secret_value()
    if len(text) < _SHORT:
        return Finding(
            "password",
            False,
            f"koshelek.password is shorter than {_SHORT} characters",
            "take a generated one: koshelek-adapter config new writes it",
        )
    if not text.startswith("$argon2"):
        return Finding("password", True, "plain, long enough")
    try:
        argon2.extract_parameters(text)
        base64.b64decode(f"{text.rpartition('$')[2]}===", validate=False)
    except (argon2.exceptions.InvalidHashError, ValueError):
        return Finding(
            "password", False, "the hash in koshelek.password is cut short", "koshelek-adapter config hash"
        )
    return Finding("password", True, "hashed")


async def _with_service(settings: Settings, url: str) -> list[Finding]:
    service = Service(settings, url)
    found: list[Finding] = []
    try:
        await service.open()
        drift = await service.gateway.clock_drift()
        free = await service.cards.count_free()
        found.append(
            Finding(
                "clock",
                drift < _CLOCK_TOLERANCE,
                f"differs from the database's by {drift:.1f} s",
                "synchronise both machines (NTP): receipts are judged by time",
            )
        )
        found.append(
            Finding(
                "card numbers",
                bool(free or settings.cards.ranges),
                f"{free} in the pool, {len(settings.cards.ranges)} ranges",
                "koshelek-adapter cards import FILE, or add a [[cards.ranges]] entry",
            )
        )
        for backend in service.backends:
            serves = ", ".join(ports_of(service, backend))
            for finding in await backend.check():
                found.append(
                    Finding(
                        f"crm {backend.name}",
                        finding.ok,
                        f"{finding.subject}: {finding.detail} ({serves})",
                        finding.remedy,
                    )
                )
        unbound = [port for port, backend in service.by_port.items() if backend is None]
        if unbound:
            found.append(Finding("crm", True, f"no CRM for {', '.join(unbound)}"))
    finally:
        await service.close()
    return found
